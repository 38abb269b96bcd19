"""What a bad day of the server does to the circuits that it shares: nothing that a caller sees (S7).

Real servers, and a proxy that makes a bad network. `one` goes through the proxy, `other` does not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    Permit,
    StoreChange,
    TripPolicy,
)
from circuitbreaker.stores.redis import RedisStore

from . import fleets
from .servers import HOST, Cluster, Proxy, Sentinel, Server, free_port, until
from .support import Boom, attempt, fail

SOON = 0.05
"""An open period that is over at once."""
LONG = 60.0
"""One that is not over before the test is."""
TIMEOUT = 0.25
"""Seconds that the clients here wait for an answer."""
KEY = "circuitbreaker:{shop}"
"""Where the record of `shop` is."""


class Member(fleets.Member):
    """A process that also writes down what it hears of its store."""

    def __init__(self, client: Any, name: str = "shop", *, interval: float = 0.02, **options: Any) -> None:
        super().__init__(RedisStore(client, interval=interval), name, **options)
        self.heard: list[StoreChange] = []
        self.breaker.on("store", self.heard.append)

    @property
    def reachable(self) -> list[bool]:
        """What it was told of the store, in order."""
        return [change.reachable for change in self.heard]

    @property
    def said(self) -> str:
        """What the metrics say of the store."""
        return self.breaker.metrics().store

    def has_noticed(self) -> bool:
        return self.said.startswith("unreachable: ")

    def await_outage(self) -> None:
        until(lambda: self.has_noticed() and self.reachable[-1:] == [False], "the outage is noticed and told")

    def await_healing(self) -> None:
        """Nothing but time: no call, no order."""
        until(lambda: self.said == "connected" and self.reachable[-1:] != [False], "it heals by itself")

    def acquire(self) -> Permit:
        """A trial, when there is one."""
        permits: list[Permit] = []

        def has_come() -> bool:
            with suppress(CircuitOpenError):
                permits.append(self.breaker.acquire())
            return bool(permits)

        until(has_come, "a trial may go")
        return permits[0]

    def refusal(self) -> CircuitOpenError:
        with pytest.raises(CircuitOpenError) as caught:
            self.breaker.call(fail)
        return caught.value


class Site:
    """A server, a bad way to it, and those who use it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.proxy = Proxy(server.port)
        self.members: list[Member] = []

    def join(self, client: Any, name: str = "shop", **options: Any) -> Member:
        """Another process, which has not been used yet."""
        member = Member(client, name, **{"reset_timeout": LONG, **options})
        self.members.append(member)
        return member

    def near(self, **options: Any) -> Member:
        """One with a good network."""
        return self.join(self.server.client(socket_timeout=TIMEOUT), **options)

    def far(self, **options: Any) -> Member:
        """One with the bad network, which is good at first."""
        return self.join(self.proxy.client(socket_timeout=TIMEOUT), **options)

    def pair(self, **options: Any) -> tuple[Member, Member]:
        """One of each, which have been used."""
        one, other = self.far(**options), self.near(**options)
        one.call()
        other.call()
        self.sync()
        return one, other

    def newcomer(self, **options: Any) -> Member:
        """One that has just been told how the circuit stands."""
        member = self.near(**options)
        member.call()
        assert member.store.sync()
        return member

    def sync(self, *members: Member) -> None:
        """Have these, or all, know everything."""
        sync(*(members or self.members))

    def admin(self) -> redis.Redis:
        return self.server.client()

    def stop(self) -> None:
        """Stores first: they would complain of the rest."""
        self.server.resume()
        self.proxy.black_hole = self.proxy.drop_replies = False
        self.proxy.delay = 0.0
        for member in self.members:
            member.store.close()
        self.proxy.close()


def sync(*members: Member) -> None:
    for _ in range(2):
        for member in members:
            assert member.store.sync(), member.store


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def site(shared: Server) -> Iterator[Site]:
    """Each test finds the server empty."""
    shared.client().flushall()
    made = Site(shared)
    try:
        yield made
    finally:
        made.stop()


