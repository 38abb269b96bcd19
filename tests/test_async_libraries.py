"""E8: every promise that an await could break, under asyncio, trio, and anyio on both.

Each test is written once, against `async_libraries`; no plugin for async tests is needed.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock, Permit, circuit

from .async_libraries import LIBRARIES, TIMED_OUT, Library
from .support import Boom, attempt, fail_async, in_threads, succeed_async, trip

Work = Callable[[], Awaitable[object]]


@pytest.fixture(params=LIBRARIES, name="library")
def _library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock)


@pytest.fixture
def due(breaker: CircuitBreaker, clock: ManualClock) -> CircuitBreaker:
    """A breaker whose next call is its only trial."""
    trip(breaker)
    clock.advance(30)
    return breaker


# Ways in


async def decorated(breaker: CircuitBreaker, work: Work) -> object:
    @breaker
    async def guarded() -> object:
        return await work()

    return await guarded()


async def called(breaker: CircuitBreaker, work: Work) -> object:
    return await breaker.call(work)


async def called_plainly(breaker: CircuitBreaker, work: Work) -> object:
    return await breaker.call(lambda: work())


async def in_a_block(breaker: CircuitBreaker, work: Work) -> object:
    async with breaker:
        return await work()


async def by_permit(breaker: CircuitBreaker, work: Work) -> object:
    async with breaker.acquire():
        return await work()


async def stepped(breaker: CircuitBreaker, work: Work) -> object:
    @breaker
    async def steps() -> AsyncIterator[object]:
        yield "first"
        yield await work()

    return [each async for each in steps()][-1]


async def by_key(breaker: CircuitBreaker, work: Work) -> object:
    """Through a breaker of the key's own that behaves like `breaker`: guarded by both."""

    @circuit(key=lambda: "key", failure_threshold=10**6, registry=None)
    async def guarded() -> object:
        return await work()

    return await breaker(guarded)()


WAYS = [decorated, called, called_plainly, in_a_block, by_permit, stepped, by_key]
Way = Callable[[CircuitBreaker, Work], Awaitable[object]]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@every_way
def test_it_trips_refuses_and_recovers(library: Library, breaker: CircuitBreaker, clock: ManualClock, way: Way) -> None:
    """C3, O1, H2, E8: one breaker, made without a loop, serves one loop after another."""

    async def works() -> None:
        assert await way(breaker, succeed_async) == "fine"

    async def fails() -> None:
        with pytest.raises(Boom):
            await way(breaker, fail_async)
        with pytest.raises(CircuitOpenError):
            await way(breaker, succeed_async)

    for _ in range(2):
        library.run(works)
        library.run(fails)
        clock.advance(30)
        library.run(works)
        assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_successes == 4
    assert breaker.metrics().total_failures == 2
    assert breaker.metrics().total_rejections == 2


@every_way
def test_a_cancelled_trial_gives_its_attempt_back(library: Library, due: CircuitBreaker, way: Way) -> None:
    """H3, E3"""

    async def main() -> None:
        inside = library.event()

        async def hang() -> None:
            inside.set()
            await library.event().wait()

        async with library.tasks() as tasks:
            tasks.start(way, due, hang)
            await inside.wait()
            assert attempt(due) == "CircuitOpenError"
            tasks.cancel()
        assert due.state is CircuitState.HALF_OPEN
        assert due.metrics().total_ignored == 1
        assert await way(due, succeed_async) == "fine"

    library.run(main)
    assert due.state is CircuitState.CLOSED


@every_way
def test_a_timeout_inside_is_a_failure(library: Library, due: CircuitBreaker, way: Way) -> None:
    """H2: the breaker sees a TimeoutError."""

    async def hang() -> None:
        await library.within(0.001, lambda: library.event().wait())

    async def main() -> None:
        with pytest.raises(TIMED_OUT):
            await way(due, hang)

    library.run(main)
    assert due.state is CircuitState.OPEN
    assert due.metrics().total_failures == 2


@every_way
def test_a_timeout_outside_is_neutral(library: Library, due: CircuitBreaker, way: Way) -> None:
    """H3: the breaker sees a cancellation, which tells of the caller."""

    async def main() -> None:
        with pytest.raises(TIMED_OUT):
            await library.within(0.001, lambda: way(due, lambda: library.event().wait()))

    library.run(main)
    assert due.state is CircuitState.HALF_OPEN
    assert due.metrics().total_ignored == 1
    assert attempt(due) == "fine"


