"""What an engine works with when its circuit is shared: a watch that sees the fleet, and trials that are leased.

The engine does not know. It asks the same rules for the same things; these give others in their place. As long as the
store does not answer, the circuit goes on alone, by the rules that it would have without one (S7).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._periods import Closed, HalfOpen, Open, Trial, total
from .._rules import Rules
from .._windows import NEVER, Outcome, SparseWatch
from .messages import Counts, View

if TYPE_CHECKING:
    from .link import Link

__all__ = ["LeasedHalfOpen", "SharedRules", "SharedWatch"]


class SharedRules:
    """The rules of one process's circuit, with the fleet in mind: `engine.Rules`."""

    __slots__ = ("_link", "_rules", "successes_to_close")

    def __init__(self, rules: Rules, link: Link) -> None:
        self._rules = rules
        self._link = link
        self.successes_to_close: int = rules.successes_to_close

    def watch(self) -> SparseWatch:
        """A watch that sees what all processes saw."""
        alone = self._rules.watch() if self._link.quorum > 1 else None
        return SharedWatch(self._rules.watch(), alone, self._link)

    def open_for(self, opening: int, error: BaseException | None) -> float:
        """The seconds that an open period lasts. It begins now, so the fleet is told at once."""
        self._link.poke(0.0)
        return self._rules.open_for(opening, error)

    def half_open(self, opened: Open, now: float) -> HalfOpen | None:
        """Nothing as long as the store answers: a shared half-open period begins when a trial was leased."""
        if self._link.is_alone():
            return self._rules.half_open(opened, now)
        self._link.want(now)
        return None


class LeasedTrial(Trial):
    """A trial that the fleet leased to this process."""

    __slots__ = ("lease",)

    def __init__(self, period: HalfOpen, deadline: float, lease: str) -> None:
        super().__init__(period, deadline)
        self.lease = lease


class LeasedHalfOpen(HalfOpen):
    """A half-open period of the fleet: what may go here are the trials leased to this process (S4)."""

    __slots__ = ("_link",)

    def __init__(self, opened: Open, attempts: int, timeout: float, link: Link) -> None:
        super().__init__(opened, attempts, timeout)
        self._link = link

    def admit(self, now: float) -> Trial | None:
        """A trial, if one was leased. Otherwise the call waits to go, and one is asked for."""
        leased = self._link.take_lease(now)
        if leased is None:
            if self._link.is_alone():
                return super().admit(now)
            self._link.want(now)
            return None
        trial = LeasedTrial(self, leased[1], leased[0])
        self._trials[trial] = None
        return trial

    def wait(self, now: float) -> float:
        """Seconds until a trial can be admitted, as far as is known here."""
        return super().wait(now) if self._link.is_alone() else self._link.wait(now)

    def succeed(self, trial: Trial) -> None:
        """Tell the fleet."""
        super().succeed(trial)
        if isinstance(trial, LeasedTrial):
            self._link.tell_of_success(trial.lease)

    def release(self, trial: Trial) -> None:
        """Give the lease back (H3)."""
        super().release(trial)
        if isinstance(trial, LeasedTrial):
            self._link.give_back(trial.lease)


