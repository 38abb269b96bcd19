"""Events."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from circuitbreaker import (
    CallFailed,
    CallIgnored,
    CallRejected,
    CallSucceeded,
    CircuitBreaker,
    CircuitState,
    Event,
    ManualClock,
    Outcome,
    StateChange,
)

from .support import Boom, attempt, fail, in_threads, succeed, trip

EVENTS = ["state_change", "success", "failure", "rejected", "ignored"]


def listen(breaker: CircuitBreaker, heard: list[Event]) -> None:
    for event in EVENTS:
        breaker.on(event, heard.append)  # type: ignore[call-overload]


def test_every_event_carries_what_belongs_to_it(clock: ManualClock) -> None:
    breaker = CircuitBreaker("shop", failure_threshold=1, clock=clock, ignore=LookupError)
    heard: list[Event] = []
    listen(breaker, heard)
    error, ignored = Boom("bad"), LookupError()

    with breaker:
        clock.advance(0.5)
    with pytest.raises(LookupError), breaker:
        raise ignored
    with pytest.raises(Boom), breaker:
        clock.advance(2)
        raise error
    attempt(breaker)
    clock.advance(30)
    breaker.acquire().release()

    assert heard[0] == CallSucceeded("shop", 0.5)
    assert heard[1] == CallIgnored("shop", 0.0, ignored)
    assert heard[2] == CallFailed("shop", 2.0, error)
    opened = heard[3]
    assert isinstance(opened, StateChange)
    assert opened.name == "shop"
    assert (opened.old_state, opened.new_state) == (CircuitState.CLOSED, CircuitState.OPEN)
    assert opened.reason == "1 consecutive failure, threshold 1"
    assert opened.retry_after == 30.0
    assert opened.at == breaker.metrics().opened_at
    assert opened.last_failure == breaker.metrics().last_failure
    assert heard[4] == CallRejected("shop", CircuitState.OPEN, 30.0, "1 consecutive failure, threshold 1", False)
    half_opened = heard[5]
    assert isinstance(half_opened, StateChange)
    assert half_opened.reason == "30 s have passed"
    assert half_opened.retry_after == 0.0
    assert heard[6] == CallIgnored("shop", 0.0, None)
    attempt(breaker)
    closed = heard[8]
    assert isinstance(closed, StateChange)
    assert closed.reason == "1 trial succeeded"
    assert len(heard) == 9
    for event in heard:
        with pytest.raises(AttributeError):
            event.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("way", ["decorated", "call", "block", "permit"])
def test_calls_are_told_of_however_they_are_made(clock: ManualClock, way: str) -> None:
    breaker = CircuitBreaker(clock=clock)
    heard: list[Event] = []
    guarded = breaker(lambda: clock.advance(1))
    listen(breaker, heard)
    if way == "decorated":
        guarded()
    elif way == "call":
        breaker.call(clock.advance, 1)
    else:
        with breaker if way == "block" else breaker.acquire():
            clock.advance(1)
    assert heard == [CallSucceeded("unnamed", 1.0)]


@pytest.mark.parametrize("event", ["success", "failure", "ignored"])
def test_who_hears_of_one_kind_of_end_alone_hears_how_long_the_call_took(clock: ManualClock, event: Any) -> None:
    """E5"""
    breaker = CircuitBreaker(clock=clock, ignore=LookupError)
    error = {"success": None, "failure": Boom(), "ignored": LookupError()}[event]

    @breaker
    def work() -> None:
        clock.advance(1)
        if error is not None:
            raise error

    heard: list[Any] = []
    breaker.on(event, heard.append)
    attempt(breaker, work.__wrapped__)
    with contextlib.suppress(Boom, LookupError):
        work()
    assert [each.duration for each in heard] == [1.0, 1.0]


@pytest.mark.parametrize(("state", "reason"), [("closed", ""), ("open", "open() was called")])
def test_a_refusal_under_force_is_told_with_the_reason_for_the_state(state: str, reason: str) -> None:
    """M2: there is none if the circuit is closed."""
    breaker = CircuitBreaker()
    heard: list[CallRejected] = []
    breaker.on("rejected", heard.append)
    if state == "open":
        breaker.open()
    breaker.force_open()
    attempt(breaker)
    assert [(each.state.value, each.reason) for each in heard] == [(state, reason)]


def test_a_listener_to_refusals_that_raises_is_logged_with_the_refusal(caplog: pytest.LogCaptureFixture) -> None:
    """E4"""
    breaker = CircuitBreaker("shop")

    @breaker.on("rejected")
    def listener(event: CallRejected) -> None:
        raise Boom

    breaker.open()
    assert attempt(breaker) == "CircuitOpenError"
    assert caplog.messages == ["circuit 'shop': its rejected listener raised"]


def test_a_call_that_began_before_anybody_listened_is_not_told_of() -> None:
    """Its duration is not known."""
    breaker = CircuitBreaker(failure_threshold=1)
    heard: list[Event] = []
    changes: list[StateChange] = []

    @breaker
    def work() -> None:
        breaker.on("failure", heard.append)
        breaker.on("state_change", changes.append)
        raise Boom

    with pytest.raises(Boom):
        work()
    assert heard == []
    assert len(changes) == 1


def test_a_call_that_ended_before_anybody_listened_is_not_told_of() -> None:
    """E5: also when both happen inside a change, by the user's policy."""
    heard: list[Event] = []

    class Policy:
        def watch(self) -> Policy:
            return self

        def see(self, outcome: Outcome) -> None:
            if outcome.failed:
                breaker.acquire().success()
                breaker.on("success", heard.append)

    breaker = CircuitBreaker(trip=Policy())
    breaker.on("rejected", heard.append)
    attempt(breaker, fail)
    assert heard == []
    assert breaker.metrics().total_successes == 1
    attempt(breaker)
    assert len(heard) == 1


