"""W1 to W3: decorated callables."""

from __future__ import annotations

import abc
import asyncio
import copy
import functools
import inspect
import pickle
import re
import types
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
import wrapt

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ManualClock,
    Registry,
    circuit,
    get_breaker,
)

from .support import Boom, attempt, collect_on_pypy, fail, succeed, trip

# W1: what can be guarded


class Service:
    """A callable object, and methods of every kind."""

    def __init__(self, failing: bool = False) -> None:
        self.failing = failing

    def __call__(self, value: str = "fine") -> str:
        """Answer."""
        if self.failing:
            raise Boom
        return value

    @circuit
    def method(self, value: str) -> str:
        return type(self).__name__ + value

    @circuit
    @classmethod
    def outer_class(cls, value: str) -> str:
        return cls.__name__ + value

    @classmethod
    @circuit
    def inner_class(cls, value: str) -> str:
        return cls.__name__ + value

    @circuit
    @staticmethod
    def outer_static(value: str) -> str:
        return value

    @staticmethod
    @circuit
    def inner_static(value: str) -> str:
        return value

    @circuit
    async def async_method(self, value: str) -> str:
        return type(self).__name__ + value


class AsyncService:
    async def __call__(self, value: str = "fine") -> str:
        return value


@pytest.mark.parametrize("holder", [Service(), Service])
@pytest.mark.parametrize("name", ["outer_class", "inner_class", "outer_static", "inner_static"])
def test_class_and_static_methods_are_guarded_in_either_order(holder: Any, name: str) -> None:
    """W1, W2: they bind as before, and have a breaker."""
    method = getattr(holder, name)
    assert method("!") == ("!" if "static" in name else "Service!")
    method.breaker.open()
    with pytest.raises(CircuitOpenError):
        method("!")
    method.breaker.reset()


def test_methods_share_the_breaker_of_their_function() -> None:
    """W1, W2"""
    one, other = Service(), Service()
    assert one.method("!") == Service.method(other, "!") == "Service!"
    assert one.method.breaker is other.method.breaker is Service.method.breaker
    assert inspect.ismethod(one.method)
    assert one.method.__self__ is one  # type: ignore[attr-defined]


async def test_async_methods_are_guarded() -> None:
    """W1"""
    service = Service()
    assert await service.async_method("!") == "Service!"
    assert inspect.iscoroutinefunction(service.async_method)


PLAIN: dict[str, Callable[..., Any]] = {
    "function": succeed,
    "lambda": lambda value: value,
    "object": Service(),
    "partial": functools.partial(succeed),
    "partial of partial": functools.partial(functools.partial(lambda a, b: b, 1)),
    "bound method": Service().__call__,
    "cached": functools.lru_cache(succeed),
    "mock": Mock(side_effect=succeed),
}


@pytest.mark.parametrize("name", PLAIN)
def test_anything_that_can_be_called_is_guarded(name: str) -> None:
    """W1: it answers, its outcomes count, and it is refused when open."""
    guarded = circuit(failure_threshold=1)(PLAIN[name])
    assert guarded("fine") == "fine"
    assert guarded.breaker.metrics().total_successes == 1
    guarded.breaker.open()
    with pytest.raises(CircuitOpenError):
        guarded("fine")


@pytest.mark.parametrize("built_in", [len, "".join, str.upper, sorted])
def test_built_ins_are_guarded(built_in: Callable[..., Any]) -> None:
    """W1, W2"""
    guarded = circuit(built_in)
    assert guarded("ab") == built_in("ab")
    assert guarded.__name__ == built_in.__name__
    assert guarded.breaker.metrics().total_successes == 1


@pytest.mark.parametrize(
    "function",
    [
        AsyncService(),
        functools.partial(AsyncService()),
        AsyncService().__call__,
        types.MethodType(functools.partial(AsyncService.__call__), AsyncService()),
        AsyncMock(return_value="fine"),
    ],
)
async def test_async_things_are_guarded_until_they_are_awaited_to_the_end(function: Any) -> None:
    """W1: not only until they gave a coroutine."""
    guarded = circuit(failure_threshold=1)(function)
    coroutine = guarded("fine")
    assert guarded.breaker.metrics().total_calls == 0
    assert await coroutine == "fine"
    assert guarded.breaker.metrics().total_successes == 1


