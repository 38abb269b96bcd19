"""O1 to O4: the open circuit."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import threading
import weakref
from datetime import datetime, timedelta, timezone

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    ExponentialBackoff,
    Hold,
    LastFailure,
    ManualClock,
    Opening,
    StateChange,
    Watch,
)

from .support import Boom, attempt, fail, refusal_of, succeed, trip


def test_no_call_runs_before_the_reset_timeout_has_passed(clock: ManualClock) -> None:
    """O1"""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    trip(breaker)
    ran: list[int] = []
    for _ in range(30):
        assert attempt(breaker, lambda: ran.append(1)) == "CircuitOpenError"
        clock.advance(0.999)
    assert ran == []
    clock.advance(0.04)
    assert attempt(breaker, succeed) == "fine"


@pytest.mark.parametrize("jump", [-1e9, -5 * 3600.0, 5 * 3600.0, 1e9])
def test_a_wall_clock_that_jumps_changes_nothing(clock: ManualClock, jump: float) -> None:
    """O1"""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    trip(breaker)
    clock.advance(29)
    clock.set_time(clock.time() + jump)
    assert refusal_of(breaker).retry_after == pytest.approx(1.0)
    clock.advance(1)
    assert attempt(breaker, succeed) == "fine"


def test_a_refusal_says_what_a_caller_needs(clock: ManualClock) -> None:
    """O2"""
    clock.set_time(datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc).timestamp())
    breaker = CircuitBreaker("payments", failure_threshold=2, reset_timeout=30, clock=clock)
    trip(breaker)
    clock.advance(10)

    error = refusal_of(breaker)

    assert error.name == "payments"
    assert error.state is CircuitState.OPEN
    assert error.retry_after == 20.0
    assert error.opened_at == datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert error.reason == "2 consecutive failures, threshold 2"
    assert error.last_failure == LastFailure("Boom", "out of order", error.opened_at)
    assert error.hold is None
    assert str(error) == (
        "circuit 'payments' is open since 2030-01-02 03:04:05 UTC: 2 consecutive failures, threshold 2; "
        "last failure Boom: out of order; next trial in 20 s"
    )


def test_a_refusal_by_hand_has_no_failure_to_tell_of(clock: ManualClock) -> None:
    """O2, M1"""
    breaker = CircuitBreaker("x", clock=clock)
    breaker.open()
    assert refusal_of(breaker).last_failure is None
    assert "open() was called; next trial in 30 s" in str(refusal_of(breaker))


def test_a_refusal_in_half_open_says_so(clock: ManualClock) -> None:
    """O2"""
    breaker = CircuitBreaker("x", half_open_max_attempts=1, clock=clock, failure_threshold=1)
    trip(breaker)
    clock.advance(30)
    trial = breaker.acquire()
    clock.advance(10)
    error = refusal_of(breaker)
    assert error.state is CircuitState.HALF_OPEN
    assert error.retry_after == 20.0
    assert "is half-open with all its attempts taken; it opened at 1970-01-01 00:16:40 UTC: 1 consecutive" in str(error)
    assert "1 consecutive failure, threshold 1" in str(error)
    trial.release()


@pytest.mark.parametrize("opened", [False, True])
def test_a_refusal_by_force_says_so(opened: bool) -> None:
    """O2, M2"""
    breaker = CircuitBreaker("x")
    if opened:
        breaker.open()
    breaker.force_open()
    error = refusal_of(breaker)
    assert error.hold is Hold.FORCED_OPEN
    assert error.retry_after == math.inf
    assert str(error).startswith("circuit 'x' is forced open; " + ("it opened at" if opened else "it stays so"))
    assert str(error).endswith("it stays so until reset()")


def test_a_refusal_waits_for_no_other_thread() -> None:
    """O1: not even for one that is closing the circuit, and is in the user's policy meanwhile."""
    closing = threading.Event()
    ends: list[str] = []

    class Policy:
        def watch(self) -> Watch:
            if closing.is_set():
                call = threading.Thread(target=lambda: ends.append(attempt(breaker)))
                call.start()
                call.join(5)
                ends.append("the policy has answered")
            return ConsecutiveFailures(1).watch()

    breaker = CircuitBreaker(trip=Policy())
    breaker.open()
    closing.set()
    breaker.reset()
    assert ends == ["CircuitOpenError", "the policy has answered"]


