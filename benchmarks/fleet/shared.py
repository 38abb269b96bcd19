"""A shared circuit that records its changes, with the time at which each was published.

The time is that of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Condition
from time import monotonic, sleep
from typing import Any

from circuitbreaker import CircuitBreaker, CircuitOpenError, StateChange, StoreChange
from circuitbreaker.stores.redis import RedisStore

from ..work import work

__all__ = ["PATIENCE", "Shared", "rejects"]

PATIENCE = 30.0
"""Seconds after which to stop waiting for something."""


class Shared:
    """A circuit with its own store, so it behaves like a separate process."""

    def __init__(self, client: Any, **options: Any) -> None:
        self.store = RedisStore(client)
        self.breaker = CircuitBreaker("payments", registry=None, store=self.store, **options)
        self._noted = Condition()
        self._state = ("closed", 0.0)
        self._reached = (True, 0.0)
        self.breaker.on("state_change", self._note_state)
        self.breaker.on("store", self._note_store)

    def _note_state(self, change: StateChange) -> None:
        with self._noted:
            self._state = (change.new_state.value, monotonic())
            self._noted.notify_all()

    def _note_store(self, change: StoreChange) -> None:
        with self._noted:
            self._reached = (change.reachable, monotonic())
            self._noted.notify_all()

    def join(self) -> None:
        """Make the first call, and wait for the state of the circuit."""
        with suppress(CircuitOpenError):
            self.breaker.call(work, 1)
        self.sync()

    def sync(self) -> None:
        """Wait until everything is exchanged."""
        if not self.store.sync(PATIENCE):
            raise SystemExit(f"benchmarks: {self.store!r} does not exchange")

    def when(self, state: str) -> float:
        """Wait for `state`; the time at which it began."""
        with self._noted:
            if not self._noted.wait_for(lambda: self._state[0] == state, PATIENCE):
                raise SystemExit(f"benchmarks: a circuit is {self._state[0]}, and never became {state}")
            return self._state[1]

    def when_store(self, reached: bool) -> float:
        """Wait until its store can be reached, or cannot; the time at which that began."""
        with self._noted:
            if not self._noted.wait_for(lambda: self._reached[0] is reached, PATIENCE):
                raise SystemExit(f"benchmarks: a store never became {'reachable' if reached else 'unreachable'}")
            return self._reached[1]

    def call_until(self, state: str) -> float:
        """Make a successful call every two milliseconds until `state`; the time at which it began."""
        end = monotonic() + PATIENCE
        while self.breaker.state.value != state and monotonic() < end:
            with suppress(CircuitOpenError):
                self.breaker.call(work, 1)
            sleep(0.002)
        return self.when(state)


def rejects(breaker: CircuitBreaker) -> bool:
    """Whether `breaker` rejects a call."""
    try:
        breaker.call(work, 1)
    except CircuitOpenError:
        return True
    return False
