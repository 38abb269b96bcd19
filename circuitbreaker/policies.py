"""When to open. A policy is a frozen recipe; `watch()` starts one observer of one closed period.

The built-in policies see every failure and slow call, but few other successes; `_engine.watches` says why that is
enough. Nothing here locks, waits or reads a clock; the breaker calls a watch under its lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from ._engine.snapshot import WatchSnapshot
from ._engine.watches import NEVER, LastCalls, LastSeconds, Outcome, SparseWatch
from ._values import Value, counted, one_line, positive_count, ratio
from ._values import seconds as in_seconds

__all__ = [
    "AllOf",
    "AnyOf",
    "ConsecutiveFailures",
    "FailureRate",
    "Outcome",
    "SlowCallRate",
    "TripPolicy",
    "Watch",
]


class Watch(Protocol):
    """Sees the outcomes of one closed period, one at a time, and decides when the circuit opens."""

    def see(self, outcome: Outcome) -> str | None:
        """Count `outcome`. Return the reason to open the circuit now, or `None`."""
        ...


class TripPolicy(Protocol):
    """When to open. A policy of your own needs this one method, and combines with built-in ones by `|` and `&`.

    Breakers may share a policy, so whatever changes belongs in the watch:

        class TotalFailures:
            def __init__(self, limit: int) -> None:
                self.limit = limit

            def watch(self) -> "TotalFailuresWatch":
                return TotalFailuresWatch(self.limit)

        class TotalFailuresWatch:
            def __init__(self, limit: int) -> None:
                self.left = limit

            def see(self, outcome: Outcome) -> str | None:
                self.left -= outcome.failed
                return "too many failures" if self.left <= 0 else None

    Both methods run under the breaker's lock, so keep them fast. If one raises, the circuit does not trip and the error
    is logged (E4).
    """

    def watch(self) -> Watch:
        """Return a new watch, for one closed period."""
        ...


RunUserCode = Callable[..., Any]
"""Runs user code: `user_code(what, default, function, *args)` returns `default` if `function` raises (E4)."""


def begin(policy: TripPolicy, user_code: RunUserCode) -> SparseWatch:
    """Start a watch of `policy`. A user's policy sees every outcome, and is run by `user_code`.

    A subclass of a built-in policy that overrides `watch()` counts as a user's policy.
    """
    if isinstance(policy, _BuiltIn) and type(policy).watch is _BuiltIn.watch:
        return policy._begin(user_code)
    return _UserWatch(policy, user_code)


class _UserWatch(SparseWatch):
    """A watch of a user's policy. It sees every outcome, and does not trip if it raises."""

    __slots__ = ("_user_code", "_see")
    next_number = 0
    slower_than = -math.inf

    def __init__(self, policy: TripPolicy, user_code: RunUserCode) -> None:
        self._user_code = user_code
        self._see = user_code("trip policy", _see_nothing, _begin_user, policy)

    def see(self, outcome: Outcome) -> str | None:
        reason: str | None = self._user_code("trip policy", None, self._ask_user, outcome)
        return reason

    def _ask_user(self, outcome: Outcome) -> str | None:
        reason = self._see(outcome)
        return one_line(str(reason)) if reason else None


def _begin_user(policy: TripPolicy) -> Callable[[Outcome], str | None]:
    return policy.watch().see


def _see_nothing(outcome: Outcome) -> None:
    return None


