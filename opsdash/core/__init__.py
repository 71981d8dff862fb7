"""What follows: decisions as functions of values.

`decide(world, live, input, now)` says what follows from an input, `evolve(world, record)` what a record changes, and
`views` what a client sees. No I/O, no clock, no randomness, no library in here.
"""
