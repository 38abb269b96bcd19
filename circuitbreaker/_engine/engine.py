"""THE transition engine: which calls may go, and what their ends do to the circuit.

    CLOSED ── the policy says so ──> OPEN ── a call comes after `until` ──> HALF_OPEN ── enough successes ──> CLOSED
                                      ^                                        │
                                      └──────────── a trial fails ─────────────┘

Time comes in as an argument and transitions go out as values. Nothing here locks, waits, logs or reads a clock. The
caller holds one lock around every method, but for those that say that they need none.
"""

from __future__ import annotations

import math
from itertools import count
from typing import NamedTuple, Protocol

from .._values import format_seconds
from ..events import CircuitState, Hold, LastFailure
from .periods import NOT_YET, Admission, Closed, HalfOpen, Open, Period, Trial
from .watches import Outcome, SparseWatch

__all__ = ["Engine", "Refusal", "Rules", "Transition"]


class Transition(NamedTuple):
    """The circuit moved."""

    old: CircuitState
    new: CircuitState
    reason: str
    at: float
    retry_after: float
    last_failure: LastFailure | None
    origin: str = ""
    """Which process decided it, if that was another one."""


Refusal = tuple[Period, float, Hold | None]
"""Why a call is refused: the period it met, the seconds until another may be admitted, and the hold."""


class Rules(Protocol):
    """What the engine asks of the user's configuration."""

    successes_to_close: int

    def watch(self) -> SparseWatch:
        """A watch for a new closed period."""
        ...

    def open_for(self, opening: int, error: BaseException | None) -> float:
        """The seconds that the `opening`th open period since the circuit was closed lasts; `error` caused it."""
        ...

    def half_open(self, opened: Open, now: float) -> HalfOpen | None:
        """The half-open period that follows `opened`, if it may begin now."""
        ...


