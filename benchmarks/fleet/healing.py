"""How long a fleet takes to recover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import uniform
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

from circuitbreaker import CircuitOpenError
from tests.servers import Proxy, Sentinel, Server, until

from ..work import work
from .crew import all_do, crew
from .figures import figure, median, part
from .shared import PATIENCE, Shared

__all__ = ["measure"]

_LEASE = 1.0
_OPTIONS: dict[str, Any] = {"reset_timeout": 0.2, "half_open_timeout": _LEASE, "half_open_max_attempts": 1}


class _Member:
    """One process."""

    def __init__(self, url: str) -> None:
        self._shared = Shared(url, **_OPTIONS)
        self.join, self.when, self.call_until = self._shared.join, self._shared.when, self._shared.call_until

    def open(self) -> None:
        """Open the circuit for all."""
        self._shared.breaker.open()
        self._shared.sync()

    def hang(self) -> None:
        """Make a call that hangs."""
        while True:
            with suppress(CircuitOpenError):
                self._shared.breaker.call(sleep, PATIENCE)
            sleep(0.002)


def measure(server: Server, quick: bool) -> None:
    """Print the time to recover from each kind of failure."""
    times = 1 if quick else 5
    part(f"Time to heal, median of {times}")
    healed, beyond = _medians(times, lambda: _after_a_kill(server))
    figure(f"a lease holder killed (half_open_timeout {_LEASE:g} s): until all others are closed", healed, "s")
    figure("  of that after the end of its lease", 1000 * beyond, "ms")
    (healed,) = _medians(times, lambda: _after_a_lost_reply(server))
    figure("a reply lost that brought a lease (the client's timeout 1 s): until all are closed", healed, "s")
    (healed,) = _medians(times, lambda: _after_a_flush(server))
    figure("FLUSHALL while open: until the server knows it again", healed, "s")
    promoted, healed = _medians(times, _after_a_failover)
    figure("the master killed: until Sentinel has made the replica the master", promoted, "s")
    figure("  from then until all stores are connected and share a decision", healed, "s")


def _medians(times: int, heal: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(median(each) for each in zip(*[heal() for _ in range(times)], strict=True))


def _after_a_kill(server: Server) -> tuple[float, float]:
    """Seconds until all living processes are closed, from the kill, and from the end of the lease."""
    server.client().flushall()
    with crew(4, _Member, server.url) as members:
        holder, *others = members
        all_do(members, "join")
        holder.ask("open")
        all_do(members, "when", "open")
        holder.tell("hang")
        leased = max(all_do(others, "when", "half_open"))
        holder.kill()
        killed = monotonic()
        closed = max(all_do(others, "call_until", "closed"))
        return closed - killed, closed - leased - _LEASE


def _after_a_lost_reply(server: Server) -> tuple[float]:
    """Seconds from the loss of the reply with a lease until its process and another are closed."""
    server.client().flushall()
    with Proxy(server.port) as proxy, _fleet(proxy.url, server.url) as (ours, other):
        ours.breaker.open()
        ours.sync()
        other.when("open")
        proxy.drop_replies = True
        with _calling([ours]):
            leased = other.when("half_open")
            proxy.drop_replies = False
            return (max(ours.when("closed"), other.when("closed")) - leased,)


def _after_a_flush(server: Server) -> tuple[float]:
    """Seconds from FLUSHALL until a process has restored the record."""
    client = server.client()
    client.flushall()
    with _fleet(server.url, server.url, server.url, reset_timeout=3600) as fleet, _calling(fleet):
        fleet[0].breaker.open()
        for each in fleet:
            each.when("open")
        sleep(uniform(0.5, 1.5))  # at a random time between two exchanges
        client.flushall()
        flushed = monotonic()
        until(client.dbsize, "the record is there again")
        return (monotonic() - flushed,)


def _after_a_failover() -> tuple[float, float]:
    """Seconds from the master's end until there is a new one, and from then until a decision is shared again."""
    with Sentinel() as sentinel:
        clients = [sentinel.client(socket_timeout=1) for _ in range(3)]
        with _fleet(*clients, reset_timeout=3600) as fleet, _calling(fleet):
            killed = monotonic()
            sentinel.failover()
            promoted = monotonic()
            for each in fleet:
                each.when_store(reached=True)
            fleet[0].breaker.open()
            shared = max(each.when("open") for each in fleet)
            return promoted - killed, shared - promoted


@contextmanager
def _fleet(*clients: Any, **options: Any) -> Iterator[list[Shared]]:
    """Circuits in this process, with one store per client."""
    fleet = [Shared(client, **{**_OPTIONS, **options}) for client in clients]
    try:
        for each in fleet:
            each.join()
        yield fleet
    finally:
        for each in fleet:
            each.store.close()


@contextmanager
def _calling(fleet: list[Shared]) -> Iterator[None]:
    """Meanwhile all of them call, 100 times a second."""
    over = Event()

    def call() -> None:
        while not over.wait(0.01):
            for each in fleet:
                with suppress(CircuitOpenError):
                    each.breaker.call(work, 1)

    caller = Thread(target=call, daemon=True)
    caller.start()
    try:
        yield
    finally:
        over.set()
        caller.join(PATIENCE)
