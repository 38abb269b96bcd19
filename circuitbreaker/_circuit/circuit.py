"""A lock, a clock and listeners around one engine: what every way into a breaker goes through.

The way of a call: `admit` hands out a permit; the call runs, with nothing held; `settle` has the engine take its end,
one change at a time; then listeners are notified. A call that finds a closed period that needs no permit may join it
without one, and settles by `settle_joined`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .._engine.engine import Engine, Refusal, Transition
from .._engine.periods import Admission, Closed, HalfOpen, Open, Trial, ended, opened_by
from .._fork import renew_in_child
from .._sharing import Membership
from ..clock import Clock, ManualClock, SystemClock, moment
from ..errors import CircuitOpenError
from ..events import (
    CallFailed,
    CallIgnored,
    CallRejected,
    CallSucceeded,
    Event,
    EventName,
    Hold,
    Metrics,
    StateChange,
    StoreChange,
)
from ..options import Settings
from ..outcomes import NO_RESULT, Outcomes, Verdict
from ..permit import Permit, is_within_trial
from . import readings
from .listeners import Listener, Listeners
from .rules import LocalRules
from .turns import Turns
from .user_clock import UserClock
from .user_code import UserCode

__all__ = ["Circuit"]

_NO_SUCCESS = (-math.inf, datetime.min)


class Circuit:
    """The inside of one breaker. All it knows of calls is that they begin and end."""

    __slots__ = (
        "__weakref__",
        "circuit_id",
        "clock",
        "engine",
        "fallback",
        "last_success",
        "listeners",
        "membership",
        "name",
        "outcomes",
        "turns",
        "user_code",
    )

    def __init__(self, name: str, settings: Settings) -> None:
        self.name: str = name
        self.circuit_id: int = _new_id()
        self.outcomes: Outcomes = settings.outcomes
        self.fallback: Callable[..., Any] | None = settings.fallback
        self.last_success: tuple[float, datetime] = _NO_SUCCESS  # by the monotonic clock, and as it was read as a date
        self.user_code: UserCode = UserCode(name)
        self.turns: Turns = Turns()
        self.clock: Clock = _guarded_clock(settings.clock, self.user_code, self.turns)
        rules, store = LocalRules(settings, self.user_code, self.clock), settings.store
        self.membership: Membership | None = None if store is None else store.attach(self, rules, settings)
        self.engine: Engine = Engine(rules if self.membership is None else self.membership.rules())
        self.listeners: Listeners = Listeners(self.user_code)
        self._ask_for_permits()
        renew_in_child(self)

    # How a call begins

    def admit(self, enter: bool = True) -> Permit | Refusal:
        """A permit, or why there is none. Never blocks. `enter`: as `Permit.enter`."""
        now, engine = self.clock.monotonic(), self.engine
        if self.membership is not None and self.membership.unused:
            self.membership.begin(engine)
        if self.turns.later:
            self.turns.catch_up()
        period: Any = engine.period  # Any: a period that needs no permit is a closed one
        decided: Closed | Refusal | None = engine.decide(now) if period.needs_permit else period
        if decided is None:
            return self._admit_trial(now, enter)
        return Permit(self, decided, now) if isinstance(decided, Closed) else self._refuse(decided, now)

    def _admit_trial(self, now: float, enter: bool) -> Permit | Refusal:
        """Ask the engine, in a turn. Inside a step a call cannot wait for its turn, so it gets no trial."""
        engine = self.engine
        if isinstance(engine.period, HalfOpen) and is_within_trial(engine.period, now):
            return Permit(self, ended(), now)  # It rides on that: what it ends with is counted, and decides nothing.
        admitted: Admission | Refusal | None = None if self.turns.inside else self.turns.run(self._apply_admit, now)
        if admitted is None:
            admitted = engine.period, engine.wait(now), engine.hold
        if isinstance(admitted, tuple):
            return self._refuse(admitted, now)
        permit = Permit(self, admitted, now)
        try:
            self.publish_pending()
        except BaseException:  # an interrupt: the call will not take place
            permit.release()
            raise
        if enter and isinstance(admitted, Trial):
            permit.enter()
        return permit

    def _apply_admit(self, now: float) -> Admission | Refusal:
        admitted, change = self.engine.admit(now)
        if change is not None and "state_change" in self.listeners.by_event:
            self._queue(change)
        return admitted

    def _refuse(self, refusal: Refusal, now: float) -> Permit | Refusal:
        """Count a refusal and return it; in shadow, let the call pass."""
        if refusal[2] is not None and refusal[2] is Hold.SHADOW:
            return self._pass_in_shadow(refusal, now)
        next(self.engine.rejections)
        if now < refusal[0].since:
            refusal = self._refuse_by_new_time(refusal)
        if self.listeners.by_event:
            self._notify_rejected(refusal, in_shadow=False)
        return refusal

    def _refuse_by_new_time(self, refusal: Refusal) -> Refusal:
        """Refuse in a period that began after the call, or before the clock was set back."""
        self.turns.run(self._check_clock)
        period, _, hold = refusal
        return period, self.engine.wait(self.clock.monotonic()), hold

    def check_clock(self) -> None:
        """If the clock was set back, have the engine go on from there (E4)."""
        if self.engine.is_ahead(self.clock.monotonic()):
            self.turns.run(self._check_clock)

    def _check_clock(self) -> None:
        # Read in a turn: steps come in any order of their times, but all of those were read before this one.
        now = self.clock.monotonic()
        if self.engine.is_ahead(now):
            self.engine.set_back(now)

    def _pass_in_shadow(self, refusal: Refusal, now: float) -> Permit | Refusal:
        """Count what would have been a refusal, and let the call join the bypass."""
        bypass = self.engine.bypass
        if bypass is None:
            return self.admit()  # pragma: no cover - a race, which test_schedules.py runs: no shadow any more
        self.turns.run(self.engine.count_shadow_rejection)
        self._notify_rejected(refusal, in_shadow=True)
        return Permit(self, bypass, now)

    def refuse(self, refusal: Refusal, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a refused call returns in place of its own result: that of the fallback. Raises if there is none."""
        if self.fallback is None:
            raise self.error(refusal)
        return self.fallback(*args, **kwargs)

    def error(self, refusal: Refusal) -> CircuitOpenError:
        """The error of a refused call."""
        period, retry_after, hold = refusal
        opened = period if type(period) is Open else opened_by(period)
        if opened is None:
            return CircuitOpenError(self.name, period.state, retry_after, "", None, None, hold, self.circuit_id)
        since = opened.moment or readings.opened_at(opened, self.clock)
        return CircuitOpenError(
            self.name, period.state, retry_after, opened.reason, since, opened.last_failure, hold, self.circuit_id
        )

    # How a call ends

    def judge(self, error: BaseException | None, result: object) -> Verdict:
        """The verdict on a call that raised `error` or returned `result`; failure if a predicate cannot tell (E4)."""
        if error is None:
            if result is NO_RESULT or self.outcomes.is_failure_result is None:
                return Verdict.SUCCESS
            return self.user_code("is_failure_result", Verdict.FAILURE, self.outcomes.of_result, result)
        judge = self.outcomes.of_error
        return self.user_code("is_failure or ignore", Verdict.FAILURE, judge, error, self.circuit_id)

    def ignores(self, error: BaseException) -> bool:
        """Whether `error` says nothing about the dependency; no, if a predicate cannot tell (E4)."""
        return self.user_code("ignore", False, self.outcomes.ignores, error, self.circuit_id)

    def settle_joined(self, period: Closed, error: BaseException | None) -> None:
        """End a call that joined `period` without a permit. Its end is no event."""
        if error is None:
            self._succeed(period, self.clock.monotonic(), 0.0)
            return
        verdict = Verdict.IGNORED  # if an exit from outside comes while it is judged
        try:
            verdict = self.judge(error, NO_RESULT)
        finally:
            self.settle(period, None, verdict, error)

    def settle(
        self,
        admission: Admission,
        started: float | None,
        verdict: Verdict,
        error: BaseException | None = None,
        result: object = NO_RESULT,
        stopped: float | None = None,
    ) -> None:
        """End a call that began at `started`, or that joined without a permit if that is `None`.

        Its duration ended at `stopped` if that is given, and otherwise ends now.
        """
        now, engine = self.clock.monotonic(), self.engine
        duration = 0.0 if started is None else (now if stopped is None else stopped) - started
        if verdict is Verdict.SUCCESS:
            if isinstance(admission, Closed):
                self._succeed(admission, now, duration)
            else:
                self.turns.run(self._apply, engine.succeed, admission, now, duration)
        elif verdict is Verdict.FAILURE:
            failure = readings.sum_up(self.user_code, self.clock, error, result)
            if now < engine.period.since:
                self.turns.run(self._check_clock)
            self.turns.run(self._apply, engine.fail, admission, now, duration, failure, error)
        else:
            # A generator is closed while its consumer has its turn, and a release says nothing: neither was given up.
            given_up = error is not None and not isinstance(error, GeneratorExit)
            self.turns.run(self._apply, engine.release, admission, now, duration if given_up else 0.0)
        if started is not None and self.listeners.by_event:
            self._notify_ended(verdict, duration, error)
        self.publish_pending()

    def _succeed(self, period: Closed, now: float, duration: float) -> None:
        """End a call of a closed period in success: without the lock, unless the policy wants to see it."""
        period.last_success = now
        if duration > period.slower_than:
            self.turns.run(self._observe_slow, period, now, duration)
        elif (number := next(period.tally)) >= period.next_number or now >= period.next_time:
            self.observe(period, number, now)

    def observe(self, period: Closed, number: int, now: float) -> None:
        """Show the policy a success that it wants to see, or count one that came late."""
        self._change(self.engine.observe, period, number, now, 0.0)

    def _observe_slow(self, period: Closed, now: float, duration: float) -> None:
        # Its number is taken under the lock: slow calls must come to the policy in their order.
        self._apply(self.engine.observe, period, next(period.tally), now, duration)

    # How it changes, and who is notified

    def _change(self, step: Callable[..., Transition | None], *args: object) -> None:
        """Have the engine take one step, in a turn, and publish what came of it."""
        self.turns.run(self._apply, step, *args)
        self.publish_pending()

    def _apply(self, step: Callable[..., Transition | None], *args: object) -> None:
        change = step(*args)
        if change is not None and "state_change" in self.listeners.by_event:
            self._queue(change)
        outside = self.user_code.exit
        if outside is not None:  # It waited until the step was complete.
            self.user_code.exit = None
            raise outside

    def _queue(self, change: Transition) -> None:
        at = moment(self.clock, change.at)
        self.listeners.queue("state_change", StateChange(self.name, *change[:3], at, *change[4:]))

    def publish_pending(self) -> None:
        """Publish the transitions that are queued, and log what the user's code raised, once no lock is held."""
        if (self.listeners.queued or self.user_code.raised) and not self.turns.inside:
            self.listeners.publish()
            self.user_code.log()

    def _notify_rejected(self, refusal: Refusal, in_shadow: bool) -> None:
        period, retry_after, _ = refusal
        opened = opened_by(period)
        reason = opened.reason if opened else ""
        self._notify("rejected", CallRejected, period.state, retry_after, reason, in_shadow)
        self.publish_pending()

    def _notify_ended(self, verdict: Verdict, duration: float, error: BaseException | None) -> None:
        if verdict is Verdict.SUCCESS:
            self._notify("success", CallSucceeded, duration)
        elif verdict is Verdict.FAILURE:
            self._notify("failure", CallFailed, duration, error)
        else:
            self._notify("ignored", CallIgnored, duration, error)

    def _notify(self, event: EventName, make: Callable[..., Event], *fields: object) -> None:
        """Notify of a call at once, or after the step that this thread is in."""
        if event not in self.listeners.by_event:
            return
        if self.turns.inside:
            self.listeners.queue(event, make(self.name, *fields))
        else:
            self.listeners.notify(event, make(self.name, *fields))

    # Overrides, and what the fleet decided

    def override(self, step: Callable[..., Transition | None], *args: object) -> None:
        """Have the engine do what a person ordered, and share that with the fleet."""
        self.turns.run(self._apply, step, *args, self.clock.monotonic())
        if self.membership is not None:
            self.turns.run(self.membership.share_override, self.engine)
        self.publish_pending()

    def follow(self, step: Callable[[float], Transition | None]) -> None:
        """Have the engine do what the fleet decided."""
        self._change(step, self.clock.monotonic())

    def store_changed(self, reachable: bool, error: str) -> None:
        """Notify that the store can be reached again, or no longer."""
        self._notify("store", StoreChange, reachable, error)

    # Listeners

    def listen(self, event: EventName, listener: Listener, token: object) -> None:
        """Notify `listener` of `event` until `unlisten(token)`."""
        self._change(self._listen, self.listeners.add, event, listener, token)

    def unlisten(self, token: object) -> None:
        """Undo `listen(..., token)`."""
        self._change(self._listen, self.listeners.remove, token)

    def _listen(self, change: Callable[..., None], *args: object) -> None:
        change(*args)
        self._ask_for_permits()

    def _ask_for_permits(self) -> None:
        """Have calls ask for permits even when closed, if their durations or results are needed."""
        self.engine.time_calls(self.listeners.need_durations or self.outcomes.is_failure_result is not None)

    # What can be read

    def metrics(self) -> Metrics:
        """The numbers, all of one moment."""
        self.turns.catch_up()
        self.check_clock()
        metrics = self.turns.run_now(readings.metrics, self, self.clock.monotonic())
        self.publish_pending()
        return metrics

    def summary(self) -> str:
        """State, hold, and what matters in that state, for a `repr`."""
        self.check_clock()
        summary = self.turns.run_now(readings.summary, self.engine, self.clock.monotonic())
        self.publish_pending()
        return summary

    def _renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: no thread here holds the lock, whatever the parent's threads were doing (E9)."""
        if not self.turns.inside:  # A thread of the parent may have been, and is not here to go on.
            self.engine.renew()
        self.turns.renew()
        self.listeners.renew()
        self.circuit_id = _new_id()  # From now on they are two circuits.


def _guarded_clock(clock: Clock, user_code: UserCode, turns: Turns) -> Clock:
    if type(clock) is SystemClock:
        return time  # the module itself, which SystemClock would only ask, by name as it must (E10): 25 ns a call
    return clock if type(clock) is ManualClock else UserClock(clock, user_code, turns)


def _new_id() -> int:
    """A number that no other circuit has: an address lasts only as long as its object, and is one process's own."""
    return int.from_bytes(os.urandom(7), "big")  # An int of 8 bytes is larger by half.
