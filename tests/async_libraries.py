"""asyncio, trio, and anyio on both, behind one face, so that a test can be written once and run under each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

import anyio
import trio

__all__ = ["LIBRARIES", "TIMED_OUT", "Library", "Tasks"]

T = TypeVar("T")
Coroutine = Callable[..., Awaitable[T]]
TIMED_OUT = (asyncio.TimeoutError, TimeoutError, trio.TooSlowError)
"""What the timeouts of these libraries raise."""


class Tasks(Protocol):
    """Tasks that are waited for together."""

    def start(self, function: Coroutine[object], *args: object) -> None: ...

    def cancel(self) -> None: ...


class Library(Protocol):
    """What the tests need of one."""

    def run(self, main: Coroutine[T]) -> T:
        """Run `main` in a new loop."""
        ...

    def event(self) -> Any:
        """Something with `set()` and `await wait()`."""
        ...

    def tasks(self) -> AbstractAsyncContextManager[Tasks]:
        """A block that lasts until its tasks have ended; what one of them raises is raised."""
        ...

    async def checkpoint(self) -> None:
        """Let others run."""
        ...

    async def within(self, seconds: float, function: Coroutine[T]) -> T:
        """What `function` returns; cancelled after `seconds`, with one of `TIMED_OUT`."""
        ...


class Asyncio:
    def run(self, main: Coroutine[T]) -> T:
        return asyncio.run(main())  # type: ignore[arg-type]

    def event(self) -> asyncio.Event:
        return asyncio.Event()

    @asynccontextmanager
    async def tasks(self) -> AsyncIterator[Tasks]:
        started = _AsyncioTasks()
        yield started
        for end in await asyncio.gather(*started.tasks, return_exceptions=True):
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    async def within(self, seconds: float, function: Coroutine[T]) -> T:
        return await asyncio.wait_for(function(), seconds)


class _AsyncioTasks:
    def __init__(self) -> None:
        self.tasks: list[asyncio.Future[object]] = []

    def start(self, function: Coroutine[object], *args: object) -> None:
        self.tasks.append(asyncio.ensure_future(function(*args)))

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


class _Group:
    """A nursery of trio's, or a task group of anyio's."""

    def __init__(self, group: Any) -> None:
        self.start = group.start_soon
        self.cancel = group.cancel_scope.cancel


class Trio:
    def run(self, main: Coroutine[T]) -> T:
        return trio.run(main)

    def event(self) -> trio.Event:
        return trio.Event()

    @asynccontextmanager
    async def tasks(self) -> AsyncIterator[Tasks]:
        async with trio.open_nursery() as nursery:
            yield _Group(nursery)

    async def checkpoint(self) -> None:
        await trio.sleep(0)

    async def within(self, seconds: float, function: Coroutine[T]) -> T:
        with trio.fail_after(seconds):
            return await function()


class Anyio:
    def __init__(self, backend: str) -> None:
        self.backend = backend

    def run(self, main: Coroutine[T]) -> T:
        return anyio.run(main, backend=self.backend)

    def event(self) -> anyio.Event:
        return anyio.Event()

    @asynccontextmanager
    async def tasks(self) -> AsyncIterator[Tasks]:
        async with anyio.create_task_group() as group:
            yield _Group(group)

    async def checkpoint(self) -> None:
        await anyio.sleep(0)

    async def within(self, seconds: float, function: Coroutine[T]) -> T:
        with anyio.fail_after(seconds):
            return await function()


LIBRARIES: dict[str, Library] = {
    "asyncio": Asyncio(),
    "trio": Trio(),
    "anyio on asyncio": Anyio("asyncio"),
    "anyio on trio": Anyio("trio"),
}
