"""The three kinds of period that a circuit goes through. Each holds what matters in it, and nothing else.

A closed period is the permit of all its calls: each settles with the period in which it began, so a late result lands
on a period that has ended (E1). A half-open period hands out trials, each a lease with a deadline (H4).
"""

from __future__ import annotations

import math
from datetime import datetime
from itertools import count
from typing import ClassVar

from ..events import CircuitState, LastFailure
from .snapshot import ClosedSnapshot, HalfOpenSnapshot, OpenSnapshot
from .watches import NEVER, Outcome, SparseWatch

__all__ = [
    "NOT_YET",
    "TRIAL_TIME",
    "Admission",
    "Closed",
    "HalfOpen",
    "Open",
    "Period",
    "Trial",
    "ended",
    "opened_by",
    "total",
]


NOT_YET = -math.inf
"""A time before all others."""

TRIAL_TIME = 30.0
"""Seconds that a trial keeps its attempt after an open period of 0 seconds, which says nothing about that."""


def total(tally: count[int]) -> int:
    """How many numbers were taken from `tally`, a `count(1)`. Taking one by `next()` is one atomic step in C."""
    return int(repr(tally)[6:-1]) - 1  # Only the repr shows the next number; `next()` would use it up.


class Closed:
    """One closed period, and the permit of every call admitted in it.

    Unless the period `needs_permit`, a call simply joins it. A success takes its number from `tally`, without a lock.
    It is shown to the engine, by `Engine.observe`, only if its number is `next_number` or more, its time is `next_time`
    or later, or it took more than `slower_than` seconds. An ended period has `next_number` at 0, so its late successes
    all come to the engine.
    """

    __slots__ = (
        "_streak",
        "_streak_end",
        "blocks",
        "failures",
        "final",
        "last_success",
        "needs_permit",
        "next_number",
        "next_time",
        "since",
        "slower_than",
        "tally",
        "watch",
    )
    state: ClassVar[CircuitState] = CircuitState.CLOSED

    def __init__(self, watch: SparseWatch, needs_permit: bool = False) -> None:
        self.watch: SparseWatch = watch
        self.tally: count[int] = count(1)
        self.blocks: list[None] = []  # one for each `with` block in it that is not noted by its place
        self.failures: int = 0
        self._streak = 0  # consecutive failures, up to the call with the number `_streak_end`
        self._streak_end = 0
        self.last_success: float = NOT_YET
        self.since: float = NOT_YET  # the latest moment that the watch has seen
        self.final: int = NEVER  # the last number that counts in this period
        self.next_number: int = watch.next_number
        self.next_time: float = watch.next_time
        self.slower_than: float = watch.slower_than
        self.needs_permit: bool = needs_permit or watch.slower_than < math.inf

    def fail(self, now: float, duration: float, error: BaseException | None) -> str | None:
        """Count one failure. Return why the circuit should open, or `None`."""
        self.failures += 1
        try:
            number = next(self.tally)
        except RecursionError:  # pragma: no cover - Python 3.10 counts calls of C too: no number was taken
            self.failures -= 1
            raise
        self._streak = self._streak + 1 if number == self._streak_end + 1 else 1
        self._streak_end = number
        return self.see(Outcome(number, now, True, self._streak, duration, error))

    def see(self, outcome: Outcome) -> str | None:
        """Show `outcome` to the policy. Return why the circuit should open, or `None`."""
        reason = self.watch.see(outcome)
        if outcome.at > self.since:  # noqa: PLR1730 - each failure comes here; max() is a call
            self.since = outcome.at
        self.next_number, self.next_time = self.watch.next_number, self.watch.next_time
        return reason

    def give_up(self, now: float, duration: float) -> str | None:
        """Show the policy a call that was given up, for its duration. Return why the circuit should open, or `None`."""
        reason = self.watch.give_up(self.calls, now, duration)
        self.next_number, self.next_time = self.watch.next_number, self.watch.next_time
        return reason

    def refresh(self) -> None:
        """Copy the watch's thresholds, which have changed. Does nothing if the period has ended."""
        if self.final == NEVER:
            self.next_number, self.next_time = self.watch.next_number, self.watch.next_time
            self.slower_than = self.watch.slower_than

    def set_back(self, now: float) -> None:
        """Go on by a clock that has been set back to `now`."""
        self.since, self.last_success = now, min(self.last_success, now)
        self.watch.set_back(now)
        self.refresh()

    def end(self) -> tuple[int, int]:
        """Let no further outcome count. Return the successes that did, and the consecutive failures at the end."""
        # First this: a success either took its number before the next line, or is shown to the engine.
        self.next_number = 0
        self.final = final = total(self.tally)
        return final - self.failures, self._streak if self._streak_end == final else 0

    def resume(self) -> None:
        """Undo `end`."""
        self.final = NEVER
        self.refresh()

    @property
    def calls(self) -> int:
        """Calls that count in this period."""
        return min(self.final, total(self.tally))

    @property
    def successes(self) -> int:
        """Successes that count in this period."""
        return self.calls - self.failures

    @property
    def streak(self) -> int:
        """Consecutive failures up to now."""
        return self._streak if self._streak_end == self.calls else 0

    def snapshot(self, now: float) -> ClosedSnapshot:
        """The period as it is at `now`."""
        calls = self.calls
        return ClosedSnapshot(calls, self.failures, self.streak, self.watch.snapshot(calls, now))

    def restore(self, snapshot: ClosedSnapshot, now: float) -> None:
        """Go on from `snapshot`, in a period that no call has joined yet."""
        self.tally, self.failures = count(snapshot.calls + 1), snapshot.failures
        self._streak, self._streak_end = snapshot.streak, snapshot.calls
        self.watch.restore(snapshot.watch, snapshot.calls, now)
        self.refresh()


