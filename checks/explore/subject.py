"""A shipped breaker that can be put into any state, moved once by its own code, and read.

Nothing of the shipped code is copied here or stands aside: calls are admitted by `Circuit.admit()` and end through
`Permit`, or go through a decorated function from end to end. A listener hears what is told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from operator import sub
from types import SimpleNamespace
from typing import Any

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, Hold, ManualClock
from circuitbreaker._calls.guard import guarded_function
from circuitbreaker._circuit.circuit import Circuit
from circuitbreaker._engine.periods import Closed, HalfOpen, Open, Trial
from circuitbreaker._engine.watches import SparseWatch
from circuitbreaker.events import CallRejected, StateChange
from circuitbreaker.permit import Permit

from .periods import HOLDS, at_hand, from_row, to_row
from .worlds import World

__all__ = ["HOLDS", "STATES", "Subject", "Totals"]

Totals = tuple[int, ...]
"""Successes, failures, ignored, rejections, shadow rejections."""

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
        self._ended_half_open = HalfOpen(Open(0.0, 1.0, "it did", None, 1), 1, 1.0, 1)
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
        """Be in the state that `row` and `calls` say."""
        now = self.clock.monotonic()
        self.engine.restore(from_row(self.world, iter(row)), now)
        period = self.engine.period
        self._trials = period.trials if isinstance(period, HalfOpen) else []
        self.calls = [self._admission(code, now) for code in calls]
        self.begin()

    def begin(self) -> None:
        """Count and hear anew from here."""
        self.told.clear()
        self._before = self._counted()

    def _admission(self, code: int, now: float) -> Any:
        if code >= HELD:
            return self._trials.pop(
                next(at for at, each in enumerate(self._trials) if self._left(each, now) == code - HELD)
            )
        if code == GIVEN:
            return Trial(self.engine.period, now)  # type: ignore[arg-type]
        if code in (PRESENT, BESIDE):
            return self.engine.period if code == PRESENT else self.engine.bypass
        if code in (ENDED, ENDED_BUT_LIVE):
            return self._ended if code == ENDED else Closed(SparseWatch())
        return Trial(self._ended_half_open, now) if code == ENDED_TRIAL else None

    def row(self) -> list[int]:
        """The engine's part of the state: its snapshot, and what it keeps at hand though that follows from the rest."""
        now = self.clock.monotonic()
        return [*to_row(self.world, self.engine.snapshot(now)), *at_hand(self.engine.period, now)]

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
        return HELD + self._left(call, now) if call in period.trials else GIVEN

    def _left(self, trial: Trial, now: float) -> int:
        return max(0, int(trial.deadline - now))

    @property
    def totals(self) -> Totals:
        """What was counted since the last beginning."""
        return tuple(map(sub, self._counted(), self._before))

    def _counted(self) -> Totals:
        snapshot = self.engine.snapshot(self.clock.monotonic())
        return (
            snapshot.successes,
            snapshot.failures,
            snapshot.ignored,
            snapshot.rejections,
            snapshot.shadow_rejections,
        )

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

    def call_within(self, which: int) -> float | None:
        """A call through the decorated function, which succeeds at once, made inside a trial."""
        permit = self._permit(which)

        def within() -> float | None:
            permit.enter()
            return self.call()

        refused = copy_context().run(within)
        self.calls.insert(which, permit._unsettled.pop())
        return refused

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
        guarded = guarded_function(_Joined(self.circuit, self.calls.pop(which)), _ENDS[how])
        with suppress(Boom, Cancelled):
            guarded()

    # Time, orders, questions

    def tick(self) -> None:
        """One unit of time passes, and the wall clock jumps (O1)."""
        self.clock.advance(1)
        self.clock.set_time(0 if self.clock.time() > 1e6 else 1e7)

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


class _Joined:
    """The circuit as a call met it that joined `period`: with that as the present period. All else is the circuit's."""

    def __init__(self, circuit: Circuit, period: Closed) -> None:
        self.engine = SimpleNamespace(period=period)
        self.clock = circuit.clock
        self.settle_joined, self.observe = circuit.settle_joined, circuit.observe
        self.admit, self.refuse, self.error, self.fallback = circuit.admit, circuit.refuse, circuit.error, None


def _do(what: Callable[[], object]) -> object:
    return what()


def _succeed() -> None:
    pass


def _fail() -> None:
    raise Boom


def _cancel() -> None:
    raise Cancelled


_ENDS = {"success": _succeed, "failure": _fail, "release": _cancel}
