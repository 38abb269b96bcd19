"""The garbage collector, the recursion limit, and own code that exits: the circuit stays a circuit."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, CircuitState, ManualClock, Opening, Outcome

from .support import Boom, attempt, fail, in_threads, make_due, no_cyclic_collector, raiser, recovers, succeed

# The garbage collector


@pytest.mark.parametrize("what", ["permit", "block", "generator", "coroutine"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another thread"])
def test_a_trial_in_a_cycle_is_given_back_by_the_collector(clock: ManualClock, what: str, elsewhere: bool) -> None:
    """H3, E7"""
    breaker = make_due(clock)
    with no_cyclic_collector():
        cycle: list[Any] = [Context().run(under_way, breaker, what)]
        cycle.append(cycle)
        del cycle
        assert attempt(breaker) == "CircuitOpenError"
        in_threads(1, gc.collect) if elsewhere else gc.collect()
    assert breaker.metrics().total_ignored == 1
    assert attempt(breaker) == "fine"


def under_way(breaker: CircuitBreaker, what: str) -> object:
    """A call that has begun, as an object."""

    def block() -> Iterator[None]:
        with breaker:
            yield

    @breaker
    def steps() -> Iterator[None]:
        yield

    @breaker
    async def work() -> None:
        await asyncio.sleep(0)

    if what == "permit":
        return breaker.acquire()
    if what == "coroutine":
        coroutine: Any = work()
        coroutine.send(None)
        return coroutine
    running: Any = block() if what == "block" else steps()
    next(running)
    return running


def test_another_threads_collector_does_not_wait_for_a_change_under_way(clock: ManualClock) -> None:
    """H3: a permit's finalizer takes no lock, so this policy waits for the collector and not for ever."""

    class Policy:
        def watch(self) -> Policy:
            return self

        def see(self, outcome: Outcome) -> str | None:
            cycle: list[object] = [breaker.acquire()]
            cycle.append(cycle)
            del cycle
            in_threads(1, gc.collect)
            return "seen" if outcome.failed else None

    breaker = CircuitBreaker(trip=Policy(), clock=clock)
    with no_cyclic_collector():
        assert attempt(breaker, fail) == "Boom"
    assert breaker.state is CircuitState.OPEN
    assert breaker.metrics().total_ignored == 1


def test_a_breaker_and_a_permit_that_hold_each_other_disappear_together(clock: ManualClock) -> None:
    """E7"""
    breaker = make_due(clock)
    cycle: list[object] = [breaker.acquire()]
    breaker.on("success", cycle.append)
    cycle.extend([breaker, cycle])
    gone = weakref.ref(breaker)
    del breaker, cycle
    gc.collect()
    assert gone() is None


# The recursion limit: see also test_every_state.py


def recursing_decorated(breaker: CircuitBreaker, entered: list[int]) -> None:
    @breaker
    def recurse() -> None:
        entered.append(1)
        recurse()

    recurse()


def recursing_by_call(breaker: CircuitBreaker, entered: list[int]) -> None:
    def recurse() -> None:
        entered.append(1)
        breaker.call(recurse)

    breaker.call(recurse)


def recursing_in_blocks(breaker: CircuitBreaker, entered: list[int]) -> None:
    with breaker:
        entered.append(1)
        recursing_in_blocks(breaker, entered)


def recursing_with_permits(breaker: CircuitBreaker, entered: list[int]) -> None:
    with breaker.acquire():
        entered.append(1)
        recursing_with_permits(breaker, entered)


def recursing_in_generators(breaker: CircuitBreaker, entered: list[int]) -> None:
    @breaker
    def recurse() -> Iterator[None]:
        entered.append(1)
        yield from recurse()

    list(recurse())


RECURSING = [
    recursing_decorated,
    recursing_by_call,
    recursing_in_blocks,
    recursing_with_permits,
    recursing_in_generators,
]