class Engine:
    """The state of one circuit, and the totals of its life."""

    __slots__ = (
        "_failure_streak",
        "_last_success",
        "_rules",
        "_successes",
        "_timed",
        "bypass",
        "failures",
        "hold",
        "ignored",
        "last_failure",
        "period",
        "rejections",
        "shadow_rejections",
    )

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._timed = False
        self.period: Period = Closed(rules.watch())
        self.bypass: Closed | None = None  # what a call joins that runs only because of a hold, and that nobody judges
        self.hold: Hold | None = None
        self.rejections: count[int] = count(1)  # the number of the next one
        self.shadow_rejections: int = 0
        self.failures: int = 0
        self.ignored: int = 0
        self.last_failure: LastFailure | None = None
        self._successes = 0  # those of periods that ended, and of trials
        self._last_success = NOT_YET
        self._failure_streak = 0  # as far as it goes back beyond the closed period

    # Which calls may go

    @property
    def joinable(self) -> Closed | None:
        """The period that a call may join just so. Needs no lock: joining changes nothing."""
        period, hold = self.period, self.hold
        if hold is Hold.FORCED_CLOSED:
            return period if isinstance(period, Closed) else self.bypass
        return period if isinstance(period, Closed) and hold is not Hold.FORCED_OPEN else None

    def refusal(self, now: float) -> Refusal | None:
        """Why a call at `now` is refused for certain, if so. Needs no lock: an open period does not change."""
        hold, period = self.hold, self.period  # in this order: see reset()
        if type(period) is Open and now < period.until and (hold is None or hold is Hold.SHADOW):
            return period, period.until - now, hold
        return (period, math.inf, hold) if hold is Hold.FORCED_OPEN else None

    def admit(self, now: float) -> tuple[Admission | Refusal, Transition | None]:
        """What one call settles with, or why it is refused; and the transition, if this made one."""
        admitted = self.joinable or self.refusal(now)
        if admitted is not None:
            return admitted, None
        change = self._half_open(self.period, now) if isinstance(self.period, Open) else None
        trial = self.period.admit(now) if isinstance(self.period, HalfOpen) else None
        return trial or (self.period, self.wait(now), self.hold), change

    def count_shadow_rejection(self) -> None:
        """In shadow, a call ran that would otherwise have been refused."""
        self.shadow_rejections += 1

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted: 0 for now, `inf` if nobody can tell."""
        if self.hold is Hold.FORCED_OPEN:
            return math.inf
        if isinstance(self.period, HalfOpen):
            return self.period.wait(now)
        return max(0.0, self.period.until - now) if isinstance(self.period, Open) else 0.0

    # How calls end

    def observe(self, period: Closed, number: int, now: float, duration: float) -> Transition | None:
        """Take in a success that took `number` in `period` and that the policy wants to see, or that came late."""
        if number > period.final:
            self._count_success(now)
        if period is not self.period:
            return None  # The circuit moved on while this call was in flight.
        reason = period.see(Outcome(number, now, False, 0, duration))
        return self._open(now, reason, None) if reason else None

    def succeed(self, trial: Trial, now: float) -> Transition | None:
        """A trial ended in success."""
        self._count_success(now)
        if not self._counts(trial):
            return None
        trial.period.succeed(trial)
        self._failure_streak = 0
        if trial.period.successes < self._rules.successes_to_close:
            return None
        return self._close(now, f"{_number(trial.period.successes, 'trial')} succeeded", self.hold)

    def fail(
        self, admission: Admission, now: float, duration: float, failure: LastFailure, error: BaseException | None
    ) -> Transition | None:
        """A call ended in failure."""
        self.failures += 1
        self.last_failure = failure
        if isinstance(admission, Trial):
            return self._fail_trial(admission, now, failure, error)
        if admission is not self.period:
            return None  # The circuit moved on while this call was in flight.
        reason = admission.fail(now, duration)
        return self._open(now, reason, error) if reason else None

    def _fail_trial(
        self, trial: Trial, now: float, failure: LastFailure, error: BaseException | None
    ) -> Transition | None:
        if not self._counts(trial):
            return None
        self._failure_streak += 1
        return self._open(now, f"a trial failed: {failure}", error)

    def release(self, admission: Admission) -> None:
        """A call ended without a verdict."""
        self.ignored += 1
        if isinstance(admission, Trial):
            admission.period.release(admission)

    def _counts(self, trial: Trial) -> bool:
        """Whether the trial's verdict changes the circuit: its period lasts and nobody forces the circuit (M2)."""
        if self._forced:
            trial.period.release(trial)
            return False
        return trial.period is self.period

    def _count_success(self, now: float) -> None:
        self._successes += 1
        self._last_success = max(self._last_success, now)

    # Control

    def open(self, now: float) -> Transition | None:
        """Open as a trip would; nothing if it is open."""
        return None if isinstance(self.period, Open) else self._open(now, "open() was called", None)

    def reset(self, now: float) -> Transition | None:
        """Close, and forget counts, holds and growth."""
        # First the period, then the hold: a call that sees no hold any more shall see the closed period.
        change = self._close(now, "reset() was called", None)
        self._set_hold(None)
        return change if change.old is not CircuitState.CLOSED else None

    def force(self, hold: Hold) -> None:
        """Hold the circuit until `reset()` (M2). The state stays; a forced closed period begins anew, unwatched."""
        was_forced = self._forced
        self._set_hold(hold)
        if isinstance(self.period, Closed) and (was_forced or self._forced):
            self._close(0.0, hold.value, hold)  # No transition: nobody is told.

    def _set_hold(self, hold: Hold | None) -> None:
        old, beside = self.bypass, None if hold is None or hold is Hold.FORCED_OPEN else Closed(SparseWatch())
        if old is not None:
            self._successes, self._last_success, _ = self._end(old)
        # Nothing is called from here on, so no interrupt comes between.
        self.bypass = beside or old  # While a hold can be seen that needs one, there is one.
        self.hold = hold
        self.bypass = beside

    def time_calls(self, timed: bool) -> None:
        """Whether calls must ask for admission even when closed, because somebody wants to know how long they take."""
        self._timed = timed
        self.refresh()

    def refresh(self) -> None:
        """Ask of calls what the policy's watch asks for now."""
        if isinstance(self.period, Closed):
            self.period.refresh()
            self.period.needs_permit = self._closed_asks(self.hold) or self.period.slower_than < math.inf

    def _closed_asks(self, hold: Hold | None) -> bool:
        return self._timed or hold is Hold.FORCED_OPEN

    @property
    def _forced(self) -> bool:
        return _forces(self.hold)

    # Transitions

    def _open(self, now: float, reason: str, error: BaseException | None) -> Transition:
        before = self.period.opened.round if isinstance(self.period, HalfOpen) else 0
        length = self._rules.open_for(before + 1, error)
        return self._move(Open(now, length, reason, self.last_failure, before + 1), now, reason)

    def _half_open(self, opened: Open, now: float) -> Transition | None:
        period = self._rules.half_open(opened, now)
        return None if period is None else self._move(period, now, f"{format_seconds(opened.length)} s have passed")

    def _close(self, now: float, reason: str, hold: Hold | None) -> Transition:
        change = self._move(self.new_closed(hold), now, reason)
        self._failure_streak = 0
        return change

    def follow(
        self, period: Period, hold: Hold | None, now: float, reason: str, failure: LastFailure | None, origin: str
    ) -> Transition | None:
        """Begin `period`, which was decided elsewhere; no transition if the state stays what it is."""
        change = self._move(period, now, reason)
        if isinstance(period, Closed):
            self._failure_streak = 0
        if failure is not None:
            self.last_failure = failure
        if hold is not self.hold:
            self._set_hold(hold)
        return None if change.old is change.new else change._replace(last_failure=failure, origin=origin)

    def trip(self, period: Closed, now: float, reason: str) -> Transition | None:
        """Open, for the policy says so by what it learned elsewhere; nothing if `period` is over."""
        return self._open(now, reason, None) if period is self.period else None

    def new_closed(self, hold: Hold | None) -> Closed:
        """A closed period for `follow`, under `hold`."""
        return Closed(SparseWatch() if _forces(hold) else self._rules.watch(), self._closed_asks(hold))

    def _move(self, period: Period, now: float, reason: str) -> Transition:
        """Begin `period`. The one place where the state changes."""
        old = self.period
        if isinstance(old, Closed):
            self._successes, self._last_success, self._failure_streak = self._end(old)
        # Nothing is called between these lines, so no interrupt comes between them.
        self.period = period
        if isinstance(old, HalfOpen):
            old.end()
        retry_after = period.length if isinstance(period, Open) else 0.0
        return Transition(old.state, period.state, reason, now, retry_after, self.last_failure)

    def _end(self, period: Closed) -> tuple[int, float, int]:
        """End `period`; return all successes with it, the last of them, and the failures in a row at its end."""
        try:
            period.end()
            last = max(self._last_success, period.last_success)
            return self._successes + period.successes, last, period.streak
        except BaseException:  # an interrupt: the period goes on
            period.resume()
            raise

    # What can be read

    @property
    def successes(self) -> int:
        """Successes in all."""
        return self._successes + sum(period.successes for period in self._living())

    @property
    def last_success_at(self) -> float | None:
        """When the last success ended, if there was one."""
        last = max([self._last_success, *(period.last_success for period in self._living())])
        return last if last > NOT_YET else None

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: a thread that is not here may have been at the end of a period, which goes on (E9)."""
        for period in self._living():
            period.resume()

    def _living(self) -> list[Closed]:
        return [period for period in (self.period, self.bypass) if isinstance(period, Closed)]

    @property
    def failure_streak(self) -> int:
        """Consecutive failures."""
        return self.period.streak if isinstance(self.period, Closed) else self._failure_streak

    def next_attempt(self, now: float) -> float | None:
        """When the next trial may go; `None` if calls are admitted now or nobody can tell."""
        if self._forced:
            return None
        if isinstance(self.period, Open):
            return self.period.until
        wait = self.wait(now)
        return now + wait if wait > 0 else None

    @property
    def trial_successes(self) -> int:
        """Successful trials of the present half-open period."""
        return self.period.successes if isinstance(self.period, HalfOpen) else 0


def _forces(hold: Hold | None) -> bool:
    return hold is Hold.FORCED_OPEN or hold is Hold.FORCED_CLOSED


def _number(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"
