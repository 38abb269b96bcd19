"""`circuit()`: guards anything that can be called, and leaves it what it is.

A function becomes a function of the same kind, which binds, pickles and names itself like the one it wraps. Anything
else that can be called (an object, a partial, a built-in, a bound method) becomes a proxy of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial, update_wrapper
from types import EllipsisType, FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from ._callables import Kind, any_callable, kind_of, plain_callable
from ._calls.calls import Choose, async_generator_function, generator_function, invoke, invoke_async
from ._circuit.circuit import Circuit
from ._values import positive_count
from .breaker import CircuitBreaker
from .keyed import MAXSIZE, KeyedBreakers
from .options import Options, Settings, merged
from .registry import Registry, resolve_registry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._calls.types import Decorator, DecoratorByKey, Guarded

__all__ = ["circuit", "guard"]

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
def circuit(function: Callable[P, R], /) -> Guarded[P, R]: ...
@overload
def circuit(
    *,
    key: Callable[..., Hashable],
    maxsize: int = MAXSIZE,
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
    maxsize: int = MAXSIZE,
    name: str | None = None,
    registry: Registry | EllipsisType | None = ...,
    **options: Unpack[Options],
) -> Any:
    """Guard a callable by a circuit breaker: `@circuit`, or `@circuit(failure_threshold=3, ...)`.

    It works on functions, coroutine functions, generator and async generator functions, methods, `staticmethod` and
    `classmethod` in either order, objects with `__call__`, partials and built-ins. The result keeps signature, name,
    docs, annotations, kind and binding, and has a `breaker`.

    Args:
        function: what to guard.
        name: the breaker's name, by which the registry holds it: the same name with the same options is the same
            breaker. Without one, it is named after the function, with a number behind it if that is taken, and lives
            as long as the function.
        registry: where it is found; the default registry if not given, `None` for nowhere.
        key: called with the call's arguments; gives the key of the breaker that guards this call. The result then has
            `breakers`, a mapping by key. What `key` raises is the caller's, and nothing runs.
        maxsize: how many breakers to keep by key; see `KeyedBreakers`.
        options: see `Options`.

    Raises:
        TypeError: `function` is a class, something awaitable, or cannot be called; or an option is unknown or of the
            wrong kind.
        ValueError: an option breaks its rule, or the name is taken by a breaker with other options.
    """
    if isinstance(function, str):
        raise TypeError(f"the name goes by keyword: circuit(name={function!r})")
    home = resolve_registry(registry, name)
    settings = Settings(options if home is None else merged(home.defaults, options))
    if key is not None:
        positive_count("maxsize", maxsize)
        decorate = partial(_guard_by_key, home, name, options, settings, plain_callable("key", key), maxsize)
    elif maxsize == MAXSIZE:
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
    if home is None:
        breaker = CircuitBreaker(_name_of(function) if name is None else name, registry=None, **options)
    elif name is None:
        breaker = home._create(_name_of(function), options)
    else:
        breaker = home.get_or_create(name, **options)
    return guard(breaker, function)


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
    _check_fallback(settings.fallback, function)

    def choose(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Circuit:
        return breakers.use(key(*args, **kwargs))._circuit

    return _wrap_by_key(choose, breakers, function)


def _wrap_by_key(choose: Choose, breakers: KeyedBreakers, function: Function) -> Any:
    guarded = _guarded_by_choice(choose, function)
    if type(function) is FunctionType:
        return _like(function, guarded, breakers=breakers)
    from ._calls.proxies import GuardedObjectByKey

    return GuardedObjectByKey(function, guarded, partial(_wrap_by_key, choose, breakers), breakers)


def guard(breaker: CircuitBreaker, function: Function) -> Any:
    """`function`, guarded by `breaker`."""
    circuit = breaker._circuit
    _check_fallback(circuit.fallback, any_callable("what a breaker guards", function))
    kind = kind_of(function)
    if kind is Kind.PLAIN:
        guarded = _guarded_function(circuit, function)
    elif kind is Kind.COROUTINE:
        guarded = _guarded_coroutine_function(circuit, function)
    else:
        guarded = _guarded_by_choice(lambda args, kwargs: circuit, function)
    if type(function) is FunctionType:
        return _like(function, guarded, breaker=breaker)
    from ._calls.proxies import GuardedObject

    return GuardedObject(function, guarded, partial(guard, breaker), breaker)


def _like(function: FunctionType, guarded: Function, **attributes: object) -> Function:
    """`guarded` with the looks of `function`, and `attributes`."""
    update_wrapper(guarded, function)
    vars(guarded).update(attributes)
    return guarded


def _name_of(function: Function) -> str:
    """Module and qualified name, of the type if the object itself has none."""
    while isinstance(function, partial):
        function = function.func
    named = function if isinstance(getattr(function, "__qualname__", None), str) else type(function)
    module = getattr(named, "__module__", None)
    return f"{module}.{named.__qualname__}" if module else named.__qualname__


def _check_fallback(fallback: Function | None, function: Function) -> None:
    if fallback is not None and kind_of(function) is Kind.PLAIN and kind_of(fallback) is not Kind.PLAIN:
        raise TypeError(
            f"fallback of the plain function {function!r} must be a plain function, "
            f"got {kind_of(fallback).value}: {fallback!r}"
        )


def _guarded_function(circuit: Circuit, function: Function) -> Function:
    engine, clock = circuit.engine, circuit.clock

    def guarded(*args: Any, **kwargs: Any) -> Any:
        period: Any = engine.period  # Any: a period that does not ask is a closed one
        if period.needs_permit:
            return invoke(circuit, function, args, kwargs)
        try:
            # An empty ** that is passed on costs a dict: 25 ns of 210.
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            circuit.settle_joined(period, error)
            raise
        # Circuit.succeed(), written out here: 20 ns less.
        period.last_success = now = clock.monotonic()
        if (number := next(period.tally)) >= period.next_number or now >= period.next_time:
            circuit.observe(period, number, now)
        return result

    return guarded


def _guarded_coroutine_function(circuit: Circuit, function: Function) -> Function:
    engine, clock = circuit.engine, circuit.clock

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        # As in _guarded_function, whose comments hold here too.
        period: Any = engine.period
        if period.needs_permit:
            return await invoke_async(circuit, function, args, kwargs)
        try:
            result = await (function(*args, **kwargs) if kwargs else function(*args))
        except BaseException as error:
            circuit.settle_joined(period, error)
            raise
        period.last_success = now = clock.monotonic()
        if (number := next(period.tally)) >= period.next_number or now >= period.next_time:
            circuit.observe(period, number, now)
        return result

    return guarded


def _guarded_by_choice(choose: Choose, function: Function) -> Function:
    """Guarded by whatever circuit `choose` gives for the call's arguments."""
    kind = kind_of(function)
    if kind is Kind.GENERATOR:
        return generator_function(choose, function)
    if kind is Kind.ASYNC_GENERATOR:
        return async_generator_function(choose, function)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        return invoke(choose(args, kwargs), function, args, kwargs)

    async def guarded_async(*args: Any, **kwargs: Any) -> Any:
        return await invoke_async(choose(args, kwargs), function, args, kwargs)

    return guarded if kind is Kind.PLAIN else guarded_async
