"""The guarded functions, which do as little as possible: they return, are awaited, yield, or fail."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

__all__ = ["fail", "work", "work_async", "work_in_async_steps", "work_in_steps"]


def work(x: object) -> object:
    return x


async def work_async(x: object) -> object:
    return x


def work_in_steps(number: int) -> Generator[int, None, None]:
    yield from range(number)


async def work_in_async_steps(number: int) -> AsyncGenerator[int, None]:
    for step in range(number):
        yield step


def fail(x: object) -> object:
    raise ConnectionError
