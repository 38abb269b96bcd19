"""How each kind of callable runs under a circuit: admitted, run with nothing held, settled.

A coroutine and a generator are admitted at their first step, not when they are made: one that never runs is no call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

from .._callables import Kind, is_awaitable, kind_of
from .._circuit.circuit import Circuit
from ..permit import Permit

__all__ = ["async_generator_function", "call", "generator_function", "invoke", "invoke_async"]

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Choose = Callable[[Args, Kwargs], Circuit]
"""Which circuit a call belongs to."""


def _returned(permit: Permit, result: Any) -> Any:
    permit.settle(None, result)
    return result


def _returned_or_awaited(permit: Permit, result: Any) -> Any:
    return _awaited(permit, result) if is_awaitable(result) else _returned(permit, result)


async def _awaited(permit: Permit, awaitable: Awaitable[Any]) -> Any:
    try:
        result = await awaitable
    except BaseException as error:
        permit.settle(error)
        raise
    return _returned(permit, result)


def invoke(
    circuit: Circuit, function: Function, args: Args, kwargs: Kwargs, end: Callable[[Permit, Any], Any] = _returned
) -> Any:
    """Call `function`, and `end` the call with what it returned."""
    permit = circuit.admit()
    if isinstance(permit, tuple):
        if circuit.fallback is None:
            raise circuit.error(permit)
        return circuit.fallback(*args, **kwargs)
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        permit.settle(error)
        raise
    return end(permit, result)


async def invoke_async(circuit: Circuit, function: Function, args: Args, kwargs: Kwargs) -> Any:
    """Await `function`."""
    permit = circuit.admit()
    if isinstance(permit, tuple):
        result = circuit.refuse(permit, args, kwargs)
        return await result if is_awaitable(result) else result
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        permit.settle(error)
        raise
    return _returned(permit, result)


def generator_function(choose: Choose, function: Function) -> Callable[..., Generator[Any, Any, Any]]:
    """Steps through `function`. A consumer that stops early is no failure: `GeneratorExit` is neutral (W3, E3)."""

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        circuit = choose(args, kwargs)
        permit = circuit.admit()
        if isinstance(permit, tuple):
            instead: Generator[Any, Any, Any] = circuit.refuse(permit, args, kwargs)
            return (yield from instead)
        try:
            steps: Generator[Any, Any, Any] = function(*args, **kwargs)
            result: Any = yield from steps
        except BaseException as error:
            permit.settle(error)
            raise
        permit.settle(None, result)
        return result

    return guarded


def async_generator_function(choose: Choose, function: Function) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Steps through `function`, passing on what is sent and thrown in (W3)."""

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        circuit = choose(args, kwargs)
        permit = circuit.admit()
        if isinstance(permit, tuple):
            async for item in circuit.refuse(permit, args, kwargs):
                yield item
            return
        try:
            steps = function(*args, **kwargs)
            step = steps.__anext__()
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    break
                try:
                    step = steps.asend((yield item))
                except GeneratorExit as stop:
                    permit.settle(stop)  # first, for a loop that shuts down may be closing `steps` already
                    await steps.aclose()
                    raise
                except BaseException as error:
                    step = steps.athrow(error)
        except BaseException as error:
            permit.settle(error)
            raise
        permit.settle(None)

    return guarded


def call(circuit: Circuit, function: Function, args: Args, kwargs: Kwargs) -> Any:
    """Call `function` once, as its kind asks for."""
    kind = kind_of(function)
    if kind is Kind.PLAIN:
        # Perhaps a lambda around a coroutine function: then the call ends when what it returned was awaited.
        return invoke(circuit, function, args, kwargs, _returned_or_awaited)
    if kind is Kind.COROUTINE:
        return invoke_async(circuit, function, args, kwargs)
    steps = generator_function if kind is Kind.GENERATOR else async_generator_function
    return steps(lambda args, kwargs: circuit, function)(*args, **kwargs)
