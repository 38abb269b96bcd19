"""The transition engine: which calls are admitted, and what their ends do to the circuit.

    CLOSED ── the policy says so ──> OPEN ── a call comes after `until` ──> HALF_OPEN ── enough successes ──> CLOSED
                                      ^                                        │
                                      └──────────── a trial fails ─────────────┘

Time comes in as an argument and transitions go out as values. Nothing here locks, waits, logs or reads a clock. The
caller holds one lock around every method, except for those that say they need none.
"""

from __future__ import annotations

import math
from itertools import count
from typing import NamedTuple, Protocol

from .._values import counted, format_seconds
from ..events import CircuitState, Hold, LastFailure
from .periods import NOT_YET, Admission, Closed, HalfOpen, Open, Period, Trial, opened_by, total
from .snapshot import ClosedSnapshot, EngineSnapshot, HalfOpenSnapshot, OpenSnapshot
from .watches import Outcome, SparseWatch

__all__ = ["Engine", "Refusal", "Rules", "Transition", "forces"]


class Transition(NamedTuple):
    """The circuit moved."""

    old: CircuitState
    new: CircuitState
    reason: str
    at: float
    retry_after: float
    last_failure: LastFailure | None
    origin: str = ""
    """The process that decided it, if that was another one."""


Refusal = tuple[Period, float, Hold | None]
"""Why a call is refused: the period it met, the seconds until another may be admitted, and the hold."""


