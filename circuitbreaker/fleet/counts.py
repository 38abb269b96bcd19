"""The calls of one closed period, as one process accounts for them: its own, and those that it knows of from others."""

from __future__ import annotations

from .._engine.periods import Closed
from .._engine.watches import Outcome
from .messages import Batch, Counts, Snapshot
from .tallies import Tallies, Tally, add, clip, count, subtract

__all__ = ["LocalCounts", "Totals", "without"]


class LocalCounts:
    """What this process counted: since its last report, and in all."""

    __slots__ = (
        "_calls",
        "_confirmed",
        "_fleet_streak",
        "_leading",
        "_reported",
        "_seconds",
        "_sent",
        "slow_thresholds",
    )

    def __init__(self, slow_thresholds: tuple[float, ...]) -> None:
        self.slow_thresholds: tuple[float, ...] = slow_thresholds
        self._reported = 0  # the last call that is in a report
        self._confirmed = 0  # the last call that the fleet's streak covers
        self._fleet_streak = 0  # the fleet's failures in a row up to there
        self._sent = Totals()
        self._clear()

    def _clear(self) -> None:
        self._calls = [Tally()] * (len(self.slow_thresholds) + 1)
        self._seconds = [Tally(0.0, 0.0)] * len(self._calls)
        self._leading = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome in its class. Fast successes are counted by their number: most are not shown to anyone."""
        level = sum(outcome.duration > each for each in self.slow_thresholds)
        self._seconds[level] = self._seconds[level].plus(outcome.failed, outcome.duration)
        if level or outcome.failed:
            self._calls[level] = self._calls[level].plus(outcome.failed, 1)
        if outcome.failed and outcome.number - self._reported == self._leading + 1:
            self._leading += 1

    def streak_with(self, outcome: Outcome) -> int:
        """Failures in a row up to `outcome`, including those of other processes before it."""
        since = outcome.number - self._confirmed
        return self._fleet_streak + since if outcome.failed and outcome.streak >= since else outcome.streak

    def longest_streak(self, period: Closed, snapshot: Snapshot) -> int:
        """The fleet's failures in a row, with those after them that are not reported yet."""
        unreported = period.calls - self._reported
        goes_on = snapshot.streak == snapshot.streak_at_success and period.streak >= unreported
        return snapshot.streak_at_success + unreported if goes_on else snapshot.streak_at_success

    def collect(self, period: Closed) -> Counts | None:
        """What is to be reported; `None` if no call ended."""
        last = period.calls
        calls = last - self._reported
        if calls <= 0:
            return None
        fast = Tally(calls - count(tuple(self._calls)), self._calls[0].failures)
        tallies = (fast, *self._calls[1:])
        counts = Counts(tallies, tuple(self._seconds), self._leading, min(period.streak, calls))
        self._reported = last
        self._clear()
        return counts

    def note_sent(self, counts: Counts | None) -> None:
        """Add `counts` to what others know from this process."""
        if counts is not None:
            self._sent.add(counts)

    def confirm(self, counts: Counts | None, streak: int) -> Totals:
        """`counts` were applied, and the fleet's `streak` covers them. Returns all that others know from here."""
        self.note_sent(counts)
        self._confirmed, self._fleet_streak = self._reported, streak
        return self._sent


class Totals:
    """Sums of calls and of the seconds that they took, by class."""

    __slots__ = ("calls", "seconds")

    def __init__(self) -> None:
        self.calls: Tallies = ()
        self.seconds: Tallies = ()

    def add(self, counts: Counts) -> None:
        """Add `counts`."""
        self.calls = add(self.calls, counts.calls)
        self.seconds = add(self.seconds, counts.seconds)

    def news(self, snapshot: Snapshot, mine: Totals) -> tuple[Tallies, Tallies]:
        """Calls and seconds in `snapshot` that are neither `mine` nor in these sums."""
        calls = subtract(subtract(snapshot.calls, mine.calls), self.calls)
        seconds = subtract(subtract(snapshot.seconds, mine.seconds), self.seconds)
        return clip(calls), clip(seconds)

    def set(self, snapshot: Snapshot, mine: Totals) -> None:
        """Let these sums be all of `snapshot` but what is `mine`."""
        # Never below 0: a forked child may know of calls that its parent has not reported yet.
        self.calls = clip(subtract(snapshot.calls, mine.calls))
        self.seconds = clip(subtract(snapshot.seconds, mine.seconds))


def without(history: tuple[Batch, ...], counts: Counts | None) -> tuple[Batch, ...]:
    """`history` without `counts`, which this process reported just now, or before if the report was repeated."""
    mine: Tallies = () if counts is None else counts.calls
    others: list[Batch] = []
    for ago, calls in reversed(history):
        others.append(Batch(ago, clip(subtract(calls, mine))))
        mine = clip(subtract(mine, calls))
    return tuple(reversed(others))