def test_a_timeout_that_the_call_itself_deals_with_is_none(library: Library, due: CircuitBreaker) -> None:
    async def main() -> None:
        async with due:
            with pytest.raises(TIMED_OUT):
                await library.within(0.001, lambda: library.event().wait())

    library.run(main)
    assert due.state is CircuitState.CLOSED


def test_a_child_task_that_fails_fails_the_call(library: Library, due: CircuitBreaker) -> None:
    """Also when it comes in an exception group."""

    @due
    async def parent() -> None:
        async with library.tasks() as tasks:
            tasks.start(fail_async)

    async def main() -> None:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - a group of trio's and anyio's, bare of asyncio's
            await parent()
        assert isinstance(getattr(caught.value, "exceptions", [caught.value])[0], Boom)

    library.run(main)
    assert due.state is CircuitState.OPEN


@every_way
def test_many_tasks_get_no_more_trials_than_there_are_attempts(library: Library, clock: ManualClock, way: Way) -> None:
    """H1, H2"""
    breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=3, success_threshold=3, clock=clock)
    trip(breaker)
    clock.advance(30)
    reached = refused = 0

    async def main() -> None:
        nonlocal refused
        done = library.event()

        async def service() -> None:
            nonlocal reached
            reached += 1
            await done.wait()

        async def caller() -> None:
            nonlocal refused
            await library.checkpoint()
            try:
                await way(breaker, service)
            except CircuitOpenError:
                refused += 1
                if refused == 97:
                    done.set()

        async with library.tasks() as tasks:
            for _ in range(100):
                tasks.start(caller)

    library.run(main)
    assert (reached, refused) == (3, 97)
    assert breaker.state is CircuitState.CLOSED


@every_way
def test_closed_circuit_admits_every_task_and_counts_each_once(library: Library, way: Way) -> None:
    """C1, W4, E6: all are inside at once, and end as each does."""
    breaker = CircuitBreaker(failure_threshold=10**6, ignore=LookupError)

    async def main() -> None:
        everybody = library.event()
        inside = 0

        async def caller(error: type[Exception] | None) -> None:
            async def service() -> None:
                nonlocal inside
                inside += 1
                if inside == 90:
                    everybody.set()
                await everybody.wait()
                if error is not None:
                    raise error

            if error is None:
                await way(breaker, service)
            else:
                with pytest.raises(error):
                    await way(breaker, service)

        async with library.tasks() as tasks:
            for error in (None, Boom, LookupError) * 30:
                tasks.start(caller, error)

    library.run(main)
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures, metrics.total_ignored) == (30, 30, 30)


# Blocks, permits and generators that go from task to task


async def in_a_task_of_its_own(library: Library, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    results: list[Any] = []

    async def work() -> None:
        results.append(await function(*args))

    async with library.tasks() as tasks:
        tasks.start(work)
    return results[0]


def test_a_block_may_be_left_in_another_task_than_it_was_entered_in(library: Library, due: CircuitBreaker) -> None:
    """W4"""

    async def steps() -> AsyncIterator[None]:
        async with due:
            yield

    async def step(running: Any) -> None:
        await anext(running, None)

    async def main() -> None:
        running = steps()
        await in_a_task_of_its_own(library, step, running)
        assert due.state is CircuitState.HALF_OPEN
        await in_a_task_of_its_own(library, step, running)

    library.run(main)
    assert due.state is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("settle", "state"),
    [
        (Permit.success, CircuitState.CLOSED),
        (Permit.failure, CircuitState.OPEN),
        (Permit.release, CircuitState.HALF_OPEN),
    ],
)
def test_a_permit_goes_from_task_to_task(
    library: Library, due: CircuitBreaker, settle: Callable[[Permit], None], state: CircuitState
) -> None:
    """W5"""

    async def acquire() -> Permit:
        return due.acquire()

    async def settle_it(permit: Permit) -> None:
        settle(permit)

    async def main() -> None:
        permit = await in_a_task_of_its_own(library, acquire)
        assert due.state is CircuitState.HALF_OPEN
        await in_a_task_of_its_own(library, settle_it, permit)

    library.run(main)
    assert due.state is state


def test_a_permit_that_a_cancelled_task_held_is_given_back(library: Library, due: CircuitBreaker) -> None:
    """H3"""

    async def main() -> None:
        async def hold() -> None:
            permit = due.acquire()
            await library.event().wait()
            permit.success()

        async with library.tasks() as tasks:
            tasks.start(hold)
            while due.state is CircuitState.OPEN:
                await library.checkpoint()
            tasks.cancel()

    library.run(main)
    gc.collect()  # A cancellation's traceback may be in a cycle with the frame that holds the permit.
    assert due.state is CircuitState.HALF_OPEN
    assert attempt(due) == "fine"