class SharedWatch(SparseWatch):
    """Shows the policy what all processes saw, and counts what this one saw, to tell the others.

    This process's outcomes are shown at once, those of the others when they are learned of, a batch at a time: its
    successes first, then its failures, with the moment at which it was learned of. With a quorum, what opens this
    process's circuit is what it saw itself, and what all saw is put before the fleet.
    """

    __slots__ = ("_alone", "_armed", "_fleet", "_heard", "_link", "_others", "_own", "_skip", "known")

    def __init__(self, fleet: SparseWatch, alone: SparseWatch | None, link: Link) -> None:
        super().__init__()
        self._fleet = fleet
        self._alone = alone
        self._link = link
        self._own = _Own(link.bounds)
        self._heard = _Sums()  # all calls of the fleet, by class
        self._others = 0  # calls of others that the policy was shown
        self._armed = True
        self._skip = False
        self.known = not link.new
        self.ask()

    def see(self, outcome: Outcome) -> str | None:
        """An outcome of this process."""
        self._own.add(outcome)
        self._armed = False
        self._link.poke(self._link.soon if outcome.failed else self._link.interval)
        alone = None if self._alone is None else self._alone.see(outcome)
        number, run = outcome.number + self._others, self._own.fleet_run(outcome)
        reason = self._fleet.see(outcome._replace(number=number, run=run))
        self.ask()
        if self._alone is None:
            return reason
        if reason is not None:
            self._link.propose(reason)
        return alone

    def ask(self) -> None:
        """Work out which outcomes to be shown: what the policies ask for, and one success for each report."""
        watches = [self._fleet] if self._alone is None else [self._fleet, self._alone]
        fleet_due = self._fleet.due if self._fleet.due == NEVER else max(0, self._fleet.due - self._others)
        self.due = min([fleet_due, *(watch.due for watch in watches[1:])])
        self.wake = -math.inf if self._armed else min(watch.wake for watch in watches)
        self.slow = min(watch.slow for watch in watches) if self.known else -math.inf

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
        reason = None
        if not self.known:
            self.known = True
            for ago, numbers in _without(view.history, counts):
                reason = reason or self._show(period, numbers, (), 0, now - ago)
        elif not self._skip:
            fresh, seconds = self._heard.others(view, mine)
            reason = self._show(period, fresh, seconds, view.peak, now)
        self._heard.set(view, mine)
        self._skip = False
        self.ask()
        return reason

    def _show(
        self, period: Closed, numbers: tuple[float, ...], seconds: tuple[float, ...], peak: int, now: float
    ) -> str | None:
        """Show a batch: first the successes, then the failures, the fast before the slow."""
        number = total(period.tally) + self._others
        self._others += int(sum(numbers))
        failures = int(sum(numbers[1::2]))
        order = [*range(0, len(numbers), 2), *range(1, len(numbers), 2)]
        for index in order:
            many = int(numbers[index])
            took = seconds[index] / many if many and index < len(seconds) else 0.0
            skipped = 0 if index or self._fleet.due == 0 else max(0, many - 1)  # Of fast successes the last is enough.
            number += skipped
            if index == 0:
                self._fleet.pass_by(number + many - skipped, now)
            for _ in range(many - skipped):
                number += 1
                failures -= index % 2
                run = max(1, peak - failures) if index % 2 else 0
                if index == 0 and number < self._fleet.due and now < self._fleet.wake:
                    continue
                reason = self._fleet.see(Outcome(number, now, bool(index % 2), run, self._timed(index, took)))
                if reason is not None:
                    return reason
        return None

    def _timed(self, index: int, took: float) -> float:
        """How long a call of that class took: their mean, or what the class says at least."""
        bounds = self._own.bounds
        level = min(index // 2, len(bounds))
        return took or (math.nextafter(bounds[level - 1], math.inf) if level else 0.0)


class _Own:
    """What this process saw, since it was last told, and in all."""

    __slots__ = ("_acknowledged", "_failures", "_head", "_numbers", "_run", "_seconds", "_told", "_upto", "bounds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._upto = 0  # the last call that was told, or is being told
        self._acknowledged = 0  # the last one that the fleet's run covers
        self._run = 0  # the fleet's failures in a row up to there
        self._told = _Sums()
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
        return self._run + since if outcome.failed and outcome.run >= since else outcome.run

    def collect(self, period: Closed) -> Counts | None:
        """What is to be told."""
        upto = min(period.final, total(period.tally))
        calls = upto - self._upto
        if calls <= 0:
            return None
        self._numbers[0] = calls - sum(self._numbers[1:])
        counts = Counts(tuple(self._numbers), tuple(self._seconds), self._head, min(period.run, calls))
        self._upto = upto
        self._clear()
        return counts

    def add_told(self, counts: Counts | None) -> None:
        """Count `counts` as told."""
        if counts is not None:
            self._told.add(counts)

    def acknowledge(self, period: Closed, counts: Counts | None, run: int) -> _Sums:
        """What was told has arrived; `run` covers it. Return all that was told."""
        self.add_told(counts)
        self._acknowledged, self._run = self._upto, run
        return self._told


class _Sums:
    """Calls and seconds, by class."""

    __slots__ = ("numbers", "seconds")

    def __init__(self) -> None:
        self.numbers: tuple[float, ...] = ()
        self.seconds: tuple[float, ...] = ()

    def add(self, counts: Counts) -> None:
        """Add `counts`."""
        self.numbers = _sum(self.numbers, counts.numbers)
        self.seconds = _sum(self.seconds, counts.seconds)

    def others(self, view: View, mine: _Sums) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What others saw that was not heard of before."""
        numbers = _less(_less(view.numbers, mine.numbers), self.numbers)
        seconds = _less(_less(view.seconds, mine.seconds), self.seconds)
        return tuple(max(0, each) for each in numbers), tuple(max(0.0, each) for each in seconds)

    def set(self, view: View, mine: _Sums) -> None:
        """From now on, all but `mine` of `view` was heard of."""
        # Never less than nothing: a forked child may know of calls that its parent has not told yet.
        self.numbers = tuple(max(0, each) for each in _less(view.numbers, mine.numbers))
        self.seconds = tuple(max(0.0, each) for each in _less(view.seconds, mine.seconds))


def _sum(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    return (*(a + b for a, b in zip(one, other, strict=False)), *one[len(other) :], *other[len(one) :])


def _less(whole: tuple[float, ...], part: tuple[float, ...]) -> tuple[float, ...]:
    return (*(a - b for a, b in zip(whole, part, strict=False)), *whole[len(part) :])


def _without(
    history: tuple[tuple[float, tuple[float, ...]], ...], counts: Counts | None
) -> tuple[tuple[float, tuple[float, ...]], ...]:
    """`history` without what this process told just now."""
    if not history or counts is None:
        return history
    *before, (ago, numbers) = history
    return (*before, (ago, tuple(max(0, each) for each in _less(numbers, counts.numbers))))
