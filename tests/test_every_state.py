"""E1 to E10: what holds in every state."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import inspect
import logging
import operator
import os
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import freezegun
import pytest
import trio

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    ManualClock,
    Outcome,
    Permit,
    Registry,
    StateChange,
    SystemClock,
    circuit,
)
from circuitbreaker._engine.periods import HalfOpen

from .support import (
    Boom,
    attempt,
    collect_on_pypy,
    exit_of_child,
    fail,
    frequent_switches,
    in_threads,
    no_cyclic_collector,
    raiser,
    succeed,
    trip,
)

# E1


@pytest.mark.parametrize("result", ["success", "failure", "release"])
@pytest.mark.parametrize("where", ["open", "half_open", "closed"])
def test_a_late_result_counts_in_the_totals_and_changes_nothing_else(
    clock: ManualClock, result: str, where: str
) -> None:
    """E1"""
    breaker = CircuitBreaker(failure_threshold=1, clock=clock)
    late = breaker.acquire()
    trip(breaker)
    if where != "open":
        clock.advance(30)
        trial = breaker.acquire()
        if where == "closed":
            trial.success()
    before = breaker.metrics()

    getattr(late, result)()

    after = breaker.metrics()
    assert after.total_calls == before.total_calls + 1
    unchanged = ("state", "failure_count", "success_count", "next_attempt_time", "opened_at", "reason")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]


def test_a_late_result_of_a_joined_call_changes_nothing_either(clock: ManualClock) -> None:
    """E1, for decorated functions, which take no permit when closed."""
    breaker = CircuitBreaker(failure_threshold=2, clock=clock)

    @breaker
    def slow(then: Callable[[], object]) -> None:
        trip(breaker)
        clock.advance(30)
        breaker.acquire().success()
        then()

    for then in (succeed, fail):
        before = breaker.metrics().total_calls
        attempt(breaker, lambda then=then: slow(then))
        assert breaker.state is CircuitState.CLOSED
        assert breaker.metrics().total_calls == before + 5
        breaker.reset()


async def test_a_coroutine_that_ends_well_after_its_period_counts_in_the_totals() -> None:
    """E1, E6"""
    breaker = CircuitBreaker()
    go_on = asyncio.Event()
    late = asyncio.ensure_future(breaker(go_on.wait)())
    await asyncio.sleep(0)
    breaker.reset()
    go_on.set()
    await late
    assert breaker.metrics().total_successes == 1


def test_a_late_trial_does_not_count_in_the_next_half_open_period(clock: ManualClock) -> None:
    """E1: a token, not a number."""
    breaker = CircuitBreaker(failure_threshold=1, clock=clock, success_threshold=2)
    trip(breaker)
    clock.advance(30)
    late, failing = breaker.acquire(), breaker.acquire()
    failing.failure(Boom())
    clock.advance(30)
    trial = breaker.acquire()
    late.success()
    assert breaker.metrics().success_count == 0
    trial.success()
    assert breaker.state is CircuitState.HALF_OPEN


# E2


@pytest.mark.parametrize(
    "second", [Permit.success, Permit.failure, Permit.release, lambda p: p.__exit__(None, None, None)]
)
@pytest.mark.parametrize("first", [Permit.success, Permit.failure, Permit.release])
def test_a_permit_is_settled_once(first: Callable[[Permit], None], second: Callable[[Permit], None]) -> None:
    """E2"""
    breaker = CircuitBreaker(failure_threshold=10)
    permit = breaker.acquire()
    assert repr(permit) == "<Permit of 'unnamed', unsettled>"
    first(permit)
    before = breaker.metrics()
    second(permit)
    assert breaker.metrics() == before
    assert repr(permit) == "<Permit of 'unnamed', settled>"


def test_a_permit_that_its_own_predicate_settles_is_settled_once() -> None:
    """E2: between the look and the leap, somebody else may have settled it."""
    breaker = CircuitBreaker(failure_threshold=1, is_failure=lambda error: permit.release() or True)  # type: ignore[func-returns-value]
    permit = breaker.acquire()
    with pytest.raises(Boom), permit:
        raise Boom
    assert breaker.metrics().total_ignored == 1
    assert breaker.metrics().total_calls == 1


def test_a_permit_that_many_threads_settle_is_settled_once() -> None:
    """E2"""
    breaker = CircuitBreaker(failure_threshold=10**9)
    with frequent_switches():
        for _ in range(50):
            permit = breaker.acquire()
            in_threads(4, permit.failure)
    assert breaker.metrics().total_calls == 50


# E3


class Odd(BaseException):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, Odd])
def test_what_is_no_exception_is_neutral_whatever_is_failure_says(error: type[BaseException]) -> None:
    """E3"""
    breaker = CircuitBreaker(failure_threshold=1, is_failure=BaseException)
    with pytest.raises(error), breaker:
        raise error
    breaker.acquire().failure(error())
    assert breaker.metrics().total_ignored == 2
    assert breaker.metrics().total_failures == 0


# E4


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.ERROR, "circuitbreaker")
    return lambda: [record.getMessage() for record in caplog.records if record.exc_info]


RAISED = [Boom("own"), RecursionError(), MemoryError(), concurrent.futures.CancelledError()]


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize("option", ["is_failure", "ignore"])
def test_a_call_that_a_predicate_cannot_judge_failed(
    clock: ManualClock, logged: Callable[[], list[str]], option: str, error: BaseException
) -> None:
    """E4: the trial is not leaked, the caller gets the call's own exception."""
    breaker = CircuitBreaker("shop", failure_threshold=1, clock=clock, **{option: raiser(error)})  # type: ignore[misc]
    for _ in range(3):
        assert attempt(breaker, fail) == "Boom"
        assert breaker.state is CircuitState.OPEN
        clock.advance(30)
    assert logged() == ["circuit 'shop': its is_failure or ignore raised"] * 3


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_a_result_that_a_predicate_cannot_judge_failed(
    clock: ManualClock, logged: Callable[[], list[str]], error: BaseException
) -> None:
    """E4"""
    breaker = CircuitBreaker("shop", failure_threshold=1, clock=clock, is_failure_result=raiser(error))  # type: ignore[arg-type]
    assert attempt(breaker, succeed) == "fine"
    assert breaker.state is CircuitState.OPEN
    assert logged() == ["circuit 'shop': its is_failure_result raised"]


