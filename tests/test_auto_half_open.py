"""`auto_half_open`: the wait's end is published without a call, for those who make none meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ExponentialBackoff,
    KeyedBreakers,
    ManualClock,
    StateChange,
    circuit,
)
from circuitbreaker._circuit import waking
from circuitbreaker.stores.memory import MemoryServer, MemoryStore

from .support import attempt, collect_on_pypy, exit_of_child, fail, no_cyclic_collector, trip


class Clock:
    """A clock of the user's, which has no `call_at`."""

    def __init__(self, start: float) -> None:
        self.now = start

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


def make(clock: Any, **options: Any) -> tuple[CircuitBreaker, list[StateChange]]:
    changes: list[StateChange] = []
    breaker = CircuitBreaker(
        clock=clock, auto_half_open=True, **{"failure_threshold": 1, "on_state_change": changes.append, **options}
    )
    return breaker, changes


def test_the_end_of_the_wait_is_published_without_a_call(clock: ManualClock) -> None:
    """O3, H1: then calls are trials, as if the first of them had begun the period."""
    breaker, changes = make(clock, half_open_max_attempts=2, success_threshold=2)
    trip(breaker)
    clock.advance(29.9)
    assert breaker.state is CircuitState.OPEN
    assert attempt(breaker) == "CircuitOpenError"
    clock.advance(100)
    assert [str(each.new_state) for each in changes] == ["open", "half_open"]
    assert changes[1].reason == "30 s have passed"
    assert changes[1].at.timestamp() == 1030
    assert clock.monotonic() == clock.time() == pytest.approx(1129.9)
    trials = [breaker.acquire() for _ in range(2)]
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    for trial in trials:
        trial.success()
    assert str(breaker.state) == "closed"
    clock.advance(1000)
    assert len(changes) == 3


def test_it_waits_again_when_a_trial_fails(clock: ManualClock) -> None:
    """H2, O4"""
    breaker, changes = make(clock, reset_timeout=ExponentialBackoff(10, factor=3))
    trip(breaker)
    clock.advance(10)
    attempt(breaker, fail)
    clock.advance(29)
    assert breaker.state is CircuitState.OPEN
    clock.advance(1)
    assert [str(each.new_state) for each in changes] == ["open", "half_open"] * 2


def test_a_half_open_circuit_without_calls_stays_half_open(clock: ManualClock) -> None:
    """H4: it waits for a call, as an open one whose wait is over does."""
    breaker, changes = make(clock)
    trip(breaker)
    clock.advance(1e6)
    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.metrics().next_attempt_time is None
    assert len(changes) == 2
    assert attempt(breaker) == "fine"


@pytest.mark.parametrize("order", ["reset", "reset and open"])
def test_a_wait_that_an_order_ended_is_forgotten(clock: ManualClock, order: str) -> None:
    """M1"""
    breaker, changes = make(clock)
    trip(breaker)
    clock.advance(20)
    breaker.reset()
    if order == "reset and open":
        breaker.open()
    clock.advance(10)
    assert breaker.state is (CircuitState.OPEN if order == "reset and open" else CircuitState.CLOSED)
    before = len(changes)
    clock.advance(20)
    assert len(changes) == before + (order == "reset and open")


def test_a_call_at_the_end_of_the_wait_begins_the_period_as_ever(clock: ManualClock) -> None:
    """E5: the change is published once."""
    breaker, changes = make(Clock(0.0), reset_timeout=1000)
    trip(breaker)
    breaker._circuit.clock._clock.now = 1000.0  # type: ignore[attr-defined]
    assert attempt(breaker) == "fine"
    assert [str(each.new_state) for each in changes] == ["open", "half_open", "closed"]


@pytest.mark.parametrize(("hold", "state"), [("force_open", "open"), ("force_closed", "open"), ("shadow", "half_open")])
def test_a_circuit_that_is_forced_stays_as_it_is(clock: ManualClock, hold: str, state: str) -> None:
    """M2: a hold never changes the state; in shadow it moves as it would."""
    breaker, changes = make(clock)
    trip(breaker)
    getattr(breaker, hold)()
    clock.advance(100)
    assert str(breaker.state) == state
    breaker.reset()
    assert str(changes[-1].new_state) == "closed"


