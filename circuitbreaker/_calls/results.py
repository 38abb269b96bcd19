"""What a plain function returns may be a call that is not over: a coroutine, a future, a generator, a context manager.

Looking at a result makes a closed call a twentieth slower. So the first results of a function are looked at, and the
later ones if one of those, or the function itself, gave reason to. A call that takes a permit is always looked at.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, GeneratorType
from typing import Any
from weakref import ref

from .._callables import ITERABLE_COROUTINE, Kind, is_awaitable, kind_of

__all__ = ["ORDINARY", "Results", "Shape", "context_kind", "results_of", "shape"]

Function = Callable[..., Any]

_FIRST = 100
"""How many ordinary results of a function are looked at before the others are not."""

ORDINARY = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset))
"""Types of results that need no second look."""

_STARTS = {"create_task", "ensure_future", "run_coroutine_threadsafe", "run_in_executor", "submit", "wrap_future"}
"""Names of what starts a call and returns before it is over."""


class Shape(Enum):
    """What kind of unfinished call a result is."""

    COROUTINE = "a coroutine"
    GENERATOR = "a generator"
    ASYNC_GENERATOR = "an async generator"
    FUTURE = "a future or task, of asyncio or of concurrent.futures"
    CONTEXT = "a context manager around a generator"
    ASYNC_CONTEXT = "an async context manager around an async generator"
    AWAITABLE = "an object that can be awaited, and perhaps does more"


@contextmanager
def _context() -> Generator[None, None, None]:
    yield  # pragma: no cover - only its type and its code are wanted


@asynccontextmanager
async def _async_context() -> AsyncGenerator[None, None]:
    yield  # pragma: no cover - likewise


_SHAPES: dict[type, Shape] = {
    CoroutineType: Shape.COROUTINE,
    AsyncGeneratorType: Shape.ASYNC_GENERATOR,
    type(_context()): Shape.CONTEXT,
    type(_async_context()): Shape.ASYNC_CONTEXT,
}
_AROUND: dict[Shape, type] = {Shape.CONTEXT: GeneratorType, Shape.ASYNC_CONTEXT: AsyncGeneratorType}
_CONTEXT_KINDS: dict[object, Kind] = {
    getattr(_context, "__code__", None): Kind.GENERATOR,
    getattr(_async_context, "__code__", None): Kind.ASYNC_GENERATOR,
}


def shape(result: Any) -> Shape | None:
    """What kind of unfinished call `result` is, judged by its type; `None` if it is none."""
    kind: Any = type(result)  # pyright: ignore[reportUnknownVariableType] - narrowed
    if kind is GeneratorType:
        return Shape.COROUTINE if result.gi_code.co_flags & ITERABLE_COROUTINE else Shape.GENERATOR
    known = next((_SHAPES[each] for each in kind.__mro__ if each in _SHAPES), None)
    if known is not None:
        # What contextlib calls `gen` may be another iterator, which cannot be replaced.
        return known if known not in _AROUND or type(getattr(result, "gen", None)) is _AROUND[known] else None
    threads = sys.modules.get("concurrent.futures._base")
    # As asyncio.isfuture() has it, which asks for this attribute.
    if hasattr(kind, "_asyncio_future_blocking") or (threads is not None and threads.Future in kind.__mro__):
        return Shape.FUTURE
    return Shape.AWAITABLE if is_awaitable(result) else None


def context_kind(function: Function) -> Kind | None:
    """What `contextmanager` or `asynccontextmanager` made `function` of; `None` if neither did."""
    if type(function) is not FunctionType:
        return None
    kind = _CONTEXT_KINDS.get(function.__code__)
    return kind if kind is not None and kind_of(_inside(function)) is kind else None


class Results:
    """What the results of one function have shown so far."""

    __slots__ = ("_guarded", "_looking", "_trusting", "awaits", "left", "name")

    def __init__(self, name: str = "", awaits: bool = False, left: int = _FIRST) -> None:
        self.name = name
        self.awaits = awaits  # whether the caller only awaits what can be awaited, whatever else it is
        self.left = left  # how many ordinary ones are still to be looked at; all of them, if negative
        self._guarded: Callable[[], Any] = _none
        self._looking: CodeType | None = None
        self._trusting: CodeType | None = None

    def of(self, guarded: Any, trusting: Any) -> None:
        """They are those of the function `guarded`, which looks at them; `trusting` has the code that does not."""
        self._guarded, self._looking, self._trusting = ref(guarded), guarded.__code__, trusting.__code__

    def trust(self) -> None:
        """Enough were ordinary: no longer look at them."""
        self._run(self._trusting)

    def suspect(self) -> None:
        """One is a call that is not over: look at all from now on."""
        self.left = -1
        self._run(self._looking)

    def _run(self, code: CodeType | None) -> None:
        guarded = self._guarded()
        if guarded is not None:
            guarded.__code__ = code

    def __reduce__(self) -> Any:  # for copies of the guarded function, which go on with the code that they were given
        return Results, (self.name, self.awaits, -1)


def _none() -> None:
    """The guarded function of no results, and of those of a copy."""


def results_of(function: Function) -> Results:
    """Notes on the results of `function`: all are to be looked at if the function itself gives reason to."""
    starts = type(function) is FunctionType and not _STARTS.isdisjoint(function.__code__.co_names)
    name = getattr(function, "__qualname__", None)
    suspect = starts or kind_of(_innermost(function)) is not Kind.PLAIN
    return Results(name if isinstance(name, str) else type(function).__qualname__, left=-1 if suspect else _FIRST)


def _inside(function: FunctionType) -> Function:
    inside: Function = vars(function).get("__wrapped__", function)
    return inside


def _innermost(function: Function) -> Function:
    for _ in range(20):  # Decorators may have made a circle.
        if type(function) is not FunctionType or "__wrapped__" not in vars(function):
            break
        function = _inside(function)
    return function
