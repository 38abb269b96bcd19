"""Every schedule with at most so many preemptions, the fewest first: the search of CHESS.

A preemption stops a thread that could go on. Most races need one or two, and with few of them a schedule is one that a
person can follow: Musuvathi and Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs",
PLDI 2007. Nothing of a run is kept but its choices; each schedule is replayed from the start, on new objects.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

from .scheduler import Choice, Run, Schedule

__all__ = ["every_schedule", "random_schedules"]

Execute = Callable[[Schedule], Run]


def every_schedule(execute: Execute, preemptions: int) -> Iterator[tuple[Schedule, Run]]:
    """Each schedule with at most so many preemptions, once, and what it led to."""
    schedules: Iterable[Schedule] = [()]
    for made in range(preemptions + 1):
        parents: list[tuple[Schedule, Run]] = []
        for schedule, run in _with_free_choices(execute, schedules):
            yield schedule, run
            if made < preemptions:
                parents.append((schedule, run))
        if not parents:
            return
        schedules = _preempted_once_more(parents)


def _with_free_choices(execute: Execute, schedules: Iterable[Schedule]) -> Iterator[tuple[Schedule, Run]]:
    """`schedules`, and those that differ in who goes on when a thread waits or has ended."""
    for each in schedules:
        pending = [each]
        while pending:
            schedule = pending.pop()
            run = execute(schedule)
            yield schedule, run
            pending.extend(_continued(schedule, run, preempts=False))


def _preempted_once_more(parents: list[tuple[Schedule, Run]]) -> Iterator[Schedule]:
    for schedule, run in parents:
        yield from _continued(schedule, run, preempts=True)


def _continued(schedule: Schedule, run: Run, preempts: bool) -> Iterator[Schedule]:
    """`schedule` with one turn more, at a step after its last."""
    begin = schedule[-1][0] + 1 if schedule else 0
    for choice, end in _with_ends(run):
        if choice.preempts == preempts:
            for step in range(max(begin, choice.first), end):
                for other in choice.others:
                    yield *schedule, (step, other)


def _with_ends(run: Run) -> Iterator[tuple[Choice, int]]:
    """The choices, each with the step at which it is no more."""
    for choice, following in zip(run.choices, [*run.choices[1:], None], strict=True):
        last = run.steps if following is None else following.first
        yield choice, last if choice.preempts else choice.first + 1


def random_schedules(steps: int, threads: int, many: int, seed: int) -> Iterator[Schedule]:
    """Schedules with three to eight turns, at random steps of so many; a turn that cannot be is to be skipped."""
    chance = random.Random(seed)
    for _ in range(many):
        turns = {chance.randrange(steps): chance.randrange(threads) for _ in range(chance.randint(3, 8))}
        yield tuple(sorted(turns.items()))