def test_an_explicit_failure_that_ignore_cannot_judge_is_a_failure(logged: Callable[[], list[str]]) -> None:
    """E4"""
    breaker = CircuitBreaker("shop", failure_threshold=1, ignore=raiser(Boom()))  # type: ignore[arg-type]
    breaker.acquire().failure(Boom())
    assert breaker.state is CircuitState.OPEN
    assert logged() == ["circuit 'shop': its ignore raised"]


class RaisingPolicy:
    """Raises where it is told to."""

    def __init__(self, error: BaseException, in_watch: bool = False) -> None:
        self.error = error
        self.in_watch = in_watch
        self.armed = False

    def watch(self) -> RaisingPolicy:
        if self.in_watch and self.armed:
            raise self.error
        return self

    def see(self, outcome: Outcome) -> str | None:
        raise self.error


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_a_policy_that_raises_does_not_trip(logged: Callable[[], list[str]], error: BaseException) -> None:
    """E4"""
    breaker = CircuitBreaker("shop", trip=RaisingPolicy(error))
    assert attempt(breaker, fail) == "Boom"
    assert attempt(breaker, succeed) == "fine"
    assert breaker.state is CircuitState.CLOSED
    assert logged() == ["circuit 'shop': its trip policy raised"] * 2


def test_a_policy_that_raises_leaves_the_one_beside_it_alone(logged: Callable[[], list[str]]) -> None:
    """E4"""
    breaker = CircuitBreaker("shop", trip=ConsecutiveFailures(2) | RaisingPolicy(Boom()))
    trip(breaker)
    assert breaker.metrics().total_failures == 2


@pytest.mark.parametrize("where", ["__bool__", "__str__"])
def test_a_policy_whose_reason_raises_does_not_trip(logged: Callable[[], list[str]], where: str) -> None:
    """E4"""
    reason = type("Reason", (), {"__bool__": lambda self: True, where: raiser(Boom())})()

    class Policy:
        def watch(self) -> Policy:
            return self

        def see(self, outcome: Outcome) -> Any:
            return reason

    breaker = CircuitBreaker("shop", trip=Policy())
    assert attempt(breaker) == "fine"
    assert logged() == ["circuit 'shop': its trip policy raised"]


def test_what_was_raised_first_is_logged_first(logged: Callable[[], list[str]]) -> None:
    """E4: by the predicate that judges the call, then by the policy that sees the end of it."""
    breaker = CircuitBreaker("shop", trip=RaisingPolicy(Boom()), is_failure=raiser(Boom()))  # type: ignore[arg-type]
    attempt(breaker, fail)
    assert logged() == ["circuit 'shop': its is_failure or ignore raised", "circuit 'shop': its trip policy raised"]