def log_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the package logged, by level and beginning."""
    records = [record for record in caplog.records if record.name == "circuitbreaker"]
    return [f"{record.levelname}: {record.getMessage().partition(';')[0]}" for record in records]


GONE = "ERROR: a store cannot be reached"
BACK = "WARNING: a store can be reached again"


def use_for(seconds: float, member: Member) -> set[str]:
    """Call for so long, and how these calls ended."""
    ends: set[str] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ends.update(member.call())
        time.sleep(0.005)
    return ends


# Outages of every kind


@contextmanager
def refused(site: Site) -> Iterator[None]:
    site.proxy.refuse()
    try:
        yield
    finally:
        site.proxy.accept()


@contextmanager
def restarted_empty(site: Site) -> Iterator[None]:
    site.server.kill()
    try:
        yield
    finally:
        site.server.restart()


@contextmanager
def timed_out(site: Site) -> Iterator[None]:
    site.proxy.black_hole = True
    try:
        yield
    finally:
        site.proxy.black_hole = False


@contextmanager
def replies_lost(site: Site) -> Iterator[None]:
    site.proxy.drop_replies = True
    try:
        yield
    finally:
        site.proxy.drop_replies = False


@contextmanager
def too_slow(site: Site) -> Iterator[None]:
    site.proxy.delay = 2 * TIMEOUT
    try:
        yield
    finally:
        site.proxy.delay = 0.0


@contextmanager
def paused(site: Site) -> Iterator[None]:
    site.server.pause()
    try:
        yield
    finally:
        site.server.resume()


@contextmanager
def read_only(site: Site) -> Iterator[None]:
    site.admin().execute_command("REPLICAOF", HOST, free_port())
    try:
        yield
    finally:
        site.admin().execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def out_of_memory(site: Site) -> Iterator[None]:
    site.admin().config_set("maxmemory-policy", "noeviction")
    site.admin().config_set("maxmemory", 1)
    try:
        yield
    finally:
        site.admin().config_set("maxmemory", 0)


@contextmanager
def locked_out(site: Site) -> Iterator[None]:
    site.admin().execute_command("ACL", "SETUSER", "default", "-evalsha")
    try:
        yield
    finally:
        site.admin().execute_command("ACL", "SETUSER", "default", "+evalsha")


Outage = Callable[[Site], AbstractContextManager[None]]
OUTAGES: list[Outage] = [
    refused,
    restarted_empty,
    timed_out,
    replies_lost,
    too_slow,
    paused,
    read_only,
    out_of_memory,
    locked_out,
]
every_outage = pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.__name__)


@every_outage
def test_callers_see_nothing_of_an_outage(site: Site, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """S7, S1: own results and own errors, at once; a local trip; one event and one log line; it heals and is told."""
    one = site.far(failure_threshold=3)
    one.call()
    site.sync()
    with outage(site):
        assert one.call(fail) == ["Boom"]
        began = time.monotonic()
        assert set(one.call(times=1000)) == {"fine"}
        assert time.monotonic() - began < 1, "1000 calls"
        one.await_outage()
        assert one.reachable == [False]
        assert f"unreachable: {one.heard[0].error}" == one.said
        assert one.heard[0].name == "shop"
        assert one.call(fail, 3) == ["Boom"] * 3
        assert one.state is CircuitState.OPEN
        assert use_for(0.2, one) == {"CircuitOpenError"}
        assert one.reachable == [False], "once, however often it is tried"
        assert log_lines(caplog) == [GONE]
    one.await_healing()
    assert one.reachable == [False, True]
    assert one.heard[1].error == ""
    assert log_lines(caplog) == [GONE, BACK]
    site.sync()
    other = site.newcomer(failure_threshold=3)
    assert other.state is CircuitState.OPEN, "what was decided meanwhile is not lost"
    assert other.breaker.metrics().reason == "3 consecutive failures, threshold 3"
    assert one.changes == ["open"]


@every_outage
def test_a_trip_at_the_very_moment_of_an_outage_is_told(site: Site, outage: Outage) -> None:
    """S7: before anybody has noticed."""
    one = site.far(failure_threshold=1)
    one.call()
    site.sync()
    with outage(site):
        assert one.call(fail) == ["Boom"]
        assert one.state is CircuitState.OPEN
        one.await_outage()
    one.await_healing()
    site.sync()
    assert site.newcomer(failure_threshold=1).state is CircuitState.OPEN
    assert one.changes == ["open"]


@pytest.mark.parametrize("outage", [refused, paused, replies_lost], ids=lambda outage: outage.__name__)
def test_an_open_circuit_recovers_alone(site: Site, outage: Outage) -> None:
    """S7: its own trial closes it; what came of it counts here alone, and the fleet learns the end."""
    one = site.far(failure_threshold=1, reset_timeout=SOON, half_open_timeout=LONG)
    one.call()
    site.sync()
    with outage(site):
        one.call(fail)
        one.await_outage()
        until(lambda: one.call() == ["fine"], "a trial goes, and asks nobody", 1)
        assert one.changes == ["open", "half_open", "closed"]
    one.await_healing()
    site.sync()
    assert one.state is CircuitState.CLOSED
    assert site.newcomer(failure_threshold=1).state is CircuitState.CLOSED


@pytest.mark.parametrize("outage", [refused, timed_out], ids=lambda outage: outage.__name__)
def test_every_outage_is_told_once(site: Site, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """S7"""
    one = site.far()
    one.call()
    site.sync()
    for _ in range(2):
        with outage(site):
            one.call()
            one.await_outage()
        one.await_healing()
    assert one.reachable == [False, True] * 2
    assert log_lines(caplog) == [GONE, BACK] * 2


def test_a_server_that_was_never_there(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """S7: the circuit is like one without a store, until the server comes."""
    site.proxy.refuse()
    one = site.far(failure_threshold=2, reset_timeout=SOON)
    assert one.said == "connecting"
    assert set(one.call(times=100)) == {"fine"}
    one.await_outage()
    one.call(fail, 2)
    assert one.state is CircuitState.OPEN
    until(lambda: one.call() == ["fine"], "a trial goes")
    one.breaker.force_open()
    site.proxy.accept()
    one.await_healing()
    site.sync()
    assert one.reachable == [False, True]
    assert log_lines(caplog) == [GONE, BACK]
    other = site.newcomer()
    assert str(other.breaker.hold) == "force_open", "also what was decided before it ever came"


def test_an_idle_store_heals(site: Site) -> None:
    """S7: without a call; and hears of what is decided afterwards."""
    one, other = site.pair()
    site.server.restart()  # It may be back before anybody looks.
    for each in (one, other):
        until(lambda each=each: each.reachable == [False, True], "the outage is noticed, and its end")
    calls = one.breaker.metrics().total_calls
    other.breaker.open()
    until(lambda: one.state is CircuitState.OPEN, "it hears of it")
    assert one.breaker.metrics().total_calls == calls


def test_closing_a_store_does_not_wait_for_a_dead_server(site: Site) -> None:
    """S7"""
    one = site.far()
    one.call()
    site.sync()
    site.proxy.black_hole = True
    one.call(fail)
    began = time.monotonic()
    one.store.close()
    assert time.monotonic() - began < 2
    assert one.said == "unreachable: it was closed"
    assert one.call() == ["fine"]


def test_a_store_that_was_closed_before_its_first_call(site: Site) -> None:
    """S7: its circuits go on alone."""
    one = site.far(failure_threshold=1, reset_timeout=SOON)
    one.store.close()
    one.call(fail)
    assert one.state is CircuitState.OPEN
    began = time.monotonic()
    until(lambda: one.call() == ["fine"], "a trial goes")
    assert time.monotonic() - began < 1


# Slow, which is no outage


def test_a_slow_server_is_no_outage(site: Site) -> None:
    """S1, S7: half a second on each answer, and no call waits; news come, late."""
    one, other = (
        site.join(Proxied.client(socket_timeout=3), failure_threshold=3, reset_timeout=0.3, half_open_timeout=LONG)
        for Proxied in (site.proxy, site.server)
    )
    one.call()
    other.call()
    site.sync()
    site.proxy.delay = 0.5
    began = time.monotonic()
    assert set(one.call(times=1000)) == {"fine"}
    assert one.call(fail, 3) == ["Boom"] * 3
    assert one.state is CircuitState.OPEN
    assert time.monotonic() - began < 1
    until(lambda: other.state is CircuitState.OPEN, "the other one hears of it")
    until(lambda: one.call() == ["fine"], "a trial was leased")
    until(lambda: other.state is CircuitState.CLOSED, "and that")
    assert one.changes == other.changes == ["open", "half_open", "closed"]
    assert one.heard == []


def test_sync_waits_for_the_answer_to_what_happened_last(site: Site) -> None:
    """S7: not only for the answer that was under way."""
    one, other = site.pair(failure_threshold=1)
    site.proxy.delay = 0.15
    one.call()
    one.store.sync()
    one.call()
    one.call(fail)
    assert one.store.sync()
    assert other.store.sync()
    assert other.state is CircuitState.OPEN


# Lost replies: nothing is lost, and nothing counts twice

TRIPS_AT_TEN: list[TripPolicy] = [
    ConsecutiveFailures(10),
    FailureRate(0.5, calls=100, minimum_calls=12),  # the two first calls succeed
    FailureRate(0.5, seconds=60, minimum_calls=12),
]
every_trip = pytest.mark.parametrize("trip", TRIPS_AT_TEN, ids=["consecutive", "calls", "seconds"])


def trips_at_the_tenth(site: Site, one: Member, other: Member, failures: int) -> None:
    """So many failures were counted by all, exactly."""
    site.sync()
    other.call(fail, 9 - failures)
    site.sync()
    assert [one.state, other.state] == [CircuitState.CLOSED] * 2, "9 failures"
    other.call(fail)
    site.sync()
    assert [one.state, other.state] == [CircuitState.OPEN] * 2, "10 failures"


@every_trip
@pytest.mark.parametrize("retries", [0, 2])
def test_lost_replies_neither_lose_nor_double_failures(site: Site, trip: TripPolicy, retries: int) -> None:
    """S6, S7: what arrived counts once, also if the client itself sends it again."""
    own = Retry(ConstantBackoff(0.01), retries)
    one = site.join(site.proxy.client(socket_timeout=0.1, retry=own), trip=trip)
    other = site.near(trip=trip)
    one.call()
    other.call()
    site.sync()
    with replies_lost(site):
        one.call(fail, 4)
        one.await_outage()
        one.call(fail, 2)  # These are told later.
    one.await_healing()
    trips_at_the_tenth(site, one, other, 6)


@every_trip
def test_cut_connections_neither_lose_nor_double_failures(site: Site, trip: TripPolicy) -> None:
    """S6, S7: wherever the exchange was when the connection was cut."""
    one, other = site.pair(trip=trip)
    site.proxy.delay = 0.01
    for moment in range(7):
        one.call(fail)
        time.sleep(0.004 + 0.003 * moment)  # a moment of the exchange, not a wait
        site.proxy.cut()
    site.proxy.delay = 0.0
    one.await_healing()
    trips_at_the_tenth(site, one, other, 7)


def test_failures_of_several_processes_during_an_outage_add_up(site: Site) -> None:
    """S2, S7"""
    trip = ConsecutiveFailures(10)
    one, other = (site.far(trip=trip) for _ in range(2))
    one.call()
    other.call()
    site.sync()
    with refused(site):
        one.call(fail, 4)
        other.call(fail, 3)
        one.await_outage()
        other.await_outage()
    one.await_healing()
    other.await_healing()
    trips_at_the_tenth(site, one, other, 7)


def test_a_trip_survives_a_lost_reply(site: Site) -> None:
    """S7: the report before it arrived, and its answer did not."""
    one, other = site.pair(failure_threshold=5)
    with replies_lost(site):
        one.call(fail)
        one.await_outage()
        one.call(fail, 4)
        assert one.state is CircuitState.OPEN
    one.await_healing()
    site.sync()
    assert other.state is CircuitState.OPEN
    assert one.changes == other.changes == ["open"], "once"


def test_a_trial_survives_a_lost_reply(site: Site) -> None:
    """S4, S7: its success is told later; it closes the circuit for all."""
    one, other = site.pair(failure_threshold=1, reset_timeout=SOON, half_open_timeout=LONG, half_open_max_attempts=1)
    one.call(fail)
    site.sync()
    permit = one.acquire()
    with replies_lost(site):
        permit.success()
        assert one.state is CircuitState.CLOSED
        one.await_outage()
    one.await_healing()
    site.sync()
    assert [str(each.state) for each in (one, other)] == ["closed"] * 2
    assert one.changes == ["open", "half_open", "closed"]


@pytest.mark.parametrize("verdict", ["success", "failure"])
def test_a_trial_ends_while_the_server_is_paused(site: Site, verdict: str) -> None:
    """S4, S7"""
    one, other = site.pair(failure_threshold=1, reset_timeout=SOON, half_open_timeout=LONG, half_open_max_attempts=1)
    one.call(fail)
    site.sync()
    permit = one.acquire()
    before = list(one.changes)
    with paused(site):
        permit.success() if verdict == "success" else permit.failure(Boom())
        after = "closed" if verdict == "success" else "open"
        assert one.changes == [*before, after]
        one.await_outage()
    one.await_healing()
    site.sync()
    assert one.changes[: len(before) + 1] == [*before, after]
    assert after in other.changes[1:]


# Orders


@pytest.mark.parametrize("outage", [refused, replies_lost], ids=lambda outage: outage.__name__)
@pytest.mark.parametrize("order", ["force_open", "force_closed", "shadow", "open", "reset"])
def test_an_order_during_an_outage_is_told(site: Site, outage: Outage, order: str) -> None:
    """S10, S7: it counts here at once, and for all when the store is back."""
    one, other = site.pair()
    if order == "reset":
        other.breaker.open()
        site.sync()
        assert one.state is CircuitState.OPEN
    with outage(site):
        one.call()
        one.call()
        one.await_outage()
        getattr(one.breaker, order)()
        expected = (one.state, one.breaker.hold)
        assert expected != ((CircuitState.OPEN if order == "reset" else CircuitState.CLOSED), None)
    one.await_healing()
    site.sync()
    assert (one.state, one.breaker.hold) == expected
    assert (other.state, other.breaker.hold) == expected


@pytest.mark.parametrize("order", ["force_open", "force_closed", "shadow", "open"])
def test_an_order_is_undone_elsewhere_during_an_outage(site: Site, order: str) -> None:
    """S10, S7: who was cut off follows when it is back."""
    one, other = site.pair()
    getattr(one.breaker, order)()
    site.sync()
    with refused(site):
        one.await_outage()
        other.breaker.reset()
        site.sync(other)
        assert (one.state, one.breaker.hold) != (CircuitState.CLOSED, None)
    one.await_healing()
    site.sync()
    assert (one.state, one.breaker.hold) == (CircuitState.CLOSED, None)
    assert (other.state, other.breaker.hold) == (CircuitState.CLOSED, None)


def test_of_two_orders_the_one_that_arrived_first_counts(site: Site) -> None:
    """S6: and all agree on it."""
    one, other = site.pair()
    with refused(site):
        one.await_outage()
        one.breaker.force_open()
        other.breaker.force_closed()
        site.sync(other)
    one.await_healing()
    site.sync()
    assert [str(each.breaker.hold) for each in (one, other)] == ["force_closed"] * 2


def test_an_order_counts_more_than_a_trip_that_comes_late(site: Site) -> None:
    """S6: what the trip was based on is over."""
    one, other = site.pair(failure_threshold=2)
    with refused(site):
        one.await_outage()
        one.call(fail, 2)
        assert one.state is CircuitState.OPEN
        other.breaker.force_closed()
        site.sync(other)
    one.await_healing()
    site.sync()
    assert [str(each.breaker.hold) for each in (one, other)] == ["force_closed"] * 2
    assert one.call() == ["fine"]
    assert other.changes == []


def test_a_trip_of_the_fleet_reaches_who_was_cut_off(site: Site) -> None:
    """S3, S7: idle, it hears of it when the network is back."""
    one, other = site.pair(failure_threshold=2)
    with refused(site):
        one.await_outage()
        other.call(fail, 2)
        site.sync(other)
        assert one.state is CircuitState.CLOSED
    until(lambda: one.state is CircuitState.OPEN, "it follows")
    assert one.breaker.metrics().reason == "2 consecutive failures, threshold 2"
    assert isinstance(one.heard[-1], StoreChange)


# A server that forgets


def forget(site: Site) -> None:
    """FLUSHALL; then somebody of those that know calls."""
    site.admin().flushall()
    for member in site.members:
        member.call()
    site.sync()


def test_flushed_while_closed(site: Site) -> None:
    """S7: it stays closed, what a process saw itself still counts, and a trip is everybody's."""
    one, other = site.pair(failure_threshold=3)
    one.call(fail, 2)
    site.sync()
    site.admin().flushall()
    assert one.call(fail) == ["Boom"]
    site.sync()
    assert [each.changes for each in (one, other)] == [["open"]] * 2
    assert site.newcomer(failure_threshold=3).state is CircuitState.OPEN
    assert one.heard == [], "it is no outage"


