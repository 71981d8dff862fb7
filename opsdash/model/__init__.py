"""What exists: components, checks, failure modes, switches, incidents, records.

Pure values. Nothing here does I/O, reads a clock, or knows a library: every value is frozen, and what a program
may do with it is written in `opsdash.core`.
"""
