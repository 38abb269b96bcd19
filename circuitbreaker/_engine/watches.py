"""What a watch sees, and the number of hits among the last calls, or those of the last seconds.

Only hits (failures or slow calls) are stored, never the other calls: a call's number says how many ended before it, so
the number of calls in a window is the difference of two numbers. That makes the cost of a success independent of the
window, and no watch needs to see one before the number or the time that it asks for.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import NamedTuple

from .snapshot import WatchSnapshot

__all__ = ["NEVER", "LastCalls", "LastSeconds", "Outcome", "SparseWatch"]

NEVER = sys.maxsize
"""A call number that is never reached."""


class Outcome(NamedTuple):
    """One call that ended in success or failure, as a watch sees it (C2)."""

    number: int
    """1, 2, 3 ... in the order in which calls ended within this closed period."""
    at: float
    """When it ended, in seconds on the breaker's monotonic clock."""
    failed: bool
    streak: int
    """Consecutive failures up to and including this call; 0 for a success."""
    duration: float
    """How long the call took, in seconds; 0 if nothing asked for durations."""
    error: BaseException | None = None
    """What the call raised, if it failed by that; `None` for calls of other processes. To keep it keeps it alive."""


class SparseWatch:
    """A watch that need not see every success.

    It sees all failures, and the successes that are numbered `next_number` or higher, end at `next_time` or later, or
    took more than `slower_than` seconds. This base class asks for no success and never trips.
    """

    __slots__ = ()  # A watch whose thresholds change has slots for them.
    next_number: int = NEVER
    next_time: float = math.inf
    slower_than: float = math.inf
    slow_trial: float = math.inf
    """If this watch has just opened the circuit: the seconds beyond which a trial does not close it again (E12)."""

    def see(self, outcome: Outcome) -> str | None:
        """Count `outcome`. Return the reason to open the circuit now, or `None`."""
        return None

    def give_up(self, number: int, at: float, duration: float) -> str | None:
        """Count a call that was given up after `duration` seconds, once `number` calls had ended (E12).

        It is no outcome and has no number: only its duration counts. Return the reason to open the circuit now, or
        `None`.
        """
        return None

    def count_unseen(self, number: int, at: float) -> None:
        """Note that the calls up to `number` ended, the last one at `at`. None of those not shown was a hit."""

    def set_back(self, now: float) -> None:
        """Forget what it measured by a clock that has been set back to `now`."""

    def snapshot(self, number: int, now: float) -> WatchSnapshot:
        """What this watch has seen that still counts, `number` calls having ended by `now`."""
        return ()

    def restore(self, snapshot: WatchSnapshot, number: int, now: float) -> None:
        """Go on from `snapshot`, in a watch that has seen nothing, as if `number` calls had ended by `now`."""


class LastCalls:
    """Hits among the last `size` calls. Memory grows with the hits in the window; the time per call does not grow."""

    __slots__ = ("_hits", "_latest", "_size", "next_number", "next_time")

    def __init__(self, size: int, minimum: int) -> None:
        self._size = size
        self._latest = 0
        self._hits: deque[int] = deque()  # the numbers of the hits
        # Only one success can trip: the one that completes the minimum. Later ones lower the rate.
        self.next_number = minimum
        self.next_time = math.inf

    def take(self, outcome: Outcome, hit: bool) -> tuple[int, int]:
        """Count `outcome`, and return the numbers of hits and calls now in the window."""
        self._latest = max(self._latest, _number(outcome, hit, self.next_number))
        if self._latest >= self.next_number:
            self.next_number = NEVER
        if hit:
            self._hits.append(outcome.number)
        while self._hits and self._hits[0] <= self._latest - self._size:
            self._hits.popleft()
        return len(self._hits), min(self._latest, self._size)

    def count_unseen(self, number: int, at: float) -> None:
        """Count the calls up to `number`."""
        self._latest = max(self._latest, number)

    def set_back(self, now: float) -> None:
        """Do nothing: no time is measured here."""

    def snapshot(self, number: int, now: float) -> WatchSnapshot:
        """How many calls ago each hit in the window was."""
        return tuple(number - hit for hit in self._hits if number - hit < self._size)

    def restore(self, snapshot: WatchSnapshot, number: int, now: float) -> None:
        """Go on from `snapshot`."""
        self._latest = number
        self._hits.extend(number - ago for ago in snapshot)
        if number >= self.next_number:
            self.next_number = NEVER


