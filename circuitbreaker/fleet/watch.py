"""A watch over what the whole fleet sees. To the engine it is a watch like any other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._engine.periods import Closed, total
from .._engine.watches import NEVER, Outcome, SparseWatch
from .counts import Own, Sums, without
from .messages import Counts, View

if TYPE_CHECKING:
    from .link import Link

__all__ = ["SharedWatch"]


class SharedWatch(SparseWatch):
    """Shows the policy what all processes saw, and counts what this one saw, to tell the others.

    This process's outcomes are shown at once, those of the others when they are learned of, a batch at a time: its
    successes first, then its failures, with the moment at which it was learned of. With a quorum, what opens this
    process's circuit is what it saw itself, and what all saw is put before the fleet.
    """

    __slots__ = (
        "next_number",
        "next_time",
        "slower_than",
        "_alone",
        "_armed",
        "_fleet",
        "_heard",
        "_link",
        "_others",
        "_own",
        "_skip",
        "known",
    )

    def __init__(self, fleet: SparseWatch, alone: SparseWatch | None, link: Link) -> None:
        self._fleet = fleet
        self._alone = alone
        self._link = link
        self._own = Own(link.bounds)
        self._heard = Sums()  # all calls of the fleet, by class
        self._others = 0  # calls of others that the policy was shown
        self._armed = True
        self._skip = False
        self.known: bool = not link.new
        self.ask()

    def see(self, outcome: Outcome) -> str | None:
        """An outcome of this process."""
        self._own.add(outcome)
        self._armed = False
        self._link.poke(self._link.soon if outcome.failed else self._link.interval)
        alone = None if self._alone is None else self._alone.see(outcome)
        number, streak = outcome.number + self._others, self._own.fleet_run(outcome)
        reason = self._fleet.see(outcome._replace(number=number, streak=streak))
        self.ask()
        if self._alone is None:
            return reason
        if reason is not None:
            self._link.propose(reason)
        return alone

    def ask(self) -> None:
        """Work out which outcomes to be shown: what the policies ask for, and one success for each report."""
        watches = [self._fleet] if self._alone is None else [self._fleet, self._alone]
        fleet_due = (
            self._fleet.next_number
            if self._fleet.next_number == NEVER
            else max(0, self._fleet.next_number - self._others)
        )
        self.next_number: int = min([fleet_due, *(watch.next_number for watch in watches[1:])])
        self.next_time: float = -math.inf if self._armed else min(watch.next_time for watch in watches)
        self.slower_than: float = min(watch.slower_than for watch in watches) if self.known else -math.inf

    # What this process tells the others

    def collect(self, period: Closed) -> Counts | None:
        """What was seen since the last time. From now on, the next success is shown again."""
        self._armed = True
        return self._own.collect(period)

    def skip(self) -> None:
        """The fleet's period began before this one: what others saw until now does not count here."""
        self._skip = True

    def renew(self, period: Closed, pending: Counts | None) -> None:  # pragma: no cover - runs in forked children
        """In a forked child: what was seen until now, the parent tells. It is no news when it is told."""
        self._own.add_told(pending)
        self._own.add_told(self.collect(period))

    # What others tell this process

    def learn(self, period: Closed, view: View, counts: Counts | None, now: float) -> str | None:
        """Show the policy what others saw, as `view` tells, which answers a report of `counts`."""
        mine = self._own.acknowledge(period, counts, view.run)
        batches: list[tuple[float, tuple[float, ...], tuple[float, ...]]] = []
        if not self.known:
            batches = [(now - ago, numbers, ()) for ago, numbers in without(view.history, counts)]
        elif not self._skip:
            batches = [(now, *self._heard.others(view, mine))]
        self._heard.set(view, mine)
        self.known, self._skip = True, False
        run = self._own.longest_run(period, view)
        later = sum(_failures(numbers) for _, numbers, _ in batches)
        reason = None
        for at, numbers, seconds in batches:
            later -= _failures(numbers)
            reason = reason or self._show(period, numbers, seconds, run - later, at)
        self.ask()
        return reason

    def _show(
        self, period: Closed, numbers: tuple[float, ...], seconds: tuple[float, ...], peak: int, now: float
    ) -> str | None:
        """Show a batch: first the successes, then the failures, the last of which is the `peak`-th in a row."""
        number = total(period.tally) + self._others
        self._others += int(sum(numbers))
        failures = _failures(numbers)  # that are still to be shown
        reason = None
        for index in [*range(0, len(numbers), 2), *range(1, len(numbers), 2)]:
            many, failed = int(numbers[index]), bool(index % 2)
            took = self._mean(index, seconds[index] / many if many and seconds else 0.0)
            if index == 0 and self._fleet.next_number > 0:  # a policy that need not see them all
                number += many
                reason = self._pass_by(many, number, took, now)
                many = 0
            for _ in range(many):
                number += 1
                failures -= failed
                run = max(1, peak - failures) if failed else 0
                reason = reason or self._fleet.see(Outcome(number, now, failed, run, took))
        return reason

    def _pass_by(self, many: int, number: int, took: float, now: float) -> str | None:
        """Count so many fast successes, the last of which is `number`, and show that one if the policy asks for it."""
        self._fleet.count_unseen(number, now)
        if many and (number >= self._fleet.next_number or now >= self._fleet.next_time):
            return self._fleet.see(Outcome(number, now, False, 0, took))
        return None

    def _mean(self, index: int, took: float) -> float:
        """How long a call of that class took: `took`, or if nobody timed them what the class says at least."""
        bounds = self._own.bounds
        level = min(index // 2, len(bounds))
        return took or (math.nextafter(bounds[level - 1], math.inf) if level else 0.0)


def _failures(numbers: tuple[float, ...]) -> int:
    return int(sum(numbers[1::2]))
