"""How long the circuit stays open, against the rules as the docs tell them, whatever failures bring along."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ExponentialBackoff,
    ManualClock,
    Opening,
    RetryAfter,
)

from .support import Boom, attempt, fail, succeed, trip

many = settings(max_examples=2 * settings.default.max_examples)
seconds = st.floats(1e-3, 1e4)


class Recording:
    """A strategy that asks another, and remembers each answer."""

    def __init__(self, strategy: Callable[[Opening], float]) -> None:
        self.strategy = strategy
        self.rounds: list[int] = []
        self.answers: list[float] = []

    def __call__(self, opening: Opening) -> float:
        self.rounds.append(opening.round)
        self.answers.append(self.strategy(opening))
        return self.answers[-1]


def left(breaker: CircuitBreaker) -> float:
    """What a refused caller is told."""
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    return caught.value.retry_after


@many
@given(
    initial=seconds,
    factor=st.floats(1, 10),
    more=st.floats(1, 100),
    jitter=st.floats(0, 1),
    rounds=st.lists(st.sampled_from(["failed trial", "closed and tripped", "reset and opened", "opened again"])),
)
def test_each_open_period_is_drawn_once_and_lies_between_its_bounds(
    initial: float, factor: float, more: float, jitter: float, rounds: list[str]
) -> None:
    """O4, M1: the round grows with failed trials, and starts anew when the circuit was closed."""
    maximum = initial * more
    strategy = Recording(ExponentialBackoff(initial, factor, maximum, jitter))
    clock = ManualClock()
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=strategy, clock=clock)
    trip(breaker)
    expected = [1]
    for what in rounds:
        check_period(breaker, clock, strategy.answers[-1])
        if what == "failed trial":
            assert attempt(breaker, fail) == "Boom"
            expected.append(expected[-1] + 1)
        elif what == "closed and tripped":
            assert [attempt(breaker, succeed), attempt(breaker, fail)] == ["fine", "Boom"]
            expected.append(1)
        elif what == "reset and opened":
            breaker.reset()
            breaker.open()
            expected.append(1)
        else:
            breaker.acquire().release()
            breaker.open()
            expected.append(expected[-1] + 1)
    assert strategy.rounds == expected
    for number, answer in zip(strategy.rounds, strategy.answers, strict=True):
        longest = min(initial * factor ** (number - 1), maximum)
        assert longest * (1 - jitter) * (1 - 1e-9) <= answer <= longest * (1 + 1e-9)


def check_period(breaker: CircuitBreaker, clock: ManualClock, length: float) -> None:
    """That it lasts as long as was drawn, however often anybody asks; and let it pass."""
    until = clock.monotonic() + length
    for _ in range(3):
        assert left(breaker) == pytest.approx(until - clock.monotonic())
        clock.advance((until - clock.monotonic()) / 2)
        assert breaker.state is CircuitState.OPEN
    clock.advance(max(0.0, until - clock.monotonic()))
    while clock.monotonic() < until:  # one rounding off
        clock.advance(math.ulp(until))


# Retry-After

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=timezone.utc)


class Asking(Exception):
    """An error that asks for a delay in one way or another."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("busy")
        self.__dict__.update(attributes)


Asked = tuple[Any, float | None]
"""A value, and the seconds that it stands for, if any."""


def number(value: float) -> Asked:
    return value, value if 0 < value < math.inf else None


def date(offset: int) -> Asked:
    return format_datetime(NOW + timedelta(seconds=offset), usegmt=True), float(offset) if offset > 0 else None


asked = st.one_of(
    st.integers(-10, 10**6).map(number),
    st.floats().map(number),
    st.integers(0, 10**6).map(lambda value: (f" {value} ", float(value) or None)),
    st.integers(1, 10**6).map(lambda value: (str(value).encode(), float(value))),
    st.integers(-(10**6), 10**6).map(date),
    st.integers(1, 10**6).map(lambda value: (timedelta(seconds=value), float(value))),
    st.sampled_from(
        ["", "soon", "-5", "1e3", "0x10", "1_0", "nan", "inf", "²", "1,5", "Wed, 99 Foo", None, True, [], {}, object()]
    ).map(lambda value: (value, None)),
    st.text("abcXYZ:, -+/;\x00\u0661", max_size=12).map(lambda value: (value, None)),
    st.binary(max_size=8)
    .filter(lambda value: not value.strip().replace(b".", b"", 1).isdigit())
    .map(lambda value: (value, None)),
)


@many
@given(
    attribute=asked,
    header=asked,
    own_header=asked,
    lower=st.booleans(),
    fallback=st.floats(0.1, 100),
    maximum=st.floats(1, 1e6),
)
def test_a_failure_lengthens_its_own_period_by_the_first_way_that_makes_sense(
    attribute: Asked, header: Asked, own_header: Asked, lower: bool, fallback: float, maximum: float
) -> None:
    """O4: by its attribute, its response's header, its own header, in this order; never longer than the maximum, nor
    shorter than the fallback.
    """
    name = "retry-after" if lower else "Retry-After"
    error = Asking(
        retry_after=attribute[0], response=SimpleNamespace(headers={name: header[0]}), headers={name: own_header[0]}
    )
    clock = ManualClock()
    clock.set_time(NOW.timestamp())
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=RetryAfter(fallback, maximum), clock=clock)

    with pytest.raises(Asking), breaker:
        raise error

    sensible = [value for _, value in (attribute, header, own_header) if value is not None]
    assert left(breaker) == pytest.approx(max(fallback, min(sensible[0], maximum)) if sensible else fallback)


@given(error=st.sampled_from([Boom(), Asking(), Asking(response=None), Asking(headers=0), None]), initial=seconds)
def test_a_failure_that_asks_for_nothing_leaves_the_growth_alone(error: Exception | None, initial: float) -> None:
    """O4"""
    strategy = RetryAfter(ExponentialBackoff(initial, 3, initial * 10))
    answers = [strategy(Opening(number, error, 0.0)) for number in (1, 2, 3, 4)]
    assert answers == pytest.approx([initial, initial * 3, initial * 9, initial * 10])
