"""How long to stay open."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ExponentialBackoff,
    ManualClock,
    Opening,
    RetryAfter,
    Strategy,
    circuit,
)

from .support import Boom, attempt, fail, trip


def opening(number: int = 1, error: BaseException | None = None, time: float = 0.0) -> Opening:
    return Opening(number, error, time)


def test_exponential_backoff_grows_by_its_factor_up_to_its_maximum() -> None:
    strategy = ExponentialBackoff(2, factor=3, maximum=100)
    assert [strategy(opening(number)) for number in range(1, 7)] == [2, 6, 18, 54, 100, 100]


def test_a_maximum_may_be_as_low_as_the_initial_time() -> None:
    strategy = ExponentialBackoff(5, maximum=5)
    assert [strategy(opening(number)) for number in (1, 2)] == [5, 5]


@pytest.mark.parametrize("number", [10_000, 10**9])
@pytest.mark.parametrize("factor", [1.0, 1.0001, 2.0, 1e308, sys.float_info.max])
def test_it_does_not_overflow(number: int, factor: float) -> None:
    strategy = ExponentialBackoff(1, factor=factor, maximum=600)
    assert strategy(opening(number)) == (1 if factor == 1 else pytest.approx(600, rel=1))
    assert strategy(opening(number)) <= 600


@pytest.mark.parametrize("reset_timeout", [0, 0.0, timedelta(0), RetryAfter(0), lambda opening: 0])
def test_after_no_time_the_next_call_is_a_trial(reset_timeout: Any, clock: ManualClock) -> None:
    """O1, H1: zero is a value. A trial then keeps its attempt for 30 seconds."""
    breaker = CircuitBreaker(
        failure_threshold=1, reset_timeout=reset_timeout, half_open_max_attempts=1, success_threshold=1, clock=clock
    )
    trip(breaker)
    assert attempt(breaker, fail) == "Boom"
    trial = breaker.acquire()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 30
    trial.success()
    assert breaker.state is CircuitState.CLOSED


def test_ten_thousand_failed_rounds_are_no_trouble(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=ExponentialBackoff(1), clock=clock)
    trip(breaker)
    for _ in range(10_000):
        clock.advance(600)
        assert attempt(breaker, fail) == "Boom"
    assert breaker.metrics().total_failures == 10_001


@given(jitter=st.floats(0, 1), number=st.integers(1, 20), seed=st.integers())
def test_jitter_shortens_by_at_most_its_ratio(jitter: float, number: int, seed: int) -> None:
    plain = ExponentialBackoff(1, maximum=100)(opening(number))
    random.seed(seed)
    drawn = ExponentialBackoff(1, maximum=100, jitter=jitter)(opening(number))
    assert plain * (1 - jitter) <= drawn <= plain
    assert drawn > 0


def test_jitter_differs_from_period_to_period() -> None:
    strategy = ExponentialBackoff(10, jitter=0.5)
    assert len({strategy(opening()) for _ in range(100)}) > 90


class TooMany(Exception):
    """An error with whatever attributes it is given."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("too many")
        self.__dict__.update(attributes)


def with_header(value: Any, name: str = "Retry-After") -> TooMany:
    return TooMany(response=SimpleNamespace(headers={name: value}))


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


NOON = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (TooMany(retry_after=120), 120),
        (TooMany(retry_after=1.5), 1.5),
        (TooMany(retry_after=0.5), 0.5),
        (TooMany(retry_after="7"), 7),
        (TooMany(retry_after=timedelta(minutes=1)), 60),
        (TooMany(retry_after=None, response=SimpleNamespace(headers={"retry-after": "9"})), 9),
        (with_header("120"), 120),
        (with_header(" 120 "), 120),
        (with_header("1.5"), 1.5),
        (with_header(b"120"), 120),
        (with_header(b"Wed, 21 Oct 2015 07:29:00 GMT"), 60),
        (with_header(120), 120),
        (with_header("120", "retry-after"), 120),
        (with_header("Wed, 21 Oct 2015 07:29:00 GMT"), 60),
        (with_header("Wednesday, 21-Oct-15 07:29:00 GMT"), 60),
        (with_header("Wed Oct 21 07:29:00 2015"), 60),
        (with_header("Wed, 21 Oct 2015 07:29:00 -0000"), 60),
        (with_header("Wed, 21 Oct 2015 09:29:00 +0200"), 60),
        (TooMany(headers={"Retry-After": "11"}), 11),
        (TooMany(retry_after=0, response=SimpleNamespace(headers={"Retry-After": "8"})), 8),
        (TooMany(retry_after="junk", response=Hostile(), headers={"Retry-After": "12"}), 12),
        (with_header("1" * 300), 600),
        (with_header("99999999"), 600),
        (with_header("Fri, 31 Dec 9999 23:59:59 GMT"), 600),
    ],
)
def test_retry_after_does_as_the_failure_says(error: BaseException, seconds: float) -> None:
    """Both forms of the header, and the attribute; no longer than its maximum, no shorter than its minimum."""
    assert RetryAfter(0.1)(opening(error=error, time=NOON)) == pytest.approx(seconds)
    assert RetryAfter(30)(opening(error=error, time=NOON)) == pytest.approx(max(30, seconds))
    assert RetryAfter(30, minimum=10)(opening(error=error, time=NOON)) == pytest.approx(max(10, seconds))


