"""Interleavings: the schedule of two or three threads is a choice, and every choice is tried.

`python -m checks.schedules` runs it. From the inside out: `points` says where a thread may be stopped, `tracing` stops
it there, `scheduler` runs one thread at a time by a schedule, with the `locks` that this needs; `exploration` goes
through the schedules; the scenarios are what the threads do with a `subject`; `checking` holds each result against what
is promised; `planted` are races that must be found, and `report` tells of them.

What this is and is not: the model is the GIL's, in which a bytecode instruction is one step. Builds without the GIL
are covered by the stress tests alone.
"""
