"""Looking from outside: `names` and `peek` find what the fleet has, write nothing, and are noticed by nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from freezegun import freeze_time

from circuitbreaker import CircuitBreaker, ManualClock, SlowCallRate
from circuitbreaker.fleet.record import Record, Trials, apply_report, peek
from circuitbreaker.stores import UNKNOWN, Quotas, Report, Snapshot, Store
from circuitbreaker.stores.encoding import decode_record
from circuitbreaker.stores.memory import MemoryServer, MemoryStore
from circuitbreaker.stores.redis import RedisStore

from .fleets import PLACES, Fleet
from .servers import Cluster, Sentinel, Server, until
from .support import attempt, fail

ODD = ["", "{", "two words", "naïve ☃", "\udcff", "fetch[a/b]#2"]


@pytest.fixture(params=list(PLACES))
def make_store(request: pytest.FixtureRequest) -> Iterator[Callable[..., Store]]:
    with PLACES[request.param]() as make_store:
        yield make_store


@pytest.fixture
def fleet(make_store: Callable[..., Store]) -> Iterator[Fleet]:
    made = Fleet(make_store)
    yield made
    made.close()


def await_names(store: Store, *names: str) -> None:
    until(lambda: sorted(store.backend.names()) == sorted(names), "the names are known")


def test_the_names_of_all_circuits_are_known(fleet: Fleet) -> None:
    members = [fleet.add(name) for name in ODD]
    assert list(members[0].store.backend.names()) == [], "nothing was called yet"
    for member in members:
        member.call()
    fleet.sync()
    await_names(members[0].store, *ODD)
    for name in ODD:
        seen = members[-1].store.backend.peek(name)
        assert seen is not None
        assert (seen.name, seen.state) == (name, "closed")


def test_a_circuit_without_a_record_is_none(fleet: Fleet) -> None:
    member = fleet.add("known")
    member.call()
    fleet.sync()
    assert member.store.backend.peek("unknown") is None
    assert member.store.backend.peek("known") is not None


def test_a_snapshot_from_outside_says_what_the_fleet_knows(fleet: Fleet) -> None:
    """S5: its times are spans by the clock of the records."""
    one, other = fleet.grow(2, failure_threshold=2, reset_timeout=60)
    backend = fleet.add("another").store.backend
    one.call(fail)
    fleet.sync()
    seen = backend.peek("shop")
    assert seen is not None
    assert (seen.calls, seen.streak, seen.failing, seen.leases) == (((2, 1),), 1, 1, None)
    other.call(fail)
    fleet.sync()
    seen = backend.peek("shop")
    assert seen is not None
    assert (seen.state, seen.reason) == ("open", "2 consecutive failures, threshold 2")
    assert 50 < seen.left == seen.wait <= 60
    assert 0 <= seen.age < 10
    assert seen.failure is not None
    assert seen.failure[:2] == ("Boom", "out of order")
    one.breaker.force_open()
    fleet.sync()
    assert getattr(backend.peek("shop"), "hold", None) == "force_open"


def test_a_half_open_circuit_is_seen_with_its_trials_and_slow_calls_by_class(fleet: Fleet) -> None:
    one = fleet.add(trip=SlowCallRate(1.0, slower_than=10, calls=9, minimum_calls=9), reset_timeout=0.05)
    one.call()
    fleet.sync()
    assert getattr(one.store.backend.peek("shop"), "calls", None) in (((1, 0), (0, 0)), ((1, 0),))
    one.breaker.open()

    def is_half_open() -> bool:
        permits.extend(permit for permit in [acquire(one.breaker)] if permit)
        one.store.sync()
        return bool(permits)

    permits: list[Any] = []
    until(is_half_open, "a trial is leased")
    seen = one.store.backend.peek("shop")
    assert seen is not None
    assert (seen.state, seen.wait, seen.leases) == ("half_open", 0, None)


def acquire(breaker: CircuitBreaker) -> Any:
    try:
        return breaker.acquire()
    except Exception:
        return None


def test_peek_follows_a_clock_that_was_set_back_and_changes_nothing() -> None:
    """S5"""
    server = MemoryServer(ManualClock(10_000))
    with closing(MemoryStore(server)) as store:
        breaker = CircuitBreaker("shop", registry=None, store=store, failure_threshold=1, reset_timeout=60)
        attempt(breaker)
        attempt(breaker, fail)
        assert store.sync()
        server.clock = ManualClock(6400)
        before = server.record("shop")
        seen = server.peek("shop")
        assert seen is not None
        assert seen.left == pytest.approx(60, abs=1)
        assert server.record("shop") == before


# That nothing is written, and nobody notices


def test_readers_change_no_byte_and_cause_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """S6, S9: whatever state the circuits are in, and whatever options the reader's store has."""
    with Server() as server, closing(RedisStore(server.url, interval=0.02)) as store:
        breakers = [
            CircuitBreaker(name, registry=None, store=store, failure_threshold=1, reset_timeout=600)
            for name in ("closed", "open", "held")
        ]
        for breaker in breakers:
            attempt(breaker)
        attempt(breakers[1], fail)
        breakers[2].force_open()
        assert store.sync()
        await_names(store, "closed", "open", "held")
        client = server.client()
        before = {key: client.dump(key) for key in client.keys("*")}
        with closing(RedisStore(server.url, expire=1)) as reader:
            for _ in range(3):
                for name in reader.backend.names():
                    assert reader.backend.peek(name) is not None
        assert {key: client.dump(key) for key in client.keys("*")} == before
        for breaker in breakers:
            attempt(breaker)
        assert store.sync()
    assert [record.getMessage() for record in caplog.records] == []