def test_a_refusal_can_be_made_by_hand() -> None:
    """O2: for the tests of what deals with it. It is no circuit's own, and says no more than it was told."""
    error = CircuitOpenError("search", CircuitState.OPEN, 5.0)
    assert str(error) == "circuit 'search' is open; next trial in 5 s"
    assert (error.reason, error.opened_at, error.last_failure, error.hold, error.circuit_id) == (
        "",
        None,
        None,
        None,
        0,
    )


def test_a_refusal_keeps_nothing_alive() -> None:
    """O2: not the error that tripped the circuit, nor its frames; and a thousand refusals share no traceback."""
    breaker = CircuitBreaker(failure_threshold=1)

    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)

    def work(held: Big) -> None:
        raise Boom("text only")

    with pytest.raises(Boom):
        breaker.call(work, big)
    errors = []
    for _ in range(1000):
        try:
            breaker.acquire()
        except CircuitOpenError as error:
            errors.append(error.with_traceback(None))
    del big
    gc.collect()

    assert gone() is None
    assert len({id(error) for error in errors}) == 1000
    assert all(error.__context__ is None and error.__traceback__ is None for error in errors)


def test_an_error_text_of_two_hundred_characters_is_kept() -> None:
    """O2"""
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(Boom):
        breaker.call(lambda: fail_with("x" * 200))
    last = refusal_of(breaker).last_failure
    assert last is not None
    assert last.text == "x" * 200


def test_a_long_error_text_is_cut() -> None:
    """O2, E7"""
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(Boom):
        breaker.call(lambda: fail_with("x" * 10_000_000))
    last = refusal_of(breaker).last_failure
    assert last is not None
    assert last.text == "x" * 197 + "..."


def fail_with(text: str) -> None:
    raise Boom(text)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_refusal_can_be_copied_and_pickled(copied: object) -> None:
    breaker = CircuitBreaker("x", failure_threshold=1)
    trip(breaker)
    error = refusal_of(breaker)
    twin = copied(error)  # type: ignore[operator]
    assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


def test_reading_changes_nothing_and_notifies_nobody(clock: ManualClock) -> None:
    """O3"""
    changes: list[StateChange] = []
    breaker = CircuitBreaker(failure_threshold=1, clock=clock, on_state_change=changes.append)
    trip(breaker)
    clock.advance(3600)
    for _ in range(3):
        assert breaker.state is CircuitState.OPEN
        assert breaker.metrics().state is CircuitState.OPEN
        assert "open" in repr(breaker)
    assert len(changes) == 1
    with breaker.acquire():
        assert breaker.state is CircuitState.HALF_OPEN


def test_jitter_and_growth_are_drawn_once_per_open_period(clock: ManualClock) -> None:
    """O4"""
    drawn: list[Opening] = []

    def strategy(opening: Opening) -> float:
        drawn.append(opening)
        return 10.0 * opening.round

    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=strategy, clock=clock)
    trip(breaker)
    for _ in range(100):
        attempt(breaker)
    assert [each.round for each in drawn] == [1]
    clock.advance(10)
    attempt(breaker, fail)
    attempt(breaker)
    assert [each.round for each in drawn] == [1, 2]
    assert refusal_of(breaker).retry_after == 20.0
    clock.advance(20)
    attempt(breaker, succeed)
    trip(breaker)
    assert [each.round for each in drawn] == [1, 2, 1]  # Growth resets when the circuit closes.
    assert isinstance(drawn[0].error, Boom)


