"""A fleet of real processes around a real server: spawned, forked, killed, stopped, short-lived; and what it costs."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ExponentialBackoff, FailureRate
from circuitbreaker.stores.redis import RedisStore

from .fleets import Member
from .servers import HOST, Proxy, Server, until
from .support import Boom, attempt, collect_on_pypy, exit_of_child, fail, forked, in_threads, succeed

SOON = 0.05
"""An open period that is over at once."""
NEVER = 60.0
"""Longer than any test: an interval that no exchange of a test is due to, an open period that does not end."""
THREAD = "circuitbreaker store"


# One process of a fleet, and what it can be told to do


class Process:
    """A process of its own that does what it is told, one thing after another."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._url = url
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def join(self, name: str, ours: dict[str, Any] | None = None, **options: Any) -> None:
        """Take part in the circuit `name`, with a store of its own that has the options `ours`."""
        self.ask(join, name, self._url, ours or {}, options)

    def ask(self, function: Callable[..., Any], *args: object) -> Any:
        self.send(function, *args)
        return self.answer()

    def send(self, function: Callable[..., Any], *args: object) -> None:
        self._line.send((function, args))

    def answer(self) -> Any:
        well, answer = self.receive()
        if not well:
            raise AssertionError(f"in another process: {answer}")
        return answer

    def receive(self) -> tuple[bool, Any]:
        """Whether it went well, and what came of it."""
        if not self._line.poll(20):
            raise TimeoutError("the process does not answer")
        received: tuple[bool, Any] = self._line.recv()
        return received

    def stop(self) -> None:
        """Let it do nothing, with all of its threads."""
        pid = self._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        until(lambda: os.waitpid(pid, os.WNOHANG | os.WUNTRACED)[0], "the process stops")

    def resume(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._process.kill()
        self._process.join(5)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self._line.close()


def serve(line: Connection) -> None:
    """The inside of a `Process`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError):
        while True:
            function, args = line.recv()
            try:
                answer = (True, function(*args))
            except Exception:
                answer = (False, traceback.format_exc())
            line.send(answer)


_members: dict[str, Member] = {}
_permits: dict[str, Any] = {}


def join(name: str, url: str, ours: dict[str, Any], options: dict[str, Any]) -> None:
    _members[name] = Member(RedisStore(url, **ours), name, **options)


def leave(name: str) -> None:
    if name in _members:
        _members.pop(name).store.close()


def close(name: str) -> None:
    _members[name].store.close()


def sync(name: str) -> None:
    assert _members[name].store.sync(), _members[name].store


def call(name: str, function: Callable[..., Any] | None = None, times: int = 1) -> list[str]:
    return _members[name].call(function, times)


def look(name: str) -> tuple[str, str, str]:
    """Its state, why, and what it knows of the store."""
    metrics = _members[name].breaker.metrics()
    return str(metrics.state), metrics.reason, str(metrics.store)


def state(name: str) -> str:
    return str(_members[name].state)


def hold(name: str) -> str:
    return str(_members[name].breaker.hold)


def changes(name: str) -> list[str]:
    return _members[name].changes


def order(name: str, what: str) -> None:
    getattr(_members[name].breaker, what)()


def time_of(name: str, expected: str) -> float:
    """When it was first seen to be in that state. It makes no calls meanwhile."""
    until(lambda: state(name) == expected, f"{name} is {expected}")
    return time.monotonic()


def time_of_trip(name: str) -> float:
    now = time.monotonic()
    assert call(name, fail) == ["Boom"]
    assert state(name) == "open"
    return now


def calls_until_refused(name: str) -> int:
    """How many calls ran, each of which took a while."""
    ran = 0
    while call(name, linger) == ["slow"]:
        ran += 1
    return ran


def linger() -> str:
    threading.Event().wait(0.05)  # It is what the call takes.
    return "slow"


def take_trial(name: str) -> None:
    """Have a trial out, until `settle`."""

    def taken() -> bool:
        with suppress(CircuitOpenError):
            _permits[name] = _members[name].breaker.acquire()
        return name in _permits

    until(taken, "a trial is admitted")


def settle(name: str, well: bool) -> None:
    permit = _permits.pop(name)
    if well:
        permit.success()
    else:
        permit.failure(Boom())


def try_until_it_runs(name: str, function: Callable[..., Any] = succeed) -> str:
    """Call until a call is admitted, and how that ended."""
    ends: list[str] = []

    def ran() -> bool:
        ends.extend(call(name, function))
        return ends[-1] != "CircuitOpenError"

    until(ran, "a call is admitted")
    return ends[-1]


def hammer(name: str, url: str, threads: int, seconds: float) -> list[float]:
    """Call a dead dependency from many threads; when calls reached it, on the server's clock."""
    reached: list[float] = []
    deadline = time.monotonic() + seconds

    def dead() -> None:
        counted = client.pipeline(transaction=True)
        (second, micro), _ = counted.time().incr(f"reached:{name}").execute()
        reached.append(second + micro / 1e6)
        threading.Event().wait(0.1)  # As long as it is out, all others have time to go beyond the budget.
        raise Boom

    def work() -> None:
        while time.monotonic() < deadline:
            if attempt(_members[name].breaker, dead) == "CircuitOpenError":
                threading.Event().wait(0.01)  # a caller's own pace

    with redis.Redis.from_url(url) as client:
        in_threads(threads, work)
    return reached


# Many of them


def together(processes: list[Process], function: Callable[..., Any], *args: object) -> list[Any]:
    """Have all of them do the same at the same time."""
    for process in processes:
        process.send(function, *args)
    return answers(processes)


def answers(processes: list[Process]) -> list[Any]:
    """All that come, before one that went wrong is raised: nothing is left for the next test."""
    received = [process.receive() for process in processes]
    wrong = next((answer for well, answer in received if not well), None)
    assert wrong is None, f"in another process: {wrong}"
    return [answer for _, answer in received]


def exchange(processes: list[Process], name: str) -> None:
    """Have everybody know everything: what one tells in the first round, the others learn in the second."""
    for _ in range(2):
        together(processes, sync, name)


def begin(processes: list[Process], name: str, ours: dict[str, Any] | None = None, **options: Any) -> None:
    """Have all of them take part, and know each other."""
    for process in processes:
        process.join(name, ours, **options)
    together(processes, call, name)
    exchange(processes, name)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def crew(server: Server) -> Iterator[list[Process]]:
    """Ten processes. They serve all tests, each test with a circuit and with stores of its own."""
    processes: list[Process] = []
    try:
        for _ in range(10):
            processes.append(Process(server.url))
        yield processes
    finally:
        for process in processes:
            process.__exit__()


@pytest.fixture
def name(request: pytest.FixtureRequest, crew: list[Process]) -> Iterator[str]:
    """A circuit of the test's own."""
    yield request.node.name
    together(crew, leave, request.node.name)


# Counting, and telling


def test_ten_processes_that_see_two_failures_each_open_a_circuit_of_twenty(crew: list[Process], name: str) -> None:
    """S2"""
    begin(crew, name, failure_threshold=20, reset_timeout=NEVER)
    together(crew[:9], call, name, fail, 2)
    crew[9].ask(call, name, fail)
    exchange(crew, name)
    assert together(crew, state, name) == ["closed"] * 10, "nineteen"
    crew[9].ask(call, name, fail)
    together(crew, time_of, name, "open")
    assert together(crew, changes, name) == [["open"]] * 10, "once each"
    assert {reason for _, reason, _ in together(crew, look, name)} == {"20 consecutive failures, threshold 20"}
    assert together(crew, call, name) == [["CircuitOpenError"]] * 10


def test_ten_processes_that_fail_at_the_same_time_open_once(crew: list[Process], name: str) -> None:
    """S2, S6"""
    begin(crew, name, failure_threshold=20, reset_timeout=NEVER)
    together(crew, call, name, fail, 2)
    together(crew, time_of, name, "open")
    exchange(crew, name)
    assert together(crew, changes, name) == [["open"]] * 10


def test_a_trip_is_seen_by_all_others_within_a_second(crew: list[Process], name: str) -> None:
    """S3: though none of them calls, and no exchange is due."""
    begin(crew, name, {"interval": NEVER}, failure_threshold=1, reset_timeout=NEVER)
    for process in crew[1:]:
        process.send(time_of, name, "open")
    tripped = crew[0].ask(time_of_trip, name)
    assert max(answers(crew[1:])) - tripped < 1


def test_a_new_process_knows_an_open_circuit_within_a_few_calls(crew: list[Process], name: str, server: Server) -> None:
    """S8"""
    begin(crew[:1], name, failure_threshold=1, reset_timeout=NEVER)
    crew[0].ask(time_of_trip, name)
    crew[0].ask(sync, name)
    with Process(server.url) as late:
        late.join(name, failure_threshold=1, reset_timeout=NEVER)
        assert late.ask(calls_until_refused, name) < 5
        assert late.ask(look, name) == ("open", "1 consecutive failure, threshold 1", "connected")


def test_holds_and_orders_reach_all_processes_and_those_that_start_later(
    crew: list[Process], name: str, server: Server
) -> None:
    """S10, S8, M2"""
    begin(crew, name, {"interval": NEVER}, reset_timeout=NEVER)
    crew[0].ask(order, name, "force_open")
    together(crew[1:], wait_for_hold, name, "force_open")
    with Process(server.url) as late:
        late.join(name, reset_timeout=NEVER)
        late.ask(calls_until_refused, name)
        assert late.ask(hold, name) == "force_open"
        late.ask(order, name, "shadow")
        together(crew, wait_for_hold, name, "shadow")
        late.ask(order, name, "reset")
        together(crew, wait_for_hold, name, "None")
        crew[1].ask(order, name, "open")
        together([*crew, late], time_of, name, "open")
        crew[2].ask(order, name, "reset")
        together([*crew, late], time_of, name, "closed")


def wait_for_hold(name: str, expected: str) -> None:
    until(lambda: hold(name) == expected, f"{name} has the hold {expected}")


def test_a_process_that_closes_its_store_changes_nothing_for_the_others(crew: list[Process], name: str) -> None:
    """S8: they go on together, and it goes on alone."""
    gone, *others = crew[:4]
    begin(crew[:4], name, failure_threshold=6, reset_timeout=NEVER)
    gone.ask(call, name, fail, 2)
    gone.ask(close, name)
    exchange(others, name)
    assert together(others, look, name) == [("closed", "", "connected")] * 3
    assert gone.ask(look, name) == ("closed", "", "unreachable: it was closed")
    together(others[:2], call, name, fail)
    exchange(others, name)
    assert together(others, state, name) == ["closed"] * 3, "four"
    others[2].ask(call, name, fail, 2)
    together(others, time_of, name, "open")
    assert gone.ask(call, name) == ["fine"]
    assert gone.ask(call, name, fail, 6) == ["Boom"] * 6
    assert gone.ask(state, name) == "open"
    others[0].ask(order, name, "reset")
    together(others, time_of, name, "closed")


SHORT = """
import sys
from circuitbreaker import CircuitBreaker
from circuitbreaker.stores.redis import RedisStore

url, name, end = sys.argv[1:]
breaker = CircuitBreaker(name, store=RedisStore(url, interval=60), failure_threshold=6, reset_timeout=60)
for _ in range(2):
    try:
        breaker.call(lambda: int("a number"))
    except ValueError:
        pass
exec(end)
"""


def test_failures_of_processes_that_end_at_once_count(crew: list[Process], name: str, server: Server) -> None:
    """S2, S8: however they end, as long as Python ends them."""
    begin(crew[:1], name, failure_threshold=6, reset_timeout=NEVER)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SHORT, server.url, name, end],
            cwd=Path(__file__).parents[1],
            stderr=subprocess.DEVNULL,
        )
        for end in ("", "sys.exit(3)", "raise RuntimeError")
    ]
    assert [run.wait(20) for run in runs] == [0, 3, 1]
    exchange(crew[:1], name)
    assert crew[0].ask(look, name)[:2] == ("open", "6 consecutive failures, threshold 6")


