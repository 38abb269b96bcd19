"""A shipped breaker that can be put into any state, moved once by its own code, and read.

Nothing of the shipped code is copied here or stands aside: calls are admitted by `Circuit.admit()` and end through
`Permit`, or go through a decorated function from end to end. A listener hears what is told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from operator import sub
from typing import Any

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, Hold, ManualClock
from circuitbreaker._engine.periods import Closed, HalfOpen, Open, Trial, total
from circuitbreaker._engine.watches import SparseWatch
from circuitbreaker.events import CallRejected, StateChange
from circuitbreaker.permit import Permit

from .periods import put_period, read_period
from .worlds import World

__all__ = ["HOLDS", "STATES", "Subject", "Totals"]

Totals = tuple[int, ...]
"""Successes, failures, ignored, rejections, shadow rejections."""

HOLDS = (None, Hold.FORCED_OPEN, Hold.FORCED_CLOSED, Hold.SHADOW)
STATES = (CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN)

# What a call that is out is admitted with; HELD + n is a trial that holds an attempt, n units before its deadline
PRESENT, BESIDE, ENDED, ENDED_BUT_LIVE, GIVEN, ENDED_TRIAL, SPENT, HELD = range(8)


class Boom(Exception):
    """The dependency's failure."""


class Cancelled(BaseException):
    """No verdict on the dependency."""


