"""Corners of a shared circuit: what the contract, the outages and the processes do not meet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from freezegun import freeze_time

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock
from circuitbreaker.stores import Report, Snapshot, Store
from circuitbreaker.stores.memory import MemoryServer, MemoryStore
from circuitbreaker.stores.redis import RedisStore

from .fleets import Fleet
from .servers import Proxy, Server, until
from .support import attempt, fail

SOON = 0.05


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def fleet(server: MemoryServer) -> Iterator[Fleet]:
    made = Fleet(lambda **options: MemoryStore(server, **options))
    yield made
    made.close()


def test_an_order_that_changes_nothing_is_not_told(fleet: Fleet, server: MemoryServer) -> None:
    """S6, M1"""
    one, _ = fleet.grow(2, reset_timeout=60)
    one.breaker.open()
    fleet.sync()
    before = server.record("shop")
    one.breaker.open()
    fleet.sync()
    assert server.record("shop").version == before.version == 1


def test_who_was_never_used_is_not_told_of_an_outage(fleet: Fleet, server: MemoryServer) -> None:
    """S7, S9"""
    used = fleet.add()
    unused = CircuitBreaker("unused", registry=None, store=used.store)
    heard: list[Any] = []
    unused.on("store", heard.append)
    used.call()
    fleet.sync()
    server.error = ConnectionError("gone")
    used.call()
    until(lambda: used.breaker.metrics().store == "unreachable: ConnectionError: gone", "it is noticed")
    assert heard == []
    assert repr(used.store) == "<MemoryStore, ConnectionError: gone>"
    server.error = None


def test_what_the_reference_forgot_is_restored(fleet: Fleet, server: MemoryServer) -> None:
    """S7"""
    one, _ = fleet.grow(2, failure_threshold=1, reset_timeout=60)
    one.call(fail)
    fleet.sync()
    server.flush()
    fleet.sync()
    assert fleet.states() == ["open"] * 2
    assert (server.record("shop").version, server.record("shop").state) == (1, "open")


def test_with_a_quorum_what_is_learned_is_put_before_the_fleet(fleet: Fleet) -> None:
    """Neither saw enough, both failed, and the sum is enough."""
    members = fleet.grow(2, failure_threshold=4, quorum=2, interval=60.0)
    for member in members:
        member.call(fail, 2)
    fleet.sync()
    assert fleet.states() == ["open"] * 2


def test_with_a_quorum_that_is_not_there_what_is_learned_opens_nobodys(fleet: Fleet) -> None:
    members = fleet.grow(3, failure_threshold=4, quorum=3, interval=60.0)
    for member in members[:2]:
        member.call(fail, 2)
    fleet.sync()
    assert fleet.states() == ["closed"] * 3


def test_what_was_counted_long_before_the_store_was_back_is_not_told(fleet: Fleet, server: MemoryServer) -> None:
    """S7: it is of another time."""
    clock = ManualClock()
    one, other = fleet.grow(2, failure_threshold=2, clock=clock)
    server.error = ConnectionError("gone")
    one.call(fail)
    until(lambda: one.store.error, "it is noticed")
    clock.advance(100)
    server.error = None
    until(lambda: one.store.error is None, "it heals")
    other.call(fail)
    fleet.sync()
    assert server.record("shop").calls == ((2, 1),)
    assert other.state is CircuitState.CLOSED


@pytest.mark.parametrize("end", ["success", "release"])
def test_a_leased_period_goes_on_alone_when_the_store_goes(fleet: Fleet, server: MemoryServer, end: str) -> None:
    """S7, S4, H3: what the lease does not give, the process gives itself, up to its attempts."""
    (one,) = fleet.grow(1, failure_threshold=1, reset_timeout=SOON, half_open_max_attempts=2, half_open_timeout=60)
    one.call(fail)
    permits: list[Any] = []

    def leased() -> bool:
        try:
            permits.append(one.breaker.acquire())
        except CircuitOpenError:
            one.store.sync()
        return bool(permits)

    until(leased, "a trial is leased")
    server.error = ConnectionError("gone")
    until(lambda: one.breaker.metrics().store != "connected" or not one.store.sync(0.1), "it is noticed")
    alone = one.breaker.acquire()
    with pytest.raises(CircuitOpenError):
        one.breaker.acquire()
    getattr(alone, end)()
    if end == "release":
        one.breaker.acquire().success()
    assert one.state is CircuitState.CLOSED
    server.error = None


def test_a_lease_that_ran_out_unused_is_not_used(fleet: Fleet) -> None:
    """S4, H4"""
    (one,) = fleet.grow(1, failure_threshold=1, reset_timeout=SOON, half_open_timeout=SOON, half_open_max_attempts=1)
    one.call(fail)

    def leased() -> bool:
        one.store.sync()
        return one.state is CircuitState.HALF_OPEN or attempt(one.breaker) == "never"

    until(leased, "a trial is leased")
    with freeze_time("2030-01-01") as frozen:  # the circuit's clock alone: the store's is real
        attempt(one.breaker)
        frozen.tick(3600)
    until(lambda: one.call() == ["fine"], "another is leased")


class Counting:
    """A backend of somebody else's, which counts, and can be told to misbehave."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fails = False
        self.answers_too_little = False
        self.inner = MemoryStore().backend

    def exchange(self, reports: Sequence[Report]) -> Sequence[Snapshot | Exception]:
        self.sizes.append(len(reports))
        if self.fails:
            raise ConnectionError("gone")
        return self.inner.exchange(reports)[self.answers_too_little :]

    def listen(self, timeout: float) -> Sequence[Snapshot]:
        return self.inner.listen(timeout)

    def wake(self) -> None:
        self.inner.wake()

    def names(self) -> Collection[str]:
        return self.inner.names()

    def peek(self, name: str) -> Snapshot | None:
        return self.inner.peek(name)

    def renew(self) -> None: ...

    def close(self) -> None:
        self.inner.close()