def test_a_circuit_that_waits_is_not_kept_alive(clock: ManualClock) -> None:
    """E7: by reference count alone; neither by a clock nor by the thread"""
    for given in (clock, Clock(0.0)):
        with no_cyclic_collector():
            breaker, _ = make(given)
            trip(breaker)
            gone = weakref.ref(breaker._circuit)
            del breaker
            collect_on_pypy()
            assert gone() is None
    clock.advance(30)


def test_the_real_thread_ends_the_wait_and_then_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """E8: of many circuits, each at its time"""
    monkeypatch.setattr(waking, "_timer", waking._Timer())
    ended: list[str] = []
    done = threading.Event()

    def heard(change: StateChange) -> None:
        if change.new_state is CircuitState.HALF_OPEN:
            ended.append(change.name)
            if len(ended) == 3:
                done.set()

    kept = [
        CircuitBreaker(name, failure_threshold=1, reset_timeout=wait, on_state_change=heard, auto_half_open=True)
        for name, wait in (("c", 0.3), ("a", 0.1), ("b", 0.2))
    ]
    for breaker in kept:
        trip(breaker)
    thread = waking._timer._thread
    assert thread is not None
    assert thread.daemon
    assert done.wait(30)
    assert sorted(ended) == ["a", "b", "c"]
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_listener_that_raises_ends_no_others_wait(error: type[BaseException]) -> None:
    """E4"""
    done = threading.Event()

    def raiser(change: StateChange) -> None:
        if change.new_state is CircuitState.HALF_OPEN:
            raise error

    def heard(change: StateChange) -> None:
        if change.new_state is CircuitState.HALF_OPEN:
            done.set()

    kept = [
        CircuitBreaker(failure_threshold=1, reset_timeout=wait, on_state_change=listener, auto_half_open=True)
        for wait, listener in ((0.01, raiser), (0.05, heard))
    ]
    for breaker in kept:
        trip(breaker)
    assert done.wait(30)


def test_what_goes_wrong_in_the_thread_is_logged_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    """E4"""
    done = threading.Event()

    def wrong() -> None:
        raise SystemExit

    waking._timer.call_in(0.0, wrong)
    waking._timer.call_in(0.01, done.set)
    assert done.wait(30)
    assert [each.getMessage() for each in caplog.records] == ["a circuit's half-open period could not begin"]


@pytest.mark.usefixtures("broken_logging")
def test_a_logging_handler_that_raises_ends_no_other_circuits_wait() -> None:
    """E4"""
    done = threading.Event()
    waking._timer.call_in(0.0, sys.exit)
    waking._timer.call_in(0.01, done.set)
    assert done.wait(30)


def test_a_clock_that_goes_slower_than_the_threads_is_asked_again() -> None:
    """O1: by the circuit's own clock"""
    clock = Clock(100.0)
    asked = threading.Event()

    class Slow(Clock):
        def monotonic(self) -> float:
            if threading.current_thread().name == "circuitbreaker-timer":
                asked.set()
            return clock.now

    half_open = threading.Event()
    breaker, _ = make(Slow(0.0), reset_timeout=0.01, on_state_change=on_half_open(half_open))
    trip(breaker)
    assert asked.wait(30)
    assert breaker.state is CircuitState.OPEN
    clock.now += 1
    assert half_open.wait(30)


def on_half_open(event: threading.Event) -> Callable[[StateChange], None]:
    return lambda change: event.set() if change.new_state is CircuitState.HALF_OPEN else None


def test_a_clock_that_is_set_back_does_not_stop_it() -> None:
    """O1"""
    clock, half_open = Clock(3e9), threading.Event()
    breaker, _ = make(clock, reset_timeout=0.01, on_state_change=on_half_open(half_open))
    trip(breaker)
    clock.now = 100.0
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    clock.now = 101.0
    assert half_open.wait(30)