async def test_a_failing_coroutine_function_trips() -> None:
    """W1: `async def` does not go unprotected."""

    @circuit(failure_threshold=2)
    async def work() -> None:
        await asyncio.sleep(0)
        raise Boom

    for _ in range(2):
        with pytest.raises(Boom):
            await work()
    with pytest.raises(CircuitOpenError):
        await work()


def test_a_coroutine_that_is_never_awaited_is_no_call(clock: ManualClock) -> None:
    """W1, H3"""

    async def work() -> None: ...

    breaker = CircuitBreaker(failure_threshold=1, clock=clock, half_open_max_attempts=1)
    trip(breaker)
    clock.advance(30)
    breaker(work)().close()
    assert breaker.state is CircuitState.OPEN


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="new in Python 3.12")
async def test_what_is_marked_as_a_coroutine_function_is_taken_for_one() -> None:
    """W1"""
    marked = inspect.markcoroutinefunction(lambda: AsyncService()("fine"))  # type: ignore[attr-defined]
    guarded = circuit(failure_threshold=1)(marked)
    coroutine = guarded()
    assert guarded.breaker.metrics().total_calls == 0
    assert await coroutine == "fine"


def test_calls_through_call() -> None:
    """W1: `breaker.call`, for every kind."""
    breaker = CircuitBreaker()

    async def work(value: int) -> int:
        return value

    def steps(value: int) -> Iterator[int]:
        yield value

    async def async_steps(value: int) -> AsyncIterator[int]:
        yield value

    async def collect() -> list[int]:
        return [each async for each in breaker.call(async_steps, 4)]

    assert breaker.call(max, 1, 2) == 2
    assert asyncio.run(breaker.call(work, value=3)) == 3  # type: ignore[arg-type]
    assert list(breaker.call(steps, 5)) == [5]
    assert asyncio.run(collect()) == [4]
    assert breaker.metrics().total_successes == 4


async def test_call_guards_what_a_plain_function_gives_until_it_was_awaited() -> None:
    """W1: `await breaker.call(lambda: fetch(url))` is not a success as soon as it has a coroutine."""
    breaker = CircuitBreaker(failure_threshold=2, is_failure_result=lambda value: value == "bad")

    async def work(value: str) -> str:
        if value == "boom":
            raise Boom
        return value

    assert await breaker.call(lambda: work("good")) == "good"
    assert breaker.metrics().total_successes == 1
    with pytest.raises(Boom):
        await breaker.call(lambda: work("boom"))
    assert await breaker.call(lambda: asyncio.ensure_future(work("bad"))) == "bad"
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitOpenError):
        await breaker.call(lambda: work("good"))


def test_several_functions_share_one_breaker() -> None:
    breaker = CircuitBreaker(failure_threshold=2)
    one, other = breaker(fail), breaker(succeed)
    for _ in range(2):
        attempt(breaker, one.__wrapped__)
    with pytest.raises(CircuitOpenError):
        other()
    assert one.breaker is other.breaker is breaker


@pytest.mark.parametrize("wrong", [Service, None, 3, "name"])
def test_what_cannot_be_called_is_a_type_error(wrong: Any) -> None:
    """A class can only be called once (see below), not guarded: it would be a class no more."""
    ways: list[Any] = [circuit, circuit(), CircuitBreaker()]
    for way in ways if wrong is Service else [*ways, CircuitBreaker().call]:
        with pytest.raises(TypeError, match=r"class|callable|name="):
            way(wrong)


@pytest.mark.parametrize(
    ("way", "what"),
    [
        (circuit, "what circuit() guards"),
        (CircuitBreaker(registry=None), "what a breaker guards"),
    ],
)
def test_what_is_wrong_is_named(way: Any, what: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(what)} must be a function, got the class"):
        way(dict)


