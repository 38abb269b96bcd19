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
    Outcome,
    SlowCallRate,
    TripPolicy,
)
from circuitbreaker._engine.engine import Engine
from circuitbreaker._engine.snapshot import ClosedSnapshot, EngineSnapshot
from circuitbreaker._engine.watches import NEVER, LastCalls, LastSeconds

from .support import Boom, attempt, fail, go_on, make_due, trip

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


# Watches


def hit(number: int, at: float = 0.0) -> Outcome:
    return Outcome(number, at, True, 1, 0.0)


def test_a_window_of_calls_keeps_the_hits_that_still_count() -> None:
    """C2: by how many calls ago they were; the 20th call before is not among the last 20."""
    window = LastCalls(20, 4)
    for number in (9, 10, 11, 25):
        window.take(hit(number), True)
    snapshot = window.snapshot(30, 0.0)
    assert snapshot == (19, 5)
    new = LastCalls(20, 4)
    new.restore(snapshot, 30, 0.0)
    assert new.snapshot(30, 0.0) == snapshot
    assert new.take(hit(31), True) == (2, 20)


@pytest.mark.parametrize(("number", "due"), [(3, 4), (4, NEVER), (5, NEVER)])
def test_a_window_of_calls_asks_for_the_success_that_completes_its_minimum(number: int, due: int) -> None:
    """C2: if that is still to come."""
    window = LastCalls(20, 4)
    window.restore((1,), number, 0.0)
    assert window.next_number == due


@pytest.mark.parametrize(("start", "minimum", "due"), [(0.0, 4, NEVER), (0.0, 8, 9), (13.0, 8, 9)])
def test_a_window_of_seconds_keeps_the_slots_that_still_count(start: float, minimum: int, due: int) -> None:
    """C2: by how long ago they began, how many calls ago that was, and their hits; also on a clock of another time."""
    window = LastSeconds(10, minimum)
    for number, at in enumerate((0.0, 3.0, 3.05, 6.0), 1):
        window.take(hit(number, start + at), number != 2)
    assert window.snapshot(6, start + 13) == ((10, 5, 1), (7, 3, 1)), "exactly the window's length ago"
    snapshot = window.snapshot(6, start + 12)
    assert snapshot == ((9, 5, 1), (6, 3, 1))
    new = LastSeconds(10, minimum)
    new.restore(snapshot, 6, 4096.0)
    assert new.snapshot(6, 4096.0) == snapshot
    assert (new.next_number, new.next_time) == (due, 4090.1)
    assert new.take(hit(7, 4096.5), True) == (3, 6)


def test_a_window_that_has_seen_nothing_goes_on_from_nothing() -> None:
    """C2"""
    for window in (LastCalls(20, 4), LastSeconds(10, 4)):
        window.restore((), 0, 50.0)
        assert window.snapshot(0, 50.0) == ()
        assert window.next_number == 4
        assert window.take(hit(1, 50.0), True) == (1, 1)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_watch_asks_for_the_same_successes_after_a_restore(policy: TripPolicy) -> None:
    """C2"""
    old: Any = policy.watch()
    new: Any = policy.watch()
    for number in (1, 2, 3):
        old.see(Outcome(number, 5.0 + number / 4, False, 0, 3.0))
    new.restore(old.snapshot(3, 6.0), 3, 6.0)
    assert new.snapshot(3, 6.0) == old.snapshot(3, 6.0)
    assert (new.next_number, new.next_time, new.slower_than) == (old.next_number, old.next_time, old.slower_than)


def test_a_watch_that_keeps_nothing_has_nothing_to_keep(clock: ManualClock) -> None:
    breaker = CircuitBreaker(registry=None, failure_threshold=3, clock=clock)
    attempt(breaker, fail)
    assert snapshot_of(breaker, clock).period == ClosedSnapshot(1, 1, 1, ())


def test_a_snapshot_of_other_policies_is_an_error() -> None:
    watch: Any = (FailureRate(0.5) & ConsecutiveFailures(3)).watch()
    with pytest.raises(ValueError, match="shorter"):
        watch.restore(((),), 3, 0.0)


# Trials


def test_a_snapshot_may_have_more_trials_out_than_there_are_attempts(clock: ManualClock) -> None:
    """H1, H4: of a breaker that allows more of them. None is admitted until one has run out."""
    breaker = CircuitBreaker(registry=None, failure_threshold=1, half_open_max_attempts=3, clock=clock)
    trip(breaker)
    clock.advance(30)
    permits = [breaker.acquire() for _ in range(3)]
    other = CircuitBreaker(registry=None, half_open_max_attempts=1, clock=clock)
    go_on(other, breaker, clock)
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
    go_on(other, breaker, clock)
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


def test_trials_that_are_out_are_told_oldest_first(clock: ManualClock) -> None:
    """H1, H4: those that have ended hold no attempt."""
    breaker = CircuitBreaker(registry=None, failure_threshold=1, success_threshold=3, clock=clock)
    trip(breaker)
    clock.advance(30)
    permits = [breaker.acquire() for _ in range(3)]
    permits[1].success()
    period: Any = engine_of(breaker).period
    assert period.trials == [permits[0].trial, permits[2].trial]
    for permit in permits:
        permit.release()


def test_where_the_rules_do_not_allow_trials_a_half_open_period_is_restored_as_the_open_one_before_it(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4: a process of a fleet has trials only with a lease."""
    breaker = make_due(clock)
    permit = breaker.acquire()
    other = CircuitBreaker(registry=None, clock=clock)
    monkeypatch.setattr(type(engine_of(other)._rules), "half_open", lambda *_: None)
    go_on(other, breaker, clock)
    assert other.state is CircuitState.OPEN
    assert breaker.state is CircuitState.HALF_OPEN
    permit.release()


def test_a_restore_publishes_nothing(clock: ManualClock) -> None:
    """E5"""
    breaker, heard = CircuitBreaker(registry=None, clock=clock), []
    breaker.on("state_change", heard.append)
    opened = CircuitBreaker(registry=None, clock=clock)
    trip(opened)
    go_on(breaker, opened, clock)
    assert breaker.state is CircuitState.OPEN
    assert heard == []
