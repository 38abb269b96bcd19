"""A snapshot has all that matters: an engine that goes on from one behaves as the one that it was taken of."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from circuitbreaker import (
    CircuitBreaker,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    ManualClock,
    SlowCallRate,
    TripPolicy,
)
from circuitbreaker._engine.engine import Engine
from circuitbreaker._engine.snapshot import EngineSnapshot

from .support import Boom, attempt, make_due, trip

POLICIES: list[TripPolicy] = [
    ConsecutiveFailures(3),
    FailureRate(0.5, calls=6, minimum_calls=3),
    FailureRate(0.4, seconds=8, minimum_calls=3),
    SlowCallRate(0.5, slower_than=2, calls=4, minimum_calls=2),
    ConsecutiveFailures(4) | FailureRate(0.5, calls=5, minimum_calls=5) & SlowCallRate(0.5, slower_than=1, seconds=9),
]
STEPS = (
    *("succeed", "fail", "ignore", "slow", "give up"),
    *("begin", "end", "wait", "reset", "open", "force_open", "shadow"),
)
steps = st.lists(st.sampled_from(STEPS), max_size=30)


class Life:
    """A breaker that things happen to."""

    def __init__(self, trip: TripPolicy, start: float) -> None:
        self.clock = ManualClock(start)
        options: dict[str, Any] = {"half_open_max_attempts": 2, "success_threshold": 2, "half_open_timeout": 3}
        self.breaker = CircuitBreaker(
            registry=None, trip=trip, clock=self.clock, reset_timeout=4, ignore=LookupError, **options
        )
        self.permits: list[Any] = []

    def step(self, what: str) -> object:
        """Let it happen, and return what can be seen of it."""
        if what == "begin":
            return self._attempt(lambda: self.permits.append(self.breaker.acquire()))
        if what == "end":
            return self.permits and self.permits.pop(0).success()
        if what == "wait":
            return self.clock.advance(2)
        if what in ("reset", "open", "force_open", "shadow"):
            return getattr(self.breaker, what)()
        errors = {"fail": Boom(), "ignore": LookupError(), "give up": LookupError()}
        return self._attempt(lambda: self._call(errors.get(what), 3 if what in ("slow", "give up") else 0))

    def _attempt(self, work: Any) -> str:
        try:
            return str(work())
        except Exception as error:
            return type(error).__name__

    def _call(self, error: Exception | None, seconds: float) -> None:
        with self.breaker:
            self.clock.advance(seconds)
            if error is not None:
                raise error

    def seen(self) -> object:
        return self.breaker.metrics(), snapshot_of(self.breaker, self.clock)


def engine_of(breaker: CircuitBreaker) -> Engine:
    return breaker._circuit.engine


def snapshot_of(breaker: CircuitBreaker, clock: ManualClock) -> EngineSnapshot:
    return engine_of(breaker).snapshot(clock.monotonic())


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@given(before=steps, after=steps)
@example(before=["open", "wait", "wait", "succeed"], after=["begin", "begin"])
@settings(max_examples=200)
def test_an_engine_goes_on_from_a_snapshot(policy: TripPolicy, before: list[str], after: list[str]) -> None:
    """C2, O1, H1, H4, E6, M2: with a clock that shows another time, and calls in flight that belong to neither."""
    old, new = Life(policy, 1024.0), Life(policy, 4096.0)
    for what in before:
        old.step(what)
    old.permits.clear()  # A trial in flight gives its attempt back; a snapshot has no calls.
    old.breaker.metrics()
    new.clock.set_time(old.clock.time())
    engine_of(new.breaker).restore(snapshot_of(old.breaker, old.clock), new.clock.monotonic())
    assert new.seen() == old.seen()
    for what in after:
        assert new.step(what) == old.step(what)
        assert new.seen() == old.seen()


@pytest.mark.parametrize("state", ["closed", "open", "half_open", "force_open"])
def test_every_number_goes_on(state: str) -> None:
    """E6, H1, M2: in a circuit where no two of them are alike, once more after a further failure."""
    old, new = Life(ConsecutiveFailures(9), 1024.0), Life(ConsecutiveFailures(9), 4096.0)
    for what in ["shadow", "open", *["succeed"] * 5, "force_open", *["succeed"] * 3, "reset", *["succeed"] * 4, "wait"]:
        old.step(what)
    for what in [*["fail"] * 7, "ignore", "ignore"]:
        old.step(what)
    last = {
        "closed": [],
        "open": ["open"],
        "half_open": ["open", "wait", "wait", "succeed"],
        "force_open": ["force_open"],
    }
    for what in [*last[state], "wait"]:
        old.step(what)
    new.clock.set_time(old.clock.time())
    engine_of(new.breaker).restore(snapshot_of(old.breaker, old.clock), new.clock.monotonic())
    assert new.seen() == old.seen()
    for what in ("fail", "succeed"):
        assert new.step(what) == old.step(what)
        assert new.seen() == old.seen()


def test_a_snapshot_may_have_more_trials_out_than_there_are_attempts(clock: ManualClock) -> None:
    """H1, H4: of a breaker that allows more of them. None is admitted until one has run out."""
    breaker = CircuitBreaker(registry=None, failure_threshold=1, half_open_max_attempts=3, clock=clock)
    trip(breaker)
    clock.advance(30)
    permits = [breaker.acquire() for _ in range(3)]
    other = CircuitBreaker(registry=None, half_open_max_attempts=1, clock=clock)
    engine_of(other).restore(snapshot_of(breaker, clock), clock.monotonic())
    assert attempt(other) == "CircuitOpenError"
    clock.advance(30)
    assert attempt(other) == "fine"
    assert len(permits) == 3


def test_a_snapshot_is_plain_values(clock: ManualClock) -> None:
    breaker = make_due(clock)
    breaker.acquire()
    snapshot = snapshot_of(breaker, clock)
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot


def test_a_trial_that_is_out_holds_its_attempt_after_a_restore(clock: ManualClock) -> None:
    """H1, H4"""
    breaker = make_due(clock)
    permit = breaker.acquire()
    other = CircuitBreaker(registry=None, half_open_max_attempts=1, clock=clock)
    engine_of(other).restore(snapshot_of(breaker, clock), clock.monotonic())
    assert attempt(other) == "CircuitOpenError"
    clock.advance(30)
    assert attempt(other) == "fine"
    permit.release()


def test_a_call_in_flight_belongs_to_a_period_that_has_ended(clock: ManualClock) -> None:
    """E1: its result counts in the totals and changes nothing else."""
    breaker = CircuitBreaker(registry=None, failure_threshold=1, clock=clock)
    closed = snapshot_of(breaker, clock)
    permit = breaker.acquire()
    engine_of(breaker).restore(closed, clock.monotonic())
    permit.failure()
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_failures == 1


def test_a_restore_publishes_nothing(clock: ManualClock) -> None:
    """E5"""
    breaker, heard = CircuitBreaker(registry=None, clock=clock), []
    breaker.on("state_change", heard.append)
    opened = CircuitBreaker(registry=None, clock=clock)
    trip(opened)
    engine_of(breaker).restore(snapshot_of(opened, clock), clock.monotonic())
    assert breaker.state is CircuitState.OPEN
    assert heard == []
