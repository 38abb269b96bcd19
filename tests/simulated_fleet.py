"""A fleet without threads and without a server, on a virtual clock.

The shipped `Link`, `Member` and record work behind real breakers; a `Process` stands for the thread of a store, a
`World` for the server. A test makes each exchange by hand, or leaves them to a `Network`, which delays, loses, reorders
and repeats messages as its seed has it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any, NamedTuple

from circuitbreaker import CircuitBreaker, ManualClock
from circuitbreaker._circuit.circuit import Circuit
from circuitbreaker._circuit.rules import LocalRules
from circuitbreaker.fleet.link import Link
from circuitbreaker.fleet.quotas import quotas
from circuitbreaker.fleet.record import Record, apply_report
from circuitbreaker.options import Settings
from circuitbreaker.stores import Report, Snapshot

from .support import attempt, fail

_names = count(1)


class Process:
    """One process: its breaker, and what a store is to that (`Sharing`) and to its link (`Carrier`)."""

    interval = 0.1

    def __init__(self, world: World, quorum: int = 1, **options: Any) -> None:
        self.error: str | None = None
        self.due = math.inf
        self.clock = ManualClock(5.0)
        self.news: list[Snapshot] = []
        self.answer: Snapshot | None = None
        self.name = f"process {next(_names)}"
        self._world = world
        self._quorum = quorum
        self.breaker = CircuitBreaker("shop", registry=None, store=self, clock=self.clock, **options)

    def attach(self, circuit: Circuit, rules: LocalRules, settings: Settings) -> Link:
        self.link = Link(circuit, rules, settings, quotas(settings, self._quorum, 86400), self, self.name)
        return self.link

    def report_within(self, link: Link, seconds: float) -> None:
        self.due = min(self.due, self.clock.monotonic() + seconds)
        self._world.note_due(self)

    # What it does

    @property
    def state(self) -> str:
        return str(self.breaker.state)

    @property
    def hold(self) -> str:
        return str(self.breaker.hold or "")

    @property
    def is_due(self) -> bool:
        return self.due <= self.clock.monotonic() + self.interval

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            attempt(self.breaker, fail)

    def collect(self) -> Report | None:
        self.due = math.inf
        return self.link.report()

    def send(self) -> None:
        """The first half of an exchange. What was published waits until the second."""
        report = self.collect()
        self.answer = None if report is None else self._world.receive(self, report)

    def hear(self, lost: bool = False) -> None:
        """The second half: the answer comes, or is `lost`."""
        answer, self.answer = self.answer, None
        if answer is not None and not lost:
            self.link.apply_answer(answer)
        self.listen()

    def exchange(self, lost: bool = False) -> None:
        self.send()
        self.hear(lost)

    def listen(self) -> None:
        while self.news and self.answer is None:
            self.link.apply_news(self.news.pop(0))


class World:
    """The server, with a clock of its own, and the processes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.record = Record()
        self.members: list[Process] = []
        self._seen: dict[str, int] = {}

    def grow(self, many: int, quorum: int = 1, **options: Any) -> list[Process]:
        """Add `many` processes that have exchanged once."""
        grown = [Process(self, quorum, **options) for _ in range(many)]
        self.members += grown
        for member in grown:
            attempt(member.breaker)
            member.exchange()
        return grown

    def receive(self, sender: Process, report: Report) -> Snapshot:
        seen = self._seen.get(report.process, 0)
        snapshot, decided = apply_report(self.record, report, seen, self.now)
        self._seen[report.process] = max(seen, report.number)
        if decided:
            self.publish(sender, snapshot._replace(leases=None, history=()))
        return snapshot

    def publish(self, sender: Process, snapshot: Snapshot) -> None:
        for other in self.members:
            if other is not sender:
                other.news.append(snapshot)

    def note_due(self, process: Process) -> None:
        """A process wants to report. Here the test decides when it does."""

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for member in self.members:
            member.clock.advance(seconds)

    def exchange_all(self, times: int = 2) -> None:
        """Let all know everything: what one reports in the first round, the others learn in the second."""
        for _ in range(times):
            for member in self.members:
                member.exchange()
        for member in self.members:
            member.listen()

    def run(self, seconds: float, caller: Process | None = None, step: float = 0.1) -> float | None:
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