def test_what_was_raised_before_an_interrupt_is_logged_when_somebody_looks(logged: Callable[[], list[str]]) -> None:
    """E4: the policy lets the interrupt pass, so the call goes no further."""
    policy = RaisingPolicy(KeyboardInterrupt())
    breaker = CircuitBreaker("shop", trip=policy, is_failure=raiser(Boom()))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        breaker.call(fail)
    assert logged() == []
    breaker.metrics()
    assert logged() == ["circuit 'shop': its is_failure or ignore raised"]


@pytest.mark.parametrize("order", ["reset", "shadow"])
def test_a_policy_that_raises_as_a_force_ends_is_logged_at_once(logged: Callable[[], list[str]], order: str) -> None:
    """E4, M2: it is asked for a new watch."""
    policy = RaisingPolicy(Boom(), in_watch=True)
    breaker = CircuitBreaker("shop", trip=policy)
    policy.armed = True
    breaker.force_closed()
    assert logged() == []
    getattr(breaker, order)()
    assert logged() == ["circuit 'shop': its trip policy raised"]


def test_a_policy_that_gives_no_second_watch_does_not_trip(logged: Callable[[], list[str]]) -> None:
    """E4"""
    watches: list[Any] = [ConsecutiveFailures(1).watch() for _ in range(2)]

    class Policy:
        def watch(self) -> Any:
            return watches.pop() if watches else None

    breaker = CircuitBreaker("shop", trip=Policy())
    trip(breaker)
    breaker.reset()
    assert attempt(breaker, fail) == "Boom"
    assert breaker.state is CircuitState.CLOSED
    assert logged() == ["circuit 'shop': its trip policy raised"]


@pytest.mark.parametrize("order", ["open", "reset", "force_open", "shadow"])
def test_what_a_policy_or_strategy_does_to_its_breaker_is_done_after_the_change_it_is_asked_about(
    clock: ManualClock, order: str
) -> None:
    """E5, C2: one change at a time, each told once, with no lock held."""
    changes: list[tuple[str, str]] = []
    locked: list[StateChange] = []

    def listener(change: StateChange) -> None:
        changes.append((change.old_state.value, change.new_state.value))
        reader = threading.Thread(target=breaker.metrics)
        reader.start()
        reader.join(3)
        if reader.is_alive():
            locked.append(change)

    class Ordering:
        def watch(self) -> Ordering:
            return self

        def see(self, outcome: Outcome) -> str | None:
            if outcome.failed:
                getattr(breaker, order)()
                attempt(breaker, succeed)
            return "seen" if outcome.failed else None

    def strategy(opening: object) -> float:
        getattr(breaker, order)()
        attempt(breaker, succeed)
        return 5.0

    breaker = CircuitBreaker(trip=Ordering(), reset_timeout=strategy, clock=clock, on_state_change=listener)
    assert attempt(breaker, fail) == "Boom"
    assert all(old != new for old, new in changes)
    assert all(earlier[1] == later[0] for earlier, later in pairwise(changes))
    assert changes[0] == ("closed", "open")
    assert locked == []
    breaker.reset()
    assert attempt(breaker) in ("fine", "CircuitOpenError")


def test_nothing_is_told_before_the_last_change_is_made() -> None:
    """E5: though the second strategy uses the breaker while the first transition waits to be told."""
    told: list[tuple[str, bool]] = []

    class Ordering:
        def watch(self) -> Ordering:
            return self

        def see(self, outcome: Outcome) -> str | None:
            breaker.reset()
            breaker.open()
            return "seen"

    def strategy(opening: object) -> float:
        breaker.acquire().release()
        return 5.0

    def listener(change: StateChange) -> None:
        told.append((change.new_state.value, breaker._circuit.turns.inside))

    breaker = CircuitBreaker(trip=Ordering(), reset_timeout=strategy, on_state_change=listener)
    attempt(breaker, fail)
    assert told == [("open", False), ("closed", False), ("open", False)]


def test_a_strategy_that_calls_in_half_open_gets_no_trial(clock: ManualClock) -> None:
    """H1: there is no waiting for one's turn inside a change."""
    results: list[str] = []

    def strategy(opening: Any) -> float:
        clock.advance(5)
        results.append(attempt(breaker))
        return 5.0

    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=strategy, half_open_max_attempts=1, clock=clock)
    told: list[object] = []
    breaker.on("rejected", told.append)
    trip(breaker)
    clock.advance(5)
    attempt(breaker, fail)
    assert len(told) == 1
    assert results == ["fine", "CircuitOpenError"]
    assert breaker.metrics().total_rejections == 1