@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("threshold", [1, 10**6])
@pytest.mark.parametrize("way", RECURSING, ids=lambda way: way.__name__)
def test_a_guarded_function_that_recurses_too_deep_leaves_a_sane_circuit(
    clock: ManualClock, way: Callable[..., None], threshold: int, heard: bool
) -> None:
    """H4, E4: calls whose ends there was no room to count were not counted; no other is lost or counted twice."""
    breaker = CircuitBreaker(failure_threshold=threshold, clock=clock)
    if heard:
        for event in ("success", "failure", "ignored", "state_change"):
            breaker.on(event, succeed)  # type: ignore[call-overload]
    entered: list[int] = []
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        with pytest.raises(RecursionError):
            way(breaker, entered)
    finally:
        sys.setrecursionlimit(before)
    gc.collect()
    counted = breaker.metrics().total_calls
    assert len(entered) - 20 <= counted <= len(entered) + 1
    assert breaker.metrics().total_successes == 0
    in_threads(1, lambda: recovers(breaker, clock) or pytest.fail("it does not recover"))
    breaker.reset()
    total = breaker.metrics().total_calls
    with breaker:
        breaker(succeed)()
    assert breaker.metrics().total_calls == total + 2


# Own code that exits, or runs out of memory: see also E4 in test_every_state.py

EXITS = [SystemExit(3), MemoryError(), GeneratorExit(), asyncio.CancelledError()]


@pytest.mark.parametrize("error", EXITS, ids=repr)
def test_a_strategy_that_exits_gives_thirty_seconds(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """E4: what comes from outside passes, once the circuit is open."""
    breaker = CircuitBreaker("shop", failure_threshold=1, reset_timeout=raiser(error), clock=clock)
    own = isinstance(error, Exception)
    with pytest.raises(Boom if own else type(error)):
        breaker.call(fail)
    clock.advance(29)
    assert attempt(breaker) == "CircuitOpenError"
    clock.advance(1)
    assert attempt(breaker) == "fine"
    assert [record.getMessage() for record in caplog.records] == [
        "circuit 'shop': its reset_timeout strategy raised"
    ] * own


@pytest.mark.parametrize("error", EXITS, ids=repr)
def test_a_fallback_that_exits_exits(error: BaseException) -> None:
    """E4: a fallback's error is the caller's, whatever it is."""
    breaker = CircuitBreaker(fallback=raiser(error))
    breaker.open()
    with pytest.raises(type(error)) as caught:
        breaker.call(succeed)
    assert caught.value is error
    assert breaker.metrics().total_rejections == breaker.metrics().total_calls == 1


@pytest.mark.parametrize("way", ["call", "block", "permit", "decorated"])
def test_a_predicate_that_really_runs_out_of_memory_fails_the_call(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """E4, C3"""
    caplog.set_level(logging.ERROR)
    breaker = make_due(clock, is_failure=lambda error: bool(bytes(sys.maxsize - 100)))
    with pytest.raises(Boom):
        if way == "call":
            breaker.call(fail)
        elif way == "decorated":
            breaker(fail)()
        else:
            with breaker if way == "block" else breaker.acquire():
                raise Boom
    assert breaker.state is CircuitState.OPEN
    assert any(record.exc_info and record.exc_info[0] is MemoryError for record in caplog.records)
    breaker.reset()
    assert attempt(breaker) == "fine"


@pytest.mark.parametrize("hit", ["is_failure", "ignore", "is_failure_result", "policy", "strategy", "listener"])
def test_an_interrupt_in_own_code_passes_and_wedges_nothing(clock: ManualClock, hit: str) -> None:
    """E4: KeyboardInterrupt is the user's."""
    armed = True

    def interrupt(what: str) -> bool:
        if armed and what == hit:
            raise KeyboardInterrupt
        return False

    class Policy:
        def watch(self) -> Policy:
            return self

        def see(self, outcome: Outcome) -> str | None:
            interrupt("policy")
            return "seen" if outcome.failed else None

    def strategy(opening: Opening) -> float:
        interrupt("strategy")
        return 30.0

    breaker = CircuitBreaker(
        trip=Policy(),
        is_failure=lambda error: not interrupt("is_failure"),
        ignore=lambda error: interrupt("ignore"),
        is_failure_result=lambda result: interrupt("is_failure_result"),
        reset_timeout=strategy,
        on_state_change=lambda change: interrupt("listener"),
        clock=clock,
    )
    with pytest.raises(KeyboardInterrupt):
        breaker.call(succeed if hit == "is_failure_result" else fail)
    armed = False
    clock.advance(30)
    for function in (succeed, fail, fail):
        in_threads(1, lambda function=function: attempt(breaker, function))
    assert breaker.state is CircuitState.OPEN
    assert recovers(breaker, clock)
