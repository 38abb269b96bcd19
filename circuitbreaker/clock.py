"""Where time comes from. Nothing else in this package reads a clock.

A clock is anything with `monotonic()`, by which all waiting is measured, and `time()`, by which moments are shown.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol

from ._values import Value

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """What a breaker asks of its clock; both answers are in seconds."""

    def monotonic(self) -> float:
        """A time that never goes back; its zero means nothing."""
        ...

    def time(self) -> float:
        """The wall clock: seconds since 1970-01-01 UTC. It may jump."""
        ...


class SystemClock(Value):
    """The machine's clock.

    `time.monotonic` is looked up at each call, so that freezegun, which replaces it by name, is seen by breakers made
    before the freeze as well (E10).
    """

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()


class ManualClock:
    """A clock for tests: it moves only when told.

    Args:
        start: what both `monotonic()` and `time()` answer at first, in seconds.
    """

    __slots__ = ("_monotonic", "_wall")

    def __init__(self, start: float = 0.0) -> None:
        self._monotonic = float(start)
        self._wall = float(start)

    def monotonic(self) -> float:
        """Seconds on the monotonic clock."""
        return self._monotonic

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks. Raises `ValueError` if negative: time does not go back."""
        if not seconds >= 0:
            raise ValueError(f"seconds must be at least 0, got {seconds!r}")
        self._monotonic += seconds
        self._wall += seconds

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock alone, forward or back, as an administrator or a time server would."""
        self._wall = float(seconds)

    def __repr__(self) -> str:
        return f"<ManualClock at {self._monotonic:g} s>"


def moment(clock: Clock, at: float) -> datetime:
    """When the monotonic clock showed `at`, by the wall clock as it stands now."""
    return utc(clock.time() - (clock.monotonic() - at))


def utc(seconds: float) -> datetime:
    """`seconds` since 1970 as a datetime; the nearest that there is for what lies beyond the calendar."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        end = datetime.max if seconds > 0 else datetime.min
        return end.replace(tzinfo=timezone.utc)