class Weather(NamedTuple):
    """What a network does to messages. Ratios are from 0 to 1, times in seconds."""

    delay: float = 0.0
    """A message takes up to this long, so messages overtake each other."""
    lost: float = 0.0
    """Reports and answers that are lost. A process notices after `TIMEOUT`."""
    news_lost: float = 0.0
    repeated: float = 0.0
    """Reports that arrive a second time, up to a second later; and news."""


TIMEOUT = 1.0
MOMENT = 1e-6
"""Two clocks that are so close are one."""
CALM = Weather()


class Network(World):
    """A world in which messages, calls and whatever else is planned are events in one queue."""

    def __init__(self, seed: int, weather: Weather = CALM) -> None:
        super().__init__()
        self.random = Random(seed)
        self.weather = weather
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._exchanges: dict[Process, int] = {}  # under way, by process
        self._resting: dict[Process, float] = {}  # after a failure, until when
        self._turns: dict[Process, float] = {}  # that are planned, and when

    # Time

    def plan(self, seconds: float, event: Callable[[], object]) -> None:
        """Let `event` happen after so many seconds."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event))

    def pass_time(self, seconds: float) -> None:
        """Let all events of so many seconds happen."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            at, _, event = heapq.heappop(self._events)
            self.advance(at - self.now)
            event()
        self.advance(end - self.now)

    # Processes

    def join(self, **options: Any) -> Process:
        """A new process, which has not made a call yet."""
        process = Process(self, **options)
        self.members.append(process)
        return process

    def kill(self, process: Process) -> None:
        """Nothing that it sent later arrives, and nothing is sent to it."""
        self.members.remove(process)
        self._exchanges.pop(process, None)

    # What a store's thread does

    def note_due(self, process: Process) -> None:
        """Plan the process's next turn, unless one is planned that comes as soon."""
        at = self.now + max(process.due, self._resting.get(process, 0.0)) - process.clock.monotonic()
        at = max(self.now, at)
        if at < self._turns.get(process, math.inf):
            self._turns[process] = at
            self.plan(at - self.now, partial(self._take_turn, process, at))

    def _take_turn(self, process: Process, at: float) -> None:
        if self._turns.get(process) == at:
            del self._turns[process]
            self._exchange(process)

    def _exchange(self, process: Process) -> None:
        if process not in self.members or process in self._exchanges or process.due == math.inf:
            return
        if max(process.due, self._resting.get(process, 0.0)) > process.clock.monotonic() + MOMENT:
            self.note_due(process)
            return
        report = process.collect()
        if report is not None:
            number = self._exchanges[process] = next(self._order)
            self._carry(partial(self._arrive, process, report, number), self.weather.lost)
            if self._happens(self.weather.repeated):
                self.plan(self.random.uniform(0, 1), partial(self.receive, process, report))
            self.plan(TIMEOUT, partial(self._give_up, process, number))

    def _arrive(self, process: Process, report: Report, number: int) -> None:
        answer = self.receive(process, report)
        self._carry(partial(self._answer, process, answer, number), self.weather.lost)

    def _answer(self, process: Process, answer: Snapshot, number: int) -> None:
        if self._exchanges.get(process) == number:
            del self._exchanges[process]
            if process.error is not None:
                process.error = None
                process.link.store_changed()
                process.link.ask_soon()
            process.link.apply_answer(answer)
            self._go_on(process)

    def _give_up(self, process: Process, number: int) -> None:
        if self._exchanges.get(process) == number:
            del self._exchanges[process]
            self._resting[process] = process.clock.monotonic() + self.random.uniform(0.1, 1.0)
            if process.error is None:
                process.error = "TimeoutError"
                process.link.store_changed()
                process.link.ask_soon()
            process.report_within(process.link, process.interval)
            self._go_on(process)

    def _go_on(self, process: Process) -> None:
        process.listen()
        self._exchange(process)

    # The way of a message

    def publish(self, sender: Process, snapshot: Snapshot) -> None:
        for other in self.members:
            if other is not sender:
                for _ in range(1 + self._happens(self.weather.repeated)):
                    self._carry(partial(self._hear, other, snapshot), self.weather.news_lost)

    def _hear(self, process: Process, snapshot: Snapshot) -> None:
        if process in self.members:
            process.news.append(snapshot)
            if process not in self._exchanges:
                self._go_on(process)

    def _carry(self, arrive: Callable[[], object], lost: float) -> None:
        if not self._happens(lost):
            self.plan(self.random.uniform(0, self.weather.delay), arrive)

    def _happens(self, ratio: float) -> bool:
        return self.random.random() < ratio
