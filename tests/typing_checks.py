"""Checked by mypy and pyright, strict, and by pyrefly; never run.

What a decorated callable keeps of its type, and what a checker finds. mypy fails at an `ignore` that it does not
need, so each of these is a check that it does find something.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from circuitbreaker import (
    CallFailed,
    CallIgnored,
    CallRejected,
    CallSucceeded,
    CircuitBreaker,
    CircuitOpenError,
    EventName,
    FailureRate,
    KeyedBreakers,
    Metrics,
    Registry,
    StateChange,
    StoreChange,
    circuit,
)
from circuitbreaker.stores.memory import MemoryStore
from circuitbreaker.stores.redis import RedisStore

if TYPE_CHECKING:
    from redis import Redis
    from typing_extensions import Self, assert_type

T = TypeVar("T")

breaker = CircuitBreaker("typing", failure_threshold=3)


@circuit
def bare(number: int, *, text: str = "") -> str:
    return text * number


@circuit(failure_threshold=5, reset_timeout=1.5, trip=FailureRate(0.5, calls=10))
def with_options(number: int) -> str:
    return str(number)


@breaker
def by_breaker(number: int) -> str:
    return str(number)


@circuit
async def coroutine(number: int) -> str:
    return str(number)


@circuit
def steps(number: int) -> Iterator[str]:
    yield str(number)


@circuit
async def async_steps(number: int) -> AsyncIterator[str]:
    yield str(number)


def host_of(host: str, **_: object) -> str:
    return host


@circuit(key=host_of, maxsize=10)
def by_key(host: str, path: str = "/") -> bytes:
    return (host + path).encode()


class Client:
    @circuit
    def method(self, number: int) -> str:
        return str(number)

    @circuit(failure_threshold=2)
    async def async_method(self, number: int) -> str:
        return str(number)

    @circuit
    @staticmethod
    def static(number: int) -> str:
        return str(number)

    @staticmethod
    @circuit
    def static_inside(number: int) -> str:
        return str(number)

    @circuit
    @classmethod
    def of_class(cls, number: int) -> str:
        return str(number)


def what_it_keeps(client: Client) -> None:
    assert_type(bare(1, text="x"), str)
    assert_type(bare.breaker, CircuitBreaker)
    assert_type(bare.breaker.metrics(), Metrics)
    assert_type(with_options(1), str)
    assert_type(by_breaker(1), str)
    assert_type(by_key("host", path="/"), bytes)
    assert_type(by_key.breakers, KeyedBreakers)
    for each in steps(1):
        assert_type(each, str)
    assert_type(client.method(1), str)
    str(client.method.breaker)  # type: ignore[attr-defined]  # pyright: ignore  # pyrefly: ignore  (docs/limits.md)
    assert_type(Client.method(client, 1), str)
    # mypy binds what a static method is decorated with to the instance; pyright does not.
    assert_type(client.static(1), str)  # type: ignore[call-arg]
    assert_type(client.static_inside(1), str)  # type: ignore[call-arg]
    assert_type(client.of_class(1), str)
    assert_type(Client.of_class(1), str)  # pyrefly: ignore  (it takes a guarded classmethod for a plain one)
    assert_type(breaker.call(len, "text"), int)


async def what_it_keeps_when_awaited(client: Client) -> None:
    assert_type(await coroutine(1), str)
    assert_type(await asyncio.create_task(coroutine(1)), str)
    assert_type(await client.async_method(1), str)
    assert_type(await breaker.call(coroutine, 1), str)
    async for each in async_steps(1):
        assert_type(each, str)
    async with breaker as same:
        assert_type(same, CircuitBreaker)


def what_it_refuses(client: Client) -> None:
    bare("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare(1, test="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.method("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    breaker.call(bare, "one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    circuit(failure_treshold=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    CircuitBreaker("x", reset_timeout="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Methods


class Fetches(Protocol):
    def fetch(self, number: int) -> str: ...


class Base(abc.ABC):
    @abc.abstractmethod
    def fetch(self, number: int) -> str: ...

    @abc.abstractmethod
    async def load(self, number: int) -> str: ...

    @abc.abstractmethod
    def steps(self) -> Iterator[int]: ...

    @abc.abstractmethod
    def of_key(self, key: str) -> str: ...

    @classmethod
    @abc.abstractmethod
    def made(cls) -> Self: ...

    @classmethod
    @abc.abstractmethod
    def made_inside(cls) -> Self: ...


def key_of(self: object, key: str) -> str:
    return key


class Implements(Base):
    @circuit(failure_threshold=3)
    def fetch(self, number: int) -> str:
        return str(number)

    @circuit
    async def load(self, number: int) -> str:
        return str(number)

    @breaker
    def steps(self) -> Iterator[int]:
        yield 1

    @circuit(key=key_of)
    def of_key(self, key: str) -> str:
        return key

    @circuit
    @classmethod
    def made(cls) -> Self:
        return cls()

    @classmethod
    @circuit
    def made_inside(cls) -> Self:
        return cls()

    @circuit
    def same(self) -> Self:
        return self

    @circuit()
    async def same_later(self, other: T) -> tuple[Self, T]:
        return self, other


class Overrides(Implements):
    def fetch(self, number: int) -> str:
        return super().fetch(number)

    async def load(self, number: int) -> str:
        return await super().load(number)

    @classmethod
    def made(cls) -> Self:
        return super().made()

    def same(self) -> Self:
        return super().same()


class OverridesGuarded(Implements):
    @circuit
    def fetch(self, number: int) -> str:
        return super().fetch(number)

    @circuit
    async def load(self, number: int) -> str:
        return await super().load(number)

    @circuit
    def same(self) -> Self:
        return super().same()


class Box(Generic[T]):
    @circuit
    def put(self, content: T) -> T:
        return content

    @circuit
    def same(self) -> Self:
        return self


class Texts(Box[str]): ...


def fetch(it: Fetches) -> None: ...


async def methods(guarded: OverridesGuarded, texts: Texts) -> None:
    fetch(Implements())
    fetch(guarded)
    assert_type(guarded.fetch(1), str)
    assert_type(await guarded.load(1), str)
    assert_type(guarded.same(), OverridesGuarded)
    assert_type(await guarded.same_later(1), tuple[OverridesGuarded, int])
    assert_type(OverridesGuarded.made(), OverridesGuarded)
    assert_type(guarded.made_inside(), OverridesGuarded)
    assert_type(guarded.of_key("x"), str)
    assert_type(texts.put("x"), str)
    assert_type(texts.same(), Texts)
    guarded.fetch("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # pyrefly: ignore
    guarded.same().fetsh(1)  # type: ignore[attr-defined]  # pyright: ignore  # pyrefly: ignore


# Listeners


@breaker.on("state_change")
def listener(change: StateChange) -> None:
    assert_type(change.reason, str)


@Registry().on("failure")
def failure_listener(failed: CallFailed) -> None:
    assert_type(failed.duration, float)


@breaker.on("success")
def success_listener(ended: CallSucceeded) -> None: ...


@breaker.on("rejected")
def rejected_listener(refused: CallRejected) -> None: ...


@breaker.on("ignored")
def ignored_listener(ended: CallIgnored) -> None: ...


@breaker.on("store")
def store_listener(change: StoreChange) -> None: ...


def any_listener(event: object) -> None: ...


async def async_listener(change: StateChange) -> None: ...


def listeners(registry: Registry, event: EventName, change: StateChange) -> None:
    assert_type(listener(change), None)
    changes: list[StateChange] = []
    for on in (breaker.on, registry.on):
        assert_type(on("state_change", changes.append), Callable[[], None])
        on("state_change", lambda change: changes.append(change))
        on("success", success_listener)
        on("failure", failure_listener)
        on("rejected", rejected_listener)
        on("ignored", ignored_listener)
        on("store", store_listener)
        on(event, any_listener)
    CircuitBreaker("x", on_state_change=listener)


def wrong_listeners(registry: Registry) -> None:
    breaker.on("failure", listener)  # type: ignore[call-overload]  # pyright: ignore  # pyrefly: ignore
    registry.on("state_change", failure_listener)  # type: ignore[call-overload]  # pyright: ignore  # pyrefly: ignore
    registry.on("store")(listener)  # type: ignore[type-var]  # pyright: ignore  # pyrefly: ignore
    breaker.on("state_changed", any_listener)  # type: ignore[call-overload]  # pyright: ignore  # pyrefly: ignore
    breaker.on("state_change", async_listener)  # type: ignore[call-overload]  # pyright: ignore  # pyrefly: ignore
    breaker.on("state_change")(async_listener)  # type: ignore[type-var]  # pyright: ignore  # pyrefly: ignore
    CircuitBreaker(on_state_change=async_listener)  # type: ignore[arg-type]  # pyright: ignore  # pyrefly: ignore


def on_error(error: CircuitOpenError) -> float:
    return error.retry_after


def shared(client: Redis) -> None:
    store = RedisStore(client, interval=0.5, quorum=2)
    CircuitBreaker("x", store=store)
    Registry(store=RedisStore("redis://localhost"))
    circuit(name="x", store=MemoryStore())(bare)
    assert_type(store.sync(), bool)
    CircuitBreaker("x", store="redis://localhost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