def test_a_call_inside_a_change_takes_no_trial_and_is_told_of_after_it(clock: ManualClock) -> None:
    """H1, O3, E5: as a signal handler would make it, that hit in the middle of a change."""
    breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock)
    told: list[str] = []
    breaker.on("success", lambda event: told.append("success"))
    breaker.on("rejected", lambda event: told.append("rejected"))
    during: list[object] = []
    inside = breaker._circuit.turns.run

    inside(lambda: during.extend([attempt(breaker), list(told), breaker.metrics().total_calls, repr(breaker)]))
    assert during[:3] == ["fine", [], 1]
    assert told == []
    attempt(breaker, fail)
    assert told == ["success"]
    clock.advance(30)
    inside(lambda: during.append(attempt(breaker)))
    assert during[-1] == "CircuitOpenError"
    assert breaker.state is CircuitState.OPEN
    assert attempt(breaker) == "fine"
    assert told == ["success", "rejected", "success"]


def test_an_order_given_inside_a_change_is_carried_out_after_it() -> None:
    """M1, M2: also when the change fails."""
    breaker = CircuitBreaker()

    def step() -> None:
        breaker.force_open()
        assert breaker.hold is None
        raise Boom

    with pytest.raises(Boom):
        breaker._circuit.turns.run(step)
    assert attempt(breaker) == "CircuitOpenError"


def test_logging_never_changes_what_the_caller_gets() -> None:
    """E4, C3: neither a handler that uses the same broken breaker, nor one that raises."""
    breaker = CircuitBreaker("shop", is_failure=raiser(Boom()), failure_threshold=10**6)  # type: ignore[arg-type]
    emitted: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            emitted.append(record.getMessage())
            attempt(breaker, fail)
            raise OSError("disk full")

    handler = Handler()
    logging.getLogger("circuitbreaker").addHandler(handler)
    try:
        for _ in range(3):
            with pytest.raises(LookupError), breaker:
                raise LookupError
    finally:
        logging.getLogger("circuitbreaker").removeHandler(handler)
    assert emitted == ["circuit 'shop': its is_failure or ignore raised"] * 3


def test_own_code_that_raises_in_many_threads_is_logged_once_each(logged: Callable[[], list[str]]) -> None:
    """E4, C3"""
    breaker = CircuitBreaker("shop", is_failure=lambda error: 1 / 0 > 0, failure_threshold=10**6)
    ends: list[str] = []
    with frequent_switches():
        in_threads(8, lambda: ends.extend([attempt(breaker, fail) for _ in range(50)]))
    assert set(ends) == {"Boom"}
    assert len(logged()) == 400


def test_own_code_is_logged_about_with_no_lock_held() -> None:
    """E4, C1: a logging handler may use the breaker from another thread."""
    breaker = CircuitBreaker("shop", trip=RaisingPolicy(Boom()))
    handled: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            in_threads(1, lambda: handled.append(breaker.metrics().name))

    handler = Handler()
    logging.getLogger("circuitbreaker").addHandler(handler)
    try:
        attempt(breaker, fail)
    finally:
        logging.getLogger("circuitbreaker").removeHandler(handler)
    assert handled == ["shop"]


def test_a_recursion_limit_hit_anywhere_wedges_nothing(clock: ManualClock) -> None:
    """H4, E4: however deep the stack was when the trial ended."""

    def at_depth(depth: int, function: Callable[[], object]) -> object:
        return function() if depth == 0 else at_depth(depth - 1, function)

    before = sys.getrecursionlimit()
    used = len(inspect.stack(0))
    for room in range(5, 60):
        breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock)
        trip(breaker)
        clock.advance(30)
        guarded = breaker(succeed)
        sys.setrecursionlimit(used + 200)
        try:
            at_depth(190 - room, guarded)
        except RecursionError:
            pass
        finally:
            sys.setrecursionlimit(before)
        clock.advance(1e6)
        assert guarded() == "fine"
        assert breaker.state is CircuitState.CLOSED


def test_a_policy_that_cannot_begin_does_not_trip(logged: Callable[[], list[str]]) -> None:
    """E4"""
    policy = RaisingPolicy(Boom(), in_watch=True)
    breaker = CircuitBreaker("shop", trip=policy)
    policy.armed = True
    breaker.reset()
    assert logged() == ["circuit 'shop': its trip policy raised"]
    assert attempt(breaker, fail) == "Boom"
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("answer", [-1, float("nan"), float("inf"), "soon", None, True, Boom])
def test_a_strategy_that_raises_or_gives_nonsense_gives_thirty_seconds(
    clock: ManualClock, logged: Callable[[], list[str]], answer: object
) -> None:
    """E4"""

    def strategy(opening: object) -> float:
        if isinstance(answer, type):
            raise answer
        return answer  # type: ignore[return-value]

    breaker = CircuitBreaker("shop", failure_threshold=1, reset_timeout=strategy, clock=clock)
    assert attempt(breaker, fail) == "Boom"
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 30.0
    assert logged() == ["circuit 'shop': its reset_timeout strategy raised"]


