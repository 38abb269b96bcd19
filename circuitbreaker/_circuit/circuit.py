"""A lock, a clock and listeners around the engine: what every way into a breaker goes through.

The way of a call: `admit` hands out a permit; the call runs, with nothing held; `settle` takes its end in, one change
of the engine at a time; then listeners are told. A call that finds a closed period that does not ask may join it
without a permit, and settles by `settle_joined`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .._engine.engine import Engine, Refusal, Transition
from .._engine.periods import Admission, Closed, Open, Trial, opened_by, total
from .._fork import renew_in_child
from .._sharing import Membership
from .._values import format_seconds
from ..clock import Clock, SystemClock, moment, utc
from ..errors import CircuitOpenError
from ..events import (
    CallFailed,
    CallIgnored,
    CallRejected,
    CallSucceeded,
    Event,
    EventName,
    Hold,
    LastFailure,
    Metrics,
    StateChange,
    StoreChange,
)
from ..options import Settings
from ..outcomes import NO_RESULT, Outcomes, Verdict
from ..permit import Permit
from .listeners import Listener, Listeners
from .rules import LocalRules
from .turns import Turns
from .user_code import UserCode

__all__ = ["Circuit"]

_NO_SUCCESS = (-math.inf, datetime.min)
"""A moment of the monotonic clock, and the same as a date."""


class Circuit:
    """The inside of one breaker. It knows of calls only that they begin and end."""

    __slots__ = (
        "__weakref__",
        "_last_success",
        "circuit_id",
        "clock",
        "engine",
        "fallback",
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
        # The module itself in place of SystemClock, which would only ask it, by name as it must (E10): 25 ns a call.
        self.clock: Clock = time if type(settings.clock) is SystemClock else settings.clock
        self.outcomes: Outcomes = settings.outcomes
        self.fallback: Callable[..., Any] | None = settings.fallback
        self.user_code: UserCode = UserCode(name)
        self.turns: Turns = Turns()
        rules, store = LocalRules(settings, self.user_code), settings.store
        self.membership: Membership | None = None if store is None else store.attach(self, rules, settings)
        self.engine: Engine = Engine(rules if self.membership is None else self.membership.rules())
        self.listeners: Listeners = Listeners(self.user_code)
        self._last_success = _NO_SUCCESS
        self._ask_for_permits()
        renew_in_child(self)

    # How a call begins

    def admit(self) -> Permit | Refusal:
        """A permit, or why there is none. Never blocks."""
        now, engine = self.clock.monotonic(), self.engine
        if self.membership is not None and self.membership.unused:
            self.membership.begin(engine)
        refusal = engine.refusal(now) if engine.period.needs_permit else None
        if refusal is None:
            if self.turns.later:
                self.turns.catch_up()
            period: Any = engine.period  # Any: a period that does not ask is a closed one
            joined = engine.joinable if period.needs_permit else period
            if joined is not None:
                return Permit(self, joined, now)
            admitted = self._admit_half_open(now)
            if not isinstance(admitted, tuple):
                return self._permit_for(admitted, now)
            refusal = admitted
        if refusal[2] is None or refusal[2] is Hold.FORCED_OPEN:
            next(engine.rejections)
            if self.listeners.by_event:
                self._notify_rejected(refusal, shadow=False)
            return refusal
        beside = engine.bypass
        if beside is None:
            return self.admit()  # pragma: no cover - a race, which test_schedules.py runs: no shadow any more
        self.turns.run(engine.count_shadow_rejection)
        self._notify_rejected(refusal, shadow=True)
        return Permit(self, beside, now)

    def _admit_half_open(self, now: float) -> Admission | Refusal:
        if self.turns.inside:  # There is no waiting for one's turn inside a change: no trial for such a call.
            return self.engine.period, self.engine.wait(now), self.engine.hold
        return self.turns.run_now(self._apply_admit, now)

    def _apply_admit(self, now: float) -> Admission | Refusal:
        admitted, change = self.engine.admit(now)
        self._queue(change)
        return admitted

    def _permit_for(self, admission: Admission, now: float) -> Permit:
        permit = Permit(self, admission, now)
        try:
            self.publish_pending()
        except BaseException:  # an interrupt: the call will not take place
            permit.release()
            raise
        return permit

    def _notify_rejected(self, refusal: Refusal, shadow: bool) -> None:
        period, retry_after, _ = refusal
        opened = opened_by(period)
        reason = opened.reason if opened else ""
        self._notify("rejected", CallRejected, period.state, retry_after, reason, shadow)
        self.publish_pending()

    def refuse(self, refusal: Refusal, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a refused call returns in place of its own result: what the fallback does, or the error is raised."""
        if self.fallback is None:
            raise self.error(refusal)
        return self.fallback(*args, **kwargs)

    def error(self, refusal: Refusal) -> CircuitOpenError:
        """What a refused caller gets."""
        period, retry_after, hold = refusal
        opened = period if type(period) is Open else opened_by(period)
        if opened is None:
            return CircuitOpenError(self.name, period.state, retry_after, "", None, None, hold, self.circuit_id)
        since = opened.moment or self.opened_at(opened)
        return CircuitOpenError(
            self.name, period.state, retry_after, opened.reason, since, opened.last_failure, hold, self.circuit_id
        )

    # How a call ends

    def judge(self, error: BaseException | None, result: object) -> Verdict:
        """The verdict on a call that raised `error` or returned `result`; failure if a predicate cannot tell (E4).

        A refusal by this very circuit, of a call within the call, says nothing about the dependency.
        """
        if error is None:
            if result is NO_RESULT or self.outcomes.is_failure_result is None:
                return Verdict.SUCCESS
            return self.user_code("is_failure_result", Verdict.FAILURE, self.outcomes.of_result, result)
        # The user's own errors may lie about their class, and subclasses need not have called __init__.
        if issubclass(type(error), CircuitOpenError) and vars(error).get("circuit_id") == self.circuit_id:
            return Verdict.IGNORED
        return self.user_code("is_failure or ignore", Verdict.FAILURE, self.outcomes.of_error, error)

    def ignores(self, error: BaseException) -> bool:
        """Whether `error` says nothing about the dependency; no, if a predicate cannot tell (E4)."""
        return self.user_code("ignore", False, self.outcomes.ignores, error)

    def settle_joined(self, period: Closed, error: BaseException | None) -> None:
        """Take in how a call ended that joined `period` without a permit. Nobody is told of its end."""
        if error is None:
            self.succeed(period, self.clock.monotonic())
        else:
            self.settle(period, None, self.judge(error, NO_RESULT), error)

    def settle(
        self,
        admission: Admission,
        started: float | None,
        verdict: Verdict,
        error: BaseException | None = None,
        result: object = NO_RESULT,
        stopped: float | None = None,
    ) -> None:
        """Take in how a call ended that began at `started`, or joined without a permit if that is `None`.

        It took until `stopped`, if that is given, and otherwise until now.
        """
        now = self.clock.monotonic()
        duration = 0.0 if started is None else (now if stopped is None else stopped) - started
        if verdict is Verdict.SUCCESS:
            self.succeed(admission, now, duration)
        elif verdict is Verdict.FAILURE:
            self._fail(admission, now, duration, error, result)
        else:
            self.turns.run(self.engine.release, admission)
        if started is not None and self.listeners.by_event:
            self._notify_end(verdict, duration, error)
        self.publish_pending()

    def _notify_end(self, verdict: Verdict, duration: float, error: BaseException | None) -> None:
        if verdict is Verdict.SUCCESS:
            self._notify("success", CallSucceeded, duration)
        elif verdict is Verdict.FAILURE:
            self._notify("failure", CallFailed, duration, error)
        else:
            self._notify("ignored", CallIgnored, duration, error)

    def _notify(self, event: EventName, make: Callable[..., Event], *fields: object) -> None:
        """Tell of a call at once, or inside a change when that is made."""
        if not self.listeners.hears(event):
            return
        if self.turns.inside:
            self.listeners.queue(event, make(self.name, *fields))
        else:
            self.listeners.notify(event, make(self.name, *fields))

    def succeed(self, admission: Admission, now: float, duration: float = 0.0) -> None:
        """Take a success in: without the lock, unless it is a trial's or the policy wants to see it."""
        if isinstance(admission, Trial):
            self.turns.run(self._apply, self.engine.succeed, admission, now)
            return
        admission.last_success = now
        if duration > admission.slower_than:
            self.turns.run(self._observe_slow, admission, now, duration)
            return
        number = next(admission.tally)
        if number >= admission.next_number or now >= admission.next_time:
            self.observe(admission, number, now)

    def observe(self, period: Closed, number: int, now: float) -> None:
        """Show the policy a success that it wants to see, or count one that came late."""
        self.turns.run(self._apply, self.engine.observe, period, number, now, 0.0)
        self.publish_pending()

    def _observe_slow(self, period: Closed, now: float, duration: float) -> None:
        # Its number is taken under the lock: slow calls must come to the policy in their order.
        self._apply(self.engine.observe, period, next(period.tally), now, duration)

    def _fail(
        self, admission: Admission, now: float, duration: float, error: BaseException | None, result: object
    ) -> None:
        failure = self._sum_up(error, result)
        self.turns.run(self._apply, self.engine.fail, admission, now, duration, failure, error)

    def _sum_up(self, error: BaseException | None, result: object) -> LastFailure:
        at = utc(self.clock.time())
        if error is not None:
            return LastFailure(_name_of(type(error)), _shorten(self.user_code("error", "", str, error)), at)
        text = "" if result is NO_RESULT else self.user_code("result", "", repr, result)
        return LastFailure("failure" if result is NO_RESULT else "result", _shorten(text), at)

    # What is done to it

    def control(self, change: Callable[[float], Transition | None]) -> None:
        """Have a method of the engine's change the state, and tell of it."""
        self.turns.run(self._apply, change, self.clock.monotonic())
        self._share_override()
        self.publish_pending()

    def hold(self, hold: Hold) -> None:
        """Hold the circuit until it is reset."""
        self.turns.run(self.engine.force, hold)
        self._share_override()
        self.publish_pending()

    def _share_override(self) -> None:
        if self.membership is not None:
            self.turns.run(self.membership.share_override, self.engine)

    def follow(self, change: Callable[[float], Transition | None]) -> None:
        """Have what the fleet decided change the state, and tell of it."""
        self.turns.run(self._apply, change, self.clock.monotonic())
        self.publish_pending()

    def store_changed(self, reachable: bool, error: str) -> None:
        """Tell that the store can be reached again, or no longer."""
        self._notify("store", StoreChange, reachable, error)

    def listen(self, event: EventName, listener: Listener, token: object) -> None:
        """Let `listener` hear of `event` until `unlisten(token)`."""
        self.turns.run(self._apply_listen, self.listeners.add, event, listener, token)
        self.publish_pending()

    def unlisten(self, token: object) -> None:
        """Undo `listen(..., token)`."""
        self.turns.run(self._apply_listen, self.listeners.remove, token)
        self.publish_pending()

    def _apply_listen(self, change: Callable[..., None], *args: object) -> None:
        change(*args)
        self._ask_for_permits()

    def _ask_for_permits(self) -> None:
        """Calls need a permit, even when closed, if somebody wants to know their durations or their results."""
        self.engine.time_calls(self.listeners.time_calls or self.outcomes.is_failure_result is not None)

    def _apply(self, change: Callable[..., Transition | None], *args: object) -> None:
        self._queue(change(*args))

    def _queue(self, change: Transition | None) -> None:
        if change is not None and self.listeners.hears("state_change"):
            self.listeners.queue(
                "state_change", StateChange(self.name, *change[:3], moment(self.clock, change.at), *change[4:])
            )

    def publish_pending(self) -> None:
        """Tell of the transitions, and log what the user's own code raised, once no lock is held."""
        if (self.listeners.queued or self.user_code.raised) and not self.turns.inside:
            self.listeners.publish()
            self.user_code.log()

    def _renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: nobody here holds the lock, whatever the parent's threads were doing (E9)."""
        if not self.turns.inside:  # A thread of the parent may have been, and is not here to go on.
            self.engine.renew()
        self.turns.renew()
        self.listeners.renew()
        self.circuit_id = _new_id()  # From now on they are two circuits.

    # What can be read of it

    def metrics(self) -> Metrics:
        """The numbers, all of one moment."""
        self.turns.catch_up()
        metrics = self.turns.run_now(self._metrics, self.clock.monotonic())
        self.publish_pending()
        return metrics

    def _metrics(self, now: float) -> Metrics:
        engine = self.engine
        opened = opened_by(engine.period)
        ended = (engine.successes, engine.failures, total(engine.rejections), engine.ignored)
        # After the successes: each sets its time, then takes its number.
        next_attempt, last_success = engine.next_attempt(now), engine.last_success_at
        return Metrics(
            self.name,
            engine.period.state,
            engine.hold,
            engine.failure_streak,
            engine.trial_successes,
            sum(ended),
            *ended,
            shadow_rejections=engine.shadow_rejections,
            last_failure_time=engine.last_failure.at if engine.last_failure else None,
            last_success_time=None if last_success is None else self._last_success_time(last_success),
            next_attempt_time=None if next_attempt is None else moment(self.clock, next_attempt),
            opened_at=self.opened_at(opened) if opened else None,
            reason=opened.reason if opened else "",
            last_failure=engine.last_failure,
            store=None if self.membership is None else self.membership.status,
        )

    def summary(self) -> str:
        """State, hold, and what matters in that state, for a `repr`."""
        summary = self.turns.run_now(self._summary, self.clock.monotonic())
        self.publish_pending()
        return summary

    def _summary(self, now: float) -> str:
        period, hold, run = self.engine.period, self.engine.hold, self.engine.failure_streak
        wait = self.engine.wait(now)
        held = f", held by {hold}" if hold else ""
        if isinstance(period, Closed):
            return f"closed{held}, {run} consecutive failure{'' if run == 1 else 's'}"
        opened = opened_by(period)
        why = f" because {opened.reason}" if opened else ""
        return f"{period.state}{held}{why}, next trial in {format_seconds(wait)} s"

    def _last_success_time(self, at: float) -> datetime:
        """The moment `at`, the same whenever it is asked for: two clocks cannot be read at one instant."""
        if self._last_success[0] != at:
            self._last_success = (at, moment(self.clock, at))
        return self._last_success[1]

    def opened_at(self, opened: Open) -> datetime:
        """When the circuit opened."""
        if opened.moment is None:
            opened.moment = moment(self.clock, opened.since)
        return opened.moment


def _new_id() -> int:
    """What tells a circuit from all others: an address does only as long as it lives, and in one process."""
    return int.from_bytes(os.urandom(7), "big")  # An int of 8 bytes is larger by half.


_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
"""A type's `__name__`, whatever a metaclass of the user's makes of that."""


def _shorten(text: str, most: int = 200) -> str:
    text = str.__str__(text)  # A subclass might hold the error itself.
    return text if len(text) <= most else f"{text[: most - 3]}..."