class LastSeconds:
    """Hits among the calls of the last `span` seconds.

    Calls that end within a hundredth of the span share a slot, which is dropped when its first call is older than the
    span. So no older call ever counts, calls are dropped at most a hundredth of the span early, and a hundred slots are
    enough.
    """

    __slots__ = ("_grain", "_hits", "_latest", "_minimum", "_slots", "_span", "next_number", "next_time")

    def __init__(self, span: float, minimum: int) -> None:
        self._span = span
        self._grain = span / 100
        self._minimum = minimum
        self._latest = 0
        self._hits = 0
        self._slots: deque[_Slot] = deque()
        self.next_number = minimum
        self.next_time = -math.inf  # The first success opens the first slot.

    def take(self, outcome: Outcome, hit: bool) -> tuple[int, int]:
        """Count `outcome`, and return the numbers of hits and calls now in the window."""
        number = _number(outcome, hit, self.next_number)
        self._count(number, outcome.at, max(self._latest, number - 1))
        while self._slots[0].start < outcome.at - self._span:
            self._hits -= self._slots.popleft().hits
        if hit:
            self._slots[-1].hits += 1
            self._hits += 1
        self._aim()
        return self._hits, self._latest - self._slots[0].before

    def _aim(self) -> None:
        """Work out which success to see next."""
        oldest, newest = self._slots[0], self._slots[-1]
        completing = oldest.before + self._minimum
        self.next_number = completing if completing > self._latest else NEVER
        # Dropping old successes raises the rate and can trip too, so a success is seen when a slot ends or is dropped.
        self.next_time = min(newest.start + self._grain, oldest.start + self._span)

    def count_unseen(self, number: int, at: float) -> None:
        """Count the calls up to `number`, the last of which ended at `at`."""
        self._count(number, at, self._latest)

    def set_back(self, now: float) -> None:
        """Forget all slots if the clock was before `now` when the last one began."""
        if self._slots and self._slots[-1].start > now:
            self._slots.clear()
            self._hits = 0
            self.next_number, self.next_time = NEVER, -math.inf

    def snapshot(self, number: int, now: float) -> WatchSnapshot:
        """Each slot in the window: its age, how many calls ago it began, and its hits."""
        return tuple(
            (now - slot.start, number - slot.before, slot.hits)
            for slot in self._slots
            if slot.start >= now - self._span
        )

    def restore(self, snapshot: WatchSnapshot, number: int, now: float) -> None:
        """Go on from `snapshot`."""
        self._latest = number
        for age, calls, hits in snapshot:
            self._slots.append(_Slot(now - age, number - calls, hits))
            self._hits += hits
        if self._slots:
            self._aim()

    def _count(self, number: int, at: float, before: int) -> None:
        # Added to a large clock reading, a tiny grain may vanish in rounding: `start < at` keeps one slot per reading.
        if not self._slots or self._slots[-1].start < at >= self._slots[-1].start + self._grain:
            self._slots.append(_Slot(at, before))
        self._latest = max(self._latest, number)


def _number(outcome: Outcome, hit: bool, due: int) -> int:
    """The number of `outcome`, but at most `due` for a success.

    A success that overtakes the one numbered `due` is counted in its place, so the rate is judged at the minimum.
    """
    return outcome.number if hit else min(outcome.number, due)


class _Slot:
    __slots__ = ("before", "hits", "start")

    def __init__(self, start: float, before: int, hits: int = 0) -> None:
        self.start = start
        self.before = before  # the calls that ended before this slot began
        self.hits = hits
