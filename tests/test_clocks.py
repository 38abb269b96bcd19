"""A clock that raises, gives nonsense, or is set back: no call notices, and nothing wedges."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Any

import freezegun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    FailureRate,
    KeyedBreakers,
    ManualClock,
    SlowCallRate,
    circuit,
)
from circuitbreaker.fleet.leases import Leases
from circuitbreaker.fleet.messages import Snapshot
from circuitbreaker.stores.memory import MemoryStore

from .support import Boom, attempt, fail, refusal_of, succeed, trip


class Clock:
    """A clock of the user's: what it returns can be set, and an exception is raised."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now: Any = start
        self.wall: Any = None

    def _read(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    def monotonic(self) -> Any:
        return self._read(self.now)

    def time(self) -> Any:
        return self._read(self.now if self.wall is None else self.wall)


class Unprintable:
    def __float__(self) -> float:
        raise Boom

    def __repr__(self) -> str:
        raise Boom


NONSENSE = [
    Boom("no clock"),
    OSError(),
    math.nan,
    math.inf,
    -math.inf,
    "12:00",
    b"1",
    "1",
    None,
    object(),
    Unprintable(),
]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [each.getMessage() for each in caplog.records]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=lambda value: type(value).__name__)
def test_a_clock_that_fails_changes_nothing_for_the_caller(logged: Callable[[], list[str]], nonsense: object) -> None:
    """E4: in each way in, for results and errors."""
    clock = Clock()
    breaker = CircuitBreaker("shop", clock=clock, failure_threshold=100)
    guarded, with_permit = breaker(succeed), breaker.acquire()
    clock.now = nonsense
    assert guarded("a") == "a"
    with pytest.raises(Boom, match="out of order"):
        breaker(fail)()
    assert breaker.call(succeed, "b") == "b"
    assert asyncio.run(breaker(anything)("c")) == "c"
    assert list(breaker(steps)()) == [1, 2]
    with breaker:
        pass
    with pytest.raises(Boom), breaker:
        raise Boom
    with_permit.success()
    breaker.acquire().stop_timing()
    metrics = breaker.metrics()
    assert (metrics.total_failures, metrics.total_successes) == (2, 6)
    assert logged() == ["circuit 'shop': its clock raised"] * 2, "once for each of its two methods"


async def anything(value: str) -> str:
    return value


def steps() -> Any:
    yield from (1, 2)


def test_it_is_logged_again_after_it_has_worked(logged: Callable[[], list[str]]) -> None:
    """E4"""
    clock = Clock()
    guarded = circuit(clock=clock)(succeed)
    for now in (1, Boom(), Boom(), 2, 3, math.nan, 4):
        clock.now = now
        guarded()
    assert logged() == [f"circuit {guarded.breaker.name!r}: its clock raised"] * 2
    assert guarded.breaker.metrics().total_successes == 7


@pytest.mark.parametrize("nonsense", [Boom(), math.nan])
def test_while_it_fails_time_goes_on_by_the_systems_clock(nonsense: object) -> None:
    """E4: a circuit that opened is not open for ever."""
    with freezegun.freeze_time("2030-01-01") as frozen:
        clock = Clock()
        breaker = CircuitBreaker(clock=clock, failure_threshold=1, reset_timeout=10)
        attempt(breaker)
        frozen.tick(3)
        clock.now = nonsense
        trip(breaker)
        frozen.tick(9)
        assert refusal_of(breaker).retry_after == pytest.approx(1)
        frozen.tick(1)
        assert attempt(breaker) == "fine"
        assert breaker.state is CircuitState.CLOSED
        assert breaker.metrics().last_failure is not None


def test_a_clock_that_fails_in_a_step_does_not_wedge_the_circuit(logged: Callable[[], list[str]]) -> None:
    """E4: the date of a transition is read inside one."""
    clock = Clock()
    asked: list[float] = []

    def strategy(opening: Any) -> float:
        asked.append(opening.time)
        return 5.0

    changes: list[Any] = []
    breaker = CircuitBreaker(
        "shop", clock=clock, failure_threshold=1, reset_timeout=strategy, on_state_change=changes.append
    )
    clock.wall = Boom()
    trip(breaker)
    assert len(asked) == len(changes) == 1
    assert asked[0] > 1.7e9, "the system's"
    clock.now += 5
    assert attempt(breaker) == "fine"
    assert logged() == ["circuit 'shop': its clock raised"]


def test_numbers_of_other_kinds_are_numbers() -> None:
    from decimal import Decimal
    from fractions import Fraction

    clock = Clock(Decimal(1))  # type: ignore[arg-type]
    breaker = CircuitBreaker(clock=clock, failure_threshold=1)
    trip(breaker)
    clock.now = Fraction(61, 2)
    assert refusal_of(breaker).retry_after == 0.5
    clock.now = 31
    assert attempt(breaker) == "fine"


