"""The trip policies once more, for the account: every outcome is kept, in a row of small numbers, and counted anew.

`take(row, failed)` is the row after one more outcome, and whether the circuit opens by it. `tick(row)` is the row after
one unit of time.
"""

from __future__ import annotations

from typing import Protocol

from circuitbreaker import ConsecutiveFailures, FailureRate, TripPolicy
from circuitbreaker.policies import AllOf, AnyOf

__all__ = ["Naive", "Row", "naive"]

Row = tuple[int, ...]
_NOTHING = 2


class Naive(Protocol):
    """A policy, told by a row of what it saw."""

    empty: Row

    def take(self, row: Row, failed: bool) -> tuple[Row, bool]:
        """The row after one more outcome, and whether that opens the circuit."""
        ...

    def tick(self, row: Row) -> Row:
        """The row after one unit of time."""
        ...

    def full(self, row: Row) -> bool:
        """Whether the row can hold no more outcomes before time passes."""
        ...


def naive(policy: TripPolicy, most_calls: int) -> Naive:
    """The plain counterpart of a shipped policy. A window of time is to hold no more than `most_calls`."""
    if isinstance(policy, ConsecutiveFailures):
        return Consecutive(policy.threshold)
    if isinstance(policy, FailureRate) and policy.calls is not None:
        return RateOfCalls(policy.threshold, policy.calls, policy.minimum_calls)
    if isinstance(policy, FailureRate) and policy.seconds is not None:
        return RateOfSeconds(policy.threshold, int(policy.seconds), policy.minimum_calls, most_calls)
    assert isinstance(policy, AnyOf | AllOf), f"{policy!r} has no plain counterpart"
    return Combined(type(policy), [naive(part, most_calls) for part in policy.policies])


class Consecutive:
    """The row is the number of failures since the last success, as far as it matters."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self.empty: Row = (0,)

    def take(self, row: Row, failed: bool) -> tuple[Row, bool]:
        run = min(row[0] + 1, self._threshold) if failed else 0
        return (run,), run == self._threshold

    def tick(self, row: Row) -> Row:
        return row

    def full(self, row: Row) -> bool:
        return False


class RateOfCalls:
    """The row is the last outcomes themselves."""

    def __init__(self, share: float, size: int, minimum: int) -> None:
        self._share = share
        self._minimum = minimum
        self.empty: Row = (_NOTHING,) * size

    def take(self, row: Row, failed: bool) -> tuple[Row, bool]:
        row = (*row[1:], int(failed))
        known = [outcome for outcome in row if outcome != _NOTHING]
        return row, len(known) >= self._minimum and sum(known) / len(known) >= self._share

    def tick(self, row: Row) -> Row:
        return row

    def full(self, row: Row) -> bool:
        return False


class RateOfSeconds:
    """The row is two numbers for each age: calls and failures. A call as old as the span still counts."""

    def __init__(self, share: float, span: int, minimum: int, most: int) -> None:
        self._share = share
        self._minimum = minimum
        self._most = most
        self.empty: Row = (0, 0) * (span + 1)

    def take(self, row: Row, failed: bool) -> tuple[Row, bool]:
        row = (row[0] + 1, row[1] + failed, *row[2:])
        calls, failures = sum(row[::2]), sum(row[1::2])
        return row, calls >= self._minimum and failures / calls >= self._share

    def tick(self, row: Row) -> Row:
        return (0, 0, *row[:-2])

    def full(self, row: Row) -> bool:
        return sum(row[::2]) >= self._most


class Combined:
    """The rows of its parts, one behind the other."""

    def __init__(self, kind: type[AnyOf | AllOf], parts: list[Naive]) -> None:
        self._enough = any if kind is AnyOf else all
        self._parts = parts
        self.empty: Row = tuple(cell for part in parts for cell in part.empty)

    def _split(self, row: Row) -> list[tuple[Naive, Row]]:
        rows, start = [], 0
        for part in self._parts:
            rows.append((part, row[start : start + len(part.empty)]))
            start += len(part.empty)
        return rows

    def take(self, row: Row, failed: bool) -> tuple[Row, bool]:
        taken = [part.take(row, failed) for part, row in self._split(row)]
        return tuple(cell for row, _ in taken for cell in row), self._enough(trips for _, trips in taken)

    def tick(self, row: Row) -> Row:
        return tuple(cell for part, row in self._split(row) for cell in part.tick(row))

    def full(self, row: Row) -> bool:
        return any(part.full(row) for part, row in self._split(row))
