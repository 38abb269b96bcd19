"""M1 and M2: orders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from circuitbreaker import (
    CallRejected,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ExponentialBackoff,
    Hold,
    ManualClock,
    Outcome,
    StateChange,
)
from circuitbreaker.clock import utc

from .support import Boom, attempt, fail, succeed, trip

STATES = ["closed", "open", "half_open"]


def bring(breaker: CircuitBreaker, clock: ManualClock, state: str) -> None:
    """Bring a fresh breaker into `state`."""
    if state != "closed":
        trip(breaker)
    if state == "half_open":
        clock.advance(30)
        breaker.acquire().release()
    assert breaker.state.value == state


@pytest.fixture
def make(clock: ManualClock) -> Callable[..., CircuitBreaker]:
    return lambda **options: CircuitBreaker(**{"failure_threshold": 1, "clock": clock, **options})


Make = Callable[..., CircuitBreaker]


@pytest.mark.parametrize("state", STATES)
def test_open_opens_as_a_trip_would(make: Make, clock: ManualClock, state: str) -> None:
    """M1: and does nothing to a circuit that is open."""
    changes: list[StateChange] = []
    breaker = make(on_state_change=changes.append)
    bring(breaker, clock, state)
    clock.advance(10)
    changes.clear()
    breaker.open()
    assert breaker.state is CircuitState.OPEN
    assert len(changes) == (state != "open")
    clock.advance(19 if state == "open" else 29)
    assert attempt(breaker) == "CircuitOpenError"
    clock.advance(1)
    assert attempt(breaker) == "fine"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("seconds", [45, 45.0, timedelta(seconds=45)])
def test_open_for_a_time_opens_for_that_time_from_now_on(
    make: Make, clock: ManualClock, state: str, seconds: float | timedelta
) -> None:
    """M1: whatever `reset_timeout` is, and in any state. A circuit that is open stays open, which is no change."""
    changes: list[StateChange] = []
    breaker = make(on_state_change=changes.append)
    bring(breaker, clock, state)
    clock.advance(10)
    changes.clear()
    breaker.open(seconds)
    assert [(each.new_state.value, each.retry_after, each.reason) for each in changes] == [
        ("open", 45.0, "open(45) was called")
    ][: state != "open"]
    clock.advance(44)
    with pytest.raises(CircuitOpenError, match=r"open\(45\) was called"):
        breaker.acquire()
    clock.advance(1)
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED


def test_open_for_no_time_makes_the_next_call_a_trial(make: Make) -> None:
    """M1, O1"""
    breaker = make()
    breaker.open()
    breaker.open(0)
    assert breaker.state is CircuitState.OPEN
    assert attempt(breaker) == "fine"


def test_open_for_a_time_leaves_the_growth_where_it_is(make: Make, clock: ManualClock) -> None:
    """M1, O4: of an open circuit it changes the length alone, in half-open it is one more round."""
    breaker = make(reset_timeout=ExponentialBackoff(30))
    trip(breaker)
    breaker.open(5)
    clock.advance(5)
    assert attempt(breaker, fail) == "Boom"
    assert breaker.metrics().next_attempt_time == utc(clock.time() + 60)


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (-1, ValueError, "seconds must be at least 0 seconds and finite, got -1"),
        (float("inf"), ValueError, "seconds must be at least 0 seconds and finite, got inf"),
        (float("nan"), ValueError, "seconds must be at least 0 seconds and finite, got nan"),
        ("5", TypeError, "seconds must be a number of seconds or a timedelta, got '5'"),
        (True, TypeError, "seconds must be a number of seconds or a timedelta, got True"),
    ],
)
def test_open_refuses_a_time_that_is_none(make: Make, seconds: Any, error: type[Exception], message: str) -> None:
    breaker = make()
    with pytest.raises(error, match=message):
        breaker.open(seconds)
    assert breaker.state is CircuitState.CLOSED


def test_open_in_half_open_is_one_more_round(make: Make, clock: ManualClock) -> None:
    """M1, O4"""
    breaker = make(reset_timeout=ExponentialBackoff(30))
    bring(breaker, clock, "half_open")
    breaker.open()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 60.0


@pytest.mark.parametrize("hold", [None, "force_open", "force_closed", "shadow"])
@pytest.mark.parametrize("state", STATES)
def test_reset_closes_and_forgets_counts_holds_and_growth(
    make: Make, clock: ManualClock, state: str, hold: str | None
) -> None:
    """M1"""
    changes: list[StateChange] = []
    breaker = make(failure_threshold=2, reset_timeout=ExponentialBackoff(30), on_state_change=changes.append)
    bring(breaker, clock, state)
    attempt(breaker, fail)
    if hold:
        getattr(breaker, hold)()
    changes.clear()

    breaker.reset()

    assert breaker.state is CircuitState.CLOSED
    assert breaker.hold is None
    assert breaker.metrics().failure_count == breaker.metrics().success_count == 0
    assert [(each.new_state, each.reason) for each in changes] == (
        [] if state == "closed" else [(CircuitState.CLOSED, "reset() was called")]
    )
    attempt(breaker, fail)
    assert breaker.state is CircuitState.CLOSED
    attempt(breaker, fail)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 30.0


@pytest.mark.parametrize("state", STATES)
def test_force_open_refuses_every_call_until_reset(make: Make, clock: ManualClock, state: str) -> None:
    """M2: however much time passes, and whatever outcomes arrive."""
    breaker = make()
    bring(breaker, clock, "closed")
    late = breaker.acquire()
    bring(breaker, clock, state)
    breaker.force_open()
    assert breaker.hold is breaker.metrics().hold is Hold.FORCED_OPEN
    assert breaker.metrics().next_attempt_time is None
    late.success()
    for _ in range(3):
        clock.advance(1000)
        assert attempt(breaker) == "CircuitOpenError"
        with pytest.raises(CircuitOpenError), breaker:
            raise AssertionError
    assert breaker.state.value == state
    assert breaker.metrics().total_rejections == 6
    breaker.reset()
    assert attempt(breaker) == "fine"


@pytest.mark.parametrize("state", STATES)
def test_force_closed_admits_every_call_and_asks_no_policy(make: Make, clock: ManualClock, state: str) -> None:
    """M2: the calls count in the totals; the state stays."""
    asked: list[Outcome] = []

    class Asked:
        def watch(self) -> Asked:
            return self

        def see(self, outcome: Outcome) -> str | None:
            asked.append(outcome)
            return "always" if outcome.failed else None

    changes: list[StateChange] = []
    breaker = CircuitBreaker(trip=Asked(), clock=clock, on_state_change=changes.append)
    bring(breaker, clock, state)
    before = breaker.metrics()
    asked.clear()
    changes.clear()

    breaker.force_closed()
    for _ in range(10):
        assert attempt(breaker, fail) == "Boom"
        assert attempt(breaker, succeed) == "fine"
        assert breaker(succeed)() == "fine"
        with breaker:
            clock.advance(100)

    after = breaker.metrics()
    assert breaker.state.value == state
    assert asked == changes == []
    assert after.hold is Hold.FORCED_CLOSED
    assert after.total_failures - before.total_failures == 10
    assert after.total_successes - before.total_successes == 30
    breaker.reset()
    assert breaker.metrics().total_successes == after.total_successes


@pytest.mark.parametrize("hold", ["force_open", "force_closed"])
@pytest.mark.parametrize("verdict", ["success", "failure", "release"])
def test_holds_survive_the_outcomes_of_calls_that_began_before(
    make: Make, clock: ManualClock, hold: str, verdict: str
) -> None:
    """M2: of closed calls and of trials alike; a trial's attempt is given back."""
    breaker = make(half_open_max_attempts=1)
    closed_call = breaker.acquire()
    trip(breaker)
    clock.advance(30)
    trial = breaker.acquire()
    getattr(breaker, hold)()

    getattr(closed_call, verdict)()
    getattr(trial, verdict)()

    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.hold is not None
    breaker.shadow()
    with breaker.acquire():
        pass
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().shadow_rejections == 0