def test_circuits_that_do_not_end_their_wait_themselves_have_no_thread() -> None:
    """Nothing is imported for it."""
    code = (
        "import sys, circuitbreaker; breaker = circuitbreaker.CircuitBreaker(failure_threshold=1); breaker.open(); "
        "print([name for name in sys.modules if 'waking' in name or name in ('heapq', 'queue')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "[]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_ends_its_own_waits() -> None:
    """E9"""
    half_open = threading.Event()
    breaker, _ = make(Clock(0.0), reset_timeout=1000, on_state_change=on_half_open(half_open))
    trip(breaker)
    quick = CircuitBreaker(
        failure_threshold=1, reset_timeout=0.05, on_state_change=on_half_open(half_open), auto_half_open=True
    )
    trip(quick)
    assert exit_of_child(lambda: half_open.wait(30)) == 0
    assert half_open.wait(30)


def test_with_a_store_it_asks_for_a_lease_and_the_fleets_period_begins() -> None:
    """S4, S10"""
    server = MemoryServer()
    stores = [MemoryStore(server, interval=0.01) for _ in range(2)]
    half_open = [threading.Event() for _ in range(2)]
    here, there = (
        CircuitBreaker(
            "shop",
            registry=None,
            store=store,
            failure_threshold=1,
            reset_timeout=0.1,
            half_open_timeout=60,
            auto_half_open=True,
            on_state_change=on_half_open(event),
        )
        for event, store in zip(half_open, stores, strict=True)
    )
    for breaker in (here, there):
        attempt(breaker)
    trip(here)
    for event in half_open:
        assert event.wait(30)
    while "closed" not in (str(here.state), str(there.state)):  # A lease is there already, or soon.
        assert {attempt(here), attempt(there)} <= {"fine", "CircuitOpenError"}
        stores[0].sync()
    for store in stores:
        store.close()


def test_with_a_store_that_is_away_the_circuit_does_it_alone(clock: ManualClock) -> None:
    """S7"""
    store = MemoryStore(interval=0.01)
    half_open = threading.Event()
    breaker = CircuitBreaker(
        "shop",
        registry=None,
        store=store,
        failure_threshold=1,
        reset_timeout=10,
        auto_half_open=True,
        clock=clock,
        on_state_change=on_half_open(half_open),
    )
    attempt(breaker)
    store.close()
    trip(breaker)
    clock.advance(20)
    assert half_open.is_set()


def test_a_keyed_breaker_that_became_half_open_by_itself_may_be_dropped(clock: ManualClock) -> None:
    """E7"""
    hosts = KeyedBreakers("shop", maxsize=1, failure_threshold=1, reset_timeout=10, clock=clock, auto_half_open=True)
    attempt(hosts.use("a"), fail)
    clock.advance(19)
    hosts.use("b")
    assert str(hosts["a"].state) == "half_open"
    clock.advance(1)
    hosts.use("c")
    assert list(hosts) == ["c"]


def test_one_that_had_a_trial_since_is_not_dropped(clock: ManualClock) -> None:
    hosts = KeyedBreakers("shop", maxsize=1, failure_threshold=1, reset_timeout=10, clock=clock, auto_half_open=True)
    attempt(hosts.use("a"), fail)
    clock.advance(10)
    hosts.use("a").acquire().release()
    clock.advance(100)
    hosts.use("b")
    assert list(hosts) == ["a", "b"]


def test_a_manual_clock_calls_in_the_order_of_time() -> None:
    clock = ManualClock(start=100)
    called: list[tuple[str, float]] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: called.append((name, clock.monotonic()))

    clock.call_at(103, note("c"))
    clock.call_at(101, note("a"))
    clock.call_at(50, note("past"))
    clock.call_at(101, lambda: clock.call_at(102, note("b")))
    clock.advance(2)
    assert called == [("past", 100), ("a", 101), ("b", 102)]
    clock.set_time(5000)
    clock.advance(1.5)
    assert called[-1] == ("c", 103)
    assert (clock.monotonic(), clock.time()) == (103.5, 5001.5)


def test_the_option_is_on_or_off() -> None:
    with pytest.raises(TypeError, match="auto_half_open must be True or False, got 'yes'"):
        CircuitBreaker(auto_half_open="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="here it is called auto_half_open"):
        circuit(automatic_transition_from_open_to_half_open_enabled=True)  # type: ignore[call-overload]
