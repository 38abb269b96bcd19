"""Interleavings: the schedule of two or three threads is a choice, and every choice is tried.

`python -m checks.schedules` runs it. From the inside out: `points` says where a thread may be stopped, `tracing` stops
it there, `scheduler` runs one thread at a time by a schedule, with the `locks` that this needs; `exploration` goes
through the schedules; the scenarios are what the threads do with a `subject`; `checking` holds each result against what
is promised; `planted` are races that must be found, and `report` tells of them.

What this is and is not: a bytecode instruction is one step, and so is a call of one method of a list, a dict or a
count, which are atomic with and without a GIL. Threads may switch between any two instructions, not only where an
interpreter with a GIL would. What happens within a step, and the order in which a processor shows it to others, is left
to the stress tests.
"""
