"""How each kind of callable runs guarded: admitted, run with nothing held, settled.

A coroutine and a generator are admitted at their first step, not when they are made: one that never runs is no call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Protocol

from .._callables import Kind, has_method, is_awaitable, kind_of
from .._engine.engine import Refusal
from .._log import warn_once
from ..errors import CircuitOpenError
from ..outcomes import NO_RESULT
from ..permit import Permit
from .results import ORDINARY, Results, Shape, shape

__all__ = [
    "Choose",
    "Gate",
    "Unfinished",
    "async_generator_function",
    "call",
    "generator_function",
    "invoke",
    "invoke_async",
    "keep",
]

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


def invoke(gate: Gate, function: Function, args: Args, kwargs: Kwargs, results: Results) -> Any:
    """Call `function`. If it returns a call that is not over, this one lasts until that is."""
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
    if type(result) not in ORDINARY and (kind := shape(result)) is not None:
        return keep(permit, result, kind, results)
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
            return (yield from _steps_of(gate.refuse(permit, args, kwargs)))
        try:
            steps: Generator[Any, Any, Any] = function(*args, **kwargs)
            result: Any = yield from steps
        except BaseException as error:
            permit.settle(error)
            raise
        permit.settle(None, result)
        return result

    return guarded


def _steps_of(instead: Any) -> Generator[Any, Any, Any]:
    """The steps that a fallback gave, or those of the context manager that it gave."""
    if not has_method(instead, "__enter__"):
        steps: Generator[Any, Any, Any] = instead
        return (yield from steps)
    with instead as value:
        yield value
    return None


def async_generator_function(choose: Choose, function: Function) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Step through `function`, passing on what is sent and thrown in (W3)."""

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        gate = choose(args, kwargs)
        permit = gate.admit()
        if isinstance(permit, tuple):
            instead = gate.refuse(permit, args, kwargs)
            if has_method(instead, "__aenter__"):  # the fallback of a function that makes context managers
                async with instead as value:
                    yield value
                return
            async for item in instead:
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
        return invoke(gate, function, args, kwargs, _AWAITED)  # It may be a lambda around a coroutine function.
    if kind is Kind.COROUTINE:
        return invoke_async(gate, function, args, kwargs)
    steps = generator_function if kind is Kind.GENERATOR else async_generator_function
    return steps(lambda args, kwargs: gate, function)(*args, **kwargs)


_AWAITED = Results(awaits=True)


# What a plain function returned, and is not over


class Unfinished(Protocol):
    """A call that was admitted, and has not ended. A `Permit` is one."""

    def settle(self, error: BaseException | None, result: object = NO_RESULT, /) -> None:
        """End it by what it raised or returned."""
        ...

    def release(self) -> None:
        """End it with neither."""
        ...


class _Admitted:
    """The gate of one call that has been admitted already."""

    fallback = None

    def __init__(self, call: Unfinished) -> None:
        self._call = call

    def __call__(self, args: Args, kwargs: Kwargs) -> Any:
        return self

    def admit(self) -> Any:
        """What was given."""
        return self._call


def keep(call: Unfinished, result: Any, kind: Shape, results: Results) -> Any:
    """What the caller gets for `result`, which is of this `kind`. `call` ends when that is done.

    A coroutine or generator is replaced by one that behaves like it. A future or context manager is returned itself.
    Anything else that can be awaited may have users who do not await it, so it is replaced only if the caller `awaits`;
    otherwise the call has ended, and a warning says so once.
    """
    results.suspect()
    gate: Any = _Admitted(call)
    if kind is Shape.FUTURE:
        _end_with(call, result)
    elif kind is Shape.CONTEXT:
        result.gen = generator_function(gate, _giving(result.gen))()
    elif kind is Shape.ASYNC_CONTEXT:
        result.gen = async_generator_function(gate, _giving(result.gen))()
    elif kind is Shape.GENERATOR:
        return _named_like(result, generator_function(gate, _giving(result))())
    elif kind is Shape.ASYNC_GENERATOR:
        return _named_like(result, async_generator_function(gate, _giving(result))())
    elif kind is Shape.COROUTINE or results.awaits:
        return _named_like(result, invoke_async(gate, _giving(result), (), {}))
    else:
        call.settle(None, result)
        warn_once(_ENDS_EARLY, results.name, type(result).__qualname__)
    return result


_ENDS_EARLY = (
    "%s() returned a %s, which can be awaited: the call counts as a success as soon as that is returned, and failures "
    "that come later are not seen. Guard a coroutine function that awaits it, or use await breaker.call(...)"
)


def _giving(result: Any) -> Function:
    return lambda: result


def _named_like(original: Any, other: Any) -> Any:
    """`other`, with the names by which warnings and tracebacks call `original`."""
    for name in ("__name__", "__qualname__"):
        if isinstance(getattr(original, name, None), str):
            setattr(other, name, getattr(original, name))
    return other


def _end_with(call: Unfinished, future: Any) -> None:
    """End `call` when `future` is done, before those who wait for it hear of that."""

    def end(future: Any) -> None:
        if future.cancelled():
            call.release()
            return
        # Asking asyncio's exception() would keep it from logging an error that nobody retrieves.
        error = future._exception if hasattr(future, "_exception") else future.exception()
        if error is None:
            call.settle(None, future.result())
        else:
            call.settle(error)

    if future.done():
        end(future)
    else:
        future.add_done_callback(end)