class Rules(Protocol):
    """What the engine asks of the configuration."""

    def watch(self) -> SparseWatch:
        """A watch for a new closed period."""
        ...

    def open_for(self, round_: int, error: BaseException | None) -> float:
        """Seconds that the open period of this round lasts, 1 being the first since the circuit was closed.

        `error` is what the call raised that opened it.
        """
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
        self.bypass: Closed | None = None  # what calls join that only a hold admits; the policy never sees them
        self.hold: Hold | None = None
        self.rejections: count[int] = count(1)  # the number of the next one
        self.shadow_rejections: int = 0
        self.failures: int = 0
        self.ignored: int = 0
        self.last_failure: LastFailure | None = None
        self._successes = 0  # those of periods that ended, and of trials
        self._last_success = NOT_YET
        self._failure_streak = 0  # of the last closed period and the trials since, while the circuit is not closed

    # Which calls are admitted

    def decide(self, now: float) -> Closed | Refusal | None:
        """The period that a call joins at `now`, or why it is refused; `None` if only `admit` can say, under the lock.

        Needs no lock: joining changes nothing, and an open period does not change while it lasts.
        """
        hold, period = self.hold, self.period  # The hold first: reset() sets the period before it lifts the hold.
        if type(period) is Open and (hold is None or hold is Hold.SHADOW):
            return (period, period.until - now, hold) if now < period.until else None
        if hold is Hold.FORCED_OPEN:
            return period, math.inf, hold
        if isinstance(period, Closed):
            return period
        return self.bypass if hold is Hold.FORCED_CLOSED else None

    def admit(self, now: float) -> tuple[Admission | Refusal, Transition | None]:
        """What one call settles with, or why it is refused; and the transition, if this made one."""
        decided = self.decide(now)
        if decided is not None:
            return decided, None
        change = self._half_open(self.period, now) if isinstance(self.period, Open) else None
        trial = self.period.admit(now) if isinstance(self.period, HalfOpen) else None
        return trial or (self.period, self.wait(now), self.hold), change

    def count_shadow_rejection(self) -> None:
        """Count a call that ran in shadow and would otherwise have been refused."""
        self.shadow_rejections += 1

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted: 0 for now, `inf` if that is unknown."""
        if self.hold is Hold.FORCED_OPEN:
            return math.inf
        if isinstance(self.period, HalfOpen):
            return self.period.wait(now)
        return max(0.0, self.period.until - now) if isinstance(self.period, Open) else 0.0

    # A clock that is set back

    def is_ahead(self, now: float) -> bool:
        """Whether something was measured here after `now`, which a monotonic clock does not allow."""
        return now < self.period.since or now < (self.last_success_at or NOT_YET)

    def set_back(self, now: float) -> None:
        """Go on by a clock that has been set back to `now`: nothing that was measured later keeps the circuit waiting.

        An open period begins anew, a trial keeps its attempt no longer than the timeout, and windows of time are empty.
        """
        self.period.set_back(now)
        self._last_success = min(self._last_success, now)
        if self.bypass is not None:
            self.bypass.set_back(now)

    # How calls end

    def observe(self, period: Closed, number: int, now: float, duration: float) -> Transition | None:
        """Take a success with this number in `period` that the policy wants to see, or that came late."""
        if number > period.final:
            self._count_success(now)
        if period is not self.period:
            return None  # The circuit moved on while this call was in flight.
        reason = period.see(Outcome(number, now, False, 0, duration))
        return self._open(now, reason, None, slow_trial=period.watch.slow_trial) if reason else None

    def succeed(self, trial: Trial, now: float, duration: float) -> Transition | None:
        """End a trial in success. If it was too slow, it opens again what slow calls opened (E12)."""
        self._count_success(now)
        if not self._counts(trial):
            return None
        period = trial.period
        if duration > period.opened.slow_trial:
            return self._open_after_slow_trial(period, now, duration)
        period.succeed(trial)
        self._failure_streak = 0
        return self._close(now, f"{counted(period.successes, 'trial')} succeeded", self.hold) if period.enough else None

    def fail(
        self, admission: Admission, now: float, duration: float, failure: LastFailure, error: BaseException | None
    ) -> Transition | None:
        """End a call in failure."""
        self.failures += 1
        self.last_failure = failure
        if isinstance(admission, Trial):
            return self._fail_trial(admission, now, failure, error)
        if admission is not self.period:
            return None  # The circuit moved on while this call was in flight.
        reason = admission.fail(now, duration, error)
        return self._open(now, reason, error, slow_trial=admission.watch.slow_trial) if reason else None

    def _fail_trial(
        self, trial: Trial, now: float, failure: LastFailure, error: BaseException | None
    ) -> Transition | None:
        if not self._counts(trial):
            return None
        self._failure_streak += 1
        return self._open(now, f"a trial failed: {failure}", error)

    def release(self, admission: Admission, now: float, duration: float) -> Transition | None:
        """End a call without a verdict. If it was given up after `duration` seconds, that may have been slow (E12)."""
        self.ignored += 1
        if isinstance(admission, Trial):
            return self._release_trial(admission, now, duration)
        if admission is not self.period or duration <= admission.slower_than:
            return None
        reason = admission.give_up(now, duration)
        return self._open(now, reason, None, slow_trial=admission.watch.slow_trial) if reason else None

    def _release_trial(self, trial: Trial, now: float, duration: float) -> Transition | None:
        period = trial.period
        if duration > period.opened.slow_trial and period is self.period and not forces(self.hold):
            return self._open_after_slow_trial(period, now, duration)
        period.release(trial)
        return None

    def _open_after_slow_trial(self, period: HalfOpen, now: float, duration: float) -> Transition:
        took, most = format_seconds(duration), format_seconds(period.opened.slow_trial)
        return self._open(now, f"a trial took {took} s, more than {most} s", None)

    def _counts(self, trial: Trial) -> bool:
        """Whether the trial's verdict changes the circuit: its period lasts and no hold forces the circuit (M2)."""
        if forces(self.hold):
            trial.period.release(trial)
            return False
        return trial.period is self.period

    def _count_success(self, now: float) -> None:
        self._successes += 1
        self._last_success = max(self._last_success, now)

    # Control

    def open(self, length: float | None, now: float) -> Transition | None:
        """Open as a trip would; do nothing if it is open. With `length`, open for that many seconds from now anyway.

        A circuit that was open stays so, and there is no transition to publish.
        """
        if length is None:
            return None if isinstance(self.period, Open) else self._open(now, "open() was called", None)
        change = self._open(now, f"open({format_seconds(length)}) was called", None, length)
        return change if change.old is not CircuitState.OPEN else None

    def half_open(self, now: float) -> Transition | None:
        """Begin the half-open period, without a call, if the wait of an open one is over."""
        opened = self.period
        return self._half_open(opened, now) if isinstance(opened, Open) and now >= opened.until else None

    def reset(self, now: float) -> Transition | None:
        """Close, and forget counts, holds and growth."""
        # First the period, then the hold: a call that no longer sees the hold must see the closed period.
        change = self._close(now, "reset() was called", None)
        self._set_hold(None)
        return change if change.old is not CircuitState.CLOSED else None

    def force(self, hold: Hold, now: float) -> None:
        """Hold the circuit until `reset()` (M2). The state stays; a forced closed period begins anew, unwatched."""
        was_forced = forces(self.hold)
        self._set_hold(hold)
        if isinstance(self.period, Closed) and (was_forced or forces(hold)):
            self._close(now, hold.value, hold)  # The state stays, so there is no transition to publish.

    def _set_hold(self, hold: Hold | None) -> None:
        old, bypass = self.bypass, _bypass_under(hold)
        if old is not None:
            self._successes, self._last_success, _ = self._end(old)
        # Nothing is called from here on, so no interrupt comes between.
        self.bypass = bypass or old  # While a hold can be seen that needs one, there is one.
        self.hold = hold
        self.bypass = bypass

    def time_calls(self, timed: bool) -> None:
        """Have calls ask for permits even when closed, because a listener needs to know how long they take."""
        self._timed = timed
        self.refresh()

    def refresh(self) -> None:
        """Copy the watch's thresholds to the period."""
        if isinstance(self.period, Closed):
            self.period.refresh()
            self.period.needs_permit = self._needs_permits(self.hold) or self.period.slower_than < math.inf

    def _needs_permits(self, hold: Hold | None) -> bool:
        return self._timed or hold is Hold.FORCED_OPEN

    # Transitions

    def _open(
        self,
        now: float,
        reason: str,
        error: BaseException | None,
        length: float | None = None,
        slow_trial: float = math.inf,
    ) -> Transition:
        """Open for `length` seconds, or as the rules say. What slow calls opened stays so until it closes."""
        before = opened_by(self.period)
        round_ = 1 if before is None else before.round + isinstance(self.period, HalfOpen)
        slow_trial = slow_trial if before is None else before.slow_trial
        length = self._rules.open_for(round_, error) if length is None else length
        return self._move(Open(now, length, reason, self.last_failure, round_, slow_trial), now, reason)

    def _half_open(self, opened: Open, now: float) -> Transition | None:
        period = self._rules.half_open(opened, now)
        return None if period is None else self._move(period, now, f"{format_seconds(opened.length)} s have passed")

    def _close(self, now: float, reason: str, hold: Hold | None) -> Transition:
        return self._move(self.new_closed(hold), now, reason)

    def follow(
        self, period: Period, hold: Hold | None, now: float, reason: str, failure: LastFailure | None, origin: str
    ) -> Transition | None:
        """Begin `period`, which another process decided. Return no transition if the state stays what it is."""
        change = self._move(period, now, reason)
        if failure is not None:
            self.last_failure = failure
        if hold is not self.hold:
            self._set_hold(hold)
        return None if change.old is change.new else change._replace(last_failure=failure, origin=origin)

    def trip(self, period: Closed, now: float, reason: str) -> Transition | None:
        """Open because the policy says so by what other processes saw; do nothing if `period` is over."""
        return self._open(now, reason, None, slow_trial=period.watch.slow_trial) if period is self.period else None

    def new_closed(self, hold: Hold | None) -> Closed:
        """A closed period under `hold`."""
        return Closed(SparseWatch() if forces(hold) else self._rules.watch(), self._needs_permits(hold))

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
        """End `period`. Return all successes with its own, the last of them, and the failures in a row at its end."""
        try:
            successes, streak = period.end()
            return self._successes + successes, max(self._last_success, period.last_success), streak
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

    def _living(self) -> list[Closed]:
        return [period for period in (self.period, self.bypass) if isinstance(period, Closed)]

    @property
    def failure_streak(self) -> int:
        """Consecutive failures."""
        return self.period.streak if isinstance(self.period, Closed) else self._failure_streak

    def next_attempt(self, now: float) -> float | None:
        """When the next trial may be admitted; `None` if calls are admitted now or that is unknown."""
        if forces(self.hold):
            return None
        if isinstance(self.period, Open):
            return self.period.until
        wait = self.wait(now)
        return now + wait if wait > 0 else None

    @property
    def trial_successes(self) -> int:
        """Successful trials of the present half-open period."""
        return self.period.successes if isinstance(self.period, HalfOpen) else 0

    # Snapshots

    def snapshot(self, now: float) -> EngineSnapshot:
        """All that this engine knows at `now`, as plain values."""
        last_success = self.last_success_at
        return EngineSnapshot(
            self.period.snapshot(now),
            self.hold,
            self.failure_streak,
            self.successes,
            self.failures,
            self.ignored,
            total(self.rejections),
            self.shadow_rejections,
            None if last_success is None else now - last_success,
            self.last_failure,
        )

    def restore(self, snapshot: EngineSnapshot, now: float) -> None:
        """Go on at `now` from `snapshot`, by this engine's own rules, which say all that follows from it.

        Calls in flight belong to periods that have ended. Nothing is published. The user's own policies begin anew.
        """
        self._move(self._restored(snapshot.period, snapshot.hold, now), now, "restored")
        self._set_hold(snapshot.hold)
        self._failure_streak = snapshot.failure_streak
        self._successes = snapshot.successes - sum(period.successes for period in self._living())
        self._last_success = NOT_YET if snapshot.last_success is None else now - snapshot.last_success
        self.failures, self.ignored = snapshot.failures, snapshot.ignored
        self.rejections, self.shadow_rejections = count(snapshot.rejections + 1), snapshot.shadow_rejections
        self.last_failure = snapshot.last_failure

    def _restored(
        self, period: ClosedSnapshot | OpenSnapshot | HalfOpenSnapshot, hold: Hold | None, now: float
    ) -> Period:
        if isinstance(period, ClosedSnapshot):
            closed = self.new_closed(hold)
            closed.restore(period, now)
            return closed
        if isinstance(period, OpenSnapshot):
            return Open.restored(period, now)
        opened = Open.restored(period.opened, now)
        half_open = self._rules.half_open(opened, now)
        if half_open is not None:
            half_open.restore(period, now)
        return half_open or opened

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: a thread that does not exist here may have been ending a period, which goes on (E9)."""
        for period in self._living():
            period.resume()


def forces(hold: Hold | None) -> bool:
    """Whether `hold` decides about calls in place of the state."""
    return hold is Hold.FORCED_OPEN or hold is Hold.FORCED_CLOSED


def _bypass_under(hold: Hold | None) -> Closed | None:
    return None if hold is None or hold is Hold.FORCED_OPEN else Closed(SparseWatch())
