"""W6: what a plain function returns may be a call that is not over. It is guarded until that is done, or warned of."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import coroutine as generator_based
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, FailureRate, ManualClock, circuit

from .support import (
    Boom,
    collect_on_pypy,
    counted,
    frequent_switches,
    in_threads,
    make_due,
    no_cyclic_collector,
)


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Another decorator, which hides what it wraps in a plain function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, without a trace of what it wraps."""
    return lambda *args, **kwargs: function(*args, **kwargs)


Way = Callable[[CircuitBreaker, Callable[..., Any]], Callable[..., Any]]
WAYS: dict[str, Way] = {
    "decorated": lambda breaker, function: breaker(function),
    "method": lambda breaker, function: type("Holder", (), {"work": breaker(lambda self, *a: function(*a))})().work,
    "object": lambda breaker, function: breaker(functools.partial(function)),
    "call": lambda breaker, function: lambda *args: breaker.call(function, *args),
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
hidden = pytest.mark.parametrize("hide", [plain, opaque])


async def work(fails: bool = False) -> str:
    await asyncio.sleep(0)
    if fails:
        raise Boom
    return "fine"


def in_steps(fails: bool = False) -> Iterator[int]:
    yield 1
    if fails:
        raise Boom
    yield 2


async def in_async_steps(fails: bool = False) -> AsyncIterator[int]:
    yield 1
    if fails:
        raise Boom
    yield 2


@generator_based
def old_style(fails: bool = False) -> Any:
    yield from asyncio.sleep(0).__await__()
    if fails:
        raise Boom
    return "fine"


HELD: list[Callable[[CircuitBreaker], object]] = [
    lambda breaker: None,
    lambda breaker: breaker.on("success", lambda event: None),
    lambda breaker: breaker.shadow(),
]
joined_or_not = pytest.mark.parametrize("hold", HELD, ids=["joined", "permit", "shadow"])


@joined_or_not
@each_way
@hidden
@pytest.mark.parametrize("function", [work, old_style, lambda *args: asyncio.ensure_future(work(*args))])
async def test_a_hidden_coroutine_or_task_is_guarded_until_it_is_done(
    function: Any, hide: Any, way: Way, hold: Any
) -> None:
    """W6, C3"""
    breaker = CircuitBreaker(failure_threshold=2)
    hold(breaker)
    guarded = way(breaker, hide(function))
    pending = guarded()
    assert counted(breaker) == (0, 0, 0)
    assert await pending == "fine"
    assert counted(breaker) == (1, 0, 0)
    for _ in range(2):
        with pytest.raises(Boom):
            await guarded(True)
    assert counted(breaker) == (1, 2, 0)
    assert breaker.state is CircuitState.OPEN


@joined_or_not
@each_way
@hidden
def test_a_hidden_generator_is_guarded_until_it_is_done(hide: Any, way: Way, hold: Any) -> None:
    """W6, W3"""
    breaker = CircuitBreaker(failure_threshold=1)
    hold(breaker)
    guarded = way(breaker, hide(in_steps))
    steps = guarded()
    assert counted(breaker) == (0, 0, 0)
    assert list(steps) == [1, 2]
    assert counted(breaker) == (1, 0, 0)
    steps = guarded()
    next(steps)
    steps.close()
    assert counted(breaker) == (1, 0, 1)
    with pytest.raises(Boom):
        list(guarded(True))
    assert counted(breaker) == (1, 1, 1)
    assert breaker.state is CircuitState.OPEN


@joined_or_not
@each_way
@hidden
async def test_a_hidden_async_generator_is_guarded_until_it_is_done(hide: Any, way: Way, hold: Any) -> None:
    """W6, W3"""
    breaker = CircuitBreaker(failure_threshold=1)
    hold(breaker)
    guarded = way(breaker, hide(in_async_steps))
    assert [each async for each in guarded()] == [1, 2]
    with pytest.raises(Boom):
        [each async for each in guarded(True)]
    assert counted(breaker) == (1, 1, 0)
    assert breaker.state is CircuitState.OPEN


@joined_or_not
@each_way
@hidden
def test_a_future_of_a_thread_is_returned_itself_and_guarded_until_it_is_done(hide: Any, way: Way, hold: Any) -> None:
    """W6"""
    breaker = CircuitBreaker(failure_threshold=1)
    hold(breaker)
    made: list[Future[str]] = []

    def start() -> Future[str]:
        made.append(Future())
        return made[-1]

    guarded = way(breaker, hide(start))
    future = guarded()
    assert future is made[-1]
    assert counted(breaker) == (0, 0, 0)
    future.set_result("fine")
    assert counted(breaker) == (1, 0, 0)
    cancelled = guarded()
    cancelled.cancel()
    cancelled.set_running_or_notify_cancel()
    assert counted(breaker) == (1, 0, 1)
    guarded().set_exception(Boom())
    assert counted(breaker) == (1, 1, 1)
    assert breaker.state is CircuitState.OPEN


@each_way
def test_a_future_that_is_done_already_counts_at_once(way: Way) -> None:
    """W6"""
    breaker = CircuitBreaker(failure_threshold=1)
    done: Future[str] = Future()
    done.set_exception(Boom())
    assert way(breaker, lambda: done)() is done
    assert breaker.state is CircuitState.OPEN


def test_a_pools_future_is_guarded() -> None:
    """W6: a subclass, or one that is done meanwhile, all the same."""
    breaker = CircuitBreaker(failure_threshold=2)

    class Own(Future[str]):
        pass

    with ThreadPoolExecutor(1) as pool:
        guarded = breaker(lambda: pool.submit(in_steps))
        guarded().result()
    own: Own = Own()
    assert breaker(lambda: own)() is own
    own.set_result("fine")
    assert counted(breaker) == (2, 0, 0)


@each_way
async def test_a_task_is_returned_itself_and_can_be_cancelled(way: Way) -> None:
    """W6, H3"""
    breaker = CircuitBreaker(failure_threshold=1)
    task = way(breaker, lambda: asyncio.ensure_future(work()))()
    assert isinstance(task, asyncio.Task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counted(breaker) == (0, 0, 1)


async def test_an_error_of_a_task_that_nobody_awaits_is_still_reported() -> None:
    """W6, C3: asyncio logs it, as without a breaker."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    breaker = CircuitBreaker(failure_threshold=1)
    task = breaker(lambda: asyncio.ensure_future(work(True)))()
    while breaker.state is CircuitState.CLOSED:
        await asyncio.sleep(0)
    del task
    gc.collect()
    collect_on_pypy()
    assert [type(each["exception"]) for each in reported] == [Boom]


class LikeAFuture:
    """Not asyncio's, but as `asyncio.isfuture` has it."""

    _asyncio_future_blocking = False

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def exception(self) -> BaseException:
        return Boom()


def test_what_asyncio_takes_for_a_future_is_one() -> None:
    """W6"""
    breaker = CircuitBreaker(failure_threshold=1)
    breaker(lambda: LikeAFuture())()
    assert breaker.state is CircuitState.OPEN


@joined_or_not
@each_way
def test_a_hidden_context_manager_is_guarded_from_entry_to_exit(way: Way, hold: Any) -> None:
    """W6"""
    breaker = CircuitBreaker(failure_threshold=1)
    hold(breaker)
    left: list[str] = []

    @contextlib.contextmanager
    def session(fails: bool = False) -> Iterator[str]:
        if fails:
            raise Boom
        try:
            yield "session"
        finally:
            left.append("left")

    guarded = way(breaker, plain(session))
    with guarded() as value:
        assert value == "session"
        assert counted(breaker) == (0, 0, 0)
    assert counted(breaker) == (1, 0, 0)
    assert left == ["left"]
    with pytest.raises(Boom), guarded(True):
        raise AssertionError
    assert counted(breaker) == (1, 1, 0)
    assert breaker.state is CircuitState.OPEN


@joined_or_not
@each_way
async def test_a_hidden_async_context_manager_is_guarded_from_entry_to_exit(way: Way, hold: Any) -> None:
    """W6"""
    breaker = CircuitBreaker(failure_threshold=1)
    hold(breaker)

    @contextlib.asynccontextmanager
    async def session(fails: bool = False) -> AsyncIterator[str]:
        if fails:
            raise Boom
        yield "session"

    guarded = way(breaker, plain(session))
    async with guarded() as value:
        assert value == "session"
    assert counted(breaker) == (1, 0, 0)
    with pytest.raises(Boom):
        async with guarded():
            raise Boom
    assert counted(breaker) == (1, 1, 0)


# @circuit above @contextmanager


@contextlib.contextmanager
def opened(log: list[str], fails: bool = False) -> Iterator[str]:
    """A session."""
    log.append("enter")
    if fails:
        raise Boom
    try:
        yield "session"
    except KeyError:
        log.append("suppressed")
    finally:
        log.append("exit")


@contextlib.asynccontextmanager
async def opened_async(log: list[str], fails: bool = False) -> AsyncIterator[str]:
    log.append("enter")
    if fails:
        raise Boom
    try:
        yield "session"
    except KeyError:
        log.append("suppressed")
    finally:
        log.append("exit")


@pytest.mark.parametrize("options", [{}, {"key": lambda *args, **kwargs: "one"}])
def test_circuit_above_contextmanager_guards_each_block(options: Any) -> None:
    """W6: admitted when it is entered, and as a decorator at each call."""
    guarded: Any = circuit(failure_threshold=2, **options)(opened)
    log: list[str] = []
    never = guarded(log)
    with guarded(log) as value:
        assert value == "session"
    with guarded(log):
        raise KeyError
    breaker = guarded.breakers["one"] if options else guarded.breaker
    assert log == ["enter", "exit", "enter", "suppressed", "exit"]
    assert counted(breaker) == (2, 0, 0)

    @guarded(log)
    def inside() -> str:
        return "fine"

    assert inside() == inside() == "fine"
    assert counted(breaker) == (4, 0, 0)
    for _ in range(2):
        with pytest.raises(Boom), guarded(log, fails=True):
            raise AssertionError
    with pytest.raises(CircuitOpenError), never:
        raise AssertionError
    with pytest.raises(CircuitOpenError):
        inside()
    assert guarded.__wrapped__ is opened
    assert guarded.__doc__ == "A session."


async def test_circuit_above_asynccontextmanager_guards_each_block() -> None:
    """W6"""
    guarded: Any = circuit(failure_threshold=1)(opened_async)
    log: list[str] = []
    async with guarded(log) as value:
        assert value == "session"
    async with guarded(log):
        raise KeyError
    assert log == ["enter", "exit", "enter", "suppressed", "exit"]
    assert counted(guarded.breaker) == (2, 0, 0)
    with pytest.raises(Boom):
        async with guarded(log):
            raise Boom
    with pytest.raises(CircuitOpenError):
        async with guarded(log):
            raise AssertionError


async def test_a_fallback_of_a_context_manager_is_one() -> None:
    """W6"""
    breaker = CircuitBreaker(fallback=lambda log: contextlib.nullcontext("instead"))
    breaker.open()
    guarded: Any = breaker(opened)
    with guarded([]) as value:
        assert value == "instead"
    guarded_async: Any = breaker(opened_async)
    async with guarded_async([]) as value:
        assert value == "instead"


def test_what_only_looks_like_a_context_manager_of_contextlib_is_a_function() -> None:
    """W6: a function that got the code of one, around something else."""

    def other() -> str:
        return "fine"

    odd: Any = contextlib.contextmanager(other)  # type: ignore[arg-type]
    guarded = CircuitBreaker()(odd)
    with pytest.raises(TypeError), guarded():
        raise AssertionError


# Everything else that can be awaited


class Request:
    """Can be awaited, and used as a context manager too, like those of some clients."""

    def __await__(self) -> Any:
        return work().__await__()

    async def __aenter__(self) -> str:
        return "entered"

    async def __aexit__(self, *error: object) -> None: ...


async def test_another_awaitable_is_returned_itself_and_a_warning_says_so_once(caplog: Any) -> None:
    """W6"""
    caplog.set_level(logging.WARNING)
    breaker = CircuitBreaker()

    @breaker
    def request() -> Request:
        return Request()

    for _ in range(3):
        assert await request() == "fine"
        async with request() as value:
            assert value == "entered"
    assert counted(breaker) == (6, 0, 0)
    [line] = caplog.messages
    assert "request() returned a Request, which can be awaited" in line
    assert "await breaker.call(...)" in line


async def test_call_awaits_any_awaitable() -> None:
    """W6: who calls it like this awaits it."""
    breaker = CircuitBreaker()
    pending: Any = breaker.call(lambda: Request())
    assert counted(breaker) == (0, 0, 0)
    assert await pending == "fine"
    assert counted(breaker) == (1, 0, 0)


def test_what_is_ordinary_stays_itself() -> None:
    """W6: files, sessions and responses are what the call was made for."""

    class Response:
        def __enter__(self) -> str:
            return "entered"

        def __exit__(self, *error: object) -> None: ...

    response = Response()
    breaker = CircuitBreaker()
    assert breaker(lambda: response)() is response
    assert counted(breaker) == (1, 0, 0)


# Half-open


def test_a_hidden_trial_closes_the_circuit_when_it_is_done(clock: ManualClock) -> None:
    """W6, H2"""
    breaker = make_due(clock)
    future: Future[str] = Future()
    breaker(lambda: future)()
    assert breaker.state is CircuitState.HALF_OPEN
    future.set_result("fine")
    assert breaker.state is CircuitState.CLOSED


START: dict[str, Callable[[Any], Any]] = {
    "coroutine": lambda coro: coro,
    "task": asyncio.ensure_future,
    "gathered": asyncio.gather,
}


@each_way
@pytest.mark.parametrize("start", START.values(), ids=START.keys())
@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_call_inside_a_hidden_trial_rides_on_it(way: Way, start: Any, depth: int, clock: ManualClock) -> None:
    """H5, W6."""
    breaker = make_due(clock)

    def around(inner: Callable[[], Any]) -> Callable[[], Any]:
        async def outer() -> None:
            await inner()

        return way(breaker, lambda: start(outer()))

    nested = way(breaker, opaque(work))
    for _ in range(depth):
        nested = around(nested)
    await nested()
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_rejections == 0


async def test_a_hidden_trial_that_is_never_awaited_gives_its_attempt_back(clock: ManualClock) -> None:
    """W6, H3"""
    breaker = make_due(clock)
    breaker(lambda: in_steps())()
    collect_on_pypy()
    assert breaker.call(lambda: "fine") == "fine"
    assert breaker.state is CircuitState.CLOSED


def test_a_result_that_comes_late_is_judged() -> None:
    """W6"""
    breaker = CircuitBreaker(failure_threshold=1, is_failure_result=lambda value: value == "bad")
    future: Future[str] = Future()
    breaker(lambda: future)()
    assert breaker.state is CircuitState.CLOSED
    future.set_result("bad")
    assert breaker.state is CircuitState.OPEN


def test_a_failure_that_comes_late_belongs_to_the_period_in_which_its_call_began() -> None:
    """W6, E1"""
    breaker = CircuitBreaker(failure_threshold=1)
    future: Future[str] = Future()
    breaker(lambda: future)()
    breaker.open()
    breaker.reset()
    future.set_exception(Boom())
    assert breaker.state is CircuitState.CLOSED
    assert counted(breaker) == (0, 1, 0)


# How long results are looked at


@pytest.mark.parametrize("ordinary", ["fine", object()])
def test_after_many_ordinary_results_the_others_are_not_looked_at(ordinary: object) -> None:
    """W6: so that a closed call costs what it cost; one that takes a permit is looked at, and brings that back."""
    breaker = CircuitBreaker()
    results: list[Any] = [ordinary]
    guarded = breaker(lambda: results[-1])
    looking = guarded.__code__  # type: ignore[attr-defined]
    for _ in range(100):
        assert guarded() is ordinary
    assert guarded.__code__ is not looking  # type: ignore[attr-defined]
    results.append(Future())
    guarded()
    assert counted(breaker) == (101, 0, 0)  # missed
    end = breaker.on("success", lambda event: None)
    guarded()
    assert guarded.__code__ is looking  # type: ignore[attr-defined]
    end()
    guarded()
    for _ in range(200):
        results[-1] = ordinary
        guarded()
    results.append(Future())
    guarded()
    assert breaker.metrics().total_successes == 301


def test_what_is_no_longer_looked_at_is_guarded_as_ever() -> None:
    """W1, C2"""
    breaker = CircuitBreaker(trip=FailureRate(0.5, calls=400, minimum_calls=300))

    @breaker
    def work(fails: bool, times: int = 1) -> int:
        if fails:
            raise Boom
        return times

    for _ in range(149):
        assert work(False, times=2) == 2
    for _ in range(150):
        with pytest.raises(Boom):
            work(True)
    assert breaker.state is CircuitState.CLOSED
    work(False)  # completes the minimum
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitOpenError):
        work(False)


def start(pool: Any) -> Any:
    return pool.submit(str) if pool else None


@pytest.mark.parametrize("function", [start, plain(work), plain(plain(in_steps))])
def test_a_function_that_may_start_calls_is_always_looked_at(function: Any) -> None:
    """W6: because of the names it uses, or of what it wraps."""
    guarded: Any = CircuitBreaker()(function)
    looking = guarded.__code__
    for _ in range(300):
        pending = guarded(None)
        if inspect.iscoroutine(pending):
            asyncio.run(pending)
    assert guarded.__code__ is looking


def test_a_closed_call_stays_one_frame_while_results_are_looked_at_and_after() -> None:
    """W6"""
    frames_of = pytest.importorskip("benchmarks.frames", reason="the benchmarks are not part of the wheel").frames_of
    guarded = CircuitBreaker()(lambda: None)
    frames = [frames_of(guarded) for _ in range(300)]
    assert set(frames[:99]) == set(frames[100:]) == {(1, 1, 1)}


def test_a_guarded_function_disappears_by_reference_count() -> None:
    """E7"""
    with no_cyclic_collector():
        guarded = CircuitBreaker()(lambda: None)
        gone = weakref.ref(guarded)
        del guarded
        collect_on_pypy()
        assert gone() is None


def test_a_circle_of_wrapped_functions_does_no_harm() -> None:
    """W1"""

    def odd() -> str:
        return "fine"

    odd.__wrapped__ = odd  # type: ignore[attr-defined]
    assert CircuitBreaker()(odd)() == "fine"


def test_threads_may_learn_at_once() -> None:
    """W6"""
    breaker = CircuitBreaker()
    guarded = breaker(lambda: threading.get_ident())

    def run() -> None:
        for _ in range(100):
            assert guarded() == threading.get_ident()

    with frequent_switches():
        in_threads(8, run)
    assert counted(breaker) == (800, 0, 0)


# What registers a function under a guard


def of_another(module: str, name: str) -> Any:
    """An object with the type of some framework's."""
    kind = type(name, (), {"__call__": lambda self: None, "__module__": module})
    return type("Sub", (kind,), {})()


@pytest.mark.parametrize(
    ("module", "name", "decorator"),
    [
        ("celery.app.task", "Task", "@app.task"),
        ("celery.local", "Proxy", "@app.task"),
        ("click.core", "Command", "@click.command"),
        ("dramatiq.actor", "Actor", "@dramatiq.actor"),
        ("huey.api", "TaskWrapper", "@huey.task"),
    ],
)
def test_a_guard_that_would_be_passed_by_is_a_type_error(module: str, name: str, decorator: str) -> None:
    """W6: a worker runs the task that was registered, and no guard above it."""
    for way in (circuit, circuit(key=lambda: 1), CircuitBreaker()):
        with pytest.raises(TypeError, match=f"Put @circuit below {decorator}, next to the function"):
            way(of_another(module, name))


def test_a_guard_above_click_is_a_type_error() -> None:
    """W6"""
    click = pytest.importorskip("click")
    with pytest.raises(TypeError, match=r"below @click\.command"):
        circuit(click.command(lambda: None))
    assert circuit(click.command(circuit(lambda: None)).main)
