"""The floors: what a person would write by hand, and what nothing that guards a call can be faster than.

Nothing here counts, remembers or decides. A row's ratio is what it costs to have those too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from circuitbreaker import CircuitState, Hold, LastFailure

__all__ = ["Block", "PlainError", "guarded", "guarded_async", "guarded_steps", "refuse"]


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` in a closure with `try`/`except` around the call, for any arguments."""

    def closure(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception:
            raise

    return closure


def guarded_async(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same for a coroutine function."""

    async def closure(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Exception:
            raise

    return closure


def guarded_steps(function: Callable[..., Generator[Any]]) -> Callable[..., Generator[Any]]:
    """The same for a generator function."""

    def closure(*args: Any, **kwargs: Any) -> Generator[Any]:
        try:
            yield from function(*args, **kwargs)
        except Exception:
            raise

    return closure


class Block:
    """An empty context manager."""

    def __enter__(self) -> Block:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class PlainError(Exception):
    """An exception with the fields of `CircuitOpenError`."""

    def __init__(
        self,
        name: str,
        state: CircuitState,
        retry_after: float,
        reason: str = "",
        opened_at: datetime | None = None,
        last_failure: LastFailure | None = None,
        hold: Hold | None = None,
    ) -> None:
        self.name = name
        self.state = state
        self.retry_after = retry_after
        self.reason = reason
        self.opened_at = opened_at
        self.last_failure = last_failure
        self.hold = hold


_NOW = datetime.now(timezone.utc)
_FAILURE = LastFailure("ConnectionError", "no route to host", _NOW)


def refuse(x: object) -> Any:
    """Raise a `PlainError`, every field filled as in a refusal."""
    raise PlainError("work", CircuitState.OPEN, 30.0, "5 consecutive failures, threshold 5", _NOW, _FAILURE, None)
