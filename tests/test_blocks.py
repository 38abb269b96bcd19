"""W4 and W5: blocks and permits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from contextvars import Context
from typing import Any

import pytest

from circuitbreaker import CallIgnored, CircuitBreaker, CircuitOpenError, CircuitState, ManualClock, SlowCallRate
from circuitbreaker._circuit.blocks import Blocks
from circuitbreaker._engine.periods import Closed
from circuitbreaker._engine.watches import SparseWatch

from .support import Boom, attempt, collect_on_pypy, frequent_switches, in_threads, trip


def block(breaker: CircuitBreaker) -> Iterator[None]:
    """A block that is entered by the first step and left well by the second."""
    with breaker:
        yield


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker(failure_threshold=1, clock=clock)


def half_open(breaker: CircuitBreaker, clock: ManualClock) -> None:
    trip(breaker)
    clock.advance(30)


def test_blocks_may_be_nested_and_entered_again(breaker: CircuitBreaker) -> None:
    """W4"""
    for _ in range(2):
        with breaker, breaker, pytest.raises(KeyError), breaker:
            raise KeyError
        breaker.reset()
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures) == (4, 2)


def test_every_block_gives_the_breaker(breaker: CircuitBreaker) -> None:
    for _ in range(2):
        with breaker as same:
            assert same is breaker


def test_nested_blocks_are_one_trial(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4, H5"""
    half_open(breaker, clock)
    with breaker, breaker, breaker, breaker:
        assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_successes == 4


def test_a_call_within_a_trial_that_is_refused_does_not_fail_the_trial(clock: ManualClock) -> None:
    """H3: a thread of its own is not inside the trial, unless it takes its context along."""
    breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock)
    half_open(breaker, clock)
    inner = breaker(lambda: "fine")
    assert attempt(breaker, lambda: in_threads(1, inner)) == "CircuitOpenError"
    assert breaker.state is CircuitState.HALF_OPEN
    other = CircuitBreaker(failure_threshold=1)
    assert attempt(other, lambda: breaker.force_open() or inner()) == "CircuitOpenError"  # type: ignore[func-returns-value]
    assert other.state is CircuitState.OPEN