def ended() -> Closed:
    """A closed period that has ended: what settles with it counts in the totals, and moves nothing."""
    period = Closed(SparseWatch())
    period.end()
    return period


class Open:
    """One open period. What decides about calls does not change while it lasts, so reading it needs no lock."""

    __slots__ = ("last_failure", "length", "moment", "reason", "round", "since", "slow_trial", "until")
    state: ClassVar[CircuitState] = CircuitState.OPEN
    needs_permit: ClassVar[bool] = True

    def __init__(
        self,
        since: float,
        length: float,
        reason: str,
        last_failure: LastFailure | None,
        round_: int,
        slow_trial: float = math.inf,
    ) -> None:
        self.since: float = since
        self.length: float = length
        self.until: float = since + length
        self.moment: datetime | None = None  # `since` as a date, once it was shown: a refusal must not pay for it
        self.reason: str = reason
        self.last_failure: LastFailure | None = last_failure
        self.round: int = round_
        self.slow_trial: float = slow_trial  # seconds beyond which a trial opens again what slow calls opened (E12)

    def set_back(self, now: float) -> None:
        """Begin anew by a clock that has been set back to `now`: no more is left of it than its length."""
        self.since, self.until, self.moment = now, now + self.length, None

    def snapshot(self, now: float) -> OpenSnapshot:
        """The period as it is at `now`."""
        return OpenSnapshot(self.length, self.until - now, self.reason, self.round, self.last_failure, self.slow_trial)

    @staticmethod
    def restored(snapshot: OpenSnapshot, now: float) -> Open:
        """A period that goes on from `snapshot`."""
        since = now + snapshot.left - snapshot.length
        return Open(since, snapshot.length, snapshot.reason, snapshot.last_failure, snapshot.round, snapshot.slow_trial)


class Trial:
    """One call admitted by a half-open circuit: a lease on one of its attempts."""

    __slots__ = ("deadline", "period")

    def __init__(self, period: HalfOpen, deadline: float) -> None:
        self.period: HalfOpen = period
        self.deadline: float = deadline


