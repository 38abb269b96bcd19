"""Says what was tried, and shows a counterexample as a person would tell it."""

from __future__ import annotations

import dis
import linecache
from collections.abc import Iterator
from pathlib import Path

from .checking import Counterexample, Report
from .scheduler import Stop

__all__ = ["header", "line", "story"]


def header() -> str:
    """The titles of the table."""
    return f"{'scenario':56} {'preemptions':>11} {'schedules':>10} {'points':>7} {'results':>7} {'seconds':>8}"


def line(report: Report) -> str:
    """One scenario: schedules, the most points in one, the different results, and the time."""
    preemptions = "random" if report.preemptions is None else f"up to {report.preemptions}"
    figures = f"{report.schedules:10} {report.points:7} {len(report.results):7} {report.seconds:8.1f}"
    return f"{report.scenario.name:56} {preemptions:>11} {figures}"


def story(found: Counterexample) -> str:
    """Who ran, how far, and what came of it."""
    return "\n".join(_told(found))


def _told(found: Counterexample) -> Iterator[str]:
    begun: set[int] = set()
    for number, stop in enumerate(found.run.stops, 1):
        goes = "goes on" if stop.thread in begun else "begins"
        begun.add(stop.thread)
        yield f"  {number}. [{found.names[stop.thread]}] {goes}, and {stop.why}{_place(stop)}"
    yield f"  Then: {found.problem}"
    yield f"  The schedule, to replay it: {found.schedule}"


def _place(stop: Stop) -> str:
    if stop.code is None:
        return ""
    file, line = stop.code.co_filename, stop.line
    source = linecache.getline(file, line).strip()
    return f" in {Path(file).name}:{line} {stop.code.co_name}{_before(stop)}\n         {source}"


def _before(stop: Stop) -> str:
    """The instruction that comes next."""
    assert stop.code is not None
    for each in dis.get_instructions(stop.code):
        if each.offset >= stop.offset and each.opname != "EXTENDED_ARG":
            return f", before {each.opname} {each.argrepr}".rstrip()
    return ""