def test_a_stale_block_that_ends_well_does_not_close_a_half_open_circuit(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """W4"""
    stale = block(breaker)
    next(stale)
    half_open(breaker, clock)
    trial = breaker.acquire()
    next(stale, None)
    assert breaker.state is CircuitState.HALF_OPEN
    trial.release()


def test_no_block_settles_anothers(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: a trial and two stale blocks, left in the order of their entries and crosswise."""
    one, other = block(breaker), block(breaker)
    next(one)
    next(other)
    half_open(breaker, clock)
    trial = block(breaker)
    next(trial)
    for stale in (one, other):
        next(stale, None)
        assert breaker.state is CircuitState.HALF_OPEN
    next(trial, None)
    assert breaker.state is CircuitState.CLOSED


def test_a_block_may_be_left_in_another_thread(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: a generator that is stepped in a pool, while this thread has a block of its own."""
    half_open(breaker, clock)
    trial = block(breaker)
    in_threads(1, lambda: next(trial))
    assert breaker.state is CircuitState.HALF_OPEN
    with pytest.raises(LookupError), breaker:
        in_threads(1, lambda: next(trial, None))
        assert breaker.state is CircuitState.CLOSED
        raise LookupError
    assert breaker.state is CircuitState.CLOSED


async def test_a_block_may_be_left_in_another_task_and_context(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4"""

    async def steps() -> Any:
        async with breaker:
            yield

    half_open(breaker, clock)
    trial = steps()
    await asyncio.create_task(anext(trial))
    assert breaker.state is CircuitState.HALF_OPEN
    await asyncio.create_task(anext(trial, None))
    assert breaker.state is CircuitState.CLOSED


async def test_async_blocks_of_many_tasks_settle_each_its_own(breaker: CircuitBreaker) -> None:
    """W4, E6"""
    done = asyncio.Event()

    async def work(number: int) -> None:
        async with breaker:
            async with breaker:
                await done.wait()
            if number % 2:
                raise LookupError

    breaker = CircuitBreaker(failure_threshold=10**6)
    tasks = [asyncio.create_task(work(number)) for number in range(100)]
    await asyncio.sleep(0)
    done.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures) == (150, 50)


def test_an_abandoned_block_is_neutral(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4, H3: a generator that is dropped inside its block."""
    half_open(breaker, clock)
    trial = block(breaker)
    next(trial)
    del trial
    collect_on_pypy()
    assert breaker.metrics().total_ignored == 1
    assert breaker.state is CircuitState.HALF_OPEN


def test_an_exit_stack_settles_its_own_entries(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: while a younger block of another frame is open."""
    half_open(breaker, clock)
    younger = block(breaker)
    with contextlib.ExitStack() as stack:
        stack.enter_context(breaker)
        next(younger)
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_successes == 1
    next(younger, None)
    assert breaker.metrics().total_successes == 2


def test_exit_stacks_of_one_function_settle_each_its_own(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: whichever is closed first, and wherever; pop_all() hands the entries on."""
    stale, trial = contextlib.ExitStack(), contextlib.ExitStack()
    stale.enter_context(breaker)
    half_open(breaker, clock)
    trial.enter_context(breaker)
    handed_on = trial.pop_all()
    in_threads(1, stale.close)
    assert breaker.state is CircuitState.HALF_OPEN
    in_threads(1, handed_on.close)
    assert breaker.state is CircuitState.CLOSED


def test_a_stale_exit_stack_that_is_closed_in_a_block_leaves_the_block_alone(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """W4"""
    stale = contextlib.ExitStack()
    stale.enter_context(breaker)
    half_open(breaker, clock)
    with pytest.raises(LookupError), breaker:
        stale.close()
        assert breaker.state is CircuitState.HALF_OPEN
        raise LookupError
    assert breaker.state is CircuitState.OPEN


class Delegating:
    """A context manager that passes both halves on."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker

    def __enter__(self) -> None:
        self.breaker.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.breaker.__exit__(*error)

    async def __aenter__(self) -> None:
        await self.breaker.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self.breaker.__aexit__(*error)


def delegating_block(breaker: CircuitBreaker) -> Iterator[None]:
    with Delegating(breaker):
        yield


async def test_blocks_behind_other_context_managers_settle_each_its_own(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """W4"""
    stale = delegating_block(breaker)
    next(stale)
    half_open(breaker, clock)
    async with Delegating(breaker):
        next(stale, None)
        assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.state is CircuitState.CLOSED


def enter(breaker: CircuitBreaker) -> None:
    breaker.__enter__()


def leave(breaker: CircuitBreaker) -> None:
    breaker.__exit__(None, None, None)


def test_an_exit_by_hand_that_may_be_anothers_settles_no_trial(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: nobody can tell whose it is, so the trial gives its attempt back."""
    half_open(breaker, clock)
    trial = block(breaker)
    next(trial)
    enter(breaker)
    leave(breaker)
    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.metrics().total_ignored == 1
    next(trial, None)
    assert breaker.state is CircuitState.CLOSED


def test_an_exit_by_hand_that_may_be_anothers_is_told_of_as_ignored(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """W4"""
    half_open(breaker, clock)
    heard: list[CallIgnored] = []
    breaker.on("ignored", heard.append)
    trial = block(breaker)
    next(trial)
    enter(breaker)
    leave(breaker)
    assert heard == [CallIgnored("unnamed", 0.0, None)]
    next(trial, None)


def test_an_exit_by_hand_is_a_late_one_before_it_is_a_trials(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: it errs on the side that changes nothing."""
    enter(breaker)
    half_open(breaker, clock)
    trial = block(breaker)
    next(trial)
    leave(breaker)
    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.metrics().total_successes == 1
    next(trial, None)
    assert breaker.state is CircuitState.CLOSED


def test_a_trial_by_hand_is_not_settled_by_a_block_whose_token_was_taken(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """W4: the exit by hand took the stale block's token, so that block's end says nothing of the trial."""
    stale = block(breaker)
    next(stale)
    half_open(breaker, clock)
    enter(breaker)
    breaker.__exit__(Boom, Boom(), None)
    next(stale, None)
    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.metrics().total_ignored == 1
    enter(breaker)
    leave(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_a_trial_by_hand_after_a_block_that_failed_is_settled(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: that block has left, so the exit can only be the trial's."""
    with pytest.raises(Boom), breaker:
        raise Boom
    clock.advance(30)
    enter(breaker)
    leave(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_an_entry_by_hand_keeps_nothing_of_its_function_alive(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """E7"""
    half_open(breaker, clock)

    def enter_with(held: Any) -> None:
        breaker.__enter__()

    big = Delegating(breaker)
    gone = weakref.ref(big)
    enter_with(big)
    del big
    collect_on_pypy()
    assert gone() is None
    leave(breaker)


def test_a_delegating_manager_may_be_of_any_kind(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: nothing is asked of it."""

    class Lazy(Delegating):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    half_open(breaker, clock)
    with Lazy(breaker):
        pass
    assert breaker.state is CircuitState.CLOSED


def test_blocks_of_two_closed_periods_settle_each_in_its_own(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4, E1: a stale block, though it fails, opens nothing; and the fast way is found again when it has left."""
    for _ in range(3):
        stale = block(breaker)
        next(stale)
        breaker.reset()
        with breaker:
            with pytest.raises(Boom):
                stale.throw(Boom())  # type: ignore[attr-defined]
            assert breaker.state is CircuitState.CLOSED
        with pytest.raises(Boom), breaker:
            raise Boom
        assert breaker.state is CircuitState.OPEN
        breaker.reset()
    assert breaker.metrics().total_calls == 9


def test_a_block_that_enters_while_the_period_changes_is_counted_in_its_own(breaker: CircuitBreaker) -> None:
    """W4, E6: another period begins, and another block enters it, just before this one leaves its token."""
    with breaker:
        pass
    alike = breaker._blocks.common
    assert alike is not None
    other = block(breaker)

    class Meddling(list[None]):
        def append(self, token: None) -> None:
            breaker.reset()
            next(other)
            super().append(token)

    alike.blocks = Meddling()
    with breaker:
        next(other, None)
        assert breaker.metrics().total_successes == 2
    assert breaker.metrics().total_successes == 3
    assert not breaker._blocks._entries
    with breaker:
        pass
    assert breaker.metrics().total_successes == 4


def test_a_block_that_enters_while_the_circuit_moves_on_is_a_trial_and_leaves_nothing_behind(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """W4: the circuit trips, and another block enters as a trial, just before this one leaves its token."""
    stale, other = block(breaker), block(breaker)
    next(stale)
    alike = breaker._blocks.common
    assert alike is not None

    class Meddling(list[None]):
        def append(self, token: None) -> None:
            half_open(breaker, clock)
            Context().run(next, other)
            super().append(token)

    alike.blocks = Meddling(alike.blocks)
    with breaker:
        assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.state is CircuitState.CLOSED
    next(other, None)
    next(stale, None)
    assert breaker.metrics().total_successes == 3
    leave(breaker)  # an exit that no entry belongs to
    assert breaker.metrics().total_successes == 3


def test_each_exit_stack_of_a_function_has_its_own_entry(clock: ManualClock) -> None:
    """W4: told apart by how long their blocks lasted."""
    lasted: list[float] = []
    breaker = CircuitBreaker(clock=clock)
    breaker.on("success", lambda event: lasted.append(event.duration))
    one, other = contextlib.ExitStack(), contextlib.ExitStack()
    one.enter_context(breaker)
    clock.advance(5)
    other.enter_context(breaker)
    clock.advance(1)
    one.close()
    other.close()
    assert lasted == [6.0, 1.0]


def test_blocks_of_threads_are_counted_while_periods_change() -> None:
    """W4, E6: entered by one period's token, by another's, or by their frames."""
    breaker = CircuitBreaker(failure_threshold=10**9)
    left: list[int] = []

    def use() -> None:
        for _ in range(300):
            with breaker, breaker:
                left.append(1)
            held = block(breaker)
            next(held)
            with breaker:
                next(held, None)
            left.append(1)

    def change() -> None:
        while len(left) < 5 * 600:
            breaker.reset()
            breaker.on("success", lambda event: None)()

    with frequent_switches():
        work = [use] * 5 + [change]
        in_threads(6, lambda: work.pop()())
    assert breaker.metrics().total_successes == breaker.metrics().total_calls == 5 * 300 * 4
    assert not breaker._blocks._entries


async def test_an_async_exit_stack_settles_its_own_entries(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4"""
    half_open(breaker, clock)
    younger = block(breaker)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(breaker)
        next(younger)
    assert breaker.state is CircuitState.CLOSED
    next(younger, None)
    assert breaker.metrics().total_successes == 2


def test_entries_by_hand_are_each_settled_once(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W4: from frames that entered nothing."""
    half_open(breaker, clock)
    in_threads(1, lambda: enter(breaker))
    in_threads(1, lambda: leave(breaker))
    assert breaker.state is CircuitState.CLOSED
    in_threads(3, lambda: enter(breaker))
    in_threads(4, lambda: leave(breaker))
    assert breaker.metrics().total_successes == 4


def test_entries_of_blocks_are_forgotten_when_they_are_left() -> None:
    """W4: also of threads that entered the first block at once, each of which had to ask."""
    blocks, period, frame = Blocks(), Closed(SparseWatch()), sys._getframe()
    for _ in range(2):
        blocks.enter(frame, period)
    assert [blocks.leave(frame) for _ in range(3)] == [(period, True), (period, True), None]


def test_blocks_keep_no_period_that_has_ended(breaker: CircuitBreaker) -> None:
    """E7"""
    before = closed_periods()
    for _ in range(20):
        with breaker:
            pass
        breaker.reset()
    assert closed_periods() <= before + 1


def closed_periods() -> int:
    gc.collect()
    return sum(isinstance(each, Closed) for each in gc.get_objects())


def test_an_exit_without_an_entry_does_nothing(breaker: CircuitBreaker) -> None:
    before = breaker.metrics()
    breaker.__exit__(Boom, Boom(), None)
    assert breaker.metrics() == before


def test_a_stack_closed_elsewhere_leaves_nested_entries_in_place(breaker: CircuitBreaker) -> None:
    """W4: what an exit by hand takes is the innermost of the latest frame; the outer one stays."""

    def enter_twice() -> None:
        breaker.__enter__()
        breaker.__enter__()

    enter_twice()
    in_threads(2, lambda: breaker.__exit__(None, None, None))
    assert breaker.metrics().total_successes == 2


def test_a_rejected_block_does_not_run_and_leaves_nothing_behind(breaker: CircuitBreaker) -> None:
    breaker.open()
    with pytest.raises(CircuitOpenError), breaker:
        raise AssertionError
    assert breaker.metrics().total_rejections == 1
    breaker.reset()
    breaker.__exit__(None, None, None)
    assert breaker.metrics().total_successes == 0


# W5


def test_a_permit_is_the_two_step_form() -> None:
    """W5"""
    breaker = CircuitBreaker(failure_threshold=3)
    breaker.acquire().success()
    breaker.acquire().failure(Boom("late"))
    breaker.acquire().failure()
    breaker.acquire().release()
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures, metrics.total_ignored) == (1, 2, 1)
    assert str(metrics.last_failure) == "failure"


async def test_a_permit_is_a_context_manager_too() -> None:
    """W5"""
    breaker = CircuitBreaker(failure_threshold=9, ignore=LookupError)
    with breaker.acquire() as permit:
        permit.failure()
    with pytest.raises(Boom), breaker.acquire():
        raise Boom
    async with breaker.acquire() as permit:
        permit.success()
    with pytest.raises(LookupError):
        async with breaker.acquire():
            raise LookupError
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures, metrics.total_ignored) == (1, 2, 1)


def test_a_permit_may_be_settled_in_another_thread(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """W5"""
    half_open(breaker, clock)
    permit = breaker.acquire()
    in_threads(1, permit.success)
    assert breaker.state is CircuitState.CLOSED


def test_a_permit_may_stop_timing_before_its_verdict(clock: ManualClock) -> None:
    """W5: an answer has begun, and its body goes on."""
    breaker = CircuitBreaker(trip=SlowCallRate(1.0, slower_than=5, calls=1), clock=clock)
    durations: list[float] = []
    breaker.on("success", lambda event: durations.append(event.duration))
    permit = breaker.acquire()
    clock.advance(3)
    permit.stop_timing()
    clock.advance(60)
    permit.success()
    assert (durations, breaker.state) == ([3], CircuitState.CLOSED)


def test_a_permits_failure_wants_an_exception() -> None:
    permit = CircuitBreaker().acquire()
    with pytest.raises(TypeError, match="error must be an exception or None, got 'late'"):
        permit.failure("late")  # type: ignore[arg-type]
    permit.success()


def test_acquire_never_blocks(breaker: CircuitBreaker) -> None:
    """W5: it raises."""
    breaker.open()
    threads_before = threading.active_count()
    assert attempt(breaker) == "CircuitOpenError"
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    assert threading.active_count() == threads_before