def test_of_a_failed_result_only_the_type_is_shown(logged: Callable[[], list[str]]) -> None:
    """O2, E4: its `repr` may raise, be huge, ask a database, or show a caller what is another's."""

    class Shy:
        def __repr__(self) -> str:
            raise Boom

    breaker = CircuitBreaker("shop", failure_threshold=1, is_failure_result=lambda result: isinstance(result, Shy))
    shy = Shy()
    assert breaker.call(lambda: shy) is shy
    assert str(breaker.metrics().last_failure) == "result: Shy"
    assert logged() == []


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_a_listener_that_raises_changes_nothing(
    clock: ManualClock, logged: Callable[[], list[str]], error: BaseException
) -> None:
    """E4: neither for the caller, nor for the circuit, nor for the next listener."""
    breaker = CircuitBreaker("shop", failure_threshold=1, clock=clock)
    heard: list[object] = []
    for event in ("state_change", "success", "failure", "rejected", "ignored"):
        breaker.on(event, raiser(error))  # type: ignore[arg-type]
        breaker.on(event, heard.append)  # type: ignore[arg-type]

    assert [attempt(breaker), attempt(breaker, fail), attempt(breaker)] == ["fine", "Boom", "CircuitOpenError"]
    clock.advance(30)
    breaker.acquire().release()
    assert attempt(breaker) == "fine"

    assert breaker.state is CircuitState.CLOSED
    assert len(heard) == len(logged()) == 8
    assert "circuit 'shop': its state_change listener raised" in logged()


def test_an_interrupt_in_a_listener_is_the_users_and_loses_nothing(clock: ManualClock) -> None:
    """E4, H3, E5: the trial that it hit gives its attempt back, and the other listener is notified of all."""
    breaker = CircuitBreaker("shop", failure_threshold=1, half_open_max_attempts=1, clock=clock)
    trip(breaker)
    clock.advance(30)
    heard: list[StateChange] = []
    undo = breaker.on("state_change", raiser(KeyboardInterrupt()))
    breaker.on("state_change", heard.append)
    with pytest.raises(KeyboardInterrupt):
        breaker.acquire()
    undo()
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED
    assert [change.new_state.value for change in heard] == ["half_open", "closed"]


def test_an_error_that_cannot_be_printed_is_no_obstacle(logged: Callable[[], list[str]]) -> None:
    """E4"""

    class Mute(Exception):
        def __str__(self) -> str:
            raise Boom

    def mute() -> None:
        raise Mute

    breaker = CircuitBreaker("shop", failure_threshold=1)
    assert attempt(breaker, mute) == "Mute"
    last = breaker.metrics().last_failure
    assert last is not None
    assert str(last) == "Mute"
    assert logged() == ["circuit 'shop': its error raised"]


