"""Periods of the engine as rows of small numbers, and back.

Times are told from now, numbers of calls from the last one, and what lies so far back that it makes no difference is
told as just so far back. Two states with the same rows behave the same for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

from circuitbreaker._engine.engine import Engine
from circuitbreaker._engine.periods import Closed, HalfOpen, Open, Period, total
from circuitbreaker._engine.watches import NEVER, LastCalls, LastSeconds, SparseWatch, _Slot

from .worlds import World

__all__ = ["put_period", "read_period"]

Cells = Iterator[int]
_NEVER = 255
CLOSED, OPEN, HALF_OPEN = range(3)


def read_period(world: World, period: Period, now: float) -> list[int]:
    """The row that tells `period`, but for the trials that are out."""
    if isinstance(period, Closed):
        return [CLOSED, *_read_closed(world, period, now)]
    if isinstance(period, Open):
        return [OPEN, _ahead(period.until - now), *_read_length(world, period)]
    return [HALF_OPEN, *_read_length(world, period.opened), int(period._timeout), period.finished, period.successes]


def put_period(world: World, engine: Engine, cells: Cells, now: float) -> Period:
    """The period that a row tells."""
    kind = next(cells)
    if kind == CLOSED:
        return _put_closed(world, engine, cells, now)
    if kind == OPEN:
        until = now + next(cells)
        return _opened(until, next(cells), next(cells))
    opened = _opened(now, next(cells), next(cells))
    period = HalfOpen(opened, world.attempts, next(cells))
    period.finished, period.successes = next(cells), next(cells)
    return period


def _ahead(seconds: float) -> int:
    """The moment so far ahead, in whole units; what has come has come."""
    if seconds == math.inf:
        return _NEVER
    return math.ceil(seconds) if seconds > 0 else 0


# Open and half-open


def _read_length(world: World, opened: Open) -> tuple[int, int]:
    return int(opened.length), min(opened.round, len(world.lengths))


def _opened(until: float, length: int, opening: int) -> Open:
    period = Open(until - length, length, "it did", None, opening)
    period.until = until
    return period


# Closed


def _read_closed(world: World, period: Closed, now: float) -> list[int]:
    number = total(period.tally)
    watched = type(period.watch) is not SparseWatch
    row = [
        2 * period.needs_permit + watched,
        min(number, world.numbers),
        min(period._streak, world.longest_run),
        min(number - period._streak_end, 1),
        _read_due(period.next_number, number),
        _ahead(period.next_time - now),
    ]
    return row + _read_watch(period.watch, number, now) if watched else row


def _put_closed(world: World, engine: Engine, cells: Cells, now: float) -> Closed:
    marks, number = next(cells), next(cells)
    period = Closed(engine._rules.watch() if marks & 1 else SparseWatch(), bool(marks & 2))
    period.needs_permit = bool(marks & 2)
    period.tally = count(number + 1)
    period._streak, period._streak_end = next(cells), number - next(cells)
    period.next_number, period.next_time = _put_due(next(cells), number), _put_wake(next(cells), now)
    if marks & 1:
        _put_watch(period.watch, cells, number, now)
    return period


def _read_due(due: int, number: int) -> int:
    return _NEVER if due == NEVER else max(0, due - number)


def _put_due(cell: int, number: int) -> int:
    return NEVER if cell == _NEVER else number + cell


def _put_wake(cell: int, now: float) -> float:
    return math.inf if cell == _NEVER else now + cell


# What a watch has seen


def _read_watch(watch: Any, number: int, now: float) -> list[int]:
    parts = getattr(watch, "_watches", None)
    if parts is not None:
        return [cell for part in parts for cell in _read_watch(part, number, now)]
    window = getattr(watch, "_window", None)
    if isinstance(window, LastCalls):
        ages = [min(number - hit, window._size) for hit in window._hits]
        return [_read_due(window.next_number, number), len(ages), *ages]
    if isinstance(window, LastSeconds):
        return [
            _read_due(window.next_number, number),
            _ahead(window.next_time - now),
            *_read_slots(window, number, now),
        ]
    return []


def _read_slots(window: LastSeconds, number: int, now: float) -> list[int]:
    row = [len(window._slots), window._hits]
    for slot in window._slots:
        row += min(int(now - slot.start), int(window._span) + 1), number - slot.before, slot.hits
    return row


def _put_watch(watch: Any, cells: Cells, number: int, now: float) -> None:
    """Fill a new watch with what it had seen."""
    parts = getattr(watch, "_watches", None)
    if parts is not None:
        for part in parts:
            _put_watch(part, cells, number, now)
        watch._ask()
        return
    window = getattr(watch, "_window", None)
    if window is None:
        return
    window._latest = number
    window.next_number = _put_due(next(cells), number)
    if isinstance(window, LastCalls):
        window._hits.extend([number - next(cells) for _ in range(next(cells))])
    else:
        window.next_time = _put_wake(next(cells), now)
        _put_slots(window, cells, number, now)
    watch.next_number, watch.next_time = window.next_number, window.next_time


def _put_slots(window: LastSeconds, cells: Cells, number: int, now: float) -> None:
    many, window._hits = next(cells), next(cells)
    for _ in range(many):
        slot = _Slot(now - next(cells), number - next(cells))
        slot.hits = next(cells)
        window._slots.append(slot)