class Subject:
    """The breaker of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = ManualClock()
        self.breaker = CircuitBreaker(registry=None, clock=self.clock, **world.options)
        self.circuit = self.breaker._circuit
        self.engine = self.circuit.engine
        self._guarded = self.breaker(_do)
        self.calls: list[Any] = []  # None: a permit that is settled
        self.told: list[tuple[Any, ...]] = []
        self._ended = Closed(SparseWatch())
        self._ended.end()
        self._ended_half_open = HalfOpen(Open(0.0, 1.0, "it did", None, 1), 1, 1.0)
        self.breaker.on("state_change", self._hear_change)
        self.breaker.on("rejected", self._hear_rejection)
        if world.heard:
            self.breaker.on("success", lambda event: None)
        self.begin()

    def _hear_change(self, event: StateChange) -> None:
        self.told.append((event.old_state, event.new_state, event.retry_after))

    def _hear_rejection(self, event: CallRejected) -> None:
        self.told.append(("rejected", event.state, event.retry_after, event.shadow))

    # Put into a state, and read

    def put(self, row: bytes, calls: list[int]) -> None:
        """Be in the state that `row` and `calls` tell."""
        engine, now = self.engine, self.clock.monotonic()
        cells = iter(row)
        engine.hold = HOLDS[next(cells)]
        engine.bypass = Closed(SparseWatch()) if next(cells) else None
        engine.period = put_period(self.world, engine, cells, now)
        self.calls = [self._admission(code, now) for code in calls]
        if isinstance(engine.period, HalfOpen):
            self._put_trials(engine.period, [*cells], calls, now)
        self.begin()

    def begin(self) -> None:
        """Count and hear anew from here."""
        self.told.clear()
        self._before = self._counted()

    def _admission(self, code: int, now: float) -> Any:
        if code >= HELD or code == GIVEN:
            return Trial(self.engine.period, now + code - HELD)  # type: ignore[arg-type]
        if code in (PRESENT, BESIDE):
            return self.engine.period if code == PRESENT else self.engine.bypass
        if code in (ENDED, ENDED_BUT_LIVE):
            return self._ended if code == ENDED else Closed(SparseWatch())
        return Trial(self._ended_half_open, now) if code == ENDED_TRIAL else None

    def _put_trials(self, period: HalfOpen, leaked: list[int], codes: list[int], now: float) -> None:
        held = [(code - HELD, call) for code, call in zip(codes, self.calls, strict=True) if code >= HELD]
        held += [(left, Trial(period, now + left)) for left in leaked]
        period._trials = {call: None for _, call in sorted(held, key=lambda each: each[0])}

    def row(self) -> list[int]:
        """The engine's part of the state."""
        engine, now = self.engine, self.clock.monotonic()
        row = [HOLDS.index(engine.hold), engine.bypass is not None, *read_period(self.world, engine.period, now)]
        if isinstance(engine.period, HalfOpen):
            leaked = [trial for trial in engine.period._trials if trial not in self.calls]
            row += [self._left(trial, now) for trial in leaked]
        return row

    def codes(self) -> list[int]:
        """What each call that is out was admitted with."""
        now = self.clock.monotonic()
        return [SPENT if call is None else self._code(call, now) for call in self.calls]

    def _code(self, call: Any, now: float) -> int:
        period = self.engine.period
        if isinstance(call, Closed):
            if call is period or call is self.engine.bypass:
                return PRESENT if call is period else BESIDE
            return ENDED if call.next_number == 0 else ENDED_BUT_LIVE
        if call.period is not period:
            return ENDED_TRIAL
        return HELD + self._left(call, now) if call in period._trials else GIVEN

    def _left(self, trial: Trial, now: float) -> int:
        return max(0, int(trial.deadline - now))

    @property
    def totals(self) -> Totals:
        """What was counted since the last beginning."""
        return tuple(map(sub, self._counted(), self._before))

    def _counted(self) -> Totals:
        engine = self.engine
        return engine.successes, engine.failures, engine.ignored, total(engine.rejections), engine.shadow_rejections

    # Calls begin

    def admit(self) -> float | None:
        """Admit a call, which stays out. `None` if it is admitted, or the wait that its refusal names."""
        permit = self.circuit.admit()
        if isinstance(permit, tuple):
            return permit[1]
        self.calls.append(permit._unsettled.pop())
        return None

    def call(self) -> float | None:
        """A call through the decorated function, which succeeds at once."""
        try:
            self._guarded(_succeed)
        except CircuitOpenError as refused:
            return refused.retry_after
        return None

    # Calls end

    def settle(self, which: int, how: str) -> None:
        """Settle a call by its permit: "success", "failure" or "release". The permit is kept."""
        permit = self._permit(which)
        getattr(permit, how)()
        left = permit._unsettled
        self.calls.append(left.pop() if left else None)

    def drop(self, which: int) -> None:
        """Drop the permit of a call; whoever comes next finds out."""
        permit = self._permit(which)
        del permit
        self.circuit.turns.catch_up()

    def settle_again(self, which: int) -> None:
        """Settle a permit that was settled before, in all ways."""
        permit = self._permit(which)
        permit.success()
        permit.failure()
        permit.release()
        left = permit._unsettled
        self.calls.append(left.pop() if left else None)

    def _permit(self, which: int) -> Permit:
        call = self.calls.pop(which)
        permit = Permit(self.circuit, call, self.clock.monotonic())
        if call is None:
            permit._unsettled.clear()
        return permit

    def joined(self, which: int) -> bool:
        """Whether a call may have joined its period without a permit, as calls of decorated functions do."""
        call = self.calls[which]
        return isinstance(call, Closed) and not (self.world.heard or call.needs_permit or call is self.engine.bypass)

    def leave(self, which: int, how: str) -> None:
        """End a call of the decorated function, which joined its period when that was the present one."""
        present, self.engine.period = self.engine.period, self.calls.pop(which)

        def end() -> None:
            self.engine.period = present
            _ENDS[how]()

        with suppress(Boom, Cancelled):
            self._guarded(end)

    # Time, orders, questions

    def tick(self) -> None:
        """One unit of time passes, and the wall clock jumps (O1)."""
        self.clock.advance(1)
        self.clock.set_wall(0 if self.clock.time() > 1e6 else 1e7)

    def order(self, what: str) -> None:
        """`open`, `reset`, `force_open`, `force_closed` or `shadow`."""
        getattr(self.breaker, what)()

    def read(self) -> tuple[CircuitState, Hold | None]:
        """Look at everything that can be looked at (O3)."""
        metrics = self.breaker.metrics()
        return metrics.state, metrics.hold

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done or told."""
        return not (self.circuit.turns.later or self.circuit.listeners.queued)


def _do(what: Callable[[], object]) -> object:
    return what()


def _succeed() -> None:
    pass


def _fail() -> None:
    raise Boom


def _cancel() -> None:
    raise Cancelled


_ENDS = {"success": _succeed, "failure": _fail, "release": _cancel}
