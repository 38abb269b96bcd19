"""Where time comes from. Nothing else in this package reads a clock.

A clock is anything with `monotonic()`, which measures all waits, and `time()`, which dates what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import count
from typing import Protocol

from ._values import Value

__all__ = ["Clock", "ManualClock", "SystemClock"]

_numbers = count()


class Clock(Protocol):
    """What a breaker needs of its clock. Both methods return seconds."""

    def monotonic(self) -> float:
        """A time that never goes back. Its zero point has no meaning."""
        ...

    def time(self) -> float:
        """Wall-clock time: seconds since 1970-01-01 UTC. It may jump."""
        ...


class SystemClock(Value):
    """The machine's clock.

    `time.monotonic` is looked up on each call: freezegun replaces it by name, and must also freeze breakers that were
    made before the freeze (E10).
    """

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()


class ManualClock:
    """A clock for tests, which moves only by `advance()` and `set_time()`.

    Args:
        start: what both `monotonic()` and `time()` return at first, in seconds.
    """

    __slots__ = ("_calls", "_monotonic", "_wall")

    def __init__(self, start: float = 0.0) -> None:
        self._monotonic = float(start)
        self._wall = float(start)
        self._calls: list[tuple[float, int, Callable[[], None]]] = []

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""
        return self._monotonic

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Advance both times by `seconds`, and make the calls of `call_at` whose time comes, each at its time.

        Raises `ValueError` if `seconds` is negative: time does not go back.
        """
        if not seconds >= 0:
            raise ValueError(f"seconds must be at least 0, got {seconds!r}")
        end = self._monotonic + seconds
        while self._calls and (call := min(self._calls))[0] <= end:
            self._calls.remove(call)
            self._move(call[0])
            call[2]()
        self._move(end)

    def _move(self, to: float) -> None:
        if to > self._monotonic:  # not after an `advance()` within a call
            self._wall += to - self._monotonic
            self._monotonic = to

    def call_at(self, when: float, function: Callable[[], None]) -> None:
        """Call `function` in the `advance()` that takes `monotonic()` to `when`; at the next one if that is past.

        Circuits with `auto_half_open` use this in place of a thread.
        """
        self._calls.append((when, next(_numbers), function))

    def set_time(self, seconds: float) -> None:
        """Set the wall-clock time only, forward or back, as an administrator or a time server would."""
        self._wall = float(seconds)

    def __repr__(self) -> str:
        return f"<ManualClock at {self._monotonic:g} s>"


def moment(clock: Clock, at: float) -> datetime:
    """The datetime at which `clock.monotonic()` was `at`, by the wall clock's current setting."""
    return utc(clock.time() - (clock.monotonic() - at))


def utc(seconds: float) -> datetime:
    """`seconds` since 1970-01-01 UTC as a datetime, limited to those that Python can represent."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        end = datetime.max if seconds > 0 else datetime.min
        return end.replace(tzinfo=timezone.utc)