class NamelessType(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError


class Nameless(Exception, metaclass=NamelessType):
    pass


class Classless(Exception):
    @property
    def __class__(self) -> Any:
        raise RuntimeError


@pytest.mark.parametrize(("kind", "name"), [(Nameless, "Nameless"), (Classless, "Classless")], ids=["name", "class"])
def test_an_error_that_does_not_say_what_it_is_reaches_the_caller_and_counts(kind: type[Exception], name: str) -> None:
    """C3, E4"""
    breaker = CircuitBreaker(failure_threshold=1)
    error = kind()
    caught: list[BaseException] = []  # pytest.raises would ask for the name
    try:
        breaker(raiser(error))()
    except Exception as each:
        caught.append(each)
    assert caught[0] is error
    last = breaker.metrics().last_failure
    assert last is not None
    assert last.type == name
    assert breaker.state is CircuitState.OPEN


def test_a_fallbacks_error_is_the_callers() -> None:
    """E4"""
    breaker = CircuitBreaker(fallback=raiser(Boom("from the fallback")))
    breaker.open()
    with pytest.raises(Boom, match="from the fallback"):
        breaker.call(succeed)


def test_the_text_of_an_error_is_a_plain_string() -> None:
    """O2: a string of another class might hold the error itself."""

    class Text(str):
        __slots__ = ("error",)

    class Speaking(Exception):
        def __str__(self) -> str:
            return Text("spoken")

    def speak() -> None:
        raise Speaking

    breaker = CircuitBreaker(failure_threshold=1)
    attempt(breaker, speak)
    last = breaker.metrics().last_failure
    assert last is not None
    assert type(last.text) is str
    assert last.text == "spoken"


def test_the_reason_of_a_policy_is_a_plain_string() -> None:
    """O2: a string of another class might hold anything."""

    class Reason(str):
        __slots__ = ("outcome",)

        def __str__(self) -> str:
            return self

    class Policy:
        def watch(self) -> Policy:
            return self

        def see(self, outcome: Outcome) -> str | None:
            return Reason("too much")

    breaker = CircuitBreaker(trip=Policy())
    attempt(breaker, fail)
    assert type(breaker.metrics().reason) is str
    assert breaker.metrics().reason == "too much"


# E5: see also test_listeners.py


def test_transitions_are_told_in_order_exactly_once_under_threads() -> None:
    """E5: each change begins where the one before ended."""
    changes: list[StateChange] = []
    breaker = CircuitBreaker(failure_threshold=2, on_state_change=changes.append)

    def work() -> None:
        for _ in range(200):
            attempt(breaker, fail)
            attempt(breaker, fail)
            breaker.reset()

    with frequent_switches():
        in_threads(8, work)

    assert len(changes) > 100
    assert changes[0].old_state is CircuitState.CLOSED
    assert all(earlier.new_state is later.old_state for earlier, later in pairwise(changes))
    assert changes[-1].new_state is breaker.state


# E6


@pytest.mark.parametrize(
    "options",
    [
        {"failure_threshold": 1},
        {"trip": FailureRate(0.5, calls=10)},
        {"trip": FailureRate(0.5, seconds=0.01)},
        {"failure_threshold": 1, "is_failure_result": operator.truth},
    ],
    ids=["consecutive", "calls", "seconds", "judged results"],
)
@pytest.mark.parametrize("listened_to", [False, True])
def test_totals_are_exact_under_threads(options: dict[str, object], listened_to: bool) -> None:
    """E6: by every way in, while the circuit opens and closes."""
    breaker = CircuitBreaker(**options, ignore=LookupError)  # type: ignore[arg-type]
    if listened_to:
        breaker.on("success", lambda event: None)

    def end(error: type[Exception] | None) -> int:
        if error is not None:
            raise error
        return 0

    def in_block(error: type[Exception] | None) -> None:
        with breaker:
            end(error)

    def with_permit(error: type[Exception] | None) -> None:
        with breaker.acquire():
            end(error)

    ways = [breaker(end), in_block, with_permit, lambda error: breaker.call(end, error)]
    ends = {None: "success", Boom: "failure", LookupError: "ignored"}
    counted: Counter[str] = Counter()
    counting = threading.Lock()

    def work() -> None:
        mine: Counter[str] = Counter()
        for number in range(300):
            way = ways[number % 4]
            for error, expected in ends.items():
                try:
                    way(error)
                    mine["success"] += 1
                except CircuitOpenError:
                    mine["rejected"] += 1
                except (Boom, LookupError):
                    mine[expected] += 1
            if number % 7 == 0:
                breaker.reset()
        with counting:
            counted.update(mine)

    with frequent_switches():
        in_threads(8, work)

    metrics = breaker.metrics()
    assert counted == Counter(
        success=metrics.total_successes,
        failure=metrics.total_failures,
        ignored=metrics.total_ignored,
        rejected=metrics.total_rejections,
    )
    assert counted["rejected"] > 0
    assert metrics.total_calls == 8 * 300 * 3


def test_totals_outlive_periods_and_resets(clock: ManualClock) -> None:
    """E6, M1: they cover the breaker's whole life."""
    breaker = CircuitBreaker(failure_threshold=1, clock=clock)
    for _ in range(3):
        attempt(breaker, succeed)
        attempt(breaker, fail)
        clock.advance(30)
        attempt(breaker, succeed)
        breaker.reset()
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures, metrics.total_calls) == (6, 3, 9)


def test_the_time_of_the_last_success_stays_what_it_was_when_the_wall_clock_is_set(clock: ManualClock) -> None:
    breaker = CircuitBreaker(clock=clock)
    attempt(breaker)
    told = breaker.metrics().last_success_time
    clock.set_time(5)
    assert breaker.metrics().last_success_time == told


def test_times_of_the_last_success_and_failure_are_exact(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=1, clock=clock)
    assert breaker.metrics().last_success_time is breaker.metrics().last_failure_time is None
    start = datetime.fromtimestamp(1000, timezone.utc)

    late = breaker.acquire()
    attempt(breaker)
    assert breaker.metrics().last_success_time == start
    clock.advance(1)
    trip(breaker)
    clock.advance(1)
    assert breaker.metrics().last_success_time == start
    assert breaker.metrics().last_failure_time == start + timedelta(seconds=1)
    late.success()
    assert breaker.metrics().last_success_time == start + timedelta(seconds=2)
    clock.advance(30)
    attempt(breaker)
    assert breaker.metrics().last_success_time == start + timedelta(seconds=32)


