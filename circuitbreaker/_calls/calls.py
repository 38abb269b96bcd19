"""How each kind of callable runs guarded: admitted, run with nothing held, settled.

A coroutine and a generator are admitted at their first step, not when they are made: one that never runs is no call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Protocol

from .._callables import Kind, is_awaitable, kind_of
from .._engine.engine import Refusal
from ..errors import CircuitOpenError
from ..permit import Permit

__all__ = ["Choose", "Gate", "async_generator_function", "call", "generator_function", "invoke", "invoke_async"]

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Gate(Protocol):
    """What a guarded call asks: whether it is admitted, and what it returns if not. A `Circuit` is one."""

    @property
    def fallback(self) -> Function | None:
        """What is called in place of a refused call, with its arguments."""
        ...

    def admit(self) -> Permit | Refusal:
        """A permit, or why there is none. Never blocks."""
        ...

    def error(self, refusal: Refusal) -> CircuitOpenError:
        """What is raised in place of a refused call, if there is no fallback."""
        ...

    def refuse(self, refusal: Refusal, args: Args, kwargs: Kwargs) -> Any:
        """What the fallback returns, or raise `error(refusal)`."""
        ...


Choose = Callable[[Args, Kwargs], Gate]
"""The gate for a call with these arguments."""


def invoke(gate: Gate, function: Function, args: Args, kwargs: Kwargs, awaits: bool = False) -> Any:
    """Call `function`. If it `awaits`, a call that returns an awaitable lasts until that was awaited."""
    permit = gate.admit()
    if isinstance(permit, tuple):
        if gate.fallback is None:  # gate.refuse(), written out here: a frame less for each refused call.
            raise gate.error(permit)
        return gate.fallback(*args, **kwargs)
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        permit.settle(error)
        raise
    if awaits and is_awaitable(result):
        return _await(permit, result)
    permit.settle(None, result)
    return result


async def _await(permit: Permit, awaitable: Awaitable[Any]) -> Any:
    try:
        result = await awaitable
    except BaseException as error:
        permit.settle(error)
        raise
    permit.settle(None, result)
    return result


async def invoke_async(gate: Gate, function: Function, args: Args, kwargs: Kwargs) -> Any:
    """Await `function`."""
    permit = gate.admit()
    if isinstance(permit, tuple):
        result = gate.refuse(permit, args, kwargs)
        return await result if is_awaitable(result) else result
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        permit.settle(error)
        raise
    permit.settle(None, result)
    return result


def generator_function(choose: Choose, function: Function) -> Callable[..., Generator[Any, Any, Any]]:
    """Step through `function`. A consumer that stops early is no failure: `GeneratorExit` is neutral (W3, E3)."""

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        gate = choose(args, kwargs)
        permit = gate.admit()
        if isinstance(permit, tuple):
            instead: Generator[Any, Any, Any] = gate.refuse(permit, args, kwargs)
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
    """Step through `function`, passing on what is sent and thrown in (W3)."""

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        gate = choose(args, kwargs)
        permit = gate.admit()
        if isinstance(permit, tuple):
            async for item in gate.refuse(permit, args, kwargs):
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


def call(gate: Gate, function: Function, args: Args, kwargs: Kwargs) -> Any:
    """Call `function` once, as its kind asks for."""
    kind = kind_of(function)
    if kind is Kind.PLAIN:
        return invoke(gate, function, args, kwargs, awaits=True)  # It may be a lambda around a coroutine function.
    if kind is Kind.COROUTINE:
        return invoke_async(gate, function, args, kwargs)
    steps = generator_function if kind is Kind.GENERATOR else async_generator_function
    return steps(lambda args, kwargs: gate, function)(*args, **kwargs)
