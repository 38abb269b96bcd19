"""Snapshots of an engine as rows of small numbers, and back.

What lies so far back that it makes no difference is written as just so far back. Two states with the same rows behave
the same for ever. What the engine keeps at hand though it follows from the rest is written too, by `at_hand`, so that a
state in which the two differ is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from circuitbreaker import ConsecutiveFailures, Hold, TripPolicy
from circuitbreaker._engine.periods import Closed, Period
from circuitbreaker._engine.snapshot import (
    ClosedSnapshot,
    EngineSnapshot,
    HalfOpenSnapshot,
    OpenSnapshot,
    WatchSnapshot,
)
from circuitbreaker._engine.watches import NEVER
from circuitbreaker.policies import AllOf, AnyOf, FailureRate

from .worlds import World

__all__ = ["HOLDS", "at_hand", "from_row", "to_row"]

HOLDS = (None, Hold.FORCED_OPEN, Hold.FORCED_CLOSED, Hold.SHADOW)

Cells = Iterator[int]
_NEVER = 255
CLOSED, OPEN, HALF_OPEN = range(3)


def to_row(world: World, snapshot: EngineSnapshot) -> list[int]:
    """The row of a snapshot."""
    return [HOLDS.index(snapshot.hold), *_period_to_row(world, snapshot)]


def from_row(world: World, cells: Cells) -> EngineSnapshot:
    """The snapshot of a row, with no totals."""
    hold = HOLDS[next(cells)]
    period = _period_from_row(world, hold, cells)
    return EngineSnapshot(period, hold, 0, 0, 0, 0, 0, 0, None, None)


def _period_to_row(world: World, snapshot: EngineSnapshot) -> list[int]:
    period = snapshot.period
    if isinstance(period, ClosedSnapshot):
        calls, streak = min(period.calls, world.numbers), min(period.streak, world.longest_run)
        return [CLOSED, calls, streak, *_watch_to_row(_watched(world, snapshot.hold), period.watch)]
    if isinstance(period, OpenSnapshot):
        return [OPEN, _ahead(period.left), *_opening(world, period)]
    left = [_ahead(each) for each in period.trials]
    return [HALF_OPEN, *_opening(world, period.opened), period.finished, period.successes, len(left), *left]


def _period_from_row(world: World, hold: Hold | None, cells: Cells) -> ClosedSnapshot | OpenSnapshot | HalfOpenSnapshot:
    kind = next(cells)
    if kind == CLOSED:
        calls, streak = next(cells), next(cells)
        return ClosedSnapshot(calls, 0, streak, _watch_from_row(_watched(world, hold), cells))
    if kind == OPEN:
        return _opened(next(cells), cells)
    opened = _opened(0, cells)
    finished, successes = next(cells), next(cells)
    return HalfOpenSnapshot(opened, finished, successes, tuple(next(cells) for _ in range(next(cells))))


def _opening(world: World, opened: OpenSnapshot) -> tuple[int, int]:
    return int(opened.length), min(opened.round, len(world.lengths))


def _opened(left: int, cells: Cells) -> OpenSnapshot:
    length, opening = next(cells), next(cells)
    return OpenSnapshot(length, left, "it did", opening, None)


def _ahead(seconds: float) -> int:
    """The moment so far ahead, in whole units; what has come has come."""
    if seconds == math.inf:
        return _NEVER
    return math.ceil(seconds) if seconds > 0 else 0


# What a watch has seen, in the shape of its policy


def _watched(world: World, hold: Hold | None) -> TripPolicy | None:
    return None if hold in (Hold.FORCED_OPEN, Hold.FORCED_CLOSED) else world.trip


def _watch_to_row(policy: TripPolicy | None, watch: WatchSnapshot) -> list[int]:
    if isinstance(policy, AnyOf | AllOf):
        parts = zip(policy.policies, watch, strict=True)
        return [cell for part, seen in parts for cell in _watch_to_row(part, seen)]
    if policy is None or isinstance(policy, ConsecutiveFailures):
        return []
    return [len(watch), *(int(cell) for each in watch for cell in (each if isinstance(each, tuple) else (each,)))]


def _watch_from_row(policy: TripPolicy | None, cells: Cells) -> WatchSnapshot:
    if isinstance(policy, AnyOf | AllOf):
        return tuple(_watch_from_row(part, cells) for part in policy.policies)
    if not isinstance(policy, FailureRate):
        return ()
    if policy.seconds is None:
        return tuple(next(cells) for _ in range(next(cells)))
    return tuple((next(cells), next(cells), next(cells)) for _ in range(next(cells)))


# What follows from the rest


def at_hand(period: Period, now: float) -> list[int]:
    """What a closed period keeps at hand: whether calls need permits, and which success its watch wants to see next."""
    if not isinstance(period, Closed):
        return []
    ahead: Any = _ahead(period.next_time - now)
    next_number = _NEVER if period.next_number == NEVER else max(0, period.next_number - period.calls)
    return [int(period.needs_permit), next_number if ahead else 0, ahead]
