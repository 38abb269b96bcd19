"""Every option of a breaker: its default, its rule, and its names in other libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypedDict, cast

from ._callables import any_callable, plain_callable
from ._sharing import Sharing
from ._values import Value, boolean, positive_count, seconds
from .backoff import Strategy, as_strategy
from .clock import Clock, SystemClock
from .events import StateChange
from .outcomes import ErrorFilter, Outcomes
from .policies import ConsecutiveFailures, TripPolicy, check_policy

__all__ = ["NAMES_ELSEWHERE", "Options", "Settings"]


class Options(TypedDict, total=False):
    """The options that `CircuitBreaker`, `circuit` and `Registry` take, all by keyword."""

    failure_threshold: int
    """Shorthand for `trip=ConsecutiveFailures(failure_threshold)`. Default 5."""
    trip: TripPolicy
    """When to open."""
    reset_timeout: float | timedelta | Strategy
    """How long to stay open: seconds, or a strategy. After 0 seconds, the next call is a trial. Default 30.0."""
    success_threshold: int
    """How many successful trials close a half-open circuit. Default 1."""
    half_open_max_attempts: int
    """How many trials one half-open period may admit, running or finished. Default 3."""
    half_open_timeout: float | timedelta | None
    """Seconds a trial may take before its attempt goes to another call. Default: the length of the open period, or 30
    if that was 0."""
    auto_half_open: bool
    """Whether an open circuit becomes half-open when its wait is over, without a call, and says so. Default `False`."""
    is_failure: ErrorFilter
    """Which errors count against the circuit. Types are looked for in groups and causes too (E11). Default `Exception`,
    which stands for all but refusals by other circuits and the ends of iterations."""
    ignore: ErrorFilter
    """Which errors count neither as failure nor as success; a group, only if all its members are such. Default none."""
    is_failure_result: Callable[[Any], bool] | None
    """Which returned values count as failures. Default none."""
    fallback: Callable[..., Any] | None
    """Called with a refused call's arguments, instead of raising `CircuitOpenError`. Default none."""
    on_state_change: Callable[[StateChange], None] | None
    """Shorthand for `breaker.on("state_change", f)`."""
    clock: Clock
    """Where time comes from. Default: the system's clock."""
    store: Sharing | None
    """Where this circuit is shared with other processes. Default none."""


NAMES_ELSEWHERE = {
    "recovery_timeout": "reset_timeout",
    "timeout_duration": "reset_timeout",
    "timeout": "reset_timeout",
    "ttl": "reset_timeout",
    "default_ttl": "reset_timeout",
    "wait_duration_in_open": "reset_timeout",
    "fail_max": "failure_threshold",
    "threshold": "failure_threshold",
    "max_failures": "failure_threshold",
    "default_threshold": "failure_threshold",
    "failure_rate_threshold": "trip=FailureRate(...)",
    "minimum_number_of_calls": "trip=FailureRate(..., minimum_calls=...)",
    "min_calls": "trip=FailureRate(..., minimum_calls=...)",
    "window": "trip=FailureRate(..., seconds=...)",
    "window_size": "trip=FailureRate(..., calls=...)",
    "window_type": "trip=FailureRate(..., calls=...) or seconds=",
    "window_buckets": "trip=FailureRate(..., seconds=...)",
    "slow_call_threshold": "trip=SlowCallRate(...)",
    "slow_call_duration": "trip=SlowCallRate(..., slower_than=...)",
    "slow_call_rate_threshold": "trip=SlowCallRate(...)",
    "slow_call_duration_threshold": "trip=SlowCallRate(..., slower_than=...)",
    "expected_exception": "is_failure",
    "record_exceptions": "is_failure",
    "on": "is_failure",
    "classifier": "is_failure, ignore",
    "exclude": "ignore",
    "unreachable_exceptions": "ignore",
    "ignore_exceptions": "ignore",
    "fallback_function": "fallback",
    "half_open_max_calls": "half_open_max_attempts",
    "permitted_calls_in_half_open": "half_open_max_attempts",
    "max_concurrent_probes": "half_open_max_attempts",
    "wait_duration_backoff_multiplier": "reset_timeout=ExponentialBackoff(...)",
    "wait_duration_in_open_max": "reset_timeout=ExponentialBackoff(..., maximum=...)",
    "automatic_transition_from_open_to_half_open_enabled": "auto_half_open",
    "listeners": "on_state_change, or breaker.on(...)",
    "listener": "on_state_change, or breaker.on(...)",
}
"""Options by the names that other libraries give them, with ours."""