def test_an_exchange_that_fails_is_not_followed_by_more(caplog: pytest.LogCaptureFixture) -> None:
    """S7: many circuits do not wait out the timeout many times."""
    backend = Counting()
    with closing(Store(backend, interval=0.5)) as store:
        breakers = [CircuitBreaker(f"{number}", registry=None, store=store) for number in range(1200)]
        for breaker in breakers:
            attempt(breaker)
        assert store.sync(20)
        backend.sizes.clear()
        backend.fails = True
        for breaker in breakers:
            attempt(breaker)
        until(lambda: store.error, "it is noticed")
        assert len(backend.sizes) == 1
        backend.fails = False


def test_a_backend_that_breaks_its_promise_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """S7"""
    backend = Counting()
    with closing(Store(backend, interval=0.02)) as store:
        breaker = CircuitBreaker("shop", registry=None, store=store)
        backend.answers_too_little = True
        attempt(breaker)
        until(lambda: "a store failed in a way that it should not" in caplog.text, "it is logged")
        backend.answers_too_little = False
        assert store.sync()
        assert breaker.metrics().store == "connected"


def test_a_server_that_falls_silent_is_asked_whether_it_is_there() -> None:
    """S7: a connection may be dead, and nobody says so. Here the backend's own thread is this one."""
    with (
        Server() as real,
        Proxy(real.port) as proxy,
        closing(RedisStore(proxy.client(socket_timeout=0.5))) as store,
        closing(store.backend) as backend,
        freeze_time("2030-01-01") as frozen,
    ):
        assert backend.listen(0.1) == []
        for _ in range(3):
            frozen.tick(60)
            sent = proxy.bytes_up
            backend.listen(0.0)
            until(lambda sent=sent: proxy.bytes_up > sent, "it is asked")
            backend.listen(1.0)  # It answers.
        proxy.black_hole = True
        frozen.tick(60)
        backend.listen(0.0)
        frozen.tick(60)
        with pytest.raises(TimeoutError, match="the server has said nothing for 50 seconds"):
            backend.listen(0.0)
