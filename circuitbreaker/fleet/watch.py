"""A watch that shows a policy the calls of the whole fleet. To the engine it is a watch like any other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .._engine.periods import Closed
from .._engine.watches import NEVER, Outcome, SparseWatch
from .counts import LocalCounts, Totals, without
from .messages import Counts, Snapshot
from .tallies import Tallies, failures, successes

if TYPE_CHECKING:
    from .member import Member

__all__ = ["FleetWatch"]


class FleetWatch(SparseWatch):
    """Shows the policy what all processes saw, and counts what this one saw, to report it.

    Outcomes of this process are shown at once; those of others when they become known, one batch at a time: first its
    successes, then its failures, all as of that moment. With a quorum, this process opens its circuit by what it saw
    itself, and proposes to the fleet to open by what all saw.
    """

    __slots__ = (
        "_alone",
        "_armed",
        "_fleet",
        "_heard",
        "_local",
        "_member",
        "_others",
        "_skip",
        "known",
        "next_number",
        "next_time",
        "slow_trial",
        "slower_than",
    )

    def __init__(self, fleet: SparseWatch, alone: SparseWatch | None, member: Member) -> None:
        self._fleet = fleet
        self._alone = alone
        self._member = member
        self._local = LocalCounts(member.slow_thresholds)
        self._heard = Totals()  # calls of others that are known of
        self._others = 0  # calls of others that the policy was shown
        self._armed = True
        self._skip = False
        self.known: bool = not member.unused
        self.ask()

    def see(self, outcome: Outcome) -> str | None:
        """An outcome of this process."""
        self._local.add(outcome)
        self._armed = False
        self._member.report_within(self._member.soon if outcome.failed else self._member.interval)
        alone = None if self._alone is None else self._alone.see(outcome)
        number, streak = outcome.number + self._others, self._local.streak_with(outcome)
        reason = self._fleet.see(outcome._replace(number=number, streak=streak))
        return self._decide(reason, alone)

    def give_up(self, number: int, at: float, duration: float) -> str | None:
        """A call of this process that was given up. It is not reported."""
        alone = None if self._alone is None else self._alone.give_up(number, at, duration)
        return self._decide(self._fleet.give_up(number + self._others, at, duration), alone)

    def _decide(self, fleet: str | None, alone: str | None) -> str | None:
        """Why to open here. With a quorum, by what this process saw alone; what all saw is proposed to the fleet."""
        self.ask()
        if self._alone is None:
            self.slow_trial: float = self._fleet.slow_trial
            return fleet
        self.slow_trial = self._alone.slow_trial
        if fleet is not None:
            self._member.propose(fleet, self._fleet.slow_trial)
        return alone

    def set_back(self, now: float) -> None:
        """Forget what was measured by a clock that has been set back to `now`."""
        for watch in [self._fleet] if self._alone is None else [self._fleet, self._alone]:
            watch.set_back(now)
        self.ask()

    def ask(self) -> None:
        """Set which outcomes to be shown: those that the policies ask for, and one success after each report."""
        watches = [self._fleet] if self._alone is None else [self._fleet, self._alone]
        due = self._fleet.next_number
        due = due if due == NEVER else max(0, due - self._others)
        self.next_number: int = due if self._alone is None else min(due, self._alone.next_number)
        self.next_time: float = -math.inf if self._armed else min(watch.next_time for watch in watches)
        self.slower_than: float = min(watch.slower_than for watch in watches) if self.known else -math.inf

    # From this process to the others

    def collect(self, period: Closed) -> Counts | None:
        """What was seen since the last report. The next success will be shown again."""
        self._armed = True
        return self._local.collect(period)

    def begin_late(self) -> None:
        """Leave out what others saw until now: the fleet's period began before this one."""
        self._skip = True

    def renew(self, period: Closed, pending: Counts | None) -> None:  # pragma: no cover - runs in forked children
        """In a forked child: what was seen until now is the parent's to report, and is known here already."""
        self._local.note_sent(pending)
        self._local.note_sent(self.collect(period))

    # From the others to this process

    def learn(self, period: Closed, snapshot: Snapshot, counts: Counts | None, now: float) -> str | None:
        """Show the policy what others saw, by the answer to a report of `counts`; return why to open, if so."""
        mine = self._local.confirm(counts, snapshot.streak)
        batches: list[_Batch] = []
        if not self.known:
            batches = [_Batch(now - ago, calls, ()) for ago, calls in without(snapshot.history, counts)]
        elif not self._skip:
            batches = [_Batch(now, *self._heard.news(snapshot, mine))]
        self._heard.set(snapshot, mine)
        self.known, self._skip = True, False
        reason = self._show_all(period, batches, self._local.longest_streak(period, snapshot))
        self.ask()
        self.slow_trial = self._fleet.slow_trial
        return reason

    def _show_all(self, period: Closed, batches: list[_Batch], streak: int) -> str | None:
        """Show batches, the last failure of which is the `streak`-th in a row; stop at a reason to open."""
        later = sum(batch.failures for batch in batches)
        reason = None
        for batch in batches:
            later -= batch.failures
            reason = reason or self._show(period, batch, streak - later)
        return reason

    def _show(self, period: Closed, batch: _Batch, streak: int) -> str | None:
        number = period.calls + self._others
        self._others += batch.successes + batch.failures
        return self._show_successes(batch, number) or self._show_failures(
            batch, number + batch.successes, streak - batch.failures
        )

    def _show_successes(self, batch: _Batch, number: int) -> str | None:
        """Show successes, numbered from the one after `number`."""
        reason = None
        for level, tally in enumerate(batch.calls):
            many, took = int(tally.successes), self._mean(batch, level, failed=False)
            if level == 0 and self._fleet.next_number > 0:  # a policy that need not see them all
                reason = self._show_last(many, number + many, took, batch.at)
            else:
                for each in range(number + 1, number + many + 1):
                    reason = reason or self._fleet.see(Outcome(each, batch.at, False, 0, took))
            number += many
        return reason

    def _show_last(self, many: int, number: int, took: float, at: float) -> str | None:
        """Count `many` successes, the last of which is `number`, and show that one if the policy asks for it."""
        self._fleet.count_unseen(number, at)
        if many and (number >= self._fleet.next_number or at >= self._fleet.next_time):
            return self._fleet.see(Outcome(number, at, False, 0, took))
        return None

    def _show_failures(self, batch: _Batch, number: int, streak: int) -> str | None:
        """Show failures, numbered from the one after `number`, in a row with the `streak` before them."""
        reason = None
        for level, tally in enumerate(batch.calls):
            took = self._mean(batch, level, failed=True)
            for _ in range(int(tally.failures)):
                number, streak = number + 1, streak + 1
                reason = reason or self._fleet.see(Outcome(number, batch.at, True, max(1, streak), took))
        return reason

    def _mean(self, batch: _Batch, level: int, failed: bool) -> float:
        """Seconds that one call of a class took on average; where that was not measured, the least for the class."""
        many = int(batch.calls[level].of(failed))
        took = batch.seconds[level].of(failed) / many if many and batch.seconds else 0.0
        thresholds = self._local.slow_thresholds
        level = min(level, len(thresholds))
        return took or (math.nextafter(thresholds[level - 1], math.inf) if level else 0.0)


class _Batch(NamedTuple):
    """Calls of others that became known together."""

    at: float
    calls: Tallies
    seconds: Tallies

    @property
    def successes(self) -> int:
        return int(successes(self.calls))

    @property
    def failures(self) -> int:
        return int(failures(self.calls))