class Connection:
    """Its constructor connects, as that of smtplib.SMTP does."""

    def __init__(self, host: str, port: int = 25) -> None:
        if host == "down.example":
            raise ConnectionError(host)
        self.address = host, port


def test_a_class_can_be_called() -> None:
    """W1: whose constructor asks the dependency."""
    breaker = CircuitBreaker(failure_threshold=1, registry=None)
    assert breaker.call(Connection, "up.example", port=587).address == ("up.example", 587)
    assert breaker.call(dict, a=1) == {"a": 1}
    assert breaker.metrics().total_successes == 2
    with pytest.raises(ConnectionError):
        breaker.call(Connection, "down.example")
    with pytest.raises(CircuitOpenError):
        breaker.call(Connection, "up.example")


def test_something_already_called_is_a_type_error() -> None:
    async def work() -> None: ...

    coroutine = work()
    with pytest.raises(TypeError, match="already called"):
        circuit(coroutine)  # type: ignore[call-overload]
    coroutine.close()


# W2: what it keeps


@circuit(failure_threshold=5)
def documented(number: int, /, text: str = "x", *more: int, flag: bool = False, **rest: float) -> str:
    """Say it."""
    return text * number


@circuit
async def documented_async(number: int) -> int:
    return number


@circuit
def documented_steps(number: int) -> Iterator[int]:
    yield number


@circuit
async def documented_async_steps(number: int) -> AsyncIterator[int]:
    yield number


guarded_object = circuit(name="object")(Service())
guarded_partial = circuit(name="partial")(functools.partial(succeed, "fine"))


def test_a_decorated_function_keeps_its_looks() -> None:
    """W2"""
    original = documented.__wrapped__
    assert inspect.signature(documented) == inspect.signature(original)
    assert inspect.get_annotations(documented) == inspect.get_annotations(original)
    assert documented.__doc__ == "Say it."
    assert documented.__name__ == documented.__qualname__ == "documented"
    assert documented.__module__ == __name__
    assert inspect.isfunction(documented)
    assert documented(2, flag=True) == "xx"
    assert documented.breaker.name == f"{__name__}.documented"


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (documented, None),
        (documented_async, inspect.iscoroutinefunction),
        (documented_steps, inspect.isgeneratorfunction),
        (documented_async_steps, inspect.isasyncgenfunction),
        (circuit(functools.partial(documented_async.__wrapped__)), inspect.iscoroutinefunction),
    ],
)
def test_a_decorated_callable_keeps_its_kind(function: Any, kind: Callable[[Any], bool] | None) -> None:
    """W2"""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    assert [check(function) for check in kinds] == [check is kind for check in kinds]


@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("function", [documented, documented_async, documented_steps, documented_async_steps])
def test_it_keeps_its_kind_by_key_too(function: Any, by_key: bool) -> None:
    """W2"""
    original = function.__wrapped__
    again = circuit(key=lambda number: number)(original) if by_key else circuit(original)
    for check in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert check(again) == check(original)


@pytest.mark.parametrize("function", [documented, documented_async, documented_steps, documented_async_steps])
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_a_decorated_function_pickles_and_copies_as_itself(function: Any, twin: Callable[[Any], Any]) -> None:
    """W2"""
    assert twin(function) is function


def test_a_guarded_object_stays_what_it_was() -> None:
    """W2: attributes, type, looks."""
    service = Service()
    guarded = circuit(service)
    assert isinstance(guarded, Service)
    assert guarded.failing is False
    guarded.failing = True  # type: ignore[attr-defined]
    assert service.failing is True
    assert inspect.signature(guarded) == inspect.signature(service)
    assert guarded.breaker.name == f"{__name__}.Service"
    with pytest.raises(Boom):
        guarded()


@pytest.mark.parametrize("guarded", [guarded_object, guarded_partial])
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_a_guarded_object_pickles_and_copies_with_its_breaker(
    guarded: Any, twin: Callable[[Any], Any], sandbox: Any
) -> None:
    """W2: the breaker is found by name."""
    if guarded.breaker.name not in sandbox:
        sandbox.add(guarded.breaker)
    again = twin(guarded)
    assert again is not guarded
    assert again.__wrapped__ is not guarded.__wrapped__
    assert again.breaker is guarded.breaker is get_breaker(guarded.breaker.name)
    assert again("fine") == "fine" if guarded is guarded_object else again() == "fine"