def _run_directly(what: str, default: Any, function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


class _BuiltIn(Value):
    """Base class of the built-in policies, which combine by `|` and `&`."""

    __slots__ = ()

    def watch(self) -> Watch:
        """Return a new watch, for one closed period."""
        return self._begin(_run_directly)

    def _begin(self, user_code: RunUserCode) -> SparseWatch:
        raise NotImplementedError  # pragma: no cover - each policy has its own

    def __or__(self, other: TripPolicy) -> AnyOf:
        return AnyOf(self, other)

    def __ror__(self, other: TripPolicy) -> AnyOf:
        return AnyOf(other, self)

    def __and__(self, other: TripPolicy) -> AllOf:
        return AllOf(self, other)

    def __rand__(self, other: TripPolicy) -> AllOf:
        return AllOf(other, self)


class ConsecutiveFailures(_BuiltIn):
    """Open after `threshold` failures with no success between them.

    Args:
        threshold: number of failures, at least 1.

    Raises:
        ValueError: `threshold` is less than 1.
        TypeError: `threshold` is not a whole number.
    """

    __slots__ = ("threshold",)
    threshold: int

    def __init__(self, threshold: int = 5) -> None:
        self._set(threshold=positive_count("threshold", threshold))

    def _begin(self, user_code: RunUserCode) -> SparseWatch:
        return _StreakWatch(self.threshold)


class _StreakWatch(SparseWatch):
    __slots__ = ("_threshold",)

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def see(self, outcome: Outcome) -> str | None:
        if outcome.streak < self._threshold:
            return None
        return f"{counted(outcome.streak, 'consecutive failure')}, threshold {self._threshold}"


class _Rate(_BuiltIn):
    """Open when the share of hits among the calls in a window reaches `threshold`."""

    __slots__ = ("threshold", "calls", "seconds", "minimum_calls")
    threshold: float
    calls: int | None
    seconds: float | None
    minimum_calls: int

    def _set_window(
        self, threshold: float, calls: int | None, seconds: float | timedelta | None, minimum_calls: int | None
    ) -> None:
        if calls is not None and seconds is not None:
            raise ValueError(f"give calls or seconds, not both: got calls={calls!r} and seconds={seconds!r}")
        if seconds is None:
            calls = positive_count("calls", 100 if calls is None else calls)
        else:
            seconds = in_seconds("seconds", seconds)
        if minimum_calls is None:
            minimum_calls = 10 if calls is None else min(10, calls)
        if calls is not None and positive_count("minimum_calls", minimum_calls) > calls:
            raise ValueError(f"minimum_calls must be at most calls, {calls}: got {minimum_calls!r}")
        self._set(
            threshold=ratio("threshold", threshold),
            calls=calls,
            seconds=seconds,
            minimum_calls=positive_count("minimum_calls", minimum_calls),
        )

    def _window(self) -> LastCalls | LastSeconds:
        if self.seconds is not None:
            return LastSeconds(self.seconds, self.minimum_calls)
        assert self.calls is not None
        return LastCalls(self.calls, self.minimum_calls)


class FailureRate(_Rate):
    """Open when the share of failures among the calls in a window reaches `threshold`.

    Args:
        threshold: a ratio in (0, 1].
        calls: the window is the last `calls` calls; 100 if neither this nor `seconds` is given.
        seconds: the window is the last `seconds` seconds, or a `timedelta`; cannot be combined with `calls`.
        minimum_calls: do not open while fewer calls are in the window; default 10, or `calls` if that is less.

    Raises:
        ValueError: an argument breaks its rule.
        TypeError: an argument is of the wrong kind.
    """

    __slots__ = ()

    def __init__(
        self,
        threshold: float = 0.5,
        *,
        calls: int | None = None,
        seconds: float | timedelta | None = None,
        minimum_calls: int | None = None,
    ) -> None:
        self._set_window(threshold, calls, seconds, minimum_calls)

    def _begin(self, user_code: RunUserCode) -> SparseWatch:
        return _FailureRateWatch(self)


class SlowCallRate(_Rate):
    """Open when the share of slow calls in a window reaches `threshold`.

    A call may be slow whether it fails or not, and also if it is given up: cancelled, or ended by an ignored error. A
    trial that is slow does not close what slow calls opened (E12).

    Args:
        threshold: a ratio in (0, 1].
        slower_than: a call is slow if it takes longer than this, in seconds or as a `timedelta`.
        calls: as in `FailureRate`.
        seconds: as in `FailureRate`.
        minimum_calls: as in `FailureRate`.

    Raises:
        ValueError: an argument breaks its rule.
        TypeError: an argument is of the wrong kind.
    """

    __slots__ = ("slower_than",)
    slower_than: float

    def __init__(
        self,
        threshold: float = 0.5,
        *,
        slower_than: float | timedelta,
        calls: int | None = None,
        seconds: float | timedelta | None = None,
        minimum_calls: int | None = None,
    ) -> None:
        self._set_window(threshold, calls, seconds, minimum_calls)
        self._set(slower_than=in_seconds("slower_than", slower_than))

    def _begin(self, user_code: RunUserCode) -> SparseWatch:
        return _SlowCallRateWatch(self)


class _RateWatch(SparseWatch):
    """Compares the number of hits in a window with the number of calls in it."""

    __slots__ = ("_policy", "_window", "next_number", "next_time")

    def __init__(self, policy: _Rate) -> None:
        self._policy = policy
        self._window = policy._window()
        self._aim()

    def count_unseen(self, number: int, at: float) -> None:
        self._window.count_unseen(number, at)

    def set_back(self, now: float) -> None:
        self._window.set_back(now)
        self._aim()

    def snapshot(self, number: int, now: float) -> WatchSnapshot:
        return self._window.snapshot(number, now)

    def restore(self, snapshot: WatchSnapshot, number: int, now: float) -> None:
        self._window.restore(snapshot, number, now)
        self._aim()

    def _aim(self) -> None:
        self.next_number, self.next_time = self._window.next_number, self._window.next_time

    def _judge(self, outcome: Outcome, hit: bool) -> tuple[int, int] | None:
        """The numbers of hits and calls in the window if they are enough to trip, otherwise `None`."""
        hits, calls = self._window.take(outcome, hit)
        self._aim()
        if calls < self._policy.minimum_calls or hits / calls < self._policy.threshold:
            return None
        return hits, calls


class _FailureRateWatch(_RateWatch):
    __slots__ = ()

    def see(self, outcome: Outcome) -> str | None:
        if (found := self._judge(outcome, outcome.failed)) is None:
            return None
        return f"failure rate {_share(self._policy, *found)}"


class _SlowCallRateWatch(_RateWatch):
    """Its numbers are those of the period, and one more for each slow call that was given up."""

    __slots__ = ("_given_up", "slow_trial", "slower_than")

    def __init__(self, policy: SlowCallRate) -> None:
        self._given_up = 0
        super().__init__(policy)
        self.slower_than = self.slow_trial = policy.slower_than

    def see(self, outcome: Outcome) -> str | None:
        return self._see(outcome._replace(number=outcome.number + self._given_up))

    def give_up(self, number: int, at: float, duration: float) -> str | None:
        if duration <= self.slower_than:
            return None
        self._given_up += 1
        return self._see(Outcome(number + self._given_up, at, False, 0, duration))

    def _see(self, outcome: Outcome) -> str | None:
        if (found := self._judge(outcome, outcome.duration > self.slower_than)) is None:
            return None
        return f"slow call rate (over {self.slower_than:g} s) {_share(self._policy, *found)}"

    def count_unseen(self, number: int, at: float) -> None:
        super().count_unseen(number + self._given_up, at)

    def snapshot(self, number: int, now: float) -> WatchSnapshot:
        return self._given_up, super().snapshot(number + self._given_up, now)

    def restore(self, snapshot: WatchSnapshot, number: int, now: float) -> None:
        self._given_up, window = snapshot
        super().restore(window, number + self._given_up, now)

    def _aim(self) -> None:
        super()._aim()
        if self.next_number != NEVER:
            self.next_number -= self._given_up


def _share(policy: _Rate, hits: int, calls: int) -> str:
    window = f" in {policy.seconds:g} s" if policy.seconds is not None else ""
    return f"{100 * hits / calls:.3g} % of {calls} calls{window}, threshold {100 * policy.threshold:.3g} %"


class _Combined(_BuiltIn):
    __slots__ = ("policies",)
    policies: tuple[TripPolicy, ...]

    def __init__(self, *policies: TripPolicy) -> None:
        if len(policies) < 2:
            raise ValueError(f"{type(self).__name__} combines two policies or more, got {len(policies)}")
        self._set(policies=tuple(check_policy(f"what {type(self).__name__} combines", policy) for policy in policies))


class AnyOf(_Combined):
    """`a | b`: open when any of the policies says so."""

    __slots__ = ()

    def _begin(self, user_code: RunUserCode) -> SparseWatch:
        return _AnyWatch([begin(policy, user_code) for policy in self.policies])

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.policies))