def test_flushed_while_closed_again(site: Site) -> None:
    """S6, S7: versions go on from where they were."""
    one, other = site.pair(failure_threshold=2)
    for _ in range(3):
        one.breaker.open()
        one.breaker.reset()
        site.sync()
    forget(site)
    late = site.newcomer(failure_threshold=2)
    assert late.state is CircuitState.CLOSED
    late.call(fail, 2)
    site.sync()
    assert [str(each.state) for each in (one, other, late)] == ["open"] * 3


def test_flushed_while_open(site: Site) -> None:
    """S7: open for as long as it was to be, for the same reason, also for those who come later."""
    one, other = site.pair(failure_threshold=2, reset_timeout=LONG)
    one.call(fail, 2)
    site.sync()
    assert use_for(0.5, one) == {"CircuitOpenError"}, "it has been open for a while"
    before = one.refusal()
    end = time.monotonic() + before.retry_after
    forget(site)
    late = site.newcomer(failure_threshold=2)
    for each in (one, other, late):
        after = each.refusal()
        assert time.monotonic() + after.retry_after == pytest.approx(end, abs=0.3)
        assert after.opened_at == pytest.approx(before.opened_at, abs=timedelta(seconds=0.3))
        assert after.reason == before.reason == "2 consecutive failures, threshold 2"
        assert str(after.last_failure) == "Boom: out of order"
    assert one.changes == other.changes == ["open"]


