"""Decisions as the engine has them, with periods and dates, and as messages have them, with spans of seconds.

`now` is on the circuit's monotonic clock, `wall` the same moment in seconds since 1970: an engine dates its failures.
"""

from __future__ import annotations

import math

from .._engine.engine import Engine
from .._engine.periods import Open, Period, opened_by
from .._values import one_line
from ..clock import utc
from ..events import Hold, LastFailure
from .messages import Decision, Failure, Snapshot

__all__ = ["decided", "hold_text", "last_failure", "open_period", "opening"]


def decided(engine: Engine, period: Period, override: bool, now: float, wall: float) -> Decision:
    """The decision that began `period`. A half-open one is reported as the open one before it: trials are leased."""
    hold, opened = hold_text(engine.hold), opened_by(period)
    if opened is None:
        reason = (hold and f"{hold}() was called") or ("reset() was called" if override else "a trial succeeded")
        return Decision("closed", hold, override, reason, 0.0, 0.0, 0, None)
    left = max(0.0, opened.until - now)
    failure = _failure(opened.last_failure, wall)
    slow_trial = _finite(opened.slow_trial)
    return Decision("open", hold, override, opened.reason, opened.length, left, opened.round, failure, slow_trial)


def opening(engine: Engine, reason: str, length: float, wall: float, slow_trial: float) -> Decision:
    """The decision to open for `length` seconds, beginning now."""
    failure = _failure(engine.last_failure, wall)
    return Decision("open", hold_text(engine.hold), False, reason, length, length, 1, failure, _finite(slow_trial))


def _finite(slow_trial: float) -> float | None:
    """`slow_trial` as messages have it."""
    return slow_trial if slow_trial < math.inf else None


def open_period(snapshot: Snapshot, now: float, wall: float) -> Open:
    """The open period that `snapshot` is in, or that came before its half-open one."""
    since = now + snapshot.left - snapshot.length
    slow_trial = math.inf if snapshot.slow_trial is None else snapshot.slow_trial
    reason, failure = one_line(snapshot.reason), last_failure(snapshot, wall)
    return Open(since, snapshot.length, reason, failure, snapshot.round, slow_trial)


def hold_text(hold: Hold | None) -> str:
    """A hold as messages have it."""
    return "" if hold is None else hold.value


def last_failure(snapshot: Snapshot, wall: float) -> LastFailure | None:
    """The failure in `snapshot` as the engine has it."""
    if snapshot.failure is None:
        return None
    kind, text, ago = snapshot.failure
    return LastFailure(one_line(kind), one_line(text), utc(wall - ago))  # Anything may have written the record.


def _failure(failure: LastFailure | None, wall: float) -> Failure | None:
    return None if failure is None else (failure.type, failure.text, wall - failure.at.timestamp())
