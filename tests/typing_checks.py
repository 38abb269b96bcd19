"""Checked by mypy and pyright, strict; never run. What a decorated callable keeps of its type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    FailureRate,
    KeyedBreakers,
    Metrics,
    Registry,
    StateChange,
    circuit,
)
from circuitbreaker.stores.memory import MemoryStore
from circuitbreaker.stores.redis import RedisStore

if TYPE_CHECKING:
    from redis import Redis
    from typing_extensions import assert_type

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
    assert_type(client.method.breaker, CircuitBreaker)
    # mypy takes a guarded method for bound when it is called on its class; pyright does not.
    assert_type(Client.method(client, 1), str)  # type: ignore[call-arg, arg-type]
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


@breaker.on("state_change")
def listener(change: StateChange) -> None:
    assert_type(change.reason, str)


def on_error(error: CircuitOpenError) -> float:
    return error.retry_after


def shared(client: Redis) -> None:
    store = RedisStore(client, interval=0.5, quorum=2)
    CircuitBreaker("x", store=store)
    Registry(store=RedisStore("redis://localhost"))
    circuit(name="x", store=MemoryStore())(bare)
    assert_type(store.sync(), bool)
    CircuitBreaker("x", store="redis://localhost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