def test_an_object_whose_breaker_the_registry_does_not_know_does_not_pickle() -> None:
    """W2: else it would come back with another breaker, or none."""
    other = CircuitBreaker("dep", registry=Registry())
    for _ in range(2):
        with pytest.raises(TypeError, match="the default registry does not know <CircuitBreaker 'dep'"):
            pickle.dumps(other(len))
        kept = CircuitBreaker("dep")
        del kept
        collect_on_pypy()


def test_objects_that_claim_every_attribute_are_guarded() -> None:
    """W1"""

    class Proxy:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self) -> str:
            return "fine"

    assert circuit(Proxy())() == "fine"


def test_arguments_may_have_any_name() -> None:
    """W1"""
    assert circuit("{self} {function} {args}".format)(self=1, function=2, args=3) == "1 2 3"
    assert circuit(dict.fromkeys)("a", None) == {"a": None}
    assert CircuitBreaker().call("{self} {function}".format, self=1, function=2) == "1 2"


@pytest.mark.parametrize("held", [None, "force_closed", "shadow"])
@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("by_key", [False, True])
async def test_arguments_arrive_by_place_and_by_name_in_every_kind(by_key: bool, heard: bool, held: str | None) -> None:
    """W1"""
    options: Any = {"key": lambda *args, **kwargs: None} if by_key else {}

    def given(*args: int, **kwargs: int) -> Any:
        return args, kwargs

    async def given_async(*args: int, **kwargs: int) -> Any:
        return args, kwargs

    def steps(*args: int, **kwargs: int) -> Any:
        yield args, kwargs

    async def steps_async(*args: int, **kwargs: int) -> Any:
        yield args, kwargs

    guarded: list[Any] = [circuit(**options)(each) for each in (given, given_async, steps, steps_async)]
    for each in guarded:
        breaker = each.breakers.use(None) if by_key else each.breaker
        if heard:
            breaker.on("success", lambda event: None)
        if held is not None:
            getattr(breaker, held)()
    function, coroutine_function, generator_function, async_generator_function = guarded
    for args, kwargs in [((), {}), ((1,), {}), ((), {"b": 2}), ((1, 2), {"c": 3})]:
        assert function(*args, **kwargs) == (args, kwargs)
        assert await coroutine_function(*args, **kwargs) == (args, kwargs)
        assert list(generator_function(*args, **kwargs)) == [(args, kwargs)]
        assert [each async for each in async_generator_function(*args, **kwargs)] == [(args, kwargs)]


