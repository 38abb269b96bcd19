"""Threads that switch as often as they can, for what is not stressed beside its own tests.

On builds without the GIL this is what covers the lock-free paths: `checks.schedules` takes a bytecode for one step.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    FailureRate,
    ManualClock,
    Outcome,
    StateChange,
)

from .support import Boom, attempt, collect_on_pypy, fail, frequent_switches, in_threads, succeed

THREADS = 6


class Watching:
    """A policy that opens at every hundredth failure of a period, and checks what it is shown (C2, E1)."""

    def __init__(self) -> None:
        self.watches: list[Seen] = []

    def watch(self) -> Seen:
        self.watches.append(Seen())
        return self.watches[-1]


class Seen:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def see(self, outcome: Outcome) -> str | None:
        self.outcomes.append(outcome)
        return "a hundred" if sum(each.failed for each in self.outcomes[-200:]) >= 100 else None


def shared_out(*works: Callable[[], object]) -> None:
    """Run each of `works` in a thread of its own, switching as often as can be."""
    todo = list(works)
    with frequent_switches():
        in_threads(len(works), lambda: todo.pop()())


def test_a_policy_is_shown_each_outcome_once_and_none_after_its_period() -> None:
    """C2, E1: numbers 1, 2, 3 ... of each period, without a gap but for those that were late."""
    policy = Watching()
    changes: list[StateChange] = []
    breaker = CircuitBreaker(trip=policy, on_state_change=changes.append)
    ends: list[str] = []

    def work() -> None:
        for number in range(1000):
            ends.append(attempt(breaker, fail if number % 2 else succeed))
            if ends[-1] == "CircuitOpenError":
                breaker.reset()

    shared_out(*[work] * THREADS)

    for watch in policy.watches:
        numbers = sorted(each.number for each in watch.outcomes)
        assert len(set(numbers)) == len(numbers)
    shown = Counter(each.failed for watch in policy.watches for each in watch.outcomes)
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures) == (ends.count("fine"), ends.count("Boom"))
    assert shown[True] <= metrics.total_failures
    assert shown[False] <= metrics.total_successes
    opened = sum(each.new_state is CircuitState.OPEN for each in changes)
    assert opened == sum(1 for watch in policy.watches if _tripped(watch)) > 1


def _tripped(watch: Seen) -> bool:
    return sum(each.failed for each in watch.outcomes[-200:]) >= 100


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_each_half_open_period_admits_its_attempts(attempts: int) -> None:
    """H1, H2: in each round a period is due, all threads ask at once, and the trials fail."""
    clock = ManualClock()
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=1, clock=clock, half_open_max_attempts=attempts)
    attempt(breaker, fail)
    rounds = 150
    admitted: list[int] = []
    together = threading.Barrier(THREADS)

    def work() -> None:
        for number in range(rounds):
            if together.wait(10) == 0:
                clock.advance(1)
            together.wait(10)
            try:
                permit = breaker.acquire()
                admitted.append(number)
            except CircuitOpenError:
                permit = None
            together.wait(10)
            if permit is not None:
                permit.failure(Boom())

    shared_out(*[work] * THREADS)

    assert Counter(admitted) == dict.fromkeys(range(rounds), attempts)
    assert breaker.metrics().total_rejections == rounds * (THREADS - attempts)


def test_holds_that_come_and_go_lose_no_call() -> None:
    """M2, E6, C3"""
    breaker = CircuitBreaker(failure_threshold=3)
    guarded = breaker(succeed)
    ends: list[str] = []
    ready = threading.Event()

    def work() -> None:
        mine = []
        for number in range(1000):
            way = guarded if number % 2 else lambda: breaker.call(fail)
            try:
                mine.append(way())
            except (Boom, CircuitOpenError) as error:
                mine.append(type(error).__name__)
        ends.extend(mine)
        ready.set()

    def hold() -> None:
        while not ready.is_set():
            for change in (breaker.force_open, breaker.force_closed, breaker.shadow, breaker.reset, breaker.open):
                change()

    shared_out(hold, *[work] * THREADS)

    metrics = breaker.metrics()
    assert Counter(ends) == Counter(
        fine=metrics.total_successes, Boom=metrics.total_failures, CircuitOpenError=metrics.total_rejections
    )
    assert metrics.total_calls == 1000 * THREADS


def test_permits_dropped_by_many_threads_are_each_counted_once() -> None:
    """H3, E6: the finalizers leave word, and whoever comes next sees to it."""
    breaker = CircuitBreaker(failure_threshold=10**9)

    def work() -> None:
        for _ in range(1000):
            breaker.acquire()
            attempt(breaker, fail)

    shared_out(*[work] * THREADS)
    collect_on_pypy()

    metrics = breaker.metrics()
    assert (metrics.total_ignored, metrics.total_failures) == (1000 * THREADS, 1000 * THREADS)


def test_calls_and_transitions_are_each_told_once_while_listeners_come_and_go() -> None:
    """E5"""
    breaker = CircuitBreaker(failure_threshold=4)
    told: list[str] = []
    changes: list[StateChange] = []
    ready = threading.Event()
    for event in ("success", "failure", "rejected"):
        breaker.on(event, lambda value, event=event: told.append(event))  # type: ignore[call-overload]
    breaker.on("state_change", changes.append)

    def work() -> None:
        for number in range(200):
            attempt(breaker, succeed if number % 8 < 3 else fail)
            if number % 8 == 7:
                breaker.reset()
        ready.set()

    def listen() -> None:
        while not ready.is_set():
            for event in ("success", "state_change"):
                breaker.on(event, lambda value: None)()  # type: ignore[call-overload]

    shared_out(listen, *[work] * THREADS)

    metrics = breaker.metrics()
    assert Counter(told) == Counter(
        success=metrics.total_successes, failure=metrics.total_failures, rejected=metrics.total_rejections
    )
    assert all(earlier.new_state is later.old_state for earlier, later in pairwise(changes))
    assert changes[-1].new_state is breaker.state


@pytest.mark.parametrize("window", [{"calls": 50}, {"seconds": 5.0}])
def test_one_breaker_counts_threads_and_loops_together(window: dict[str, Any]) -> None:
    """E6, E8: plain functions, coroutines and blocks, and windows that ask for some of their successes."""
    breaker = CircuitBreaker(trip=FailureRate(1.0, minimum_calls=20, **window))
    plain = breaker(succeed)

    @breaker
    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "fine"

    async def several() -> None:
        for _ in range(20):
            await asyncio.gather(*(coroutine() for _ in range(10)))

    def work() -> None:
        for number in range(200):
            plain()
            with breaker:
                assert breaker.state is CircuitState.CLOSED
            if number % 4 == 0:
                attempt(breaker, fail)

    shared_out(*[work] * 4, *[lambda: asyncio.run(several())] * 2)

    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures) == (4 * 400 + 2 * 200, 4 * 50)
    assert metrics.last_success_time is not None