def test_flushed_while_open_and_met_by_a_newcomer_first(site: Site) -> None:
    """S7: who knows nothing does not make the others forget."""
    one, other = site.pair(failure_threshold=2)
    one.call(fail, 2)
    site.sync()
    site.admin().flushall()
    late = site.newcomer(failure_threshold=2)
    assert late.state is CircuitState.CLOSED, "as far as anybody has told"
    other.call()
    site.sync()
    assert [str(each.state) for each in (one, other, late)] == ["open"] * 3


def test_flushed_while_a_trial_is_out(site: Site) -> None:
    """S4, S7: no trial is added to it, and its success closes the circuit for all."""
    one, other = site.pair(failure_threshold=1, reset_timeout=SOON, half_open_timeout=LONG, half_open_max_attempts=1)
    one.call(fail)
    site.sync()
    permit = one.acquire()
    site.sync()
    site.admin().flushall()
    assert use_for(0.3, other) == {"CircuitOpenError"}
    late = site.newcomer(failure_threshold=1, reset_timeout=SOON, half_open_timeout=LONG, half_open_max_attempts=1)
    assert late.state is CircuitState.HALF_OPEN
    permit.success()
    site.sync()
    assert [str(each.state) for each in (one, other, late)] == ["closed"] * 3
    assert one.changes == other.changes == ["open", "half_open", "closed"]