def test_methods_that_wrapt_decorated_keep_their_instance() -> None:
    """W2"""

    @wrapt.decorator
    def through(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return instance, wrapped(*args, **kwargs)

    class Holder:
        @circuit
        @through
        def method(self) -> str:
            return "fine"

    holder = Holder()
    assert holder.method() == (holder, "fine")
    assert Holder.method.breaker.metrics().total_successes == 1


async def test_generator_based_coroutines_are_guarded() -> None:
    """W1"""

    @circuit
    @types.coroutine
    def work() -> Any:
        yield from asyncio.sleep(0).__await__()
        return "fine"

    assert await work() == "fine"
    assert work.breaker.metrics().total_successes == 1


async def test_a_guarded_async_object_can_be_guarded_again() -> None:
    """W1"""
    inner = circuit(AsyncService())
    outer = circuit(inner)
    assert await outer("fine") == "fine"
    assert outer.breaker is not inner.breaker
    assert outer.breaker.metrics().total_successes == inner.breaker.metrics().total_successes == 1


def test_an_object_guarded_by_key_does_not_pickle() -> None:
    """W2: another process could not tell which breakers are meant."""
    guarded = circuit(key=lambda value: value)(Service())
    with pytest.raises(TypeError, match="guarded by key"):
        pickle.dumps(guarded)
    assert copy.copy(guarded).breakers is guarded.breakers


def test_what_binds_goes_on_binding_and_what_does_not_does_not() -> None:
    """W2"""

    class Holder:
        bound_by_c = circuit(str.upper)
        object = circuit(Service())

    assert Holder().object("x") == "x"
    assert Holder.__dict__["bound_by_c"].__get__("text", str)() == "TEXT"
    assert Holder.bound_by_c("text") == "TEXT"


def test_abstract_methods_stay_abstract() -> None:
    """W2"""

    class Base(abc.ABC):
        @circuit
        @abc.abstractmethod
        def work(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]


def test_circuits_can_be_stacked() -> None:
    """E3: the inner one's refusal says nothing about what the outer one guards."""
    outer, inner = CircuitBreaker("outer", failure_threshold=9), CircuitBreaker("inner", failure_threshold=1)
    guarded = outer(inner(fail))
    with pytest.raises(Boom):
        guarded()
    with pytest.raises(CircuitOpenError) as caught:
        guarded()
    assert caught.value.name == "inner"
    assert (outer.metrics().total_failures, outer.metrics().total_ignored) == (1, 1)
    assert guarded.breaker is outer


# W3: generators


def talk(log: list[str]) -> Iterator[Any]:
    """Yields, is sent to, is thrown into, returns."""
    sent = yield "first"
    log.append(f"sent {sent}")
    try:
        yield "second"
    except KeyError as error:
        log.append(f"caught {error}")
        yield "third"
    return "returned"


def test_generators_keep_send_throw_close_and_return() -> None:
    """W3"""
    breaker = CircuitBreaker()
    log: list[str] = []
    steps: Any = breaker(talk)(log)
    assert breaker.metrics().total_calls == 0
    assert next(steps) == "first"
    assert steps.send("hello") == "second"
    assert steps.throw(KeyError("key")) == "third"
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == "returned"
    assert log == ["sent hello", "caught 'key'"]
    assert breaker.metrics().total_successes == 1


async def talk_async(log: list[str]) -> AsyncIterator[Any]:
    """As `talk`."""
    try:
        sent = yield "first"
        log.append(f"sent {sent}")
        try:
            yield "second"
        except KeyError as error:
            log.append(f"caught {error}")
            yield "third"
    finally:
        log.append("cleaned up")


async def test_async_generators_keep_asend_athrow_and_aclose() -> None:
    """W3"""
    breaker = CircuitBreaker()
    log: list[str] = []
    steps: Any = breaker(talk_async)(log)
    assert await anext(steps) == "first"
    assert await steps.asend("hello") == "second"
    assert await steps.athrow(KeyError("key")) == "third"
    with pytest.raises(StopAsyncIteration):
        await anext(steps)
    assert log == ["sent hello", "caught 'key'", "cleaned up"]
    assert breaker.metrics().total_successes == 1

    steps = breaker(talk_async)(log)
    await anext(steps)
    await steps.aclose()
    assert log[-1] == "cleaned up"
    assert breaker.metrics().total_ignored == 1


def test_a_generator_that_fails_in_the_middle_failed() -> None:
    """W3: the period that counts is from the first step to the end."""
    breaker = CircuitBreaker(failure_threshold=1)

    @breaker
    def steps() -> Iterator[int]:
        yield 1
        raise Boom

    with pytest.raises(Boom):
        list(steps())
    with pytest.raises(CircuitOpenError):
        list(steps())


async def test_an_async_generator_that_is_closed_has_cleaned_up_when_that_is_done() -> None:
    """W3: though its own code waits while it does."""
    log: list[str] = []

    @CircuitBreaker()
    async def steps() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    running: Any = steps()
    await anext(running)
    await running.aclose()
    assert log == ["cleaned up"]


async def test_an_async_generator_that_fails_in_the_middle_failed() -> None:
    """W3"""
    breaker = CircuitBreaker(failure_threshold=1)

    @breaker
    async def steps() -> AsyncIterator[int]:
        yield 1
        raise Boom

    with pytest.raises(Boom):
        [_ async for _ in steps()]
    with pytest.raises(CircuitOpenError):
        [_ async for _ in steps()]


def test_an_async_generator_that_is_alive_when_its_loop_shuts_down_is_no_failure() -> None:
    """W3: the loop closes the inner one too, and perhaps first."""
    breaker = CircuitBreaker(failure_threshold=1)
    kept: list[Any] = []

    @breaker
    async def steps() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)

    async def main() -> None:
        kept.append(steps())
        await anext(kept[-1])

    for _ in range(10):
        asyncio.run(main(), debug=False)
        assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("how", ["close", "drop", "break"])