# A clock that is set back


def test_an_open_circuit_has_never_more_left_than_its_length() -> None:
    """O1: by a clock that was set back it begins anew."""
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, failure_threshold=1, reset_timeout=30)
    trip(breaker)
    clock.now = 1000.0
    error = refusal_of(breaker)
    assert error.retry_after == 30
    assert "next trial in 30 s" in repr(breaker)
    clock.now = 1029.9
    assert refusal_of(breaker).retry_after == pytest.approx(0.1)
    clock.now = 1030.0
    assert attempt(breaker) == "fine"


@pytest.mark.parametrize("read", [lambda breaker: breaker.metrics(), repr, attempt])
def test_whatever_comes_first_after_the_clock_was_set_back_begins_it_anew(read: Callable[[Any], object]) -> None:
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, failure_threshold=1, reset_timeout=30)
    trip(breaker)
    clock.now = 1000.0
    read(breaker)
    clock.now = 1030.0
    assert attempt(breaker) == "fine"


def test_a_trial_keeps_its_attempt_no_longer_than_its_timeout() -> None:
    """H4"""
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, failure_threshold=1, reset_timeout=30, half_open_max_attempts=1)
    trip(breaker)
    clock.now += 30
    hung = breaker.acquire()
    clock.now = 1000.0
    assert refusal_of(breaker).retry_after == 30
    clock.now = 1030.0
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED
    hung.release()


@pytest.mark.parametrize(
    "policy",
    [
        FailureRate(0.5, seconds=60, minimum_calls=4),
        FailureRate(0.5, seconds=60, minimum_calls=4) & FailureRate(0.5, seconds=60, minimum_calls=3),
        SlowCallRate(0.5, slower_than=1, seconds=60, minimum_calls=4) | FailureRate(0.5, seconds=60, minimum_calls=4),
    ],
    ids=["rate", "and", "or"],
)
def test_a_window_forgets_what_a_clock_measured_that_was_set_back(policy: Any) -> None:
    """C2: three failures of 2090 and one of today are no window of a minute."""
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, trip=policy)
    for _ in range(3):
        attempt(breaker, fail)
    clock.now = 1000.0
    for _ in range(3):
        attempt(breaker, fail)
        assert breaker.state is CircuitState.CLOSED
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN


def test_a_window_of_calls_does_not_mind() -> None:
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, trip=FailureRate(0.5, calls=4, minimum_calls=4))
    for _ in range(3):
        attempt(breaker, fail)
    clock.now = 1000.0
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN


def test_the_last_success_of_a_clock_that_was_set_back_is_not_the_last_for_ever() -> None:
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, failure_threshold=1)
    attempt(breaker)
    trip(breaker)
    clock.now = clock.wall = 1000.0
    last = breaker.metrics().last_success_time
    assert last is not None
    assert last.timestamp() == 1000
    clock.now = clock.wall = 1030.0
    attempt(breaker)
    last = breaker.metrics().last_success_time
    assert last is not None
    assert last.timestamp() == 1030


def test_a_success_that_only_a_hold_admitted_is_not_the_last_for_ever_either() -> None:
    """M2, E4"""
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, failure_threshold=1)
    trip(breaker)
    breaker.force_closed()
    attempt(breaker)
    clock.now = clock.wall = 1000.0
    last = breaker.metrics().last_success_time
    assert last is not None
    assert last.timestamp() == 1000


@pytest.mark.parametrize("hold", ["force_closed", "shadow"])
def test_a_hold_goes_on_by_a_clock_that_was_set_back(hold: str) -> None:
    """M2"""
    clock = Clock(3e9)
    breaker = CircuitBreaker(clock=clock, failure_threshold=1)
    getattr(breaker, hold)()
    attempt(breaker)
    trip_or_fail(breaker)
    clock.now = 1000.0
    assert attempt(breaker) == "fine"
    assert breaker.metrics().total_successes == 2
    breaker.reset()
    assert attempt(breaker) == "fine"


def trip_or_fail(breaker: CircuitBreaker) -> None:
    attempt(breaker, fail)


def test_what_was_measured_in_a_freeze_does_not_stay_for_sixty_years() -> None:
    """E10, O1"""
    opened, half_open = (
        CircuitBreaker(failure_threshold=1, reset_timeout=30, half_open_max_attempts=1) for _ in range(2)
    )
    window = CircuitBreaker(trip=FailureRate(0.5, seconds=10, minimum_calls=2))
    with freezegun.freeze_time("2090-01-01") as frozen:
        trip(half_open)
        frozen.tick(30)
        trip(opened)
        attempt(window, fail)
        hung = half_open.acquire()
    for breaker in (opened, half_open):
        assert 29 < refusal_of(breaker).retry_after <= 30
        due = breaker.metrics().next_attempt_time
        assert due is not None
        assert due.year < 2090
    attempt(window, fail)
    assert window.state is CircuitState.CLOSED
    hung.release()


