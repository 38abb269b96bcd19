"""Half-open without a call: when the wait of an open circuit is over, begins its half-open period and says so.

Imported by the first breaker with `auto_half_open`. One thread of the process does it for all of them. It is started
when a circuit opens, and ends when none waits. It keeps no circuit alive. A `ManualClock` does it in `advance()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from threading import TIMEOUT_MAX, Condition, Thread
from weakref import ref

from .._engine.engine import forces
from .._engine.periods import Open
from .._fork import renew_in_child
from .._log import log
from ..clock import Clock, ManualClock
from ..events import CircuitState, StateChange
from .circuit import Circuit

__all__ = ["Waker"]

_RETRY = 1.0
"""Seconds until the next try, if the period could not begin: a store was asked for a lease, or a hold forces."""
_SHORTEST = 0.001
"""A clock of the user's may go slower than the one that the thread waits by."""


class Waker:
    """A listener to one circuit's state changes that ends its waits."""

    __slots__ = ("_circuit", "_clock", "_waits_until")

    def __init__(self, circuit: Circuit, clock: Clock) -> None:
        self._circuit = ref(circuit)
        self._clock = clock
        self._waits_until: Open | None = None  # the period whose end it waits for

    def __call__(self, change: StateChange) -> None:
        """Wait for the end of the open period that begins."""
        circuit = self._circuit()
        if change.new_state is CircuitState.OPEN and circuit is not None:
            self._wait(circuit, 0.0)

    def _wait(self, circuit: Circuit, least: float) -> None:
        """Wait for the end of the open period, and at least so many seconds."""
        opened = circuit.engine.period
        if not isinstance(opened, Open):
            return
        self._waits_until = opened
        if isinstance(self._clock, ManualClock):
            self._clock.call_at(max(opened.until, self._clock.monotonic() + least), _Wake(self, opened))
        else:
            left = circuit.engine.wait(circuit.clock.monotonic())
            _timer.call_in(max(_SHORTEST, least, min(left, opened.length)), _Wake(self, opened))

    def wake(self, opened: Open) -> None:
        """Begin the half-open period if the wait of an open one is over, and wait again if one is open still."""
        circuit = self._circuit()
        if circuit is None or self._waits_until is not opened:
            return  # Another period began meanwhile, for which it waits.
        circuit.check_clock()
        period = circuit.engine.period  # perhaps another than `opened`, if the fleet decided so
        if isinstance(period, Open) and circuit.clock.monotonic() < period.until:
            self._wait(circuit, 0.0)
            return
        if not forces(circuit.engine.hold):
            circuit.follow(circuit.engine.half_open)
        self._wait(circuit, _RETRY)


class _Wake:
    """A call of `waker.wake`. Keeps no more than the waker alive, and that keeps no circuit."""

    __slots__ = ("_opened", "_waker")

    def __init__(self, waker: Waker, opened: Open) -> None:
        self._waker = waker
        self._opened = opened

    def __call__(self) -> None:
        self._waker.wake(self._opened)


def _now(read: Callable[[], float] = time.monotonic) -> float:
    """Seconds on the real clock, even while freezegun freezes that of the circuits."""
    return read()


class _Timer:
    """One thread that calls functions when their time has come."""

    def __init__(self) -> None:
        self._changed = Condition()  # with a re-entrant lock: a signal handler may come here in the middle
        self._calls: list[tuple[float, int, Callable[[], None]]] = []  # a heap by time, and by number
        self._numbers = count()
        self._thread: Thread | None = None
        renew_in_child(self)

    def call_in(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` in this many seconds, in the timer's thread."""
        with self._changed:
            heappush(self._calls, (_now() + seconds, next(self._numbers), function))
            if self._thread is None:
                self._start()
            self._changed.notify()

    def _start(self) -> None:
        thread = Thread(target=self._loop, name="circuitbreaker-timer", daemon=True)
        thread.start()
        self._thread = thread

    def _loop(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except BaseException as error:  # what comes out of a listener ends no other circuit's wait
                log("error", "a circuit's half-open period could not begin", error=error)
            del function

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next call that is due; `None` if there is none to wait for, and the thread is to end."""
        with self._changed:
            while self._calls:
                left = self._calls[0][0] - _now()
                if left <= 0:
                    return heappop(self._calls)[2]
                self._changed.wait(min(left, TIMEOUT_MAX))
            self._thread = None
            return None

    def _renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: the thread is in the parent, and circuits wait here too (E9)."""
        self._changed = Condition()
        self._thread = None
        if self._calls:
            self._start()


_timer = _Timer()