# E7


def test_a_discarded_breaker_disappears_at_once() -> None:
    """E7: by reference count alone, also after calls, failures, blocks, events and a trip."""
    with no_cyclic_collector():
        breaker = CircuitBreaker("brief", failure_threshold=1, on_state_change=lambda change: None)
        attempt(breaker)
        with breaker:
            pass
        undo = breaker.on("success", lambda event: None)
        undo()
        trip(breaker)
        attempt(breaker)
        gone = weakref.ref(breaker)
        del breaker, undo
        collect_on_pypy()
        assert gone() is None
        CircuitBreaker("brief")


def test_a_half_open_period_disappears_when_it_has_ended(clock: ManualClock) -> None:
    """E7: by reference count alone, though some of its trials never came back."""
    breaker = CircuitBreaker(failure_threshold=1, clock=clock, half_open_max_attempts=2)
    with no_cyclic_collector():
        before = half_open_periods()
        for _ in range(10):
            trip(breaker)
            clock.advance(30)
            kept = breaker.acquire()
            attempt(breaker, fail)
            del kept
            breaker.reset()
        assert half_open_periods() == before


def half_open_periods() -> int:
    return sum(isinstance(each, HalfOpen) for each in gc.get_objects())


@pytest.mark.parametrize("seconds", [3600, 1e-9], ids=["an hour", "less than a large clock can tell"])
def test_memory_is_bounded(seconds: float) -> None:
    """E7: a call, a thread, a dropped permit, a block leave nothing behind."""
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none")

    policy = FailureRate(1.0, seconds=seconds, minimum_calls=10**9) | ConsecutiveFailures(10**9)
    breaker = CircuitBreaker(trip=policy, clock=ManualClock(1e6) if seconds < 1 else SystemClock())
    decorated = breaker(succeed)

    def use() -> None:
        for _ in range(2000):
            decorated()
            attempt(breaker, fail)
            with breaker:
                breaker.acquire()
        in_threads(2, decorated)

    use()
    gc.collect()
    tracemalloc.start()
    try:
        use()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        use()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()


