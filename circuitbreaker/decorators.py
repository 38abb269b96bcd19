"""`circuit()`: guards anything that can be called, by a breaker of its own, a named one, or one for each key."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from itertools import count
from types import EllipsisType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from ._callables import any_callable, plain_callable
from ._calls.anew import note_new
from ._calls.guard import check_fallback, guard_by_key
from ._circuit.circuit import Circuit
from ._definitions import execution, module_name
from ._typing import Unpack
from ._values import positive_count
from .breaker import CircuitBreaker
from .keyed import DEFAULT_MAXSIZE, KeyedBreakers
from .options import Options, Settings, merged
from .registry import Registry, resolve_registry

if TYPE_CHECKING:
    from ._calls.types import Decorator, DecoratorByKey, Guarded, M

__all__ = ["circuit"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
Function = Callable[..., Any]


@overload  # A staticmethod is a callable too; the first overload that fits is taken.
def circuit(  # type: ignore[overload-overlap]
    function: staticmethod[P, R],
    /,  # pyright: ignore[reportOverlappingOverload]
) -> staticmethod[P, R]: ...
@overload
def circuit(function: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
@overload
def circuit(function: M, /) -> M: ...
@overload
def circuit(function: Callable[P, R], /) -> Guarded[P, R]: ...
@overload
def circuit(
    *,
    key: Callable[..., Hashable],
    maxsize: int = DEFAULT_MAXSIZE,
    name: str | None = None,
    registry: Registry | EllipsisType | None = ...,
    **options: Unpack[Options],
) -> DecoratorByKey: ...
@overload
def circuit(
    *, name: str | None = None, registry: Registry | EllipsisType | None = ..., **options: Unpack[Options]
) -> Decorator: ...
def circuit(
    function: Any = ...,
    /,
    *,
    key: Callable[..., Hashable] | None = None,
    maxsize: int = DEFAULT_MAXSIZE,
    name: str | None = None,
    registry: Registry | EllipsisType | None = ...,
    **options: Unpack[Options],
) -> Any:
    """Guard a callable by a circuit breaker: `@circuit`, or `@circuit(failure_threshold=3, ...)`.

    It works on functions, coroutine functions, generator and async generator functions, methods, `staticmethod` and
    `classmethod` in either order, objects with `__call__`, partials and built-ins. The result keeps signature, name,
    docs, annotations, kind and binding, and has a `breaker`. A refused call raises `CircuitOpenError`, or returns what
    `fallback` returns; the callable's own exceptions pass untouched.

    Args:
        function: what to guard.
        name: the breaker's name, under which the registry holds it: the same name with the same options is the same
            breaker. Without one, it is named after the function and its module (of a script, the name by which it could
            be imported), with a number appended if that name is taken, and lives as long as the function.
        registry: where it is found; the default registry if not given, `None` for no registry.
        key: called with the call's arguments; returns the key of the breaker that guards this call. The result then
            has `breakers`, a mapping by key. What `key` raises goes to the caller, and nothing runs.
        maxsize: how many breakers to keep by key; see `KeyedBreakers`.
        options: see `Options`.

    Raises:
        TypeError: `function` is a class, an awaitable, or cannot be called; or an option is unknown or of the wrong
            type.
        ValueError: an option breaks its rule, or the name is taken by a breaker with other options.
    """
    if isinstance(function, str):
        raise TypeError(f"the name is a keyword argument: circuit(name={function!r})")
    home = resolve_registry(registry, name)
    settings = Settings(options if home is None else merged(home.defaults, options))
    if key is not None:
        positive_count("maxsize", maxsize)
        decorate = partial(_guard_by_key, home, name, options, settings, plain_callable("key", key), maxsize)
    elif maxsize == DEFAULT_MAXSIZE:
        decorate = partial(_guard_by_one, home, name, options)
    else:
        raise TypeError(f"maxsize goes with key, got maxsize={maxsize!r} alone")
    return partial(_decorate, decorate) if function is ... else _decorate(decorate, function)


def _decorate(decorate: Callable[[Function], Any], function: Any) -> Any:
    if isinstance(function, staticmethod | classmethod):
        kind = cast("Callable[[Any], Any]", type(function))  # pyright: ignore[reportUnknownArgumentType]
        return kind(_decorate(decorate, function.__func__))  # pyright: ignore[reportUnknownMemberType]
    return decorate(any_callable("what circuit() guards", function))


def _guard_by_one(home: Registry | None, name: str | None, options: Options, function: Function) -> Any:
    if name is not None:
        if home is None:
            return CircuitBreaker(name, registry=None, **options)(function)
        return home.get_or_create(name, **options)(function)
    stem = _name_of(function)
    if home is None:
        breaker = CircuitBreaker(stem, registry=None, **options)
    else:
        breaker = home._create(stem, options, execution())
    note_new(stem, getattr(breaker._engine.period, "tally", _NO_CALLS))
    return breaker(function)


_NO_CALLS = count(1)
"""What counts the calls of a definition that was taken over while its circuit was not closed."""


def _guard_by_key(
    home: Registry | None,
    name: str | None,
    options: Options,
    settings: Settings,
    key: Callable[..., Hashable],
    maxsize: int,
    function: Function,
) -> Any:
    stem = _name_of(function) if name is None else name
    breakers = KeyedBreakers(stem, maxsize=maxsize, registry=home, **options)
    if name is None:
        note_new(stem, breakers._ticks)  # It takes a number for a breaker that is made, and for each use.
    check_fallback(settings.fallback, function)

    def choose(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Circuit:
        return breakers.use(key(*args, **kwargs))._circuit

    return guard_by_key(choose, breakers, function)


def _name_of(function: Function) -> str:
    """Module and qualified name, of the type if the object itself has none."""
    while isinstance(function, partial):
        function = function.func
    named = function if isinstance(getattr(function, "__qualname__", None), str) else type(function)
    module = getattr(named, "__module__", None)
    return f"{module_name(module)}.{named.__qualname__}" if module else named.__qualname__
