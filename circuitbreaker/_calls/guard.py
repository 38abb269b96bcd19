"""Guards a callable by a circuit, and leaves it what it is.

A function becomes a function of the same kind, which binds, pickles and names itself like the one it wraps. Anything
else that can be called (an object, a partial, a built-in, a bound method) becomes a proxy of itself.

A call of a plain or coroutine function is one frame while the circuit is closed: it joins the period and settles with
it, with no permit. The closures below are written out for that, and their costs stand where they are saved.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from functools import partial, update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from .._callables import Kind, any_callable, kind_of
from .._engine.periods import Closed, Period
from ..clock import Clock
from ..outcomes import NO_RESULT
from .calls import Choose, Gate, async_generator_function, generator_function, invoke, invoke_async, keep
from .results import ORDINARY, context_kind, results_of, shape

if TYPE_CHECKING:
    from .._circuit.circuit import Circuit
    from ..breaker import CircuitBreaker
    from ..keyed import KeyedBreakers

__all__ = ["JoinableGate", "check_fallback", "guard", "guard_by_key", "guarded_coroutine_function", "guarded_function"]

Function = Callable[..., Any]


def guard(circuit: Circuit, breaker: CircuitBreaker, function: Function) -> Any:
    """`function`, guarded by the circuit of `breaker`."""
    check_fallback(circuit.fallback, _guardable(any_callable("what a breaker guards", function)))
    kind = kind_of(function)
    if kind is Kind.PLAIN and context_kind(function) is None:
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
    guarded = _guarded_by_choice(choose, _guardable(function))
    if type(function) is FunctionType:
        return _like(function, guarded, breakers=breakers)
    from .proxies import GuardedObjectByKey  # Likewise.

    return GuardedObjectByKey(function, guarded, partial(guard_by_key, choose, breakers), breakers)


_REGISTERED = {
    ("celery.app.task", "Task"): "@app.task",
    ("celery.local", "Proxy"): "@app.task",
    ("click.core", "BaseCommand"): "@click.command",
    ("click.core", "Command"): "@click.command",
    ("dramatiq.actor", "Actor"): "@dramatiq.actor",
    ("huey.api", "TaskWrapper"): "@huey.task",
}
"""What others call without the name that it is bound to, by type, and the decorators that register it."""


def _guardable(function: Function) -> Function:
    """`function`, unless a guard around it would be passed by. Raises `TypeError` then."""
    made: Any = type(function)
    for kind in made.__mro__:
        decorator = _REGISTERED.get((kind.__module__, kind.__name__))
        if decorator is not None:
            raise TypeError(
                f"a guard above {decorator} would be passed by: what runs is what {decorator} registered, not what "
                f"stands above it. Put @circuit below {decorator}, next to the function: got {function!r}"
            )
    return function


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
    """`function`, guarded by `gate`. If it returns a call that is not over, the guarded one lasts until that is."""
    engine, clock, results = gate.engine, gate.clock, results_of(function)

    def trusting(*args: Any, **kwargs: Any) -> Any:
        period: Any = engine.period  # Any: a period that needs no permit is a closed one
        if period.needs_permit:
            return invoke(gate, function, args, kwargs, results)
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

    def guarded(*args: Any, **kwargs: Any) -> Any:
        # As in trusting(), whose code replaces this after some ordinary results: both have the same cells.
        period: Any = engine.period
        if period.needs_permit:
            return invoke(gate, function, args, kwargs, results)
        try:
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            gate.settle_joined(period, error)
            raise
        if type(result) not in ORDINARY and (kind := shape(result)) is not None:
            return keep(_Joined(gate, period), result, kind, results)
        period.last_success = now = clock.monotonic()
        if (number := next(period.tally)) >= period.next_number or now >= period.next_time:
            gate.observe(period, number, now)
        results.left -= 1
        if results.left == 0:
            results.trust()
        return result

    results.of(guarded, trusting)
    return guarded


class _Joined:
    """A call that joined a closed period without a permit, and is not over when its function returns."""

    __slots__ = ("_gate", "_period")

    def __init__(self, gate: JoinableGate, period: Closed) -> None:
        self._gate = gate
        self._period = period

    def settle(self, error: BaseException | None, result: object = NO_RESULT) -> None:
        """End it. No result is judged, or it would have had a permit."""
        self._gate.settle_joined(self._period, error)

    def release(self) -> None:
        """End it as a cancellation does: with nothing said about the dependency (E3)."""
        self._gate.settle_joined(self._period, GeneratorExit())


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
    context = context_kind(function)
    if context is not None:  # What it makes is one call, from entry to exit; and as a decorator, one for each call.
        decorate: Any = contextmanager if context is Kind.GENERATOR else asynccontextmanager
        guarded_context: Function = decorate(_guarded_by_choice(choose, vars(function)["__wrapped__"]))
        return guarded_context
    kind, results = kind_of(function), results_of(function)
    if kind is Kind.GENERATOR:
        return generator_function(choose, function)
    if kind is Kind.ASYNC_GENERATOR:
        return async_generator_function(choose, function)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        return invoke(choose(args, kwargs), function, args, kwargs, results)

    async def guarded_async(*args: Any, **kwargs: Any) -> Any:
        return await invoke_async(choose(args, kwargs), function, args, kwargs)

    return guarded if kind is Kind.PLAIN else guarded_async
