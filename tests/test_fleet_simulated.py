"""Forty processes on a virtual clock, under a network that delays, loses, reorders and repeats what they say.

Each world is drawn by its seed, so one that fails can be run again. They are worlds in which the fleet does what it
promises: one process decides for all (a quorum of 1), and leases last longer than the longest pause between requests.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    ConsecutiveFailures,
    ExponentialBackoff,
    FailureRate,
    ManualClock,
    Permit,
)
from circuitbreaker.fleet.record import Record
from circuitbreaker.fleet.tallies import count
from circuitbreaker.stores import Report, Snapshot

from .simulated_fleet import CALM, Network, Process, Weather, World
from .support import Boom, attempt, fail, succeed

MANY = 40

# As one breaker

POLICIES = {
    "in a row": ConsecutiveFailures(3),
    "calls": FailureRate(0.1, calls=60, minimum_calls=45),
    "seconds": FailureRate(0.1, seconds=600, minimum_calls=45),
    "or": ConsecutiveFailures(6) | FailureRate(0.1, calls=50, minimum_calls=42),
    "and": ConsecutiveFailures(2) & FailureRate(0.1, calls=45, minimum_calls=41),
}


class Pair:
    """A fleet that exchanges after every step, and one breaker that does what the whole fleet does."""

    def __init__(self, seed: int, policy: str) -> None:
        self.random = Random(f"{policy} {seed}")
        self.clock = ManualClock(5.0)
        options: dict[str, Any] = {"trip": POLICIES[policy], "reset_timeout": ExponentialBackoff(10, maximum=60)}
        self.one = CircuitBreaker(registry=None, clock=self.clock, **options)
        self.world = World()
        self.world.grow(MANY, **options)
        self.world.exchange_all()
        for _ in range(MANY):
            attempt(self.one)

    def both(self, do: Any, process: Process) -> None:
        assert do(process.breaker) == do(self.one)

    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.clock.advance(seconds)

    def step(self) -> None:
        """A call, a wait, an override, or a trial when its time has come."""
        process, works = self.random.choice(self.world.members), self.random.random() < 0.3
        what = self.random.choice(["call"] * 6 + ["wait", "open", "reset"] + ["trial"] * 3)
        if what == "wait":
            self.advance(0.5)
        elif what in ("open", "reset"):
            self.both(lambda breaker: getattr(breaker, what)(), process)
        elif what == "call":
            self.both(lambda breaker: attempt(breaker, succeed if works else fail), process)
        elif self.one.state == "open":
            self.advance(100)
            assert attempt(process.breaker) == "CircuitOpenError", "it has a lease asked for"
            self.world.exchange_all()
            self.both(lambda breaker: attempt(breaker, succeed if works else fail), process)
        self.world.exchange_all()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(3))
def test_forty_that_exchange_after_every_step_are_as_one_breaker(policy: str, seed: int) -> None:
    """S2, S4, S10, O4: whoever calls, tries and orders."""
    pair = Pair(seed, policy)
    for _ in range(40):
        pair.step()
        assert {each.state for each in pair.world.members} == {pair.world.record.state} == {str(pair.one.state)}
        assert {each.breaker.metrics().reason for each in pair.world.members} == {pair.one.metrics().reason}


# In bad weather


ATTEMPTS = 3
LEASE = 20.0
OPTIONS: dict[str, Any] = {
    "failure_threshold": 5,
    "reset_timeout": ExponentialBackoff(2, maximum=8),
    "success_threshold": 2,
    "half_open_max_attempts": ATTEMPTS,
    "half_open_timeout": LEASE,
}
LATE = Weather(delay=0.2, news_lost=0.3, repeated=0.2)
"""Late, but every exchange ends within its timeout: no process goes on alone."""
BAD = Weather(delay=0.6, lost=0.15, news_lost=0.3, repeated=0.2)
"""Exchanges fail, and processes go on alone."""


class Town(Network):
    """Forty processes that call a dependency, which is well at times."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__(seed, weather)
        self.is_well = True
        self.trials: set[Permit] = set()  # that are out
        self.most_trials = 0
        self.reached = 0  # calls that reached the dependency while it was not well
        self.ended = 0
        self.is_quiet = False
        for _ in range(MANY):
            self.enter()

    def enter(self) -> None:
        """A process starts. It calls about once a second."""
        self._call_later(self.join(**OPTIONS))

    def _call_later(self, process: Process) -> None:
        self.plan(self.random.uniform(0.2, 1.8), partial(self._call, process))

    def _call(self, process: Process) -> None:
        if process not in self.members or self.is_quiet:
            return
        self._call_later(process)
        try:
            permit = process.breaker.acquire()
        except CircuitOpenError:
            return
        self.reached += not self.is_well
        if process.state == "half_open" and process.hold == "":
            self.trials.add(permit)
            self.most_trials = max(self.most_trials, len(self.trials))
        self.plan(self.random.uniform(0.05, 0.3), partial(self._end, process, permit, self.is_well))

    def _end(self, process: Process, permit: Permit, well: bool) -> None:
        self.trials.discard(permit)
        if process in self.members:
            self.ended += 1
            permit.success() if well else permit.failure(Boom())

    def receive(self, sender: Process, report: Report) -> Snapshot:
        before = self.record.version
        snapshot = super().receive(sender, report)
        trials = self.record.trials
        assert len(trials.leases) + trials.used <= max(ATTEMPTS, trials.used + 1)
        assert snapshot.version >= before
        return snapshot

    def restart_some(self) -> None:
        """Some processes are killed, with whatever they have out, and others start."""
        for process in self.random.sample(self.members, 4):
            self.kill(process)
            self.enter()

    def lose_the_record(self) -> None:
        self.record = Record()
        self._seen.clear()

    def agree(self) -> bool:
        states = {process.state for process in self.members} | {self.record.state}
        return len(states) == 1 and {process.hold for process in self.members} == {self.record.hold}

    def calm_down(self, seconds: float) -> None:
        """Nothing bad happens any more."""
        self.weather, self.is_well = CALM, True
        self.pass_time(seconds)