def test_on_gives_a_function_that_unsubscribes() -> None:
    breaker = CircuitBreaker()
    heard: list[Event] = []
    undo, other = breaker.on("success", heard.append), breaker.on("success", heard.append)
    attempt(breaker)
    assert len(heard) == 2
    undo()
    undo()
    attempt(breaker)
    assert len(heard) == 3
    other()
    attempt(breaker)
    assert len(heard) == 3
    breaker.on("failure", heard.append)


def test_on_works_as_a_decorator() -> None:
    breaker = CircuitBreaker()
    heard: list[object] = []

    @breaker.on("success")
    def listener(event: object) -> None:
        heard.append(event)

    attempt(breaker)
    listener("by hand")
    assert heard[1:] == ["by hand"]


def test_a_listener_added_in_any_state_hears_what_follows(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=1, clock=clock)
    trip(breaker)
    heard: list[Event] = []
    undo = breaker.on("success", heard.append)
    clock.advance(30)
    attempt(breaker)
    attempt(breaker)
    assert len(heard) == 2
    undo()
    attempt(breaker)
    assert len(heard) == 2


async def async_listener(event: object) -> None: ...


@pytest.mark.parametrize(
    ("event", "listener", "error", "message"),
    [
        (
            "opened",
            print,
            ValueError,
            "event must be one of state_change, success, failure, rejected, ignored, store; got 'op",
        ),
        ("opened", None, ValueError, "event must be one of"),
        ("success", async_listener, TypeError, "listener must be a plain function, got a coroutine function"),
        ("success", "print", TypeError, "listener must be callable, got 'print'"),
        ("success", Boom, TypeError, "listener must be a function, got the class"),
    ],
)
def test_wrong_events_and_listeners_are_refused(
    event: Any, listener: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        CircuitBreaker().on(event, listener)


def test_a_listener_may_read_and_reset_the_breaker(clock: ManualClock) -> None:
    """E5: no deadlock, and no recursion for ever."""
    states: list[str] = []

    def listener(change: StateChange) -> None:
        states.append(f"{change.new_state} {breaker.state} {breaker.metrics().state}")
        breaker.reset()

    breaker = CircuitBreaker(failure_threshold=1, clock=clock, on_state_change=listener)
    assert attempt(breaker, fail) == "Boom"
    assert states == ["open open open", "closed closed closed"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("way", ["call", "acquire", "fail"])
def test_a_listener_may_call_through_the_breaker(clock: ManualClock, event: Any, way: str) -> None:
    """E5: its calls count, and are not told of, or a listener to successes would never end."""
    breaker = CircuitBreaker(failure_threshold=5, clock=clock)
    heard: list[object] = []

    def listener(told: object) -> None:
        heard.append(told)
        if way == "call":
            attempt(breaker, succeed)
        elif way == "fail":
            attempt(breaker, fail)
        else:
            breaker.metrics()
            attempt(breaker, lambda: breaker.acquire().release())

    breaker.on(event, listener)
    attempt(breaker, succeed)
    attempt(breaker, fail)
    breaker.acquire().release()
    breaker.open()
    attempt(breaker)
    assert len(heard) in (1, 2)
    assert breaker.metrics().total_calls >= 5


def test_what_a_listener_causes_is_told_after_what_it_was_told(clock: ManualClock) -> None:
    """E5: to all listeners in the same order."""
    order: list[str] = []

    def first(change: StateChange) -> None:
        order.append(f"first {change.new_state}")
        if change.new_state is CircuitState.OPEN:
            breaker.reset()

    breaker = CircuitBreaker(failure_threshold=1, clock=clock, on_state_change=first)
    breaker.on("state_change", lambda change: order.append(f"second {change.new_state}"))
    trip_once = attempt(breaker, fail)
    assert trip_once == "Boom"
    assert order == ["first open", "second open", "first closed", "second closed"]


def test_no_lock_is_held_while_a_listener_runs() -> None:
    """E5, C1: another thread uses the breaker meanwhile, and its transition is told by the first thread."""
    order: list[str] = []

    def listener(change: StateChange) -> None:
        order.append(f"{change.new_state} by {threading.current_thread().name}")
        if change.new_state is CircuitState.OPEN:
            in_threads(1, lambda: (attempt(breaker), breaker.reset()))

    breaker = CircuitBreaker(on_state_change=listener)
    breaker.open()
    me = threading.current_thread().name
    assert order == [f"open by {me}", f"closed by {me}"]
    assert breaker.state is CircuitState.CLOSED


def test_each_call_is_told_of_once_under_threads() -> None:
    """E5"""
    breaker = CircuitBreaker(failure_threshold=10**9)
    heard: list[Event] = []
    listen(breaker, heard)

    def work() -> None:
        for function in (succeed, fail) * 100:
            attempt(breaker, function)

    in_threads(8, work)
    assert sum(isinstance(event, CallSucceeded) for event in heard) == 800
    assert sum(isinstance(event, CallFailed) for event in heard) == 800


def test_a_listener_hears_no_more_after_it_unsubscribed_itself() -> None:
    breaker = CircuitBreaker()
    heard: list[object] = []

    def listener(event: object) -> None:
        heard.append(event)
        undo()

    undo: Callable[[], None] = breaker.on("success", listener)
    attempt(breaker)
    attempt(breaker)
    assert len(heard) == 1


def test_another_threads_turn_may_end_while_this_one_looks_at_it() -> None:
    """C3, E4: `checks.schedules` finds when."""

    class JustEnded(dict[str, object]):
        def setdefault(self, key: str, mine: object = None) -> object:
            return "another thread's"

    breaker = CircuitBreaker(failure_threshold=1)
    heard: list[object] = []
    breaker.on("state_change", heard.append)
    listeners: Any = breaker._circuit.listeners
    listeners._publisher, usual = JustEnded(), listeners._publisher
    assert attempt(breaker, fail) == "Boom"
    assert heard == []
    listeners._publisher = usual
    attempt(breaker)
    assert len(heard) == 1
