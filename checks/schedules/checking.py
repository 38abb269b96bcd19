"""Tries a scenario by every schedule, and holds each result against those of whole admissions and whole ends.

The reference: the same threads, stopped only in their own code, never in the package's. Then every admission and every
end of a call is one step, and all orders of these steps are tried. Whatever the finer schedules lead to must be what
one of these orders leads to. So the lock-free paths are shown to be as good as one lock around everything.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .exploration import every_schedule, random_schedules
from .points import SwitchPoints
from .scenario import Scenario
from .scheduler import Run, Schedule, Scheduler
from .subject import Result

__all__ = ["Checker", "Counterexample", "Report"]

_COLLECT_EVERY = 1000


@dataclass(frozen=True)
class Counterexample:
    """A schedule that breaks a promise."""

    schedule: Schedule
    problem: str
    names: tuple[str, ...]
    run: Run


@dataclass
class Report:
    """What was tried of one scenario."""

    scenario: Scenario
    preemptions: int | None
    schedules: int = 0
    points: int = 0
    seconds: float = 0.0
    results: set[Result] = field(default_factory=set)
    counterexample: Counterexample | None = None


class Checker:
    """Tries scenarios. Use it within `open()`."""

    def __init__(self, points: SwitchPoints) -> None:
        self._scheduler = Scheduler(points)
        self._names: tuple[str, ...] = ()
        self._result: Result | None = None
        self._runs = 0
        self._references: dict[str, dict[Hashable, Result]] = {}

    @contextmanager
    def open(self) -> Iterator[Checker]:
        """Have the threads ready; while a schedule runs no garbage is collected, for that would add steps."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            with self._scheduler.open():
                yield self
        finally:
            if collecting:
                gc.enable()

    def explore(self, scenario: Scenario, preemptions: int) -> Report:
        """Try every schedule with at most so many preemptions, up to the first that breaks a promise."""
        return self._check(scenario, preemptions, every_schedule(lambda each: self._run(scenario, each), preemptions))

    def walk(self, scenario: Scenario, many: int, seed: int) -> Report:
        """Try so many schedules with turns at random."""
        first = self._run(scenario, ())
        schedules = random_schedules(first.steps, len(first.ends), many, seed)
        runs = ((each, self._run(scenario, each, lenient=True)) for each in schedules)
        return self._check(scenario, None, runs)

    def _check(self, scenario: Scenario, preemptions: int | None, runs: Iterable[tuple[Schedule, Run]]) -> Report:
        began = time.perf_counter()
        allowed = self.reference(scenario)
        report = Report(scenario, preemptions)
        for schedule, run in runs:
            report.schedules += 1
            report.points = max(report.points, run.steps)
            problem = run.problem or _unexpected(self._result, allowed, scenario.loose)
            if problem:
                report.counterexample = Counterexample(schedule, problem, self._names, run)
                break
            assert self._result is not None
            report.results.add(self._result)
        if not report.schedules:
            raise AssertionError(f"{scenario.name}: nothing was tried")
        report.seconds = time.perf_counter() - began
        return report

    def reference(self, scenario: Scenario) -> dict[Hashable, Result]:
        """What the orders of whole admissions and whole ends lead to, by what is compared; found once."""
        if scenario.name not in self._references:
            self._references[scenario.name] = {each.without(scenario.loose): each for each in self._whole(scenario)}
        return self._references[scenario.name]

    def _whole(self, scenario: Scenario) -> Iterator[Result]:
        for _, run in every_schedule(lambda each: self._run(scenario, each, fine=False), sys.maxsize):
            if run.problem or self._result is None:
                raise AssertionError(f"{scenario.name}: broken even one at a time: {run.problem}")
            yield self._result

    def _run(self, scenario: Scenario, schedule: Schedule, fine: bool = True, lenient: bool = False) -> Run:
        self._runs += 1
        if self._runs % _COLLECT_EVERY == 0:
            gc.collect()
        scene = scenario.make(self._scheduler.pause)
        self._names = tuple(scene.operations)
        run = self._scheduler.run(list(scene.operations.values()), schedule, fine=fine, lenient=lenient)
        self._result = None
        if not run.problem:
            try:
                self._result = scene.result(run.ends)
            except AssertionError as error:
                run.problem = str(error)
        return run


def _unexpected(result: Result | None, allowed: dict[Hashable, Result], loose: tuple[str, ...]) -> str:
    """What is wrong with `result`, if it is none of `allowed`."""
    if result is None or result.without(loose) in allowed:
        return ""
    nearest = min((result.differences(each) for each in allowed.values()), key=len)
    return f"no order of whole admissions and whole ends leads to this; the nearest differs in {'; '.join(nearest)}"