def test_a_permit_in_a_cycle_is_given_back_by_the_collector(clock: ManualClock) -> None:
    """E7, H3"""
    breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock)
    trip(breaker)
    clock.advance(30)
    cycle: list[object] = [breaker.acquire()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert attempt(breaker) == "fine"


def test_the_collector_may_run_while_the_lock_is_held(clock: ManualClock) -> None:
    """H3: a permit that is dropped inside the breaker's own critical section neither deadlocks nor corrupts."""

    class Collecting:
        def watch(self) -> Collecting:
            return self

        def see(self, outcome: Outcome) -> str | None:
            cycle: list[object] = [breaker.acquire()]
            cycle.append(cycle)
            del cycle
            gc.collect()
            return None

    breaker = CircuitBreaker(trip=Collecting(), clock=clock)
    for _ in range(3):
        attempt(breaker, fail)
    assert breaker.metrics().total_ignored == 3


# E8


def run_trio(main: Callable[[], object]) -> None:
    trio.run(main)  # type: ignore[arg-type]


def run_asyncio(main: Callable[[], object]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


@pytest.mark.parametrize("run", [run_asyncio, run_trio])
def test_it_works_the_same_under_asyncio_and_trio(
    clock: ManualClock, run: Callable[[Callable[[], object]], None]
) -> None:
    """E8: one breaker, made without a loop, serves one loop after another."""
    breaker = CircuitBreaker(failure_threshold=2, clock=clock)

    @breaker
    async def guarded(error: Exception | None = None) -> str:
        if error is not None:
            raise error
        return "fine"

    async def main() -> None:
        assert await guarded() == "fine"
        for _ in range(2):
            with pytest.raises(Boom):
                await guarded(Boom())
        with pytest.raises(CircuitOpenError):
            await guarded()
        with pytest.raises(CircuitOpenError):
            async with breaker:
                pass
        clock.advance(30)
        async with breaker:
            assert breaker.state is CircuitState.HALF_OPEN
        assert breaker.state is CircuitState.CLOSED

    for _ in range(2):
        run(main)
        breaker.reset()


def test_a_cancelled_trio_trial_gives_its_attempt_back(clock: ManualClock) -> None:
    """H3, E8"""
    breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock)
    trip(breaker)
    clock.advance(30)

    @breaker
    async def hang() -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            await trio.testing.wait_all_tasks_blocked()
            assert breaker.state is CircuitState.HALF_OPEN
            nursery.cancel_scope.cancel()

    import trio.testing

    trio.run(main)
    assert attempt(breaker) == "fine"


def test_one_breaker_serves_loops_in_several_threads_at_once() -> None:
    """E8, C1"""
    breaker = CircuitBreaker()
    inside = threading.Barrier(4)

    @breaker
    async def work() -> None:
        await asyncio.to_thread(inside.wait, 10)

    in_threads(4, lambda: asyncio.run(work()))
    assert breaker.metrics().total_successes == 4


def test_no_async_library_is_imported_to_do_so() -> None:
    """E8"""
    code = (
        "import sys, circuitbreaker as c\n"
        "async def f(): return 1\n"
        "g = c.circuit(f)\n"
        "try: g().send(None)\n"
        "except StopIteration as end: assert end.value == 1\n"
        "assert not {'asyncio', 'trio', 'anyio', 'wrapt', 'inspect'} & set(sys.modules), set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# E9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_never_inherits_a_held_lock(sandbox: Registry) -> None:
    """E9: the parent forks while other threads are in the policy (the breaker's lock), a listener, and a key's hash."""
    entered = threading.Barrier(4)
    leave = threading.Event()

    def stay() -> None:
        entered.wait(10)
        leave.wait(10)

    class Slow:
        def watch(self) -> Slow:
            return self

        def see(self, outcome: Outcome) -> str | None:
            if not outcome.failed:
                stay()
            return "seen" if outcome.failed else None

    class Key:
        def __hash__(self) -> int:
            if not leave.is_set() and threading.current_thread() is not threading.main_thread():
                stay()
            return 1

    in_policy = sandbox.get_or_create("policy", trip=Slow())
    in_listener = CircuitBreaker("listener", on_state_change=lambda change: leave.is_set() or stay())

    @circuit(key=lambda key: key)
    def by_key(key: object) -> str:
        return "fine"

    holders = [
        threading.Thread(target=attempt, args=(in_policy,)),
        threading.Thread(target=in_listener.open),
        threading.Thread(target=by_key, args=(Key(),)),
    ]
    for holder in holders:
        holder.start()
    entered.wait(10)

    def child() -> bool:  # pragma: no cover - the child's coverage is not collected
        leave.set()
        trip(in_policy)
        in_listener.reset()
        assert by_key("other") == "fine"
        sandbox.get_or_create("new").metrics()
        return True

    try:
        assert exit_of_child(child) == 0
    finally:
        leave.set()
        for holder in holders:
            holder.join(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_listener_may_fork() -> None:
    """E9: the child's caller gets its own error, too."""
    children: list[int] = []
    breaker = CircuitBreaker(failure_threshold=1, on_state_change=lambda change: children.append(os.fork()))
    result = attempt(breaker, fail)
    if children == [0]:  # pragma: no cover - the child's coverage is not collected
        os._exit(result != "Boom")
    assert result == "Boom"
    assert exit_of_child(children[0]) == 0


# E10


def test_freezegun_freezes_breakers_made_before_the_freeze_and_after_it() -> None:
    """E10"""
    before = CircuitBreaker("before", failure_threshold=1, reset_timeout=60)
    guarded = before(succeed)
    with freezegun.freeze_time("2030-01-01 12:00:00", tz_offset=0) as frozen:
        after = CircuitBreaker("after", failure_threshold=1, reset_timeout=60)
        noon = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
        guarded()
        assert before.metrics().last_success_time == noon
        for breaker in (before, after):
            trip(breaker)
            assert breaker.metrics().last_failure_time == noon
            assert breaker.metrics().next_attempt_time == noon + timedelta(seconds=60)
            assert attempt(breaker) == "CircuitOpenError"
        frozen.tick(59.5)
        assert attempt(before) == attempt(after) == "CircuitOpenError"
        frozen.tick(0.5)
        assert attempt(before) == attempt(after) == "fine"


async def test_freezegun_freezes_async_calls_too() -> None:
    """E10"""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=60)

    @breaker
    async def guarded() -> str:
        return "fine"

    with freezegun.freeze_time("2030-01-01", real_asyncio=True) as frozen:
        trip(breaker)
        frozen.tick(60)
        assert await guarded() == "fine"
        assert await guarded() == "fine"
        assert breaker.metrics().last_success_time == datetime(2030, 1, 1, 0, 1, tzinfo=timezone.utc)
