"""Calls by class of duration, successes and failures apart, and the arithmetic on them.

Class 0 holds the calls that were faster than every threshold of `SlowCallRate`, class 1 those slower than the first
threshold, and so on. Each class has one `Tally`: of its calls, or of the seconds that they took together.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Tallies", "Tally", "add", "clip", "count", "failures", "subtract", "successes"]


class Tally(NamedTuple):
    """Calls of one class of duration, or the seconds that they took together."""

    successes: float = 0
    failures: float = 0

    def of(self, failed: bool) -> float:
        """The half that holds calls that `failed`, or that did not."""
        return self.failures if failed else self.successes

    def plus(self, failed: bool, amount: float) -> Tally:
        """Add `amount` to one half."""
        return (
            Tally(self.successes, self.failures + amount) if failed else Tally(self.successes + amount, self.failures)
        )


Tallies = tuple[Tally, ...]
"""One tally per class; the classes that are missing at the end are empty."""


def add(one: Tallies, other: Tallies) -> Tallies:
    """The sum, class by class."""
    both = (Tally(a + c, b + d) for (a, b), (c, d) in zip(one, other, strict=False))
    return (*both, *one[len(other) :], *other[len(one) :])


def subtract(whole: Tallies, part: Tallies) -> Tallies:
    """What is left of `whole` without `part`, class by class; negative where `part` is larger."""
    both = (Tally(a - c, b - d) for (a, b), (c, d) in zip(whole, part, strict=False))
    return (*both, *whole[len(part) :])


def clip(tallies: Tallies) -> Tallies:
    """`tallies` with 0 in place of what is negative."""
    return tuple(Tally(max(0, each.successes), max(0, each.failures)) for each in tallies)


def successes(tallies: Tallies) -> float:
    """Successes of all classes."""
    return sum(each.successes for each in tallies)


def failures(tallies: Tallies) -> float:
    """Failures of all classes."""
    return sum(each.failures for each in tallies)


def count(tallies: Tallies) -> float:
    """Successes and failures of all classes."""
    return successes(tallies) + failures(tallies)