SYSTEM_CLOCK = SystemClock()


class Settings(Value):
    """The options of one breaker, checked and complete. Equal options make equal settings."""

    __slots__ = (
        "trip",
        "reset_timeout",
        "success_threshold",
        "half_open_max_attempts",
        "half_open_timeout",
        "auto_half_open",
        "outcomes",
        "fallback",
        "on_state_change",
        "clock",
        "store",
    )
    trip: TripPolicy
    reset_timeout: Strategy
    success_threshold: int
    half_open_max_attempts: int
    half_open_timeout: float | None
    auto_half_open: bool
    outcomes: Outcomes
    fallback: Callable[..., Any] | None
    on_state_change: Callable[[StateChange], None] | None
    clock: Clock
    store: Sharing | None

    def __init__(self, options: Mapping[str, Any]) -> None:
        _check_names(options)
        success_threshold = positive_count("success_threshold", options.get("success_threshold", 1))
        attempts = positive_count("half_open_max_attempts", options.get("half_open_max_attempts", 3))
        if attempts < success_threshold:
            raise ValueError(
                f"half_open_max_attempts must be at least success_threshold, {success_threshold}, "
                f"or the circuit could never close: got {attempts}"
            )
        self._set(
            trip=_trip(options),
            reset_timeout=as_strategy("reset_timeout", options.get("reset_timeout", 30.0)),
            success_threshold=success_threshold,
            half_open_max_attempts=attempts,
            half_open_timeout=_optional(seconds, "half_open_timeout", options),
            auto_half_open=boolean("auto_half_open", options.get("auto_half_open", False)),
            outcomes=Outcomes(
                options.get("is_failure", Exception), options.get("ignore", ()), options.get("is_failure_result")
            ),
            fallback=_optional(any_callable, "fallback", options),
            on_state_change=_optional(plain_callable, "on_state_change", options),
            clock=_clock(options.get("clock", SYSTEM_CLOCK)),
            store=_optional(_store, "store", options),
        )

    def options(self) -> Options:
        """The options that make equal settings."""
        fields = {**self._fields(), **self.outcomes._fields()}
        del fields["outcomes"]
        return cast("Options", fields)

    def differences(self, other: Settings) -> str:
        """Describe how `other` differs from this, option by option."""
        mine, theirs = dict(self.options()), dict(other.options())
        return "; ".join(
            f"{name} {theirs[name]!r} there, {mine[name]!r} here" for name in mine if mine[name] != theirs[name]
        )


def merged(defaults: Options, options: Options) -> Options:
    """Return `options` over `defaults`. A policy given as `trip` or `failure_threshold` replaces both defaults."""
    base = {**defaults}
    if "trip" in options or "failure_threshold" in options:
        base.pop("trip", None)
        base.pop("failure_threshold", None)
    return cast("Options", {**base, **options})


def _check_names(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in NAMES_ELSEWHERE:
            verb = "is called" if NAMES_ELSEWHERE[name] in Options.__annotations__ else "is part of"
            raise TypeError(f"there is no option {name!r}; here it {verb} {NAMES_ELSEWHERE[name]}")
        if name not in Options.__annotations__:
            raise TypeError(f"there is no option {name!r}; the options are {', '.join(Options.__annotations__)}")


def _trip(options: Mapping[str, Any]) -> TripPolicy:
    if "failure_threshold" not in options:
        return check_policy("trip", options["trip"]) if "trip" in options else ConsecutiveFailures(5)
    if "trip" in options:
        raise ValueError(
            "failure_threshold is short for trip=ConsecutiveFailures(...); give one of them, "
            f"got failure_threshold={options['failure_threshold']!r} and trip={options['trip']!r}"
        )
    return ConsecutiveFailures(positive_count("failure_threshold", options["failure_threshold"]))


def _optional(check: Callable[[str, Any], Any], name: str, options: Mapping[str, Any]) -> Any:
    value = options.get(name)
    return None if value is None else check(name, value)


def _store(name: str, store: Any) -> Sharing:
    if isinstance(store, type) or not callable(getattr(store, "attach", None)):
        raise TypeError(f"{name} must be a store (see circuitbreaker.stores), got {store!r}")
    return cast("Sharing", store)


def _clock(clock: Any) -> Clock:
    if isinstance(clock, type) or not all(callable(getattr(clock, read, None)) for read in ("monotonic", "time")):
        raise TypeError(f"clock must be an object with monotonic() and time(), got {clock!r}")
    return cast("Clock", clock)
