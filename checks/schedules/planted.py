"""Races planted in the package, each to be found: the proof that the search can find what it looks for.

Each puts its own code in place of some of the package's for a while. Its docstring says what is wrong with it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from circuitbreaker import breaker, keyed, permit
from circuitbreaker._circuit import circuit as _circuit
from circuitbreaker._circuit import listeners, turns
from circuitbreaker._engine import periods

__all__ = ["PLANTED", "Planted"]


@dataclass(frozen=True)
class Planted:
    """A race: what is replaced, and the scenario that finds it, with so many preemptions."""

    name: str
    why: str
    where: object
    attribute: str
    instead: Any
    scenario: str
    preemptions: int = 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the race in the package within the block."""
        before = vars(self.where)[self.attribute]
        setattr(self.where, self.attribute, self.instead)
        try:
            yield
        finally:
            setattr(self.where, self.attribute, before)


PLANTED: dict[str, Planted] = {}


def plant(where: object, attribute: str, scenario: str, preemptions: int = 1) -> Callable[[Any], Any]:
    """Have the function or class replace `where.attribute`."""

    def note(instead: Any) -> Any:
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", instead.__name__).replace("_", " ").lower()
        PLANTED[name] = Planted(name, instead.__doc__, where, attribute, instead, scenario, preemptions)
        return instead

    return note


@plant(periods, "count", "two successes")
class TallyByReadAndWrite:
    """The calls are counted by `number += 1`, which is a read and a write."""

    def __init__(self, start: int) -> None:
        self.number = start

    def __next__(self) -> int:
        number = self.number
        self.number = number + 1
        return number

    def __repr__(self) -> str:
        return f"count({self.number})"


@plant(periods.Closed, "end", "a success beside a trip", preemptions=2)
def ended_in_the_wrong_order(self: Any) -> tuple[int, int]:
    """A closed period ends by its two lines in the other order: a success may pass between them unseen."""
    self.final = periods.total(self.tally)
    self.next_number = 0
    return self.final - self.failures, self.streak


@plant(permit.Permit, "_settle_as", "a permit settled by two threads")
def settled_after_a_look(self: Any, verdict: Any, error: Any = None, result: object = None) -> None:
    """A permit is settled by looking first whether it is, in place of a pop that only one can do."""
    if self._unsettled:
        admission = self._unsettled[0]
        self._unsettled.clear()
        self._circuit.settle(admission, self._started, verdict, error, result)


@plant(_circuit.Circuit, "_admit_trial", "two threads ask for one trial")
def trials_admitted_without_the_lock(self: Any, now: float, enter: bool) -> Any:
    """Trials are handed out without the lock."""
    admitted = self._apply_admit(now)
    return self._refuse(admitted, now) if isinstance(admitted, tuple) else permit.Permit(self, admitted, now)


@plant(breaker.CircuitBreaker, "__enter__", "a block beside one of a new period")
def token_not_looked_at_again(self: Any) -> Any:
    """A block that leaves its token does not look again whether that is still of use."""
    period = self._blocks.common
    if period is None or period is not self._engine.period or period.needs_permit:
        return self._enter(sys._getframe(1))
    period.blocks.append(None)
    return self


@plant(turns, "RLock", "two failures that trip together")
class ChangesWithoutTheLock:
    """Changes of the state are made without the lock."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


@plant(listeners.Listeners, "publish", "transitions are told while others are made")
def queue_not_looked_at_again(self: Any) -> None:
    """A thread that has told of everything does not look again, once others may tell, what came meanwhile."""
    if self.queued:
        self._publish()


@plant(listeners.Listeners, "_publish", "transitions are told while others are made", preemptions=2)
def turn_looked_up_twice(self: Any) -> bool:
    """A thread looks whether there is a turn, then whose: in between, another thread may end it."""
    publisher, me = self._publisher, object()
    try:
        if publisher.setdefault("taken", me) is not me:
            return False
        self._publish_all()
        return True
    finally:
        if "taken" in publisher and publisher["taken"] is me:
            del publisher["taken"]


@plant(_circuit, "Listeners", "transitions are told while others are made")
class QueuedUnderTheTellersLock(listeners.Listeners):
    """A change, which holds the circuit's lock, waits for the teller, whose listener waits for the circuit's lock."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._teller = turns.RLock()

    def publish(self) -> None:
        with self._teller:
            super().publish()

    def queue(self, event: Any, value: Any) -> None:
        with self._teller:
            super().queue(event, value)


@plant(keyed.KeyedBreakers, "_make_use", "two threads meet a new key")
def key_not_looked_up_again(self: Any, key: Any) -> Any:
    """The lock is taken after the look for the key, and nobody looks again."""
    with self._lock:
        use = self._uses[key] = keyed._Use(self._make(key), next(self._ticks))
    return use


@plant(_circuit.Circuit, "_succeed", "a permits success beside a trip")
def time_after_the_number(self: Any, period: Any, now: float, duration: float) -> None:
    """A success takes its number first and leaves its time later, when the period may have ended."""
    number = next(period.tally)
    if number >= period.next_number or now >= period.next_time:
        self.observe(period, number, now)
    period.last_success = now