def bad_day(town: Town, loses_record: bool = False) -> None:
    """The dependency comes and goes, and processes are killed and start, for a minute."""
    for _ in range(6):
        town.pass_time(town.random.uniform(2, 8))
        if loses_record:
            town.lose_the_record()
        town.is_well = False
        town.pass_time(town.random.uniform(2, 10))
        town.restart_some()
        town.is_well = town.random.random() < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_trials_stay_within_the_budget_and_all_agree_in_the_end(seed: int) -> None:
    """S4, S6, H1: whatever comes late, twice or not at all, and whoever is killed."""
    town = Town(seed, LATE)
    bad_day(town)
    assert 0 < town.most_trials <= ATTEMPTS
    assert {process.error for process in town.members} == {None}
    town.calm_down(LEASE + 20)
    assert town.agree()
    assert town.record.state == "closed", "a healthy dependency closes it"


@pytest.mark.parametrize("seed", range(4))
def test_a_fleet_heals_from_outages_and_lost_records(seed: int) -> None:
    """S7, S4: no process is left behind, and no circuit stays open for a healthy dependency."""
    town = Town(100 + seed, BAD)
    bad_day(town, loses_record=True)
    town.calm_down(LEASE + 20)
    assert town.agree()
    assert town.record.state == "closed"
    assert {process.breaker.metrics().store for process in town.members} == {"connected"}


@pytest.mark.parametrize("weather", [LATE, BAD], ids=["late", "bad"])
@pytest.mark.parametrize("hold", ["force_open", "force_closed", "shadow"])
def test_a_hold_reaches_all_whatever_the_weather(weather: Weather, hold: str) -> None:
    """S10, M2, S8: also those that start later; until it is reset."""
    town = Town(200, weather)
    town.pass_time(10)
    getattr(town.random.choice(town.members).breaker, hold)()
    bad_day(town)
    town.calm_down(LEASE + 20)
    assert {process.hold for process in town.members} == {hold}
    town.random.choice(town.members).breaker.reset()
    town.pass_time(2)
    assert {process.hold for process in town.members} == {""}
    assert {process.state for process in town.members} == {"closed"}


def test_a_dead_dependency_is_left_alone_by_the_whole_fleet() -> None:
    """S2, S3: no process sees more than a few failures, and all stop."""
    town = Town(300, LATE)
    town.pass_time(10)
    town.is_well = False
    town.pass_time(60)
    assert {process.state for process in town.members} <= {"open", "half_open"}
    assert town.reached < 60, "of about 2,400 calls"


@pytest.mark.parametrize("weather", [LATE, BAD], ids=["late", "bad"])
def test_every_call_is_counted_once(weather: Weather) -> None:
    """S2, S6, S7: though reports come twice, and answers are lost."""
    town = Town(400, weather)
    town.pass_time(45)
    town.is_quiet = True
    town.calm_down(5)
    for process in town.members:
        process.link.ask_soon()  # for calls that ended while a report was under way
    town.pass_time(5)
    assert town.record.state == "closed"
    assert count(town.record.calls) == town.ended > 1000


def test_a_world_is_drawn_by_its_seed() -> None:
    """So that one that fails can be run again."""

    def fate(seed: int) -> tuple[int, int, str]:
        town = Town(seed, BAD)
        bad_day(town)
        return town.record.version, town.reached, town.record.state

    assert fate(7) == fate(7) != fate(8)
