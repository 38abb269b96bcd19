"""What kind of callable an object is, found without calling it and usually without importing `inspect` (10 ms)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from types import MethodType
from typing import Any

__all__ = ["ITERABLE_COROUTINE", "Kind", "any_callable", "has_method", "is_awaitable", "kind_of", "plain_callable"]

# inspect.CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE (by types.coroutine) and CO_ASYNC_GENERATOR
_GENERATOR, _COROUTINE, ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
_AROUND_ANOTHER = (partial, MethodType)


class Kind(Enum):
    """What kind of function a callable is or wraps."""

    PLAIN = "a function"
    COROUTINE = "a coroutine function"
    GENERATOR = "a generator function"
    ASYNC_GENERATOR = "an async generator function"


def kind_of(function: Callable[..., Any]) -> Kind:
    """The kind of `function`, seen through partials, bound methods and objects with `__call__`."""
    while isinstance(function, _AROUND_ANOTHER):
        function = function.func if isinstance(function, partial) else function.__func__
    if hasattr(function, "_is_coroutine_marker"):  # perhaps set by inspect.markcoroutinefunction
        from inspect import iscoroutinefunction

        if iscoroutinefunction(function):
            return Kind.COROUTINE
    code = getattr(function, "__code__", None) or getattr(function.__class__.__call__, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    if not isinstance(flags, int):  # an object that claims to have every attribute
        return Kind.PLAIN
    if flags & (_COROUTINE | ITERABLE_COROUTINE):
        return Kind.COROUTINE
    if flags & _GENERATOR:
        return Kind.GENERATOR
    return Kind.ASYNC_GENERATOR if flags & _ASYNC_GENERATOR else Kind.PLAIN


def is_awaitable(value: object) -> bool:
    """Whether `value` can be awaited, judged by its type: an instance may claim to have any attribute."""
    return has_method(value, "__await__")


def has_method(value: object, name: str) -> bool:
    """Whether the type of `value` has a method of this name."""
    return hasattr(type(value), name)


def plain_callable(name: str, value: Any) -> Callable[..., Any]:
    """Return `value` if calling it returns the result itself: not a class, nor a coroutine or generator function.

    Raises:
        TypeError: it is anything else.
    """
    function = any_callable(name, value)
    if kind_of(function) is not Kind.PLAIN:
        raise TypeError(f"{name} must be a plain function, got {kind_of(function).value}: {value!r}")
    return function


def any_callable(name: str, value: Any, classes: bool = False) -> Callable[..., Any]:
    """Return `value` if it is a function of any kind, or another callable object; a class only if `classes` may be.

    Raises:
        TypeError: it is anything else.
    """
    if isinstance(value, type) and not classes:
        raise TypeError(f"{name} must be a function, got the class {value!r}")
    if is_awaitable(value):
        raise TypeError(f"{name} must be a function, got something already called: {value!r}")
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    function: Callable[..., Any] = value
    return function
