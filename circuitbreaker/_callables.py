"""What kind of callable a thing is, asked without calling it and, as a rule, without importing `inspect` (10 ms)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

__all__ = ["Kind", "any_callable", "kind_of", "plain_callable"]

# inspect.CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200


class Kind(Enum):
    """What calling a callable gives."""

    PLAIN = "a function"
    COROUTINE = "a coroutine function"
    GENERATOR = "a generator function"
    ASYNC_GENERATOR = "an async generator function"


def kind_of(function: Callable[..., Any]) -> Kind:
    """The kind of `function`, looking into partials, bound methods and objects with `__call__`."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    if hasattr(function, "_is_coroutine_marker"):  # perhaps by inspect.markcoroutinefunction
        from inspect import iscoroutinefunction

        if iscoroutinefunction(function):
            return Kind.COROUTINE
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    flags = code.co_flags if code is not None else 0
    if flags & _COROUTINE:
        return Kind.COROUTINE
    if flags & _GENERATOR:
        return Kind.GENERATOR
    return Kind.ASYNC_GENERATOR if flags & _ASYNC_GENERATOR else Kind.PLAIN


def plain_callable(name: str, value: Any) -> Callable[..., Any]:
    """`value` if it can be called and answers at once: no class, no awaitable, no coroutine function."""
    function = any_callable(name, value)
    if kind_of(function) is not Kind.PLAIN:
        raise TypeError(f"{name} must answer at once, got {kind_of(function).value}: {value!r}")
    return function


def any_callable(name: str, value: Any) -> Callable[..., Any]:
    """`value` if it is a function of any kind, or an object that can be called; not a class."""
    if isinstance(value, type):
        raise TypeError(f"{name} must be a function, got the class {value!r}")
    if hasattr(value, "__await__"):
        raise TypeError(f"{name} must be a function, got something already called: {value!r}")
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    function: Callable[..., Any] = value
    return function