def test_a_call_from_before_a_force_is_not_shown_to_the_policy_after_it(make: Make) -> None:
    """M2, E1"""
    breaker = make(failure_threshold=1)
    early = breaker.acquire()
    breaker.force_closed()
    early.failure(Boom())
    assert breaker.state is CircuitState.CLOSED
    during = breaker.acquire()
    breaker.shadow()
    during.failure(Boom())
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_failures == 2


def test_shadow_never_refuses_and_tells_what_it_would_have_done(make: Make, clock: ManualClock) -> None:
    """M2: the state moves as it would."""
    told: list[CallRejected] = []
    changes: list[StateChange] = []
    breaker = make(on_state_change=changes.append, half_open_max_attempts=1)
    breaker.on("rejected", told.append)
    breaker.shadow()

    assert attempt(breaker, fail) == "Boom"
    assert breaker.state is CircuitState.OPEN
    assert [attempt(breaker, fail), attempt(breaker, succeed)] == ["Boom", "fine"]
    clock.advance(30)
    trial = breaker.acquire()
    assert attempt(breaker) == "fine"
    trial.success()

    assert breaker.state is CircuitState.CLOSED
    assert [(each.state.value, each.shadow) for each in told] == [("open", True), ("open", True), ("half_open", True)]
    metrics = breaker.metrics()
    assert (metrics.shadow_rejections, metrics.total_rejections) == (3, 0)
    assert (metrics.total_calls, metrics.total_failures, metrics.total_successes) == (5, 2, 3)
    assert [each.new_state.value for each in changes] == ["open", "half_open", "closed"]