@given(jitter=st.floats(0, 1), asked=st.floats(0.001, 1000), number=st.integers(1, 10), seed=st.integers())
def test_a_failure_lengthens_the_period_and_never_shortens_what_was_drawn(
    jitter: float, asked: float, number: int, seed: int
) -> None:
    """O4: growth and jitter are those of the strategy."""
    backoff = ExponentialBackoff(1, maximum=100, jitter=jitter)
    random.seed(seed)
    drawn = backoff(opening(number))
    random.seed(seed)
    assert RetryAfter(backoff)(opening(number, TooMany(retry_after=asked))) == max(drawn, min(asked, 600))


def test_a_service_that_asks_for_next_to_nothing_gets_its_rest(clock: ManualClock) -> None:
    """O4"""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=RetryAfter(30), clock=clock)
    with pytest.raises(TooMany), breaker:
        raise TooMany(retry_after=0.001)
    clock.advance(29.9)
    assert attempt(breaker) == "CircuitOpenError"


class Group(Exception):
    def __init__(self, *exceptions: BaseException) -> None:
        self.exceptions = exceptions


def caused_by(cause: BaseException, error: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (caused_by(with_header("50"), Boom()), 50),
        (caused_by(caused_by(with_header("50"), Boom()), Boom()), 50),
        (caused_by(with_header("50"), TooMany(retry_after=70)), 70),
        (caused_by(with_header("90"), TooMany(retry_after=70)), 70),
        (caused_by(with_header("50"), TooMany(retry_after="junk")), 50),
        (Group(Boom(), TooMany(retry_after=50), TooMany(retry_after=70)), 70),
        (Group(Boom(), Group(caused_by(with_header("50"), Boom()))), 50),
        (Group(Boom(), Boom()), 30),
    ],
)
def test_what_an_error_is_made_of_may_ask_too(error: BaseException, seconds: float) -> None:
    """E11: the outermost one of a chain, the longest of a group."""
    assert RetryAfter(30)(opening(error=error)) == seconds


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone can be set on POSIX only")
@pytest.mark.parametrize("date", ["Wed Oct 21 07:29:00 2015", "Wed, 21 Oct 2015 07:29:00 -0000"])
def test_a_date_without_a_zone_is_in_utc_wherever_the_machine_is(date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110, 5.6.7"""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX+5")
        time.tzset()
        asked = RetryAfter(30)(opening(error=with_header(date), time=NOON))
    time.tzset()
    assert asked == 60


@pytest.mark.parametrize(
    "error",
    [
        None,
        Boom(),
        TooMany(retry_after=0),
        TooMany(retry_after=-5),
        TooMany(retry_after=float("nan")),
        TooMany(retry_after=float("inf")),
        TooMany(retry_after=True),
        TooMany(retry_after=object()),
        TooMany(retry_after=10**400),
        TooMany(response=None),
        TooMany(response=SimpleNamespace(headers=None)),
        TooMany(response=SimpleNamespace(headers=[])),
        TooMany(response=Hostile()),
        with_header(""),
        with_header("soon"),
        with_header("-5"),
        with_header("1_000"),
        with_header("١٢"),
        with_header("1e3"),
        with_header("inf"),
        with_header("1.2.3"),
        with_header("Wed, 21 Oct 2015 07:27:00 GMT"),
        with_header("Wed, 99 Oct 2015 07:29:00 GMT"),
        with_header(b"\xff\xfe"),
    ],
)
def test_nonsense_falls_back(error: BaseException | None) -> None:
    assert RetryAfter(30)(opening(error=error, time=NOON)) == 30


def test_the_fallback_may_be_a_strategy() -> None:
    strategy = RetryAfter(ExponentialBackoff(5), maximum=timedelta(seconds=60))
    assert strategy(opening(3)) == 20
    assert strategy(opening(3, TooMany(retry_after=1000))) == 60


def test_a_callable_of_the_users_own_is_told_of_the_opening(clock: ManualClock) -> None:
    told: list[Opening] = []

    def strategy(told_of: Opening) -> float:
        told.append(told_of)
        return 5.0

    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=strategy, clock=clock)
    trip(breaker)
    breaker.reset()
    breaker.open()
    assert [(each.round, type(each.error).__name__, each.time) for each in told] == [
        (1, "Boom", 1000.0),
        (1, "NoneType", 1000.0),
    ]


def test_a_strategy_that_gives_nonsense_is_logged_with_rule_and_value(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """E4"""
    breaker = CircuitBreaker("payments", failure_threshold=1, reset_timeout=lambda told_of: -1.0, clock=clock)
    trip(breaker)
    assert caplog.messages == ["circuit 'payments': its reset_timeout strategy raised"]
    assert "ValueError: reset_timeout must be at least 0 seconds and finite, got -1.0" in caplog.text
    clock.advance(29.9)
    assert attempt(breaker) == "CircuitOpenError"
    clock.advance(0.1)
    assert attempt(breaker) == "fine"


def test_the_opened_circuit_keeps_no_hold_of_the_error_it_was_told_of(clock: ManualClock) -> None:
    """O2"""
    guarded = circuit(failure_threshold=1, reset_timeout=RetryAfter(30), clock=clock)(raise_too_many)
    with pytest.raises(TooMany):
        guarded()
    with pytest.raises(CircuitOpenError) as caught:
        guarded()
    assert caught.value.retry_after == 42.0


def raise_too_many() -> None:
    raise TooMany(retry_after=42)


async def coroutine_function(told_of: Opening) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ExponentialBackoff(0), ValueError, "initial must be more than 0 seconds and finite, got 0"),
        (lambda: ExponentialBackoff(1, factor=0.5), ValueError, "factor must be at least 1 and finite, got 0.5"),
        (lambda: ExponentialBackoff(1, factor=math.inf), ValueError, "factor must be at least 1 and finite, got inf"),
        (lambda: ExponentialBackoff(1, factor="2"), TypeError, "factor must be a number, got '2'"),
        (lambda: ExponentialBackoff(1, maximum=0.5), ValueError, "maximum must be at least initial, 1: got 0.5"),
        (lambda: ExponentialBackoff(1, maximum=0), ValueError, "maximum must be more than 0 seconds and finite, got 0"),
        (lambda: ExponentialBackoff(1, jitter=-0.1), ValueError, "jitter must be at least 0 and finite, got -0.1"),
        (lambda: ExponentialBackoff(1, jitter=1.1), ValueError, "jitter must be at most 1, got 1.1"),
        (lambda: RetryAfter(-1), ValueError, "fallback must be at least 0 seconds and finite, got -1"),
        (lambda: RetryAfter(1, minimum=0), ValueError, "minimum must be more than 0 seconds and finite, got 0"),
        (lambda: RetryAfter(1, 5, minimum=6), ValueError, "maximum must be at least minimum, 6: got 5"),
        (lambda: RetryAfter(1, maximum=-1), ValueError, "maximum must be more than 0 seconds and finite, got -1"),
        (
            lambda: RetryAfter(coroutine_function),
            TypeError,
            "fallback must be a plain function, got a coroutine function",
        ),
        (lambda: RetryAfter(ExponentialBackoff), TypeError, "fallback must be a function, got the class"),
    ],
)
def test_wrong_strategies_are_refused_with_name_rule_and_value(
    make: Callable[[], Strategy], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_strategies_show_what_they_are() -> None:
    assert repr(ExponentialBackoff(1)) == "ExponentialBackoff(initial=1.0, factor=2.0, maximum=600.0, jitter=0.0)"
    assert repr(RetryAfter(30)) == "RetryAfter(fallback=30 s, maximum=600.0)"
    assert repr(RetryAfter(0, 60, minimum=1)) == "RetryAfter(fallback=0 s, maximum=60.0, minimum=1.0)"
