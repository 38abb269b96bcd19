"""The floors: what a person would write by hand, which nothing that guards a call can beat.

Nothing here counts, remembers or decides; a row's ratio is the cost of doing so. No breaker is imported here: the same
file is the floor for every peer, in the peer's own environment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from enum import Enum
from types import SimpleNamespace, TracebackType
from typing import Any

from .loops import Loop, async_blocks, async_items, awaits, blocks, calls, catches, in_threads, items
from .work import fail, work, work_async, work_in_async_steps, work_in_steps

__all__ = ["a_block", "a_call", "a_failure", "a_refusal", "an_async_block", "an_async_item", "an_await", "an_item"]
__all__ += ["threads"]


def a_call() -> Loop:
    return calls(_guarded(work))


def an_await() -> Loop:
    return awaits(_guarded_async(work_async))


def a_block() -> Loop:
    return blocks(_Block())


def an_async_block() -> Loop:
    return async_blocks(_Block())


def a_failure() -> Loop:
    return catches(_guarded(fail), ConnectionError)


def a_refusal() -> Loop:
    return catches(_refuse, _PlainError)


def an_item() -> Loop:
    return items(_guarded_steps(work_in_steps))


def an_async_item() -> Loop:
    return async_items(_guarded_async_steps(work_in_async_steps))


def threads(many: int = 8) -> Loop:
    return in_threads(a_call(), many)


# Their parts


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` in a closure with `try`/`except` around the call, for any arguments."""

    def closure(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            raise

    return closure


def _guarded_async(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same for a coroutine function."""

    async def closure(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Exception:
            raise

    return closure


def _guarded_steps(function: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Generator[Any, Any, Any]]:
    """The same for a generator function."""

    def closure(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield from function(*args, **kwargs))
        except Exception:
            raise

    return closure


def _guarded_async_steps(function: Callable[..., AsyncGenerator[Any, Any]]) -> Callable[..., AsyncGenerator[Any, Any]]:
    """The same for an async generator function, but without passing on what is sent or thrown into it."""

    async def closure(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        try:
            async for item in function(*args, **kwargs):
                yield item
        except Exception:
            raise

    return closure


class _Block:
    """An empty context manager, sync and async."""

    def __enter__(self) -> _Block:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def __aenter__(self) -> _Block:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class _State(Enum):
    OPEN = "open"


class _PlainError(Exception):
    """An exception with as many fields as `CircuitOpenError`."""

    def __init__(
        self,
        name: str,
        state: _State,
        retry_after: float,
        reason: str = "",
        opened_at: object = None,
        last_failure: object = None,
        hold: object = None,
    ) -> None:
        self.name = name
        self.state = state
        self.retry_after = retry_after
        self.reason = reason
        self.opened_at = opened_at
        self.last_failure = last_failure
        self.hold = hold


_NOW = SimpleNamespace(now="a moment")
_FAILURE = SimpleNamespace(type="ConnectionError", text="no route to host")


def _refuse(x: object) -> Any:
    """Raise a `_PlainError` with every field set as in a refusal."""
    raise _PlainError("work", _State.OPEN, 30.0, "5 consecutive failures, threshold 5", _NOW, _FAILURE, None)