def talk(log: list[object]) -> Callable[[], AsyncIterator[object]]:
    async def steps() -> AsyncIterator[object]:
        try:
            log.append((yield "first"))
            try:
                yield "second"
            except KeyError as error:
                log.append(error.args)
                yield "third"
        finally:
            log.append("closed")

    return steps


def test_an_async_generator_keeps_asend_athrow_and_aclose(library: Library, breaker: CircuitBreaker) -> None:
    """W3"""
    log: list[object] = []

    async def main() -> None:
        steps: Any = breaker(talk(log))()
        assert [await anext(steps), await steps.asend("sent")] == ["first", "second"]
        assert await steps.athrow(KeyError("thrown")) == "third"
        await steps.aclose()

    library.run(main)
    assert log == ["sent", ("thrown",), "closed"]
    assert breaker.metrics().total_ignored == breaker.metrics().total_calls == 1


def test_an_async_generator_that_is_alive_when_its_loop_ends_is_no_failure(
    library: Library, breaker: CircuitBreaker
) -> None:
    """W3, H3"""
    kept: list[Any] = []

    @breaker
    async def steps() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await library.checkpoint()

    async def main() -> None:
        kept.append(steps())
        await anext(kept[-1])

    for times in range(1, 6):
        library.run(main)
        assert breaker.state is CircuitState.CLOSED
        assert breaker.metrics().total_calls == breaker.metrics().total_ignored == times


# Fallbacks, and several loops at once


async def instead() -> str:
    return "instead"


async def instead_in_steps() -> AsyncIterator[str]:
    yield "instead"


@pytest.mark.parametrize("fallback", [instead, lambda: "instead"], ids=["async", "plain"])
def test_a_fallback_is_awaited_if_it_must_be(library: Library, fallback: Callable[[], object]) -> None:
    breaker = CircuitBreaker(fallback=fallback)
    breaker.open()

    async def main() -> None:
        assert await breaker(succeed_async)() == "instead"
        assert await breaker.call(succeed_async) == "instead"

    library.run(main)


def test_a_fallback_of_an_async_generator_gives_the_steps(library: Library) -> None:
    breaker = CircuitBreaker(fallback=instead_in_steps)
    breaker.open()

    async def main() -> None:
        assert [each async for each in breaker(talk([]))()] == ["instead"]

    library.run(main)


def test_a_fallback_that_is_cancelled_leaves_nothing_behind(library: Library) -> None:
    """E3: it is the caller's, and no call of the circuit's."""
    breaker = CircuitBreaker(fallback=lambda: library.event().wait())
    breaker.open()

    async def main() -> None:
        with pytest.raises(TIMED_OUT):
            await library.within(0.001, breaker(succeed_async))

    library.run(main)
    assert breaker.metrics().total_rejections == breaker.metrics().total_calls == 1


@every_way
def test_one_breaker_serves_the_loops_of_all_libraries_at_once(way: Way) -> None:
    """E8, C1: each in a thread of its own, all inside together."""
    breaker = CircuitBreaker(failure_threshold=10**6)
    together = threading.Barrier(len(LIBRARIES))
    left: Iterator[Library] = iter(LIBRARIES.values())

    async def meet() -> None:
        together.wait(20)

    def run() -> None:
        library = next(left)

        async def main() -> None:
            await way(breaker, meet)
            with pytest.raises(Boom):
                await way(breaker, fail_async)

        library.run(main)

    in_threads(len(LIBRARIES), run)
    assert breaker.metrics().total_successes == breaker.metrics().total_failures == len(LIBRARIES)


def test_loops_of_all_libraries_share_the_trials_of_one_breaker(due: CircuitBreaker) -> None:
    """H1, E8"""
    ends: list[str] = []
    all_refused = threading.Event()
    left = iter([*LIBRARIES.values()] * 2)

    def run() -> None:
        library = next(left)

        @due
        async def service() -> None:
            assert all_refused.wait(20)

        async def main() -> None:
            try:
                await service()
                ends.append("trial")
            except CircuitOpenError:
                ends.append("refused")
                if len(ends) == 7:
                    all_refused.set()

        library.run(main)

    in_threads(8, run)
    assert sorted(ends) == ["refused"] * 7 + ["trial"]
    assert due.state is CircuitState.CLOSED