def test_one_hold_replaces_another(make: Make) -> None:
    """M2"""
    breaker = make()
    breaker.force_open()
    breaker.force_closed()
    assert attempt(breaker) == "fine"
    breaker.shadow()
    assert breaker.hold is Hold.SHADOW
    breaker.force_open()
    assert attempt(breaker) == "CircuitOpenError"
    breaker.reset()
    assert breaker.metrics().total_successes == 1


def test_open_under_a_hold_moves_the_state_and_keeps_the_hold(make: Make) -> None:
    """M1, M2: they are orthogonal."""
    breaker = make()
    breaker.force_closed()
    breaker.open()
    assert breaker.state is CircuitState.OPEN
    assert attempt(breaker) == "fine"


@pytest.mark.parametrize(
    ("orders", "shown"),
    [
        ([], "<CircuitBreaker 'shop' closed, 0 consecutive failures>"),
        (["fail"], "<CircuitBreaker 'shop' closed, 1 consecutive failure>"),
        (["fail", "fail"], "<CircuitBreaker 'shop' closed, 2 consecutive failures>"),
        (["force_closed"], "<CircuitBreaker 'shop' closed, held by force_closed, 0 consecutive failures>"),
        (["open"], "<CircuitBreaker 'shop' open because open() was called, next trial in 30 s>"),
        (["open", "force_open"], "<CircuitBreaker 'shop' open, held by force_open because open() was called, "),
    ],
)
def test_the_repr_is_worth_reading(make: Make, orders: list[str], shown: str) -> None:
    breaker: Any = make(name="shop", failure_threshold=5)
    for order in orders:
        attempt(breaker, fail) if order == "fail" else getattr(breaker, order)()
    assert repr(breaker).startswith(shown)


def test_the_repr_of_a_circuit_forced_open_promises_no_trial(make: Make) -> None:
    breaker = make(name="shop")
    breaker.open()
    breaker.force_open()
    assert repr(breaker).endswith(", held by force_open because open() was called, next trial in inf s>")


def test_names_of_states_and_holds_are_plain() -> None:
    assert [str(state) for state in CircuitState] == ["closed", "open", "half_open"]
    assert [str(hold) for hold in Hold] == ["force_open", "force_closed", "shadow"]


def test_opening_by_hand_counts_no_failures_that_a_success_ended(clock: ManualClock) -> None:
    """M1: what was in a row when the closed circuit ended is in a row while it is open."""
    breaker = CircuitBreaker(failure_threshold=5, clock=clock)
    for function in (fail, fail, succeed):
        attempt(breaker, function)
    breaker.open()
    assert breaker.metrics().failure_count == 0
    breaker.reset()
    for function in (succeed, fail, fail):
        attempt(breaker, function)
    breaker.open()
    assert breaker.metrics().failure_count == 2