def test_a_consumer_that_stops_early_is_no_failure(how: str) -> None:
    """W3"""
    breaker = CircuitBreaker(failure_threshold=1)
    steps: Any = breaker(talk)([])
    for _ in steps:
        break
    if how == "close":
        steps.close()
    del steps
    collect_on_pypy()
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_ignored == 1


def test_a_generators_return_value_is_judged() -> None:
    breaker = CircuitBreaker(failure_threshold=1, is_failure_result=lambda value: value == "returned")
    list(breaker(talk)([]))
    assert breaker.state is CircuitState.OPEN


# Fallbacks and results


def test_a_fallback_is_called_with_the_calls_arguments_in_place_of_the_error() -> None:
    breaker = CircuitBreaker(fallback=lambda self, text, *, times: f"{text} {times}")

    class Holder:
        @breaker
        def work(self, text: str, *, times: int) -> str:
            return "own"

    holder = Holder()
    assert holder.work("a", times=2) == "own"
    breaker.open()
    assert holder.work("a", times=2) == "a 2"
    with pytest.raises(CircuitOpenError), breaker:
        raise AssertionError
    assert breaker.metrics().total_rejections == 2


async def fallback_async(value: str) -> str:
    return f"async {value}"


def fallback_steps(value: str) -> Iterator[str]:
    yield f"step {value}"
    return "end"


async def fallback_async_steps(value: str) -> AsyncIterator[str]:
    yield f"async step {value}"


async def test_fallbacks_of_coroutine_functions_may_be_plain_or_async() -> None:
    for fallback, expected in ((fallback_async, "async a"), (lambda value: f"plain {value}", "plain a")):
        breaker = CircuitBreaker(fallback=fallback)
        breaker.open()
        assert await breaker(AsyncService())("a") == expected


async def test_fallbacks_of_generator_functions_give_the_steps() -> None:
    breaker = CircuitBreaker(fallback=fallback_steps)
    breaker.open()
    assert list(breaker(talk)("a")) == ["step a"]  # type: ignore[arg-type]
    breaker = CircuitBreaker(fallback=fallback_async_steps)
    breaker.open()
    assert [each async for each in breaker(talk_async)("a")] == ["async step a"]  # type: ignore[arg-type]


def test_an_async_fallback_of_a_plain_function_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"fallback of the plain function .* must be a plain function, got a coroutine"):
        circuit(fallback=fallback_async)(succeed)


@pytest.mark.parametrize("key", [None, lambda value: value])
def test_a_result_can_be_a_failure(key: Any) -> None:
    guarded: Any = circuit(failure_threshold=2, is_failure_result=lambda value: value == 503, key=key)(succeed)
    assert [guarded(value) for value in (503, 200, 503)] == [503, 200, 503]
    breaker = guarded.breakers[503] if key else guarded.breaker
    assert breaker.metrics().total_failures == 2
    last = breaker.metrics().last_failure
    assert str(last) == "result: int"


async def test_a_coroutines_result_can_be_a_failure() -> None:
    guarded = circuit(failure_threshold=1, is_failure_result=lambda value: value == "bad")(AsyncService())
    assert await guarded("good") == "good"
    assert await guarded("bad") == "bad"
    with pytest.raises(CircuitOpenError):
        await guarded("good")


def test_a_block_has_no_result_to_judge() -> None:
    breaker = CircuitBreaker(failure_threshold=1, is_failure_result=lambda value: True)
    with breaker:
        pass
    with breaker.acquire():
        pass
    breaker.acquire().success()
    assert breaker.metrics().total_successes == 3
