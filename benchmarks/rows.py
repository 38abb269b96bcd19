"""The rows of the table: an operation, the floor it is compared with, and the goal for the ratio.

`python -m benchmarks.rows sync ours 1000` runs one side of one row without output, to count its instructions.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from circuitbreaker import CircuitBreaker, CircuitOpenError, FailureRate, ManualClock, SlowCallRate, TripPolicy, circuit

from . import floors
from .loops import Loop, async_blocks, async_items, awaits, blocks, calls, catches, in_threads, items
from .work import fail, work, work_async, work_in_async_steps, work_in_steps

__all__ = ["ROWS", "Row"]


class Row(NamedTuple):
    """One row of the table."""

    name: str
    what: str
    floor: Callable[[], Loop]
    ours: Callable[[], Loop]
    goal: float | None
    number: int
    """Operations in one run: enough to make the clock's own cost negligible, few enough to fit between disturbances."""

    def side(self, which: str) -> Loop:
        """The loop of the floor or of ours."""
        return self.floor() if which == "floor" else self.ours()


ROWS: dict[str, Row] = {}


def row(
    what: str, over: Callable[[], Loop] = floors.a_call, goal: float | None = None, number: int = 1_000
) -> Callable[[Callable[[], Loop]], Callable[[], Loop]]:
    """Make a row from a function that sets up our side; the function's name is the row's name."""

    def add(ours: Callable[[], Loop]) -> Callable[[], Loop]:
        ROWS[ours.__name__] = Row(ours.__name__, what, over, ours, goal, number)
        return ours

    return add


# Rows with a goal


@row("@circuit(failure_threshold=5), sync", goal=2.0)
def sync() -> Loop:
    return calls(circuit(failure_threshold=5)(work))


@row("@circuit(failure_threshold=5), async", floors.an_await, goal=1.8)
def coroutine() -> Loop:
    return awaits(circuit(failure_threshold=5)(work_async))


@row("with breaker:, over an empty context manager", floors.a_block, goal=3.0)
def block() -> Loop:
    return blocks(CircuitBreaker())


@row("FailureRate, the last 100 calls", goal=2.4)
def last_calls() -> Loop:
    return calls(circuit(trip=FailureRate(calls=100))(work))


@row("FailureRate, the last 30 seconds", goal=3.0)
def last_seconds() -> Loop:
    return calls(circuit(trip=FailureRate(seconds=30))(work))


def _through_a_full_window(trip: TripPolicy) -> Loop:
    """Calls through a breaker that has already seen 100,000 calls, of which every tenth failed."""
    breaker = CircuitBreaker(trip=trip)
    succeeding, failing = calls(breaker(work)), catches(breaker(fail), ConnectionError)
    for _ in range(10_000):
        succeeding(9)
        failing(1)
    return succeeding


def _a_narrow_window_of_calls() -> Loop:
    return _through_a_full_window(FailureRate(calls=10))


@row("a window of 100,000 calls, over one of 10", _a_narrow_window_of_calls, goal=1.1)
def wide_calls() -> Loop:
    return _through_a_full_window(FailureRate(calls=100_000))


def _a_narrow_window_of_seconds() -> Loop:
    return _through_a_full_window(FailureRate(seconds=10))


@row("a window of 100,000 seconds, over one of 10", _a_narrow_window_of_seconds, goal=1.1)
def wide_seconds() -> Loop:
    return _through_a_full_window(FailureRate(seconds=100_000))


def _open_circuit(**options: Any) -> Callable[[object], object]:
    breaker = CircuitBreaker("work", failure_threshold=1, reset_timeout=3600, registry=None, **options)
    try:
        breaker.call(fail, 1)
    except ConnectionError:
        return breaker(work)
    raise AssertionError("fail() does not fail")


@row("a rejected call, over a plain exception", floors.a_refusal, goal=2.0, number=500)
def rejected() -> Loop:
    return catches(_open_circuit(), CircuitOpenError)


@row("8 threads through one breaker", floors.threads, goal=2.5, number=80_000)
def threads() -> Loop:
    return in_threads(sync())


# Rows without a goal


@row("a failing call", floors.a_failure, number=200)
def failing() -> Loop:
    return catches(circuit(failure_threshold=10**9)(fail), ConnectionError)


@row("a rejected call with a fallback, over a call")
def fallback() -> Loop:
    return calls(_open_circuit(fallback=work))


@row("a round: open, half-open, closed by a trial", number=100)
def trial() -> Loop:
    clock = ManualClock()
    breaker = CircuitBreaker(clock=clock, reset_timeout=1)
    guarded = breaker(work)

    def round_by_round(x: object) -> None:
        breaker.open()
        clock.advance(1)
        guarded(x)

    return calls(round_by_round)


@row("async with breaker:", floors.an_async_block)
def async_block() -> Loop:
    return async_blocks(CircuitBreaker())


@row("breaker.call(work, 1)", number=200)
def call() -> Loop:
    return calls(partial(CircuitBreaker().call, work))


@row("acquire() and success()")
def permit() -> Loop:
    breaker = CircuitBreaker()
    return calls(lambda x: breaker.acquire().success())


@row("@circuit(key=...), a known key")
def keyed() -> Loop:
    return calls(circuit(key=lambda x: x)(work))


@row("an object with __call__, through wrapt's proxy")
def proxy() -> Loop:
    class Worker:
        def __call__(self, x: object) -> object:
            return x

    return calls(circuit(Worker()))


@row("an item of a generator", floors.an_item)
def item() -> Loop:
    return items(circuit(work_in_steps))


@row("an item of an async generator", floors.an_async_item)
def async_item() -> Loop:
    return async_items(circuit(work_in_async_steps))


@row("SlowCallRate, the last 100 calls")
def slow_calls() -> Loop:
    return calls(circuit(trip=SlowCallRate(slower_than=2.0))(work))


@row("one listener to successes", number=200)
def listener() -> Loop:
    breaker = CircuitBreaker()
    breaker.on("success", lambda event: None)
    return calls(breaker(work))


@row("one listener to state changes")
def state_listener() -> Loop:
    return calls(CircuitBreaker(on_state_change=lambda event: None)(work))


def _add_scaling(many: int) -> None:
    name = f"threads_{many}"
    what = f"{many} thread{'s' if many > 1 else ''}, over as many through the floor"
    ROWS[name] = Row(name, what, partial(floors.threads, many), lambda: in_threads(sync(), many), None, 80_000)


for _many in (1, 2, 4, 16):
    _add_scaling(_many)


if __name__ == "__main__":
    _name, _side, _number = sys.argv[1:]
    gc.disable()  # as in timing.py
    ROWS[_name].side(_side)(int(_number))