class HalfOpen:
    """One half-open period: the trials that are out, and how the others ended.

    Args:
        opened: the open period before it.
        attempts: trials that may be out or finished.
        timeout: seconds that a trial keeps its attempt.
        needed: successful trials that are enough to close the circuit.
    """

    __slots__ = ("_attempts", "_needed", "_timeout", "_trials", "finished", "opened", "since", "successes")
    state: ClassVar[CircuitState] = CircuitState.HALF_OPEN
    needs_permit: ClassVar[bool] = True

    def __init__(self, opened: Open, attempts: int, timeout: float, needed: int) -> None:
        self.opened: Open = opened
        self.since: float = opened.since  # the latest moment at which a trial was admitted
        self._attempts = attempts
        self._timeout = timeout
        self._needed = needed
        self._trials: dict[Trial, int] = {}  # attempts held by each trial that is out, always 1; the oldest first
        self.finished: int = 0  # attempts used up by trials that ended
        self.successes: int = 0

    def admit(self, now: float) -> Trial | None:
        """A trial, if an attempt is free or can be taken from one that stayed out too long (H1, H4)."""
        if not self._has_free_attempt():
            oldest = self._oldest()
            if now < oldest.deadline:
                return None
            del self._trials[oldest]
        self.since = now
        return self._lend(now + self._timeout)

    def _lend(self, deadline: float) -> Trial:
        trial = Trial(self, deadline)
        self._trials[trial] = 1
        return trial

    def wait(self, now: float) -> float:
        """Seconds until a trial can be admitted, if none ends before."""
        return 0.0 if self._has_free_attempt() else max(0.0, self._oldest().deadline - now)

    def _has_free_attempt(self) -> bool:
        # With no trial out there is none to wait for: then an attempt is free whatever was counted.
        return not self._trials or self.finished + len(self._trials) < self._attempts

    def _oldest(self) -> Trial:
        return next(iter(self._trials))

    def set_back(self, now: float) -> None:
        """Go on by a clock that has been set back to `now`: no trial keeps its attempt for longer than the timeout."""
        self.since = now
        self.opened.set_back(now - self.opened.length)
        for trial in self._trials:
            trial.deadline = min(trial.deadline, now + self._timeout)

    def succeed(self, trial: Trial) -> None:
        """Use up the trial's attempt, unless it went to another call before. Its success counts either way."""
        self.finished += self._trials.pop(trial, 0)
        self.successes += 1

    def release(self, trial: Trial) -> None:
        """Free the trial's attempt (H3)."""
        self._trials.pop(trial, None)

    @property
    def was_used(self) -> bool:
        """Whether it admitted a trial."""
        return self.since > self.opened.since

    @property
    def enough(self) -> bool:
        """Whether enough trials have succeeded to close the circuit (H2)."""
        return self.successes >= self._needed

    @property
    def trials(self) -> list[Trial]:
        """The trials that hold an attempt, the oldest first."""
        return list(self._trials)

    def end(self) -> None:
        """Forget the trials that are still out."""
        self._trials.clear()

    def snapshot(self, now: float) -> HalfOpenSnapshot:
        """The period as it is at `now`."""
        left = tuple(trial.deadline - now for trial in self._trials)
        return HalfOpenSnapshot(self.opened.snapshot(now), self.finished, self.successes, left)

    def restore(self, snapshot: HalfOpenSnapshot, now: float) -> None:
        """Go on from `snapshot`, in a period that has admitted no trial yet."""
        self.finished, self.successes = snapshot.finished, snapshot.successes
        for left in snapshot.trials:
            self._lend(now + left)


Admission = Closed | Trial
"""What a call is admitted with, and settles with."""

Period = Closed | Open | HalfOpen


def opened_by(period: Period) -> Open | None:
    """The open period that `period` is, or followed."""
    if isinstance(period, HalfOpen):
        return period.opened
    return period if isinstance(period, Open) else None
