"""How each kind of callable runs under a circuit: admitted, run with nothing held, settled.

A coroutine and a generator are admitted at their first step, not when they are made: one that never runs is no call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from ._callables import Kind, kind_of
from ._circuit import Circuit

__all__ = ["async_generator_function", "call", "generator_function", "run", "run_async"]

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Choose = Callable[[Args, Kwargs], Circuit]
"""Which circuit a call belongs to."""


def run(circuit: Circuit, function: Function, args: Args, kwargs: Kwargs) -> Any:
    """Call `function`."""
    permit = circuit.admit()
    if isinstance(permit, tuple):
        return circuit.refuse(permit, args, kwargs)
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        permit.settle(error)
        raise
    permit.settle(None, result)
    return result


async def run_async(circuit: Circuit, function: Function, args: Args, kwargs: Kwargs) -> Any:
    """Await `function`."""
    permit = circuit.admit()
    if isinstance(permit, tuple):
        result = circuit.refuse(permit, args, kwargs)
        return await result if hasattr(result, "__await__") else result
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        permit.settle(error)
        raise
    permit.settle(None, result)
    return result


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
                except GeneratorExit:
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
        return run(circuit, function, args, kwargs)
    if kind is Kind.COROUTINE:
        return run_async(circuit, function, args, kwargs)
    steps = generator_function if kind is Kind.GENERATOR else async_generator_function
    return steps(lambda args, kwargs: circuit, function)(*args, **kwargs)
