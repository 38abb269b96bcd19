"""Signals: a handler may use the breaker, whatever its thread was doing with it, and every call is counted once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ManualClock,
    Outcome,
    Registry,
    StateChange,
    circuit,
)

from .interrupting import handled_everywhere
from .support import Boom, attempt, fail, in_threads, recovers, succeed, trip


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], object]], Callable[[], None]]]:
    """Sets what a signal does; gives what sends it to this process."""
    before = signal.getsignal(signal.SIGINT)

    def handle(work: Callable[[], object]) -> Callable[[], None]:
        signal.signal(signal.SIGINT, lambda number, frame: work())
        return lambda: signal.raise_signal(signal.SIGINT)

    yield handle
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("order", ["metrics", "reset", "open", "force_open", "__repr__"])
def test_a_signal_handler_may_use_the_breaker_in_the_middle_of_a_change(
    on_signal: Callable[[Callable[[], object]], Callable[[], None]], clock: ManualClock, order: str
) -> None:
    """E5: what it orders is done when the change is."""
    changes: list[StateChange] = []
    handled: list[str] = []

    def handler() -> None:
        getattr(breaker, order)()
        handled.append(attempt(breaker))

    send = on_signal(handler)

    class Policy:
        def watch(self) -> Policy:
            return self

        def see(self, outcome: Outcome) -> str | None:
            if not handled:
                send()
            return "seen" if outcome.failed else None

    breaker = CircuitBreaker(trip=Policy(), clock=clock, on_state_change=changes.append)
    assert attempt(breaker, fail) == "Boom"
    assert handled == ["fine"]
    assert all(earlier.new_state is later.old_state for earlier, later in pairwise(changes))
    breaker.reset()
    assert attempt(breaker) == "fine"
    assert breaker.metrics().total_calls == 3


HANDLERS: dict[str, tuple[int, Callable[[CircuitBreaker], object]]] = {
    "looks": (0, lambda breaker: (breaker.metrics(), repr(breaker))),
    "calls well": (1, lambda breaker: attempt(breaker, succeed)),
    "calls in vain": (1, lambda breaker: attempt(breaker, fail)),
    "uses a block": (1, lambda breaker: enter_and_leave(breaker)),
    "drops a permit": (1, lambda breaker: acquire_and_drop(breaker)),
    "resets": (0, lambda breaker: breaker.reset()),
    "opens": (0, lambda breaker: breaker.open()),
    "listens": (0, lambda breaker: breaker.on("failure", succeed)()),
}


def enter_and_leave(breaker: CircuitBreaker) -> None:
    with suppress(CircuitOpenError), breaker:
        pass


def acquire_and_drop(breaker: CircuitBreaker) -> None:
    with suppress(CircuitOpenError):
        breaker.acquire()


def in_a_block(breaker: CircuitBreaker) -> None:
    with pytest.raises(Boom), breaker:
        raise Boom


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="signals hit other interpreters elsewhere")
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("state", ["closed", "due"])
@pytest.mark.parametrize("name", HANDLERS)
def test_a_signal_handler_may_use_the_breaker_at_any_point_of_a_call(name: str, state: str, heard: bool) -> None:
    """E5, E6, H1: every call is counted, every change told once and in order, and the circuit goes on."""
    own_calls, handler = HANDLERS[name]
    scenes: list[tuple[CircuitBreaker, ManualClock, list[StateChange]]] = []

    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        clock, changes = ManualClock(), list[StateChange]()
        breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock)
        breaker.on("state_change", changes.append)
        if heard:
            breaker.on("success", succeed)
            breaker.on("rejected", succeed)
        if state == "due":
            trip(breaker)
            clock.advance(30)
        scenes.append((breaker, clock, changes))
        return (lambda: in_a_block(breaker)), (lambda: handler(breaker))

    for where in handled_everywhere(make):
        breaker, clock, changes = scenes[-1]
        assert breaker.metrics().total_calls == 1 + own_calls + (state == "due"), where
        assert all(earlier.new_state is later.old_state for earlier, later in pairwise(changes)), where
        assert not changes or changes[-1].new_state is breaker.state, where
        in_threads(1, lambda: recovers(breaker, clock) or pytest.fail(where))  # noqa: B023 - it is called at once
    assert len(scenes) > 20


WORK: dict[str, Callable[[CircuitBreaker], object]] = {
    "is shown": repr,
    "is read": lambda breaker: breaker.metrics(),
    "is listened to": lambda breaker: breaker.on("failure", succeed),
    "is listened to no longer": lambda breaker: breaker.on("failure", succeed)(),
}


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="signals hit other interpreters elsewhere")
@pytest.mark.parametrize("name", WORK)
def test_what_a_signal_handler_changes_while_its_thread_does_something_else_is_told_at_once(name: str) -> None:
    """E5"""
    changes: list[StateChange] = []

    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        changes.clear()
        breaker = CircuitBreaker(on_state_change=changes.append)
        return (lambda: WORK[name](breaker)), breaker.open

    for where in handled_everywhere(make):
        assert [change.new_state for change in changes] == [CircuitState.OPEN], where


MAKERS: dict[str, tuple[int, Callable[[Registry, Any], CircuitBreaker]]] = {
    "of one name": (1, lambda registry, by_key: registry.get_or_create("one")),
    "of one function": (2, lambda registry, by_key: circuit(registry=registry)(succeed).breaker),
    "of one key": (1, lambda registry, by_key: used(by_key, "one")),
    "of a key each": (2, lambda registry, by_key: used(by_key, object())),
}
"""How many there are when two were asked for, and how to ask for one."""


def used(by_key: Any, key: object) -> CircuitBreaker:
    by_key(key)
    breaker: CircuitBreaker = by_key.breakers[key]
    return breaker


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="signals hit other interpreters elsewhere")
@pytest.mark.parametrize("name", MAKERS)
def test_a_signal_handler_may_make_a_breaker_while_one_is_made(name: str) -> None:
    """C1, E8: both calls run, and each name and each key has one breaker."""
    many, maker = MAKERS[name]
    made: list[CircuitBreaker] = []
    guarded: list[Any] = []
    registries: list[Registry] = []

    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        made.clear()
        registries[:] = [registry := Registry()]
        registry.on("state_change", succeed)
        guarded[:] = [by_key := circuit(registry=registry, key=lambda key: key, maxsize=2)(succeed)]
        for key in ("old", "older"):
            by_key(key)
        work = lambda: made.append(maker(registry, by_key))  # noqa: E731 - short
        return work, work

    for where in handled_everywhere(make):
        assert [len(made), len({id(breaker) for breaker in made})] == [2, many], where
        breakers = [*guarded[0].breakers.values(), *made]
        assert len(guarded[0].breakers) == 2, where
        assert all(registries[0].get(breaker.name) is breaker for breaker in breakers), where


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="signals hit other interpreters elsewhere")
def test_a_circuit_that_a_signal_handler_opens_stays_open_though_its_thread_was_making_it() -> None:
    """O1: by the first call of a key, whose breaker comes first."""
    guarded: list[Any] = []

    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        guarded[:] = [by_key := circuit(registry=None, key=lambda key, work: key, failure_threshold=1)(call)]
        return partial(by_key, "one", succeed), partial(pytest.raises, Boom, by_key, "one", fail)

    for where in handled_everywhere(make):
        assert guarded[0].breakers["one"].state is CircuitState.OPEN, where


def call(key: str, work: Callable[[], object]) -> object:
    return work()