def test_readers_need_only_the_right_to_read() -> None:
    """A user who may neither write nor publish."""
    with Server() as server, closing(RedisStore(server.url)) as store:
        breaker = CircuitBreaker("shop", registry=None, store=store)
        attempt(breaker)
        assert store.sync()
        await_names(store, "shop")
        rights = ("+zrange", "+exists", "+eval", "+time", "+get", "+hello", "+client")
        server.client().execute_command("ACL", "SETUSER", "viewer", "on", ">pw", "~circuitbreaker:*", *rights)
        url = server.url.replace("redis://", "redis://viewer:pw@")
        with closing(RedisStore(url)) as reader:
            assert list(reader.backend.names()) == ["shop"]
            assert isinstance(reader.backend.peek("shop"), Snapshot)


def test_names_are_written_once_in_a_minute_and_dropped_with_their_records() -> None:
    """S9"""
    with Server() as server, closing(RedisStore(server.url, interval=0.02, expire=1)) as store:
        client, index = server.client(), "circuitbreaker:names"
        breaker = CircuitBreaker("shop", registry=None, store=store)
        attempt(breaker)
        assert store.sync()
        await_names(store, "shop")
        scores = client.zrange(index, 0, -1, withscores=True)
        for _ in range(3):
            attempt(breaker)
            assert store.sync()
        assert client.zrange(index, 0, -1, withscores=True) == scores
        second = client.time()[0]
        until(lambda: client.time()[0] != second, "another second begins, for scores are whole seconds")
        with freeze_time("2030-01-01"):  # a minute later, and more
            attempt(breaker)
            assert store.sync()
        until(lambda: client.zrange(index, 0, -1, withscores=True) != scores, "it is written again")
        until(lambda: list(store.backend.names()) == [], "the record expires")
        assert client.zcard(index) == 1, "readers delete nothing"
        client.zadd(index, {json.dumps("long gone"): 1.0})
        another = CircuitBreaker("another", registry=None, store=store)
        attempt(another)
        assert store.sync()
        until(lambda: client.zscore(index, '"another"'), "it is written")
        assert client.zscore(index, '"long gone"') is None


def test_names_that_cannot_be_written_are_no_outage() -> None:
    """S7"""
    with Server() as server:
        server.client().execute_command("ACL", "SETUSER", "default", "-eval")
        with closing(RedisStore(server.url, interval=0.02)) as store:
            breaker = CircuitBreaker("shop", registry=None, store=store)
            heard: list[Any] = []
            breaker.on("store", heard.append)
            for _ in range(3):
                attempt(breaker)
                assert store.sync()
            assert list(store.backend.names()) == []
            assert heard == []


@pytest.mark.parametrize("kind", [Sentinel, Cluster])
def test_readers_behind_sentinel_and_in_a_cluster(kind: type[Sentinel | Cluster]) -> None:
    """S7: the names are on one node of a cluster, the records on all."""
    names = [f"shop{number}" for number in range(8)]
    with kind() as place, closing(RedisStore(place.client())) as store:
        breakers = [CircuitBreaker(name, registry=None, store=store) for name in names]
        for each in breakers:
            attempt(each)
        breaker = CircuitBreaker("open", registry=None, store=store, failure_threshold=1, reset_timeout=600)
        attempt(breaker)
        attempt(breaker, fail)
        assert store.sync()
        await_names(store, *names, "open")
        seen = {name: store.backend.peek(name) for name in store.backend.names()}
        assert {name: each.state for name, each in seen.items() if each} == {
            **dict.fromkeys(names, "closed"),
            "open": "open",
        }


# The record, decoded


def test_a_record_is_decoded_as_the_script_keeps_it() -> None:
    """What `peek` makes of it is what the reference would."""
    with Server() as server, closing(RedisStore(server.url)) as store:
        quotas = Quotas(3, 1, None, 1, 60.0, 0, 60, "options")
        report = Report("shop", "one", 1, UNKNOWN, 0, quotas)
        reference = Record()
        store.backend.exchange([report])
        apply_report(reference, report, 0, 0.0)
        text = server.client().get("circuitbreaker:{shop}")
        assert isinstance(text, bytes)
        record = decode_record(text)
        assert record.trials == Trials()
        assert peek(record, "shop", record.at) == peek(reference, "shop", reference.at)