def test_flushed_with_a_trial_that_never_ends(site: Site) -> None:
    """S4, S7: the fleet is not wedged: when the deadline has passed another goes."""
    one, other = site.pair(failure_threshold=1, reset_timeout=SOON, half_open_timeout=0.3, half_open_max_attempts=1)
    one.call(fail)
    site.sync()
    one.acquire()
    site.admin().flushall()
    until(lambda: other.call() == ["fine"], "another trial goes")
    site.sync()
    assert other.state is CircuitState.CLOSED


@pytest.mark.parametrize("order", ["force_open", "force_closed", "shadow"])
def test_flushed_while_held(site: Site, order: str) -> None:
    """S10, S7: held until somebody resets it, also for those who come later; and then for nobody."""
    one, other = site.pair()
    getattr(one.breaker, order)()
    site.sync()
    forget(site)
    late = site.newcomer()
    assert [str(each.breaker.hold) for each in (one, other, late)] == [order] * 3
    late.breaker.reset()
    site.sync()
    assert [each.breaker.hold for each in (one, other, late)] == [None] * 3


def test_restarted_while_held(site: Site) -> None:
    """S10, S7: the same by a server that comes back empty."""
    one, other = site.pair()
    one.breaker.force_open()
    site.sync()
    site.server.restart()  # It may be back before anybody looks.
    for each in (one, other):
        each.call()
        until(lambda each=each: each.reachable == [False, True], "the outage is noticed, and its end")
    site.sync()
    assert str(site.newcomer().breaker.hold) == "force_open"


def test_a_script_that_is_gone_is_loaded_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """S7: nobody hears of it."""
    one, other = site.pair(failure_threshold=2)
    for _ in range(2):
        site.admin().script_flush()
        one.call(fail)
        site.sync()
    assert [str(each.state) for each in (one, other)] == ["open"] * 2
    assert one.heard == other.heard == []
    assert log_lines(caplog) == []


# Records that cannot be used


def put_list(client: redis.Redis) -> None:
    client.delete(KEY)
    client.lpush(KEY, "no record")


