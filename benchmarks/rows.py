"""The rows of the table: each the floor, our part beside it, and how many times the floor that may cost.

`python -m benchmarks.rows sync ours 1000` runs one side of one row and prints nothing, for counters of instructions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import NamedTuple

from circuitbreaker import CircuitBreaker, CircuitOpenError, FailureRate, ManualClock, SlowCallRate, TripPolicy, circuit

from . import floors
from .loops import Loop, awaits, blocks, calls, catches, in_threads, items

__all__ = ["ROWS", "Row"]


class Sides(NamedTuple):
    """What is compared, ready to run."""

    floor: Loop
    ours: Loop


class Row(NamedTuple):
    """One row of the table."""

    what: str
    goal: float | None
    number: int
    """Operations in one run: enough to drown the clock's own cost, few enough to fit between two disturbances."""
    sides: Callable[[], Sides]


ROWS: dict[str, Row] = {}


def row(what: str, goal: float | None = None, number: int = 2_000) -> Callable[[Callable[[], Sides]], None]:
    """Make a row of a function that sets its two sides up, by the function's name."""

    def add(sides: Callable[[], Sides]) -> None:
        ROWS[sides.__name__] = Row(what, goal, number, sides)

    return add


# What is guarded


def work(x: object) -> object:
    return x


async def work_async(x: object) -> object:
    return x


def work_in_steps(number: int) -> Generator[int, None, None]:
    yield from range(number)


def fail(x: object) -> object:
    raise ConnectionError


# The rows that have a goal


def _over_a_closure(ours: Callable[[object], object]) -> Sides:
    return Sides(calls(floors.guarded(work)), calls(ours))


@row("@circuit(failure_threshold=5), sync", goal=2.0)
def sync() -> Sides:
    return _over_a_closure(circuit(failure_threshold=5)(work))


@row("@circuit(failure_threshold=5), async", goal=1.8)
def coroutine() -> Sides:
    return Sides(awaits(floors.guarded_async(work_async)), awaits(circuit(failure_threshold=5)(work_async)))


@row("with breaker:, over an empty context manager", goal=3.0)
def block() -> Sides:
    return Sides(blocks(floors.Block()), blocks(CircuitBreaker()))


@row("FailureRate, the last 100 calls", goal=2.4)
def last_calls() -> Sides:
    return _over_a_closure(circuit(trip=FailureRate(calls=100))(work))


@row("FailureRate, the last 30 seconds", goal=3.0)
def last_seconds() -> Sides:
    return _over_a_closure(circuit(trip=FailureRate(seconds=30))(work))


@row("a window of 100,000 calls, over one of 10", goal=1.1)
def wide_calls() -> Sides:
    return Sides(_through_a_full_window(FailureRate(calls=10)), _through_a_full_window(FailureRate(calls=100_000)))


@row("a window of 100,000 seconds, over one of 10", goal=1.1)
def wide_seconds() -> Sides:
    return Sides(_through_a_full_window(FailureRate(seconds=10)), _through_a_full_window(FailureRate(seconds=100_000)))


def _through_a_full_window(trip: TripPolicy) -> Loop:
    """Calls through a breaker that has seen 100,000 calls already, and every tenth of them fail."""
    breaker = CircuitBreaker(trip=trip)
    succeeding, failing = calls(breaker(work)), catches(breaker(fail), ConnectionError)
    for _ in range(10_000):
        succeeding(9)
        failing(1)
    return succeeding


@row("a rejected call, over a plain exception", goal=2.0)
def rejected() -> Sides:
    breaker = CircuitBreaker("work", failure_threshold=1, reset_timeout=3600, registry=None)
    catches(breaker(fail), ConnectionError)(1)
    return Sides(catches(floors.refuse, floors.PlainError), catches(breaker(work), CircuitOpenError))


@row("8 threads through one breaker", goal=2.5, number=80_000)
def threads() -> Sides:
    floor, ours = _over_a_closure(circuit(failure_threshold=5)(work))
    return Sides(in_threads(floor), in_threads(ours))


# The rows that are there to be known


@row("a failing call")
def failing() -> Sides:
    guarded = circuit(failure_threshold=10**9)(fail)
    return Sides(catches(floors.guarded(fail), ConnectionError), catches(guarded, ConnectionError))


@row("a round: open, half-open, closed by a trial", number=500)
def trial() -> Sides:
    clock = ManualClock()
    breaker = CircuitBreaker(clock=clock, reset_timeout=1)
    guarded = breaker(work)

    def round_by_round(x: object) -> None:
        breaker.open()
        clock.advance(1)
        guarded(x)

    return _over_a_closure(round_by_round)


@row("acquire() and success()")
def permit() -> Sides:
    breaker = CircuitBreaker()
    return _over_a_closure(lambda x: breaker.acquire().success())


@row("@circuit(key=...), a known key")
def keyed() -> Sides:
    return _over_a_closure(circuit(key=lambda x: x)(work))


@row("an item of a generator")
def generator() -> Sides:
    return Sides(items(floors.guarded_steps(work_in_steps)), items(circuit(work_in_steps)))


@row("SlowCallRate, the last 100 calls")
def slow_calls() -> Sides:
    return _over_a_closure(circuit(trip=SlowCallRate(slower_than=2.0))(work))


@row("one listener to successes")
def heard() -> Sides:
    breaker = CircuitBreaker()
    breaker.on("success", lambda event: None)
    return _over_a_closure(breaker(work))


if __name__ == "__main__":
    name, side, number = sys.argv[1:]
    getattr(ROWS[name].sides(), side)(int(number))