def two_failures(url: str, name: str) -> None:
    join(name, url, {"interval": NEVER}, {"failure_threshold": 6, "reset_timeout": NEVER})
    call(name, fail, 2)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_failures_of_short_lived_processes_of_multiprocessing_count(
    crew: list[Process], name: str, server: Server, method: Any
) -> None:
    """S2, S8: those that were forked do not end as others do."""
    begin(crew[:1], name, failure_threshold=6, reset_timeout=NEVER)
    runs = [multiprocessing.get_context(method).Process(target=two_failures, args=(server.url, name)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(20)
    assert [run.exitcode for run in runs] == [0, 0, 0]
    exchange(crew[:1], name)
    assert crew[0].ask(state, name) == "open"


# Trials


def test_trials_of_all_processes_and_threads_never_exceed_the_budget(
    crew: list[Process], name: str, server: Server
) -> None:
    """S4, H1: 40 threads in 4 processes, counted where they arrive, over several half-open periods."""
    budget, reset = 3, 0.4
    begin(crew[:4], name, reset_timeout=reset, half_open_max_attempts=budget)
    crew[0].ask(order, name, "open")
    together(crew[:4], time_of, name, "open")
    reached = sorted(chain(*together(crew[:4], hammer, name, server.url, 10, 2.4)))
    client = server.client()
    assert int(client.get(f"reached:{name}")) == len(reached)
    periods: list[list[float]] = []
    for at in reached:
        if not periods or at - periods[-1][0] >= 0.1 + reset - 0.01:  # A period lasts as long as its first trial.
            periods.append([])
        periods[-1].append(at)
    sizes = [len(period) for period in periods]
    assert len(sizes) >= 3
    assert max(sizes) == budget, sizes


def test_a_process_that_is_killed_with_a_trial_out_does_not_wedge_the_fleet(
    crew: list[Process], name: str, server: Server
) -> None:
    """S4, H4"""
    options: dict[str, Any] = {"reset_timeout": SOON, "half_open_max_attempts": 1, "half_open_timeout": 1}
    others = crew[:3]
    with Process(server.url) as victim:
        begin([victim, *others], name, **options)
        others[0].ask(order, name, "open")
        together([victim, *others], time_of, name, "open")
        victim.ask(take_trial, name)
        victim.kill()
    together(others, time_of, name, "half_open")
    assert together(others, call, name) == [["CircuitOpenError"]] * 3
    assert others[1].ask(try_until_it_runs, name) == "fine"
    together(others, time_of, name, "closed")
    assert together(others, changes, name) == [["open", "half_open", "closed"]] * 3


@pytest.mark.parametrize("meanwhile", ["closed", "open"])
def test_a_process_that_was_stopped_with_a_trial_out_changes_nothing_that_was_decided_meanwhile(
    crew: list[Process], name: str, server: Server, meanwhile: str
) -> None:
    """S4, S6, E1: what its trial says when it goes on is the opposite."""
    options: dict[str, Any] = {
        "failure_threshold": 1,
        "reset_timeout": ExponentialBackoff(SOON, factor=1000, maximum=NEVER),
        "half_open_max_attempts": 1,
        "half_open_timeout": 0.3,
    }
    others, well = crew[:3], meanwhile == "closed"
    with Process(server.url) as victim:
        begin([victim, *others], name, **options)
        others[0].ask(call, name, fail)
        exchange([victim, *others], name)
        victim.ask(take_trial, name)
        victim.stop()
        assert others[1].ask(try_until_it_runs, name, succeed if well else fail) == ("fine" if well else "Boom")
        together(others, time_of, name, meanwhile)
        victim.resume()
        victim.ask(settle, name, not well)
        exchange([victim, *others], name)
        assert together([victim, *others], state, name) == [meanwhile] * 4
        assert together(others, changes, name) == [["open", "half_open", meanwhile]] * 3


# Forks


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
with_threads = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")


def store_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == THREAD}


@forks
@with_threads
def test_a_child_forked_amid_traffic_follows_the_fleet_with_a_thread_of_its_own(server: Server) -> None:
    """S8, E9: the parent's thread and the parent's connection stay the parent's."""
    client = server.client(client_name="forking")
    with closing(RedisStore(client, interval=0.02)) as store:
        breaker = CircuitBreaker("forking", registry=None, store=store, reset_timeout=NEVER)
        heard: list[object] = []
        breaker.on("store", heard.append)
        over = threading.Event()
        ends: set[str] = set()

        def traffic() -> None:
            while not over.wait(0.001):
                ends.add(attempt(breaker))

        def child() -> bool:
            assert store_threads() == set(), "none comes along"
            assert attempt(breaker) == "fine"
            assert store.sync()
            assert len(store_threads()) == 1
            os.write(ready, b"!")
            until(lambda: breaker.state is CircuitState.OPEN, "the child hears of what the parent orders")
            assert attempt(breaker) == "CircuitOpenError"
            breaker.reset()
            return store.sync()

        thread = threading.Thread(target=traffic)
        thread.start()
        until(lambda: breaker.metrics().store == "connected", "the parent's thread runs")
        connections = ids_of_connections(client)
        try:
            for _ in range(3):
                news, ready = os.pipe()
                pid = forked(child)
                os.close(ready)
                os.read(news, 1)
                os.close(news)
                breaker.open()
                assert exit_of_child(pid) == 0
                until(lambda: breaker.state is CircuitState.CLOSED, "the parent hears of what the child orders")
        finally:
            over.set()
            thread.join(10)
        assert store.sync()
        assert connections <= ids_of_connections(client)
        assert heard == []
        assert breaker.metrics().store == "connected"
        assert ends <= {"fine", "CircuitOpenError"}


def ids_of_connections(client: redis.Redis) -> set[str]:
    """Those of the forking store: two, one for exchanges and one to listen."""
    return {each["id"] for each in client.client_list() if each["name"] == "forking"}


@forks
@with_threads
def test_a_child_does_not_report_again_what_its_parent_counted(server: Server) -> None:
    """S8, S2: the parent had not told yet, and tells later."""
    with closing(RedisStore(server.client(), interval=NEVER)) as store:
        trip = FailureRate(0.5, calls=100, minimum_calls=10)
        breaker = CircuitBreaker("counting", registry=None, store=store, trip=trip, reset_timeout=NEVER)
        attempt(breaker)
        assert store.sync()
        attempt_to_fail(breaker, 4)

        def child() -> bool:
            attempt_to_fail(breaker, 2)
            return store.sync() and breaker.state is CircuitState.CLOSED

        assert exit_of_child(child) == 0
        assert store.sync()
        assert breaker.state is CircuitState.CLOSED, "7 calls"
        attempt_to_fail(breaker, 2)
        assert breaker.state is CircuitState.CLOSED, "9 calls"
        attempt_to_fail(breaker, 1)
        assert "90 % of 10 calls" in breaker.metrics().reason


def attempt_to_fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        attempt(breaker, fail)


# What lies in the server

NAMES = [
    "plain",
    "a{b}c",
    "{a}",
    "{}",
    "}{",
    "100%",
    "%7B",
    "{",
    "two words",
    "naïve ☃ 名前",
    "",
    ":",
    "*",
    "a\nb",
    "\0",
]


def test_keys_of_a_circuit_share_a_slot_and_expire_whatever_its_name(server: Server) -> None:
    """S9: and each name is a circuit of its own, for other processes too."""
    client = server.client(decode_responses=True)
    with (
        closing(RedisStore(client, prefix="names", expire=500)) as store,
        closing(RedisStore(server.url, prefix="names", expire=500)) as other_store,
    ):
        breakers = [CircuitBreaker(name, registry=None, store=store, failure_threshold=1) for name in NAMES]
        others = [CircuitBreaker(name, registry=None, store=other_store, failure_threshold=1) for name in NAMES]
        known: set[str] = set()
        index = "names:names"
        for breaker in breakers:
            assert attempt(breaker) == "fine"
            assert store.sync()
            keys = {key for key in client.keys("*") if key.startswith("names")} - known - {index}
            assert len(keys) == 2, (breaker.name, keys)
            assert len({key_slot(key.encode()) for key in keys}) == 1, keys
            assert all(0 < client.ttl(key) <= 500 for key in keys), keys
            known |= keys
        assert len({key_slot(key.encode()) for key in known}) > len(NAMES) // 2, "circuits are spread over the slots"
        until(lambda: client.exists(index), "the names are written")
        assert 0 < client.ttl(index) <= 500 + 120
        for breaker, other in zip(breakers, others, strict=True):
            assert attempt(other) == "fine"
            assert other_store.sync()
            attempt(other, fail)
            assert other_store.sync()
            until(lambda breaker=breaker: breaker.state is CircuitState.OPEN, "it is told")
            assert sum(each.state is CircuitState.OPEN for each in breakers) == NAMES.index(breaker.name) + 1


@pytest.mark.parametrize("odd", ["name", "failure"])
def test_text_that_is_no_unicode_does_not_part_a_circuit_from_its_store(server: Server, odd: str) -> None:
    """S7: as names of files that could not be decoded are, in names or in errors."""

    def open_file() -> None:
        raise FileNotFoundError("no such file: \udcff")

    with closing(RedisStore(server.client())) as store, closing(RedisStore(server.client())) as other_store:
        name = "\udcff" if odd == "name" else "files"
        breaker, other, plain = (
            CircuitBreaker(each, registry=None, store=place, failure_threshold=1, reset_timeout=NEVER)
            for each, place in ((name, store), (name, other_store), ("beside it", store))
        )
        for each in (breaker, other, plain):
            assert attempt(each) == "fine"
        assert store.sync()
        assert other_store.sync()
        attempt(breaker, open_file if odd == "failure" else fail)
        store.sync()
        assert [each.metrics().store for each in (breaker, plain)] == ["connected"] * 2
        until(lambda: other.state is CircuitState.OPEN, "it is told")


# What it costs


def test_nothing_starts_and_nothing_is_sent_before_the_first_call(server: Server) -> None:
    """S1"""
    threads = store_threads()
    proxy = Proxy(server.port)
    with closing(proxy), closing(RedisStore(proxy.url)) as store:
        breakers = [CircuitBreaker(f"unused {number}", registry=None, store=store) for number in range(10)]
        assert {(breaker.state, breaker.metrics().store) for breaker in breakers} == {
            (CircuitState.CLOSED, "connecting")
        }
        assert store.sync(), "there is nothing to be waited for"
        assert store_threads() == threads
        assert (proxy.connections, proxy.bytes_up) == (0, 0)
        attempt(breakers[0])
        assert store.sync()
        assert len(store_threads() - threads) == 1
        assert proxy.connections > 0
        assert len([key for key in server.client().keys("*unused*") if key.endswith(b"}")]) == 1, "that one alone"


class CountingClient(redis.Redis):
    """A client that counts its pipelines."""

    pipelines = 0

    def pipeline(self, *args: Any, **options: Any) -> Any:
        self.pipelines += 1
        return super().pipeline(*args, **options)


def test_three_hundred_breakers_cost_one_thread_and_one_exchange_in_an_interval(server: Server) -> None:
    """S1"""
    threads = store_threads()
    interval = 0.1
    client = CountingClient(HOST, server.port)
    with closing(client), closing(RedisStore(client, interval=interval)) as store:
        breakers = [CircuitBreaker(f"many {number}", registry=None, store=store) for number in range(300)]
        for breaker in breakers:
            attempt(breaker)
        assert store.sync()
        assert len(store_threads() - threads) == 1
        assert len({key for key in server.client().keys("*many*") if key.endswith(b"}")}) == 300
        began, before = time.monotonic(), client.pipelines
        for number in range(600):  # two rounds of all of them, without a pause for the store
            attempt(breakers[number % 300])
            threading.Event().wait(0.001)  # a caller's own pace
        passed, made = time.monotonic() - began, client.pipelines - before
        assert 1 < made <= 3 * (passed / interval + 1), "a new exchange may begin as soon as the last has ended"


@pytest.mark.parametrize("state", ["closed", "open", "held"])
def test_an_idle_store_sends_nothing(state: str) -> None:
    """S9: in twenty intervals, though it has been used."""
    with Server() as server, closing(RedisStore(server.url, interval=0.02)) as store:
        breakers = [
            CircuitBreaker(f"idle {number}", registry=None, store=store, failure_threshold=1, reset_timeout=NEVER)
            for number in range(20)
        ]
        for breaker in breakers:
            attempt(breaker, fail if state == "open" else succeed)
            if state == "held":
                breaker.force_closed()
        for _ in range(2):
            assert store.sync()
        client = server.client()

        def processed() -> int:
            return int(client.info("stats")["total_commands_processed"])

        asked, before, over = 0, processed(), time.monotonic() + 0.4
        while time.monotonic() < over:
            asked += 1
            sent = processed() - before - asked
            threading.Event().wait(0.02)  # a span in which nothing is to happen
        assert sent <= 2


# What is dropped


def test_a_breaker_that_is_dropped_disappears_though_its_store_lives(server: Server) -> None:
    """E7"""
    with closing(RedisStore(server.client())) as store:
        kept = CircuitBreaker("kept", registry=None, store=store, failure_threshold=1, reset_timeout=NEVER)
        for end in (succeed, fail):
            breaker = CircuitBreaker("dropped", registry=None, store=store, failure_threshold=1, reset_timeout=NEVER)
            attempt(breaker, end)
            attempt(kept)
            assert store.sync()
            dropped = weakref.ref(breaker)
            del breaker
            collect_on_pypy()
            assert dropped() is None
        attempt(kept, fail)
        assert store.sync()
        assert kept.metrics().store == "connected"


def test_a_store_that_is_dropped_disappears_with_its_thread_and_its_connections(server: Server) -> None:
    """E7, S9: though nobody closed it, and it was idle."""
    threads = store_threads()
    client = server.client(client_name="dropped")
    store = RedisStore(client)
    breaker = CircuitBreaker("dropping", registry=None, store=store)
    attempt(breaker)
    assert store.sync()
    (thread,) = store_threads() - threads
    gone = weakref.ref(store)
    del store, breaker
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    assert gone() is None


# Loops, and a clock that stands


def test_threads_asyncio_and_trio_share_one_store(crew: list[Process], name: str, server: Server) -> None:
    """S1, E8: one breaker and one store, used by all at the same time."""
    import trio

    options: dict[str, Any] = {"failure_threshold": 12, "reset_timeout": SOON, "half_open_max_attempts": 1}
    begin(crew[:1], name, **options)
    threads = store_threads()
    with closing(RedisStore(server.client(), interval=0.02)) as store:
        breaker = CircuitBreaker(name, registry=None, store=store, **options)
        attempt(breaker)
        assert store.sync()

        async def fail_four_times(checkpoint: Callable[[float], Any]) -> None:
            for _ in range(4):
                with pytest.raises(Boom):
                    async with breaker:
                        raise Boom
                await checkpoint(0)

        in_each = iter(
            [
                lambda: asyncio.run(fail_four_times(asyncio.sleep)),
                lambda: trio.run(fail_four_times, trio.sleep),
                lambda: attempt_to_fail(breaker, 4),
            ]
        )
        in_threads(3, lambda: next(in_each)())
        assert breaker.state is CircuitState.OPEN, "twelve"
        assert crew[0].ask(time_of, name, "open")
        assert len(store_threads() - threads) == 1

        async def recover(sleep: Callable[[float], Any]) -> str:
            while True:
                with suppress(CircuitOpenError):
                    async with breaker:
                        return "fine"
                await sleep(0.01)

        assert asyncio.run(recover(asyncio.sleep)) == "fine"
        assert crew[0].ask(time_of, name, "closed")
        breaker.open()
        assert trio.run(recover, trio.sleep) == "fine"
        assert store.sync()
        crew[0].ask(sync, name)
        assert crew[0].ask(state, name) == "closed"


def test_a_frozen_clock_does_not_stop_the_exchange(crew: list[Process], name: str, server: Server) -> None:
    """E10: freezegun freezes the circuit, not the store."""
    import freezegun

    options: dict[str, Any] = {"failure_threshold": 4, "reset_timeout": NEVER}
    begin(crew[:2], name, **options)
    with closing(RedisStore(server.client(), interval=0.02)) as store:
        breaker = CircuitBreaker(name, registry=None, store=store, **options)
        with freezegun.freeze_time("2030-01-01") as frozen:
            attempt_to_fail(breaker, 2)
            crew[0].ask(call, name, fail, 2)
            assert crew[1].ask(time_of, name, "open"), "it was told of two failures while time stood"
            assert store.sync()
            assert breaker.state is CircuitState.OPEN
            crew[1].ask(order, name, "reset")
            crew[1].ask(sync, name)
            assert store.sync()
            assert breaker.state is CircuitState.CLOSED
            attempt_to_fail(breaker, 4)
            assert crew[1].ask(time_of, name, "open")
            frozen.tick(NEVER + 1)  # The circuit's own clock, by which its open period is over; the server's is not.
            assert attempt(breaker) == "CircuitOpenError"
            assert store.sync()
            assert breaker.state is CircuitState.OPEN
