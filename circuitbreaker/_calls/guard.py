"""Guards a callable by a circuit, and leaves it what it is.

A function becomes a function of the same kind, which binds, pickles and names itself like the one it wraps. Anything
else that can be called (an object, a partial, a built-in, a bound method) becomes a proxy of itself.

A call of a plain or coroutine function is one frame while the circuit is closed: it joins the period and settles with
it, with no permit. The two closures below are written out for that, and their costs stand where they are saved.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from .._callables import Kind, any_callable, kind_of
from .._engine.periods import Closed, Period
from ..clock import Clock
from .calls import Choose, Gate, async_generator_function, generator_function, invoke, invoke_async

if TYPE_CHECKING:
    from .._circuit.circuit import Circuit
    from ..breaker import CircuitBreaker
    from ..keyed import KeyedBreakers

__all__ = ["JoinableGate", "check_fallback", "guard", "guard_by_key", "guarded_coroutine_function", "guarded_function"]

Function = Callable[..., Any]


def guard(circuit: Circuit, breaker: CircuitBreaker, function: Function) -> Any:
    """`function`, guarded by the circuit of `breaker`."""
    check_fallback(circuit.fallback, any_callable("what a breaker guards", function))
    kind = kind_of(function)
    if kind is Kind.PLAIN:
        guarded = guarded_function(circuit, function)
    elif kind is Kind.COROUTINE:
        guarded = guarded_coroutine_function(circuit, function)
    else:
        guarded = _guarded_by_choice(lambda args, kwargs: circuit, function)
    if type(function) is FunctionType:
        return _like(function, guarded, breaker=breaker)
    from .proxies import GuardedObject  # It imports wrapt, which takes 100 ms.

    return GuardedObject(function, guarded, partial(guard, circuit, breaker), breaker)


def guard_by_key(choose: Choose, breakers: KeyedBreakers, function: Function) -> Any:
    """`function`, guarded by whatever circuit of `breakers` `choose` gives for a call's arguments."""
    guarded = _guarded_by_choice(choose, function)
    if type(function) is FunctionType:
        return _like(function, guarded, breakers=breakers)
    from .proxies import GuardedObjectByKey  # Likewise.

    return GuardedObjectByKey(function, guarded, partial(guard_by_key, choose, breakers), breakers)


def check_fallback(fallback: Function | None, function: Function) -> None:
    """Raise a `TypeError` if `fallback` cannot stand in for `function`."""
    if fallback is not None and kind_of(function) is Kind.PLAIN and kind_of(fallback) is not Kind.PLAIN:
        raise TypeError(
            f"fallback of the plain function {function!r} must be a plain function, "
            f"got {kind_of(fallback).value}: {fallback!r}"
        )


def _like(function: FunctionType, guarded: Function, **attributes: object) -> Function:
    """`guarded` with the looks of `function`, and `attributes`."""
    update_wrapper(guarded, function)
    vars(guarded).update(attributes)
    return guarded


class _HasPeriod(Protocol):
    period: Period


class JoinableGate(Gate, Protocol):
    """A gate whose closed period calls may join without a permit. A `Circuit` is one."""

    @property
    def engine(self) -> _HasPeriod:
        """What has the present period."""
        ...

    @property
    def clock(self) -> Clock:
        """What successes are timed by."""
        ...

    def settle_joined(self, period: Closed, error: BaseException | None) -> None:
        """End a call that joined `period` without a permit."""
        ...

    def observe(self, period: Closed, number: int, now: float) -> None:
        """Take a success that the policy wants to see, or that came late."""
        ...


def guarded_function(gate: JoinableGate, function: Function) -> Function:
    """`function`, guarded by `gate`."""
    engine, clock = gate.engine, gate.clock

    def guarded(*args: Any, **kwargs: Any) -> Any:
        period: Any = engine.period  # Any: a period that needs no permit is a closed one
        if period.needs_permit:
            return invoke(gate, function, args, kwargs)
        try:
            # An empty ** that is passed on costs a dict: 25 ns of 210.
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            gate.settle_joined(period, error)
            raise
        # settle_joined(period, None), written out here: 20 ns less.
        period.last_success = now = clock.monotonic()
        if (number := next(period.tally)) >= period.next_number or now >= period.next_time:
            gate.observe(period, number, now)
        return result

    return guarded


def guarded_coroutine_function(gate: JoinableGate, function: Function) -> Function:
    """The coroutine function `function`, guarded by `gate`."""
    engine, clock = gate.engine, gate.clock

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        # As in guarded_function, whose comments hold here too.
        period: Any = engine.period
        if period.needs_permit:
            return await invoke_async(gate, function, args, kwargs)
        try:
            result = await (function(*args, **kwargs) if kwargs else function(*args))
        except BaseException as error:
            gate.settle_joined(period, error)
            raise
        period.last_success = now = clock.monotonic()
        if (number := next(period.tally)) >= period.next_number or now >= period.next_time:
            gate.observe(period, number, now)
        return result

    return guarded


def _guarded_by_choice(choose: Choose, function: Function) -> Function:
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
