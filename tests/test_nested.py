"""H5: a breaker used within itself. A call inside a trial rides on it, and the outermost decides."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

import pytest
import trio

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, KeyedBreakers, ManualClock, circuit
from circuitbreaker.permit import _around

from .support import Boom, attempt, fail, in_threads, make_due, succeed

Nest = Callable[[CircuitBreaker, int], object]


def by_call(breaker: CircuitBreaker, left: int) -> None:
    if left:
        breaker.call(by_call, breaker, left - 1)


def by_decorator(breaker: CircuitBreaker, left: int) -> None:
    if left:
        breaker(by_decorator)(breaker, left - 1)


def by_block(breaker: CircuitBreaker, left: int) -> None:
    if left:
        with breaker:
            by_block(breaker, left - 1)


def by_permit(breaker: CircuitBreaker, left: int) -> None:
    if left:
        with breaker.acquire():
            by_permit(breaker, left - 1)


def by_generator(breaker: CircuitBreaker, left: int) -> None:
    @breaker
    def steps() -> Iterator[int]:
        yield left
        by_generator(breaker, left - 1)

    if left:
        list(steps())


async def _async(breaker: CircuitBreaker, left: int) -> None:
    if left == 0:
        return
    if left % 2:
        await breaker(_async)(breaker, left - 1)
    else:
        async with breaker:
            await asyncio.sleep(0)
            await _async(breaker, left - 1)


async def _async_generator(breaker: CircuitBreaker, left: int) -> None:
    @breaker
    async def steps() -> AsyncIterator[int]:
        yield left
        await _async_generator(breaker, left - 1)

    if left:
        async for _ in steps():
            pass


async def _in_tasks(breaker: CircuitBreaker, left: int) -> None:
    if left:
        async with breaker:
            await asyncio.gather(*(_in_tasks(breaker, left - 1) for _ in range(2)))


async def _in_worker_threads(breaker: CircuitBreaker, left: int) -> None:
    if left:
        async with breaker:
            await asyncio.to_thread(by_call, breaker, left - 1)


def run(main: Callable[[CircuitBreaker, int], Awaitable[None]]) -> Nest:
    return lambda breaker, left: asyncio.run(main(breaker, left))  # type: ignore[arg-type]


WAYS: dict[str, Nest] = {
    "call": by_call,
    "decorator": by_decorator,
    "block": by_block,
    "permit": by_permit,
    "generator": by_generator,
    "async": run(_async),
    "async generator": run(_async_generator),
    "tasks": run(_in_tasks),
    "worker threads": run(_in_worker_threads),
}
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("attempts", "successes"), [(1, 1), (3, 1), (3, 3), (5, 5)])
def test_a_healthy_dependency_closes_the_circuit_at_any_depth(
    clock: ManualClock, way: str, depth: int, attempts: int, successes: int
) -> None:
    """H4, H5"""
    breaker = CircuitBreaker(half_open_max_attempts=attempts, success_threshold=successes, clock=clock)
    breaker.open()
    clock.advance(30)
    for _ in range(successes):
        assert breaker.state is not CircuitState.CLOSED
        WAYS[way](breaker, depth)
    assert breaker.state is CircuitState.CLOSED


@each_way
def test_a_call_inside_a_trial_takes_no_attempt(clock: ManualClock, way: str) -> None:
    """H1, H5: of three attempts, two are left for others while calls four deep are out."""
    breaker = CircuitBreaker(half_open_max_attempts=3, clock=clock)
    breaker.open()
    clock.advance(30)
    admitted: list[int] = []

    def count_the_others(event: object) -> None:
        """The innermost call has ended, and those around it are still out."""
        permits: list[Any] = []
        for _ in range(4):
            with contextlib.suppress(CircuitOpenError):
                permits.append(Context().run(breaker.acquire))
        admitted.append(len(permits))
        for permit in permits:
            permit.release()

    breaker.on("success", count_the_others)
    WAYS[way](breaker, 4)
    assert admitted[0] == 2


def test_only_the_outermost_decides(clock: ManualClock) -> None:
    """H5: what an inner call ends with counts in the totals."""
    breaker = make_due(clock)

    def outer() -> str:
        assert attempt(breaker, fail) == "Boom"
        return "fine all the same"

    assert breaker.call(outer) == "fine all the same"
    assert breaker.state is CircuitState.CLOSED
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures) == (1, 2), "it tripped by one failure before"


def test_an_outer_call_that_fails_opens_again_whatever_went_well_within(clock: ManualClock) -> None:
    """H2, H5"""
    breaker = make_due(clock)

    def outer() -> None:
        breaker.call(succeed)
        raise Boom

    assert attempt(breaker, outer) == "Boom"
    assert breaker.state is CircuitState.OPEN
    assert breaker.metrics().total_successes == 1


def test_another_task_is_not_inside_the_trial(clock: ManualClock) -> None:
    """H1: though both run in one thread."""
    breaker = make_due(clock)

    async def main() -> None:
        inside, leave = asyncio.Event(), asyncio.Event()

        async def trial() -> None:
            async with breaker:
                inside.set()
                await leave.wait()

        async def other() -> str:
            await inside.wait()
            try:
                return attempt(breaker)
            finally:
                leave.set()

        _, seen = await asyncio.gather(trial(), other())
        assert seen == "CircuitOpenError"

    asyncio.run(main())
    assert breaker.state is CircuitState.CLOSED


def test_a_trio_nursery_within_a_trial_is_inside_it(clock: ManualClock) -> None:
    """H5, E8"""
    breaker = make_due(clock)

    async def inner() -> None:
        async with breaker:
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with breaker, trio.open_nursery() as nursery:
            nursery.start_soon(inner)
            nursery.start_soon(inner)

    trio.run(main)
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_successes == 3


def test_a_thread_is_inside_the_trial_if_it_takes_the_context_along(clock: ManualClock) -> None:
    """H5"""
    breaker = make_due(clock)
    with ThreadPoolExecutor(1) as pool, breaker:
        assert pool.submit(attempt, breaker).result() == "CircuitOpenError"
        assert pool.submit(copy_context().run, attempt, breaker).result() == "fine"
    assert breaker.state is CircuitState.CLOSED


def test_a_task_that_outlives_the_trial_is_no_longer_inside_it(clock: ManualClock) -> None:
    """H1, H5"""
    breaker = make_due(clock, success_threshold=1)

    async def main() -> None:
        go_on = asyncio.Event()

        async def straggler() -> str:
            await go_on.wait()
            return attempt(breaker)

        async with breaker:
            task = asyncio.ensure_future(straggler())
            await asyncio.sleep(0)
        breaker.open()
        clock.advance(30)
        trial = breaker.acquire()  # the only attempt
        go_on.set()
        assert await task == "CircuitOpenError"
        trial.release()

    asyncio.run(main())


def test_a_trial_whose_attempt_went_to_another_call_carries_no_more_calls(clock: ManualClock) -> None:
    """H4: or one that is never settled would keep its context from trying for ever."""
    breaker = make_due(clock)
    stream = breaker(lambda: (yield))()  # type: ignore[var-annotated]
    next(stream)
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.HALF_OPEN, "the consumer of a stream is inside its trial"
    clock.advance(30)
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED
    stream.close()


def test_a_permit_by_itself_carries_no_calls(clock: ManualClock) -> None:
    """W5, H1: callback code holds several at once."""
    breaker = CircuitBreaker(half_open_max_attempts=2, clock=clock)
    breaker.open()
    clock.advance(30)
    permits = [breaker.acquire(), breaker.acquire()]
    assert attempt(breaker) == "CircuitOpenError"
    for permit in permits:
        permit.success()


def test_other_circuits_are_not_inside_the_trial(clock: ManualClock) -> None:
    """H5: keyed ones, each by itself."""
    hosts = KeyedBreakers("shop", half_open_max_attempts=1, clock=clock, registry=None)
    for host in "ab":
        hosts.use(host).open()
    clock.advance(30)

    @circuit(key=lambda host: host, registry=None)
    def nothing(host: str) -> None: ...

    with hosts.use("a"):
        taken = hosts.use("b").acquire()
        assert attempt(hosts.use("b")) == "CircuitOpenError"
        assert attempt(hosts.use("a")) == "fine"
        taken.release()
    assert hosts["a"].state is CircuitState.CLOSED


def test_nothing_of_a_trial_is_left_in_its_context(clock: ManualClock) -> None:
    """E7"""
    breaker = make_due(clock)
    context = Context()  # an empty one, whatever other tests left in this one
    context.run(breaker.call, succeed)
    gc.collect()
    assert not [value for variable, value in context.items() if variable.name == "circuitbreaker.trials" and value]


def test_trials_that_are_settled_elsewhere_leave_no_trace_in_the_context_they_began_in(clock: ManualClock) -> None:
    """E7: at most the last one's, until the next begins."""
    breaker = CircuitBreaker(half_open_max_attempts=3, success_threshold=3, clock=clock)

    def depth() -> int:
        found, around = 0, _around.get()
        while around is not None:
            found, around = found + 1, around[1]
        return found

    for _ in range(20):
        breaker.open()
        clock.advance(30)
        stream = breaker(lambda: (yield))()  # type: ignore[var-annotated]
        next(stream)
        in_threads(1, stream.close)
        assert depth() <= 1
