"""A fleet without threads: each half of an exchange, each piece of news and each second comes when a test says so."""

from __future__ import annotations

import math
from typing import Any

from circuitbreaker import CircuitBreaker, ManualClock
from circuitbreaker._circuit.circuit import Circuit
from circuitbreaker.fleet.link import Link
from circuitbreaker.fleet.record import Record, take_in
from circuitbreaker.stores import Report, View
from circuitbreaker.stores.memory import MemoryServer, MemoryStore

from .support import attempt, fail


class ByHand(MemoryStore):
    """A store whose thread never runs. It remembers when it should."""

    def attach(self, circuit: Circuit) -> Link:
        self.link = super().attach(circuit)
        self.clock = circuit.clock
        return self.link

    def poke(self, link: Link, within: float) -> None:
        link.due = min(link.due, self.clock.monotonic() + within)


class World:
    """The server, with a clock of its own, and the processes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.record = Record()
        self.members: list[Member] = []
        self._seen: dict[str, int] = {}

    def grow(self, many: int, quorum: int = 1, **options: Any) -> list[Member]:
        """So many processes that know each other."""
        grown = [Member(self, quorum, options) for _ in range(many)]
        self.members += grown
        for member in grown:
            attempt(member.breaker)
            member.exchange()
        return grown

    def take_in(self, member: Member, report: Report) -> View:
        seen = self._seen.get(report.process, 0)
        view, decided = take_in(self.record, report, seen, self.now)
        self._seen[report.process] = max(seen, report.number)
        for other in self.members:
            if decided and other is not member:
                other.news.append(view._replace(leases=None, history=()))
        return view

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for member in self.members:
            member.clock.advance(seconds)

    def run(self, seconds: float, caller: Member | None = None, step: float = 0.1) -> float | None:
        """Let time pass, and exchanges take place when they are due, while `caller` calls.

        Returns after how many seconds the circuit was closed, if it was.
        """
        passed = 0.0
        while passed < seconds:
            self.advance(step)
            passed += step
            if caller is not None:
                attempt(caller.breaker)
            for member in self.members:
                member.listen()
                if member.is_due:
                    member.exchange()
            if self.record.state == "closed":
                return passed
        return None


class Member:
    """One process."""

    def __init__(self, world: World, quorum: int, options: dict[str, Any]) -> None:
        self.clock = ManualClock(5.0)
        self.store = ByHand(MemoryServer(), quorum=quorum)
        self.breaker = CircuitBreaker("shop", registry=None, store=self.store, clock=self.clock, **options)
        self.news: list[View] = []
        self._world = world

    @property
    def state(self) -> str:
        return str(self.breaker.state)

    @property
    def is_due(self) -> bool:
        return self.store.link.due <= self.clock.monotonic() + self.store.interval

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            attempt(self.breaker, fail)

    def collect(self) -> Report | None:
        self.store.link.due = math.inf
        return self.store.link.collect()

    def exchange(self, lost: bool = False) -> None:
        report = self.collect()
        if report is not None:
            view = self._world.take_in(self, report)
            if not lost:
                self.store.link.answered(view)
        self.listen()

    def listen(self) -> None:
        while self.news:
            self.store.link.told(self.news.pop(0))