GARBAGE: dict[str, Callable[[redis.Redis], object]] = {
    "wrong type": put_list,
    "not JSON": lambda client: client.set(KEY, "no record"),
    "a number": lambda client: client.set(KEY, "42"),
    "another object": lambda client: client.set(KEY, '{"version": 1}'),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_under_a_key_concerns_one_circuit(site: Site, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """S7: it goes on alone, is logged once, and heals when the key is gone; the others of the store see nothing."""
    client = site.proxy.client(socket_timeout=TIMEOUT)
    bad = site.join(client, failure_threshold=2)
    good = CircuitBreaker("good", registry=None, store=bad.store, failure_threshold=2, reset_timeout=LONG)
    witness = site.near(name="good", failure_threshold=2)
    heard: list[StoreChange] = []
    good.on("store", heard.append)
    for each in (bad, witness):
        each.call()
    attempt(good)
    site.sync()
    GARBAGE[what](site.admin())
    until(lambda: bad.call() == ["fine"] and bad.has_noticed(), "it is noticed")  # alone in its exchange
    for _ in range(3):
        attempt(good)
        bad.call()
        bad.store.sync(0.05)
    assert good.metrics().store == "connected"
    assert bad.call(fail, 2) == ["Boom"] * 2
    assert bad.call() == ["CircuitOpenError"]
    for _ in range(2):
        attempt(good, fail)
    until(lambda: witness.state is CircuitState.OPEN, "the other circuit is shared as before")
    assert bad.reachable == [False]
    assert heard == []
    lines = log_lines(caplog)
    assert len(lines) == 1
    assert "circuit 'shop': its record cannot be used" in lines[0]
    site.admin().delete(KEY)
    bad.await_healing()
    assert bad.reachable == [False, True]
    site.sync()
    assert site.newcomer(failure_threshold=2).state is CircuitState.OPEN


def test_garbage_in_the_channel_is_survived(site: Site) -> None:
    """S7: whoever sent it, calls see nothing, and news are heard afterwards."""
    one, other = site.pair(failure_threshold=1)
    for garbage in ("no news", "42", "{}", '{"name": "shop", "version": 99}'):
        site.admin().publish("circuitbreaker:decisions", garbage)
        assert use_for(0.05, one) == {"fine"}
        one.await_healing()
        other.await_healing()
    other.call(fail)
    site.sync()
    assert one.state is CircuitState.OPEN


# Clients of every kind


@pytest.mark.parametrize(
    "options",
    [
        {"decode_responses": False},
        {"decode_responses": True},
        {"decode_responses": True, "protocol": 3},
        {"encoding": "latin-1", "decode_responses": True},
        {"health_check_interval": 1},
        {"max_connections": 2},
    ],
    ids=str,
)
def test_clients_of_every_kind(site: Site, options: dict[str, Any]) -> None:
    """S7: a circuit opens and closes for all, also after an outage."""
    mine = {"failure_threshold": 1, "reset_timeout": SOON, "half_open_timeout": LONG}
    one = site.join(site.proxy.client(socket_timeout=TIMEOUT, **options), **mine)
    other = site.join(site.server.client(socket_timeout=TIMEOUT, **options), **mine)
    for _ in range(2):
        one.call()
        other.call()
        site.sync()
        assert one.call(lambda: fail("é")) == ["Boom"]
        until(lambda: "open" in other.changes, "the other hears of it")
        until(lambda: other.call() == ["fine"], "a trial goes")
        until(lambda: one.state is CircuitState.CLOSED, "it is closed")
        assert one.changes == other.changes == ["open", "half_open", "closed"]
        with refused(site):
            one.await_outage()
        one.await_healing()
        for each in (one, other):
            each.changes.clear()


def test_a_client_with_retries_of_its_own_holds_up_nobody(site: Site) -> None:
    """S1, S7: it tries for a second; calls do not wait for it, nor does a trip."""
    own = Retry(ConstantBackoff(0.1), 10)
    one = site.join(site.proxy.client(socket_timeout=TIMEOUT, retry=own), failure_threshold=2)
    one.call()
    site.sync()
    with refused(site):
        began = time.monotonic()
        one.call(fail)
        assert set(one.call(times=1000)) == {"fine"}
        one.call(fail, 2)
        assert one.state is CircuitState.OPEN
        assert time.monotonic() - began < 1
        one.await_outage()
    one.await_healing()
    site.sync()
    assert one.reachable == [False, True]
    assert site.newcomer(failure_threshold=2).state is CircuitState.OPEN


def test_a_client_stays_as_it_is(site: Site) -> None:
    """S7: neither use, nor an outage, nor close() changes it, and its owner may go on with it."""
    own = Retry(ConstantBackoff(0.01), 1)
    client = site.proxy.client(socket_timeout=TIMEOUT, retry=own, decode_responses=True, client_name="owner")
    client.set("mine", "before")

    def state() -> tuple[object, ...]:
        return (
            client.connection_pool,
            dict(client.connection_pool.connection_kwargs),
            client.get_retry(),
            vars(client.get_retry()),
            dict(client.response_callbacks),
        )

    before = state()
    one = site.join(client, failure_threshold=1)
    one.call()
    site.sync()
    with refused(site):
        one.await_outage()
        with pytest.raises(redis.ConnectionError):
            client.get("mine")
    one.await_healing()
    one.call(fail)
    site.sync()
    assert client.get("mine") == "before"
    one.store.close()
    assert state() == before
    assert client.get("mine") == "before"


def test_a_client_from_a_url_gives_up_soon(site: Site) -> None:
    """S7: a server that hangs is noticed within a second or so."""
    one = site.join(site.proxy.url, failure_threshold=2)
    one.call()
    site.sync()
    with timed_out(site):
        one.call(fail)
        began = time.monotonic()
        one.await_outage()
        assert time.monotonic() - began < 3
    one.await_healing()


def test_more_than_1024_open_files(site: Site) -> None:
    """S7: what `select()` cannot do."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 2048 if hard == resource.RLIM_INFINITY else min(hard, 2048)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        one, other = site.pair(failure_threshold=1)
        other.call(fail)
        until(lambda: one.state is CircuitState.OPEN, "it hears of it")
        assert one.heard == other.heard == []
        for each in (one, other):
            each.store.close()
    finally:
        for each_file in files:
            os.close(each_file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Who may do what


def test_a_server_that_wants_a_password(caplog: pytest.LogCaptureFixture) -> None:
    """S7: who has it shares the circuit; who has not goes on alone, and is told why."""
    with Server("--requirepass", "secret") as server:
        urls = [f"redis://:{word}@{HOST}:{server.port}" for word in ("secret", "secret", "wrong")]
        one, other, stranger = (Member(url, failure_threshold=2, reset_timeout=LONG) for url in urls)
        try:
            for each in (one, other, stranger):
                each.call()
            sync(one, other)
            stranger.await_outage()
            assert "AuthenticationError" in stranger.said
            assert "wrong" not in stranger.said
            assert use_for(0.2, stranger) == {"fine"}
            one.call(fail, 2)
            until(lambda: other.state is CircuitState.OPEN, "the other one hears of it")
            assert stranger.state is CircuitState.CLOSED
            stranger.call(fail, 2)
            assert stranger.state is CircuitState.OPEN
            assert stranger.reachable == [False]
            assert log_lines(caplog) == [GONE]
        finally:
            for each in (one, other, stranger):
                each.store.close()


def test_a_user_who_may_not_use_channels(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """S3, S7: decisions come with the reports; it is said once, and is no outage."""
    site.admin().execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "resetchannels")
    one, other = (site.join(f"redis://app:pw@{HOST}:{site.server.port}", failure_threshold=3) for _ in range(2))
    one.call()
    other.call()
    site.sync()
    one.call(fail, 3)
    until(lambda: other.call() == ["CircuitOpenError"], "the other one hears of it")
    assert use_for(0.2, one) == {"CircuitOpenError"}
    assert one.said == other.said == "connected"
    assert one.heard == other.heard == []
    lines = log_lines(caplog)
    assert len(lines) == 2, "one for each store"
    assert all("is forbidden" in line for line in lines)


# Sentinel


@pytest.fixture(scope="module")
def grounds() -> Iterator[tuple[Cluster, list[Sentinel]]]:
    """A cluster, and a sentinel for each failover: started together, for each takes two seconds."""
    with ExitStack() as parts, ThreadPoolExecutor() as pool:
        cluster, *sentinels = pool.submit(Cluster), pool.submit(Sentinel), pool.submit(Sentinel)
        yield (
            parts.enter_context(cluster.result()),
            [parts.enter_context(each.result()) for each in sentinels],
        )


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_failover(grounds: tuple[Cluster, list[Sentinel]], how: str, caplog: pytest.LogCaptureFixture) -> None:
    """S7: the circuit stays open through it, by what the processes know, and is shared at the new master."""
    with grounds[1].pop() as sentinel:
        members = [
            Member(sentinel.client(socket_timeout=TIMEOUT), failure_threshold=2, reset_timeout=LONG) for _ in range(2)
        ]
        one, other = members
        try:
            for each in members:
                each.call()
            sync(*members)
            one.call(fail, 2)
            sync(*members)
            assert other.state is CircuitState.OPEN
            if how == "paused":
                sentinel.master.pause()
            else:
                sentinel.master.kill()
            until(
                lambda: all(each.call() == ["CircuitOpenError"] and False in each.reachable for each in members),
                "it is noticed",
            )
            until(lambda: sentinel.address() == (HOST, sentinel.replica.port), "there is a new master", 15)
            for each in members:
                until(lambda each=each: each.call() and each.reachable[-1], "it finds the new master")
            assert [str(each.state) for each in members] == ["open"] * 2
            assert [each.reachable for each in members] == [[False, True]] * 2
            assert sorted(log_lines(caplog)) == [GONE] * 2 + [BACK] * 2
            late = Member(sentinel.client(socket_timeout=TIMEOUT), failure_threshold=2)
            members.append(late)
            late.call()
            assert late.store.sync()
            assert late.state is CircuitState.OPEN
            late.breaker.reset()
            until(lambda: one.state is other.state is CircuitState.CLOSED, "the others hear of it without a call")
        finally:
            sentinel.master.resume()
            for each in members:
                each.store.close()


# Cluster


class Ring:
    """A cluster, and for each of its nodes the name of a circuit whose record is there."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        for client in self.clients():
            client.config_set("cluster-require-full-coverage", "no")  # so that two can do without the third
        client = cluster.client()
        names: dict[int, str] = {}
        for number in range(1000):
            node = client.get_node_from_key(f"circuitbreaker:{{shop{number}}}")
            assert node is not None
            names.setdefault(int(node.port), f"shop{number}")
        self.names = [names[node.port] for node in cluster.nodes]

    def clients(self) -> list[redis.Redis]:
        return [node.client() for node in self.cluster.nodes]

    def is_well(self) -> bool:
        for client in self.clients():
            info: dict[str, str] = client.execute_command("CLUSTER INFO")
            if (info["cluster_state"], info["cluster_slots_ok"]) != ("ok", "16384"):
                return False
        return True


class Process:
    """One process with a circuit on each node, all on one store."""

    def __init__(self, ring: Ring, **options: Any) -> None:
        client = ring.cluster.client(socket_timeout=TIMEOUT, **options)
        self.store = RedisStore(client, interval=0.02)
        self.breakers = [
            CircuitBreaker(name, registry=None, store=self.store, failure_threshold=2, reset_timeout=LONG)
            for name in ring.names
        ]
        self.heard: list[StoreChange] = []
        for breaker in self.breakers:
            breaker.on("store", self.heard.append)

    def call(self, *functions: Callable[..., Any]) -> list[str]:
        return [attempt(breaker, *functions) for breaker in self.breakers]

    def states(self) -> list[str]:
        return [str(breaker.state) for breaker in self.breakers]

    def said(self) -> list[str]:
        return [breaker.metrics().store.partition(":")[0] for breaker in self.breakers]


@pytest.fixture(scope="module")
def ring(grounds: tuple[Cluster, list[Sentinel]]) -> Ring:
    return Ring(grounds[0])


@pytest.fixture
def processes(ring: Ring) -> Iterator[list[Process]]:
    for client in ring.clients():
        client.flushall()
    made = [Process(ring) for _ in range(2)]
    yield made
    for each in made:
        each.store.close()


def in_sync(processes: list[Process]) -> None:
    for _ in range(2):
        for each in processes:
            assert each.store.sync()


def test_circuits_on_all_nodes_of_a_cluster(ring: Ring, processes: list[Process]) -> None:
    """S7, S2, S3: they are counted, open and close for all, and live through a flush of all nodes."""
    one, other = processes
    one.call()
    other.call()
    in_sync(processes)
    one.call(fail)
    in_sync(processes)
    other.call(fail)
    in_sync(processes)
    assert one.states() == other.states() == ["open"] * 3
    for client in ring.clients():
        client.flushall()
        client.script_flush()
    one.call()
    in_sync(processes)
    late = Process(ring)
    processes.append(late)
    late.call()
    in_sync(processes)
    assert late.states() == ["open"] * 3
    for breaker in late.breakers:
        breaker.reset()
    until(lambda: one.states() == other.states() == ["closed"] * 3, "all are told")
    assert one.heard == other.heard == []


@pytest.mark.parametrize("victim", [0, 2])
def test_a_dead_node_concerns_its_circuits_alone(ring: Ring, processes: list[Process], victim: int) -> None:
    """S7: the other circuits are shared as before; its own go on alone, and are told when it is back."""
    one, other = processes
    one.call()
    other.call()
    in_sync(processes)
    expected = ["unreachable" if index == victim else "connected" for index in range(3)]
    node = ring.cluster.nodes[victim]
    node.kill()
    try:
        until(lambda: one.call() and one.said()[victim] == "unreachable", "it is noticed")
        until(lambda: one.call() and other.call() and one.said() == other.said() == expected, "it is alone")
        for _ in range(2):
            one.call(fail)
        assert one.states() == ["open"] * 3
        open_elsewhere = ["closed" if index == victim else "open" for index in range(3)]
        until(lambda: other.call() and other.states() == open_elsewhere, "the others are shared")
    finally:
        node.restart()
        until(ring.is_well, "the cluster is well", 20)
    until(lambda: one.call() and one.said() == ["connected"] * 3, "it heals")
    until(lambda: other.call() and other.states() == ["open"] * 3, "what was decided meanwhile is told")


def test_a_cluster_that_is_gone(ring: Ring, processes: list[Process], caplog: pytest.LogCaptureFixture) -> None:
    """S7: all nodes pause; one event for each circuit, and one line for the store."""
    one, other = Process(ring, retry=Retry(ConstantBackoff(0.01), 1)), processes[0]
    processes.append(one)
    one.call()
    in_sync([one])
    for node in ring.cluster.nodes:
        node.pause()
    try:
        began = time.monotonic()
        for _ in range(300):
            assert one.call() == ["fine"] * 3
        assert time.monotonic() - began < 1
        until(lambda: one.said() == ["unreachable"] * 3, "it is noticed")
        for _ in range(2):
            assert one.call(fail) == ["Boom"] * 3
        assert one.call() == ["CircuitOpenError"] * 3
    finally:
        for node in ring.cluster.nodes:
            node.resume()
    until(lambda: one.said() == ["connected"] * 3, "it heals")
    in_sync([one])
    assert [change.reachable for change in one.heard] == [False] * 3 + [True] * 3
    assert log_lines(caplog) == [GONE, BACK]
    other.call()
    until(lambda: other.states() == ["open"] * 3, "what was decided meanwhile is told")
