"""Loops that repeat one operation with as little overhead as Python allows."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from itertools import repeat
from threading import Barrier, Thread

__all__ = ["Loop", "async_blocks", "async_items", "awaits", "blocks", "calls", "catches", "in_threads", "items"]
__all__ += ["new_blocks"]

Loop = Callable[[int], None]
"""Repeats its operation a given number of times."""


def calls(function: Callable[[object], object]) -> Loop:
    """`function(1)`."""

    def loop(number: int) -> None:
        for _ in repeat(None, number):
            function(1)

    return loop


def catches(function: Callable[[object], object], error: type[BaseException]) -> Loop:
    """`function(1)`, which raises `error`."""

    def loop(number: int) -> None:
        for _ in repeat(None, number):
            try:  # noqa: SIM105 - suppress() would be measured too
                function(1)
            except error:
                pass

    return loop


def blocks(manager: AbstractContextManager[object, None]) -> Loop:
    """`with manager: pass`."""

    def loop(number: int) -> None:
        for _ in repeat(None, number):
            with manager:
                pass

    return loop


def new_blocks(make: Callable[[], AbstractContextManager[object, None]]) -> Loop:
    """`with make(): pass`."""

    def loop(number: int) -> None:
        for _ in repeat(None, number):
            with make():
                pass

    return loop


def awaits(function: Callable[[object], Awaitable[object]]) -> Loop:
    """`await function(1)`, all in one coroutine."""

    async def wait(number: int) -> None:
        for _ in repeat(None, number):
            await function(1)

    return _to_its_end(wait)


def async_blocks(manager: AbstractAsyncContextManager[object, None]) -> Loop:
    """`async with manager: pass`, all in one coroutine."""

    async def enter_and_leave(number: int) -> None:
        for _ in repeat(None, number):
            async with manager:
                pass

    return _to_its_end(enter_and_leave)


def items(function: Callable[[int], Iterable[object]]) -> Loop:
    """One item of `function(number)`."""

    def loop(number: int) -> None:
        for _ in function(number):
            pass

    return loop


def async_items(function: Callable[[int], AsyncIterable[object]]) -> Loop:
    """One item of `function(number)`, in one coroutine."""

    async def step(number: int) -> None:
        async for _ in function(number):
            pass

    return _to_its_end(step)


def _to_its_end(function: Callable[[int], Coroutine[object, object, None]]) -> Loop:
    """Run the coroutine with one `send`, since nothing here suspends: no event loop is needed, and none is measured."""

    def loop(number: int) -> None:
        try:
            function(number).send(None)
        except StopIteration:
            return
        raise AssertionError(f"{function!r} suspended")

    return loop


def in_threads(loop: Loop, threads: int = 8) -> Loop:
    """`loop`, divided among threads that start together."""

    def share(start: Barrier, number: int) -> None:
        start.wait()
        loop(number)

    def all_shares(number: int) -> None:
        start = Barrier(threads)
        workers = [Thread(target=share, args=(start, number // threads)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return all_shares