def test_a_jittered_period_does_not_shorten_as_callers_knock(clock: ManualClock) -> None:
    """O4: the defect of drawing anew at each rejection."""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=ExponentialBackoff(100, jitter=1.0), clock=clock)
    trip(breaker)
    first = refusal_of(breaker).retry_after
    assert {refusal_of(breaker).retry_after for _ in range(200)} == {first}


def test_a_failure_may_carry_its_own_delay(clock: ManualClock) -> None:
    """O4"""
    from circuitbreaker import RetryAfter

    class TooMany(Exception):
        retry_after = 120

    def too_many() -> None:
        raise TooMany

    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=RetryAfter(30), clock=clock)
    attempt(breaker, too_many)
    assert refusal_of(breaker).retry_after == 120.0
    clock.advance(120)
    attempt(breaker, fail)
    assert refusal_of(breaker).retry_after == 30.0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.01234, "0.0123"),
        (59.94, "59.9"),
        (999.4, "999"),
        (999.6, "1000"),
        (1000, "1000"),
        (3600, "3600"),
        (86400.4, "86400"),
    ],
)
def test_waits_are_shown_as_people_read_them(clock: ManualClock, seconds: float, shown: str) -> None:
    breaker = CircuitBreaker("x", reset_timeout=seconds, clock=clock)
    breaker.open()
    assert str(refusal_of(breaker)).endswith(f"next trial in {shown} s")
    assert repr(breaker).endswith(f"next trial in {shown} s>")


def test_the_repr_says_that_a_trial_may_go_now(clock: ManualClock) -> None:
    breaker = CircuitBreaker("x", half_open_max_attempts=1, clock=clock)
    breaker.open()
    clock.advance(40)
    assert repr(breaker) == "<CircuitBreaker 'x' open because open() was called, next trial in 0 s>"
    trial = breaker.acquire()
    assert repr(breaker).endswith("half_open because open() was called, next trial in 30 s>")
    clock.advance(40)
    assert repr(breaker).endswith("half_open because open() was called, next trial in 0 s>")
    trial.release()
    assert repr(breaker).endswith("half_open because open() was called, next trial in 0 s>")


def test_a_date_beyond_the_calendar_is_the_last_one(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=1e300, clock=clock)
    trip(breaker)
    assert breaker.metrics().next_attempt_time == datetime.max.replace(tzinfo=timezone.utc)


def test_a_date_before_the_calendar_is_the_first_one(clock: ManualClock) -> None:
    breaker = CircuitBreaker(clock=clock)
    clock.set_time(-1e300)
    attempt(breaker, fail)
    assert breaker.metrics().last_failure_time == datetime.min.replace(tzinfo=timezone.utc)


def test_reset_timeout_may_be_a_timedelta(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=timedelta(minutes=2), clock=clock)
    trip(breaker)
    assert refusal_of(breaker).retry_after == 120.0


def test_metrics_tell_when_the_next_trial_may_go(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=1, clock=clock, half_open_max_attempts=1)
    assert breaker.metrics().next_attempt_time is None
    trip(breaker)
    start = datetime.fromtimestamp(1000, timezone.utc)
    metrics = breaker.metrics()
    assert metrics.opened_at == metrics.last_failure_time == start
    assert metrics.next_attempt_time == start + timedelta(seconds=30)
    assert metrics.reason == "1 consecutive failure, threshold 1"
    clock.advance(40)
    assert breaker.metrics().next_attempt_time == start + timedelta(seconds=30)
    trial = breaker.acquire()
    assert breaker.metrics().next_attempt_time == start + timedelta(seconds=70)
    clock.advance(29.5)
    assert breaker.metrics().next_attempt_time == start + timedelta(seconds=70)
    clock.advance(0.5)
    assert breaker.metrics().next_attempt_time is None
    trial.success()
    assert breaker.metrics().opened_at is None