class AllOf(_Combined):
    """`a & b`: open when all of the policies say so on the same call."""

    __slots__ = ()

    def _begin(self, user_code: RunUserCode) -> SparseWatch:
        return _AllWatch([begin(policy, user_code) for policy in self.policies])

    def __repr__(self) -> str:
        return " & ".join(f"({policy!r})" if isinstance(policy, AnyOf) else repr(policy) for policy in self.policies)


class _CombinedWatch(SparseWatch):
    """Shows each outcome to all of its watches, and asks for every success that any of them needs to see."""

    __slots__ = ("_watches", "next_number", "next_time", "slow_trial", "slower_than")

    def __init__(self, watches: list[SparseWatch]) -> None:
        self._watches = watches
        self.slow_trial = math.inf
        self._aim()

    def see(self, outcome: Outcome) -> str | None:
        return self._decide([watch.see(outcome) for watch in self._watches])

    def give_up(self, number: int, at: float, duration: float) -> str | None:
        return self._decide([watch.give_up(number, at, duration) for watch in self._watches])

    def _decide(self, reasons: list[str | None]) -> str | None:
        self._aim()
        given = [watch.slow_trial for watch, reason in zip(self._watches, reasons, strict=True) if reason]
        self.slow_trial = min(given, default=math.inf)
        return self._join(reasons)

    def _join(self, reasons: list[str | None]) -> str | None:
        raise NotImplementedError  # pragma: no cover - each has its own

    def count_unseen(self, number: int, at: float) -> None:
        for watch in self._watches:
            watch.count_unseen(number, at)

    def set_back(self, now: float) -> None:
        for watch in self._watches:
            watch.set_back(now)
        self._aim()

    def snapshot(self, number: int, now: float) -> WatchSnapshot:
        return tuple(watch.snapshot(number, now) for watch in self._watches)

    def restore(self, snapshot: WatchSnapshot, number: int, now: float) -> None:
        for watch, part in zip(self._watches, snapshot, strict=True):
            watch.restore(part, number, now)
        self._aim()

    def _aim(self) -> None:
        self.next_number = min(watch.next_number for watch in self._watches)
        self.next_time = min(watch.next_time for watch in self._watches)
        self.slower_than = min(watch.slower_than for watch in self._watches)


class _AnyWatch(_CombinedWatch):
    __slots__ = ()

    def _join(self, reasons: list[str | None]) -> str | None:
        return " and ".join(filter(None, reasons)) or None


class _AllWatch(_CombinedWatch):
    __slots__ = ()

    def _join(self, reasons: list[str | None]) -> str | None:
        return " and ".join(filter(None, reasons)) if all(reasons) else None


def check_policy(name: str, policy: TripPolicy) -> TripPolicy:
    """Return `policy` if it has the shape of one, or raise `TypeError`. Calls its `watch()` once."""
    if isinstance(policy, type):
        raise TypeError(f"{name} must be a policy, got the class {policy!r}: call it first")
    if not callable(getattr(policy, "watch", None)):
        raise TypeError(f"{name} must be a policy, with watch(), got {policy!r}")
    if not callable(getattr(watch := policy.watch(), "see", None)):
        raise TypeError(f"{name}: watch() must return a watch, with see(), got {watch!r}")
    return policy
