"""What one process counted and what it heard that others counted, by class of call."""

from __future__ import annotations

from .._engine.periods import Closed, total
from .._engine.watches import Outcome
from .messages import Counts, View

__all__ = ["Own", "Sums", "without"]


class Own:
    """What this process saw, since it was last told, and in all."""

    __slots__ = ("_acknowledged", "_failures", "_head", "_numbers", "_run", "_seconds", "_told", "_upto", "bounds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: tuple[float, ...] = bounds
        self._upto = 0  # the last call that was told, or is being told
        self._acknowledged = 0  # the last one that the fleet's run covers
        self._run = 0  # the fleet's failures in a row up to there
        self._told = Sums()
        self._clear()

    def _clear(self) -> None:
        self._numbers = [0] * (2 * len(self.bounds) + 2)
        self._seconds = [0.0] * len(self._numbers)
        self._failures = 0
        self._head = 0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome by its class; the fast successes that nobody sees are counted by their number."""
        index = 2 * sum(outcome.duration > bound for bound in self.bounds) + outcome.failed
        self._seconds[index] += outcome.duration
        if index:
            self._numbers[index] += 1
        if outcome.failed:
            self._failures += 1
            if outcome.number - self._upto == self._failures:
                self._head = self._failures

    def fleet_run(self, outcome: Outcome) -> int:
        """Failures in a row up to this one, those of others before it included."""
        since = outcome.number - self._acknowledged
        return self._run + since if outcome.failed and outcome.streak >= since else outcome.streak

    def longest_run(self, period: Closed, view: View) -> int:
        """Failures in a row as the fleet counted them, with those after them that are still to be told."""
        untold = total(period.tally) - self._upto
        goes_on = view.run == view.peak and period.streak >= untold
        return view.peak + untold if goes_on else view.peak

    def collect(self, period: Closed) -> Counts | None:
        """What is to be told."""
        upto = min(period.final, total(period.tally))
        calls = upto - self._upto
        if calls <= 0:
            return None
        self._numbers[0] = calls - sum(self._numbers[1:])
        counts = Counts(tuple(self._numbers), tuple(self._seconds), self._head, min(period.streak, calls))
        self._upto = upto
        self._clear()
        return counts

    def add_told(self, counts: Counts | None) -> None:
        """Count `counts` as told."""
        if counts is not None:
            self._told.add(counts)

    def acknowledge(self, period: Closed, counts: Counts | None, run: int) -> Sums:
        """What was told has arrived; `run` covers it. Return all that was told."""
        self.add_told(counts)
        self._acknowledged, self._run = self._upto, run
        return self._told


class Sums:
    """Calls and seconds, by class."""

    __slots__ = ("numbers", "seconds")

    def __init__(self) -> None:
        self.numbers: tuple[float, ...] = ()
        self.seconds: tuple[float, ...] = ()

    def add(self, counts: Counts) -> None:
        """Add `counts`."""
        self.numbers = _sum(self.numbers, counts.numbers)
        self.seconds = _sum(self.seconds, counts.seconds)

    def others(self, view: View, mine: Sums) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What others saw that was not heard of before."""
        numbers = _less(_less(view.numbers, mine.numbers), self.numbers)
        seconds = _less(_less(view.seconds, mine.seconds), self.seconds)
        return _none_below_zero(numbers), _none_below_zero(seconds)

    def set(self, view: View, mine: Sums) -> None:
        """From now on, all but `mine` of `view` was heard of."""
        # Never less than nothing: a forked child may know of calls that its parent has not told yet.
        self.numbers = _none_below_zero(_less(view.numbers, mine.numbers))
        self.seconds = _none_below_zero(_less(view.seconds, mine.seconds))


def _sum(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    return (*(a + b for a, b in zip(one, other, strict=False)), *one[len(other) :], *other[len(one) :])


def _less(whole: tuple[float, ...], part: tuple[float, ...]) -> tuple[float, ...]:
    return (*(a - b for a, b in zip(whole, part, strict=False)), *whole[len(part) :])


def _none_below_zero(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(max(0, each) for each in numbers)


def without(
    history: tuple[tuple[float, tuple[float, ...]], ...], counts: Counts | None
) -> tuple[tuple[float, tuple[float, ...]], ...]:
    """`history` without what this process told: just now, or before if it had to say it again."""
    mine = () if counts is None else counts.numbers
    others: list[tuple[float, tuple[float, ...]]] = []
    for ago, numbers in reversed(history):
        others.append((ago, _none_below_zero(_less(numbers, mine))))
        mine = _none_below_zero(_less(mine, numbers))
    return tuple(reversed(others))
