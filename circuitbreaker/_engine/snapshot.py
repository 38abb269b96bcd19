"""What an engine knows at one moment, as plain values.

All times are spans in seconds, so a snapshot holds in any process and for any clock. It has only what cannot be worked
out from the rest: no thresholds, flags and deadlines that follow from the rules, and no outcomes that no longer count.
Calls in flight are not in it; the trials of a half-open period are there as the attempts they hold.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..events import Hold, LastFailure

__all__ = ["ClosedSnapshot", "EngineSnapshot", "HalfOpenSnapshot", "OpenSnapshot", "WatchSnapshot"]

WatchSnapshot = tuple[Any, ...]
"""What a watch has seen, in the shape of its policy: tuples of numbers. Empty if it keeps nothing."""


class ClosedSnapshot(NamedTuple):
    """A closed period."""

    calls: int
    """Calls that ended in it, in success or failure."""
    failures: int
    streak: int
    """Consecutive failures up to the last of these calls."""
    watch: WatchSnapshot


class OpenSnapshot(NamedTuple):
    """An open period."""

    length: float
    left: float
    """Seconds until the next call is admitted as a trial; 0 or less if that time has come."""
    reason: str
    round: int
    last_failure: LastFailure | None
    slow_trial: float = math.inf
    """Seconds beyond which a trial opens again what slow calls opened; `inf` if they did not."""


class HalfOpenSnapshot(NamedTuple):
    """A half-open period."""

    opened: OpenSnapshot
    """The open period before it."""
    finished: int
    """Attempts used up by trials that ended."""
    successes: int
    trials: tuple[float, ...]
    """Seconds until each trial that is out gives its attempt to another call, the oldest first."""


class EngineSnapshot(NamedTuple):
    """A circuit, with the totals of its life."""

    period: ClosedSnapshot | OpenSnapshot | HalfOpenSnapshot
    hold: Hold | None
    failure_streak: int
    """Consecutive failures."""
    successes: int
    failures: int
    ignored: int
    rejections: int
    shadow_rejections: int
    last_success: float | None
    """Seconds since the last success, if there was one."""
    last_failure: LastFailure | None
