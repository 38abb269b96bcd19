"""Options: defaults, rules, and what bad input gets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from types import MethodType
from typing import Any

import freezegun
import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    ManualClock,
    Options,
    SystemClock,
    circuit,
)

from .support import Boom, attempt, fail, succeed, trip


def test_the_defaults_are_those_of_the_design(clock: ManualClock) -> None:
    """Five failures, 30 seconds, one success of three attempts."""
    breaker = CircuitBreaker(clock=clock)
    for _ in range(4):
        attempt(breaker, fail)
    assert breaker.state is CircuitState.CLOSED
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN
    clock.advance(29.999)
    assert attempt(breaker) == "CircuitOpenError"
    clock.advance(0.001)
    permits = [breaker.acquire() for _ in range(3)]
    assert attempt(breaker) == "CircuitOpenError"
    permits[0].success()
    assert breaker.state is CircuitState.CLOSED


async def coroutine_function(*args: object) -> float:
    return 1.0


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"failure_threshold": 0}, ValueError, "failure_threshold must be at least 1, got 0"),
    ({"failure_threshold": -1}, ValueError, "failure_threshold must be at least 1, got -1"),
    ({"failure_threshold": 2.5}, TypeError, "failure_threshold must be a whole number, got 2.5"),
    ({"failure_threshold": "5"}, TypeError, "failure_threshold must be a whole number, got '5'"),
    ({"failure_threshold": True}, TypeError, "failure_threshold must be a whole number, got True"),
    ({"failure_threshold": None}, TypeError, "failure_threshold must be a whole number, got None"),
    ({"trip": 5}, TypeError, r"trip must be a policy, with watch\(\), got 5"),
    ({"trip": ConsecutiveFailures}, TypeError, r"trip must be a policy, got the class .*: call it first"),
    ({"trip": None}, TypeError, r"trip must be a policy, with watch\(\), got None"),
    (
        {"failure_threshold": 3, "trip": ConsecutiveFailures(4)},
        ValueError,
        r"give one of them, got failure_threshold=3 and trip=ConsecutiveFailures\(threshold=4\)",
    ),
    ({"reset_timeout": -1.5}, ValueError, "reset_timeout must be at least 0 seconds and finite, got -1.5"),
    ({"reset_timeout": float("nan")}, ValueError, "reset_timeout must be at least 0 seconds and finite, got nan"),
    ({"reset_timeout": float("inf")}, ValueError, "reset_timeout must be at least 0 seconds and finite, got inf"),
    ({"reset_timeout": 10**400}, ValueError, "reset_timeout must be at least 0 seconds and finite, got 1000"),
    ({"reset_timeout": timedelta(-1)}, ValueError, "reset_timeout must be at least 0 seconds and finite, got -86400.0"),
    ({"reset_timeout": "30"}, TypeError, "reset_timeout must be a number of seconds or a timedelta, got '30'"),
    ({"reset_timeout": None}, TypeError, "reset_timeout must be a number of seconds or a timedelta, got None"),
    (
        {"reset_timeout": coroutine_function},
        TypeError,
        "reset_timeout must be a plain function, got a coroutine function",
    ),
    ({"reset_timeout": timedelta}, TypeError, "reset_timeout must be a function, got the class"),
    ({"success_threshold": 0}, ValueError, "success_threshold must be at least 1, got 0"),
    ({"half_open_max_attempts": 0}, ValueError, "half_open_max_attempts must be at least 1, got 0"),
    (
        {"success_threshold": 4},
        ValueError,
        "half_open_max_attempts must be at least success_threshold, 4, or the circuit could never close: got 3",
    ),
    ({"half_open_timeout": 0}, ValueError, "half_open_timeout must be more than 0 seconds and finite, got 0"),
    ({"half_open_timeout": "1"}, TypeError, "half_open_timeout must be a number of seconds or a timedelta, got '1'"),
    (
        {"is_failure": int},
        TypeError,
        "is_failure must be an exception type, a tuple of them, or a predicate, got <class 'int'>",
    ),
    (
        {"is_failure": (KeyError, 3)},
        TypeError,
        "is_failure must be an exception type, a tuple of them, or a predicate, got",
    ),
    (
        {"is_failure": "KeyError"},
        TypeError,
        "is_failure must be an exception type, a tuple of them, or a predicate, got 'KeyError'",
    ),
    (
        {"is_failure": None},
        TypeError,
        "is_failure must be an exception type, a tuple of them, or a predicate, got None",
    ),
    ({"is_failure": coroutine_function}, TypeError, "is_failure must be a plain function, got a coroutine function"),
    ({"ignore": [KeyError]}, TypeError, r"ignore must be an exception type, a tuple of them, or a predicate, got \["),
    ({"ignore": coroutine_function}, TypeError, "ignore must be a plain function, got a coroutine function"),
    ({"is_failure_result": 503}, TypeError, "is_failure_result must be callable, got 503"),
    ({"is_failure_result": bool}, TypeError, "is_failure_result must be a function, got the class"),
    (
        {"is_failure_result": coroutine_function},
        TypeError,
        "is_failure_result must be a plain function, got a coroutine",
    ),
    ({"fallback": "nothing"}, TypeError, "fallback must be callable, got 'nothing'"),
    ({"fallback": dict}, TypeError, "fallback must be a function, got the class"),
    ({"on_state_change": 1}, TypeError, "on_state_change must be callable, got 1"),
    (
        {"on_state_change": coroutine_function},
        TypeError,
        "on_state_change must be a plain function, got a coroutine function",
    ),
    ({"clock": SystemClock}, TypeError, r"clock must be an object with monotonic\(\) and time\(\), got <class"),
    ({"clock": 3}, TypeError, r"clock must be an object with monotonic\(\) and time\(\), got 3"),
    ({"clock": None}, TypeError, r"clock must be an object with monotonic\(\) and time\(\), got None"),
    ({"recovery_timeout": 30}, TypeError, "there is no option 'recovery_timeout'; here it is called reset_timeout"),
    ({"fail_max": 3}, TypeError, "there is no option 'fail_max'; here it is called failure_threshold"),
    (
        {"expected_exception": OSError},
        TypeError,
        "there is no option 'expected_exception'; here it is called is_failure",
    ),
    ({"timeout_duration": 3}, TypeError, "there is no option 'timeout_duration'; here it is called reset_timeout"),
    ({"fallback_function": fail}, TypeError, "there is no option 'fallback_function'; here it is called fallback"),
    ({"exclude": []}, TypeError, "there is no option 'exclude'; here it is called ignore"),
    ({"window_size": 5}, TypeError, r"no option 'window_size'; here it is part of trip=FailureRate\(..., calls="),
    (
        {"failure_treshold": 3},
        TypeError,
        "there is no option 'failure_treshold'; the options are failure_threshold, trip",
    ),
]


def test_every_option_may_be_left_out() -> None:
    """W2: type checkers read that, and so may others."""
    assert Options.__required_keys__ == frozenset()


def test_the_longest_time_there_is_may_be_given() -> None:
    longest = sys.float_info.max
    breaker = CircuitBreaker(reset_timeout=longest, clock=ManualClock())
    breaker.open()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == longest


@pytest.mark.parametrize("make", [CircuitBreaker, circuit])
@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_wrong_options_are_refused_where_given_with_name_rule_and_value(
    make: Callable[..., object], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(**options)


def test_a_bound_object_that_gives_a_coroutine_is_refused() -> None:
    class Asking:
        async def __call__(self, *args: object) -> bool:
            return True

    with pytest.raises(TypeError, match="is_failure must be a plain function, got a coroutine function"):
        CircuitBreaker(is_failure=MethodType(Asking(), 1))


def test_a_coroutine_in_place_of_a_callable_is_refused() -> None:
    coroutine = coroutine_function()
    for option in ("is_failure", "ignore", "is_failure_result", "fallback", "on_state_change", "reset_timeout"):
        with pytest.raises(TypeError, match=f"{option} must be a function, got something already called"):
            CircuitBreaker(**{option: coroutine})  # type: ignore[arg-type]
    coroutine.close()


def test_a_policy_whose_watch_is_none_is_refused() -> None:
    class Blind:
        def watch(self) -> object:
            return 3

    with pytest.raises(TypeError, match=r"trip: watch\(\) must return a watch, with see\(\), got 3"):
        CircuitBreaker(trip=Blind())  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["half_open_timeout", "is_failure_result", "fallback", "on_state_change"])
def test_none_stands_for_the_default_where_that_is_none(option: str) -> None:
    assert attempt(CircuitBreaker(**{option: None})) == "fine"  # type: ignore[arg-type]


# Outcomes


def error_of(kind: type[Exception]) -> Callable[[], None]:
    def raising() -> None:
        raise kind("reason")

    return raising


@pytest.mark.parametrize(
    ("options", "failures", "ignored"),
    [
        ({}, {KeyError, OSError, Boom}, set()),
        ({"is_failure": OSError}, {OSError}, set()),
        ({"is_failure": (OSError, LookupError)}, {OSError, KeyError}, set()),
        ({"is_failure": ()}, set(), set()),
        ({"is_failure": lambda error: "Boom" in repr(error)}, {Boom}, set()),
        ({"ignore": KeyError}, {OSError, Boom}, {KeyError}),
        ({"ignore": lambda error: isinstance(error, OSError)}, {KeyError, Boom}, {OSError}),
        ({"ignore": OSError, "is_failure": OSError}, set(), {OSError}),
        ({"ignore": (OSError, KeyError), "is_failure": LookupError}, set(), {OSError, KeyError}),
    ],
)
def test_which_errors_count_and_which_say_nothing(
    options: dict[str, Any], failures: set[type[Exception]], ignored: set[type[Exception]]
) -> None:
    """An error that is neither is an answer: a success."""
    breaker = CircuitBreaker(**options, failure_threshold=100)
    for kind in (KeyError, OSError, Boom):
        assert attempt(breaker, error_of(kind)) == kind.__name__
    metrics = breaker.metrics()
    assert metrics.total_failures == len(failures)
    assert metrics.total_ignored == len(ignored)
    assert metrics.total_successes == 3 - len(failures) - len(ignored)


def test_a_trial_that_is_answered_by_another_error_succeeds(clock: ManualClock) -> None:
    breaker = CircuitBreaker(is_failure=OSError, failure_threshold=1, clock=clock)
    attempt(breaker, error_of(OSError))
    clock.advance(30)
    assert attempt(breaker, error_of(KeyError)) == "KeyError"
    assert breaker.state is CircuitState.CLOSED


def test_an_explicit_failure_is_one_though_is_failure_would_not_say_so() -> None:
    """W5: but an ignored error is neutral all the same."""
    breaker = CircuitBreaker(is_failure=OSError, ignore=LookupError, failure_threshold=1)
    breaker.acquire().failure(KeyError())
    assert breaker.metrics().total_ignored == 1
    breaker.acquire().failure(Boom())
    assert breaker.state is CircuitState.OPEN


# Clocks


def test_a_clock_is_anything_with_monotonic_and_time() -> None:
    class Fixed:
        def monotonic(self) -> float:
            return 5.0

        def time(self) -> float:
            return 0.0

    breaker = CircuitBreaker(clock=Fixed())
    assert breaker(succeed)() == "fine"
    assert str(breaker.metrics().last_success_time) == "1970-01-01 00:00:00+00:00"


def test_the_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5)
    assert (clock.monotonic(), clock.time()) == (5.0, 5.0)
    clock.advance(2.5)
    clock.advance(0)
    assert (clock.monotonic(), clock.time()) == (7.5, 7.5)
    clock.set_time(1)
    assert (clock.monotonic(), clock.time()) == (7.5, 1.0)
    assert repr(clock) == "<ManualClock at 7.5 s>"
    assert ManualClock().monotonic() == 0.0
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="seconds must be at least 0, got"):
            clock.advance(wrong)


def test_system_clocks_are_equal() -> None:
    """So that the same options given twice are the same."""
    assert SystemClock() == SystemClock()
    assert SystemClock().monotonic() <= SystemClock().monotonic()
    assert SystemClock().time() > 1e9
    assert repr(SystemClock()) == "SystemClock()"


def test_the_system_clock_is_frozen_by_name() -> None:
    """E10"""
    clock = SystemClock()
    with freezegun.freeze_time("2030-01-01") as frozen:
        before = clock.monotonic(), clock.time()
        frozen.tick(5)
        assert (clock.monotonic(), clock.time()) == (before[0] + 5, before[1] + 5)


def test_a_custom_clock_serves_every_way_in(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=1, clock=clock)
    guarded = breaker(succeed)
    clock.advance(5)
    guarded()
    last = breaker.metrics().last_success_time
    assert last is not None
    assert last.timestamp() == 1005
    clock.advance(5)
    with breaker:
        pass
    last = breaker.metrics().last_success_time
    assert last is not None
    assert last.timestamp() == 1010
    trip(breaker)
