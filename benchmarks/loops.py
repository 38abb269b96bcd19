"""Doing one thing many times, with as little around it as Python allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from itertools import repeat
from threading import Barrier, Thread

__all__ = ["Loop", "awaits", "blocks", "calls", "catches", "in_threads", "items"]

Loop = Callable[[int], None]
"""Does its thing so many times."""


def calls(function: Callable[[object], object]) -> Loop:
    """`function(1)`."""

    def loop(number: int) -> None:
        for _ in repeat(None, number):
            function(1)

    return loop


def catches(function: Callable[[object], object], error: type[Exception]) -> Loop:
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


def awaits(function: Callable[[object], Awaitable[object]]) -> Loop:
    """`await function(1)`, all in one coroutine.

    No event loop is needed, and none is measured: nothing here suspends, so one `send` runs the coroutine to its end.
    """

    async def wait(number: int) -> None:
        for _ in repeat(None, number):
            await function(1)

    def loop(number: int) -> None:
        try:
            wait(number).send(None)
        except StopIteration:
            return
        raise AssertionError(f"{function!r} suspended")

    return loop


def items(function: Callable[[int], Iterable[object]]) -> Loop:
    """One item of `function(number)`."""

    def loop(number: int) -> None:
        for _ in function(number):
            pass

    return loop


def in_threads(loop: Loop, threads: int = 8) -> Loop:
    """`loop`, its number shared out among threads that start together."""

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
