"""What opsdash costs and how fast it answers, measured on the machine at hand.

    python -m benchmarks                  every part but the peers, in about four minutes (`make bench`)
    python -m benchmarks polling board    some parts;  --long takes longer windows and more cases
    python -m benchmarks peers            the same load on other monitors (`make bench-peers`)
    python -m benchmarks readme           docs/benchmarks.md and the README's figures, from the newest results

How it measures, and why so:

* The real thing: the engine is a process of its own on real files, its targets are another process, the board runs on
  a real pseudo-terminal. CPU is what the kernel says that the process and its children used.
* A benchmark that does not look at what came out measures nothing: a probe that fails at once is very fast. So every
  part that polls fails unless each component has the status that it should have, and the rate is the one wanted.
* Figures of different runs on a shared machine differ by a third; ratios inside one run do not. Whatever is said
  about another program comes from one run with it, in alternating order.
* Linux only: processor times are read from /proc.

Each part writes `results/DATE-PART.json`: what was measured, with which command, on what machine, how busy it was.
"""