def test_a_circuit_that_opened_before_a_freeze_keeps_its_time_after_it() -> None:
    """O1"""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30)
    trip(breaker)
    with freezegun.freeze_time("2090-01-01"):
        assert "open" in repr(breaker)
    assert 29 < refusal_of(breaker).retry_after <= 30


def test_threads_whose_steps_overtake_each_other_do_not_set_the_clock_back() -> None:
    """O1: a call that read the time before another opened the circuit is refused like any other."""
    reading, opened = threading.Event(), threading.Event()

    class Slow(ManualClock):
        waits = False

        def monotonic(self) -> float:
            now = super().monotonic()
            if self.waits and threading.current_thread() is late:
                self.waits = False
                reading.set()
                assert opened.wait(10)
            return now

    slow = Slow(100)
    breaker = CircuitBreaker(clock=slow, failure_threshold=1, reset_timeout=30)
    errors: list[CircuitOpenError] = []
    slow.waits = True
    late = threading.Thread(target=lambda: errors.append(refusal_of(breaker)))
    breaker.shadow()  # A closed circuit asks for no time; one that is held reads it.
    late.start()
    assert reading.wait(10)
    breaker.reset()
    slow.advance(20)
    trip(breaker)
    opened.set()
    late.join(10)
    assert errors[0].retry_after == 30
    slow.advance(29.9)
    assert refusal_of(breaker).retry_after == pytest.approx(0.1)


def test_a_store_is_asked_for_leases_again_when_the_clock_was_set_back() -> None:
    """S4"""
    leases = Leases(pause=5.0, soon=0.1)
    none_free = Snapshot("shop", 1, 0, "", "half_open", "", "", 30.0, 0.0, 1, 0.0, None, "", leases=(), wait=60.0)
    for now in (3e9, 3e9 + 1, 3e9 + 2, 3e9 + 3):
        leases.note_waiting(now)
    leases.grant(none_free, 1, 3e9 + 3, 3e9 + 3)
    assert leases.note_waiting(3e9 + 4) == 4.0
    assert leases.to_request(3e9 + 4, 3) == 0
    assert leases.unanswered
    assert leases.note_waiting(1000.0) == 0.0
    assert leases.to_request(1000.0, 3) > 0
    assert not leases.unanswered


@pytest.mark.parametrize("quorum", [1, 2])
def test_a_shared_window_forgets_too(quorum: int) -> None:
    """S10"""
    clock, store = Clock(3e9), MemoryStore(quorum=quorum)
    policy = FailureRate(0.5, seconds=60, minimum_calls=4)
    breaker = CircuitBreaker("shop", clock=clock, store=store, trip=policy, registry=None)
    for _ in range(3):
        attempt(breaker, fail)
    clock.now = 1000.0
    for _ in range(3):
        attempt(breaker, fail)
        assert breaker.state is CircuitState.CLOSED


def test_keyed_breakers_do_not_mind() -> None:
    clock_of_user = Clock(3e9)
    hosts = KeyedBreakers("shop", maxsize=1, clock=clock_of_user, failure_threshold=1, reset_timeout=30)
    attempt(hosts.use("a"), fail)
    clock_of_user.now = 1000.0
    attempt(hosts.use("a"))
    hosts.use("b")
    assert "a" in hosts, "it is within its time, which began anew"
    clock_of_user.now = 1060.0
    hosts.use("c")
    assert list(hosts) == ["c"]


readings = st.one_of(
    st.floats(), st.floats(0, 100), st.sampled_from([Boom(), None, "x", 5, True]), st.integers(-10, 10**30)
)


@given(st.lists(st.tuples(readings, st.sampled_from(["ok", "fail", "permit", "drop", "read"])), max_size=25))
def test_whatever_a_clock_does_calls_keep_their_results_and_the_circuit_recovers(
    moves: list[tuple[object, str]],
) -> None:
    """E4, H4"""
    clock = Clock()
    breaker = CircuitBreaker(
        clock=clock, trip=FailureRate(0.5, seconds=10, minimum_calls=2), reset_timeout=5, half_open_max_attempts=2
    )
    permits = []
    for reading, move in moves:
        clock.now = reading
        if move == "read":
            breaker.metrics()
        elif move in ("ok", "fail"):
            ended = attempt(breaker, succeed if move == "ok" else fail)
            assert ended in ("CircuitOpenError", "fine" if move == "ok" else "Boom")
        else:
            try:
                permit = breaker.acquire()
            except CircuitOpenError:
                continue
            if move == "permit":
                permits.append(permit)
    clock.now = 50.0
    attempt(breaker)
    clock.now = 56.0
    attempt(breaker)
    clock.now = 62.0
    assert attempt(breaker) == "fine"
    assert breaker.metrics().total_calls > 0
