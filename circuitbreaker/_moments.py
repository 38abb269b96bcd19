"""Moments of the monotonic clock, by which everything is measured, as dates of the wall clock, which people read."""

from __future__ import annotations

from datetime import datetime, timezone

from .clock import Clock

__all__ = ["moment", "utc"]


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
