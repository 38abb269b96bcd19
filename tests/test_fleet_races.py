"""Every order in which calls, reports and answers of a fleet may come: what was counted together opens together.

The two halves of an exchange are steps of their own here, with calls between them, and replies that are lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker import CircuitBreaker, CircuitState, ConsecutiveFailures, FailureRate, TripPolicy
from circuitbreaker._circuit.circuit import Circuit
from circuitbreaker.fleet.link import Link
from circuitbreaker.fleet.messages import View
from circuitbreaker.fleet.record import Record, take_in
from circuitbreaker.stores.memory import MemoryServer, MemoryStore

from .support import attempt, fail, succeed

STEPS = ("fails", "succeeds", "exchanges", "loses")
ORDERS = ("reset", "open", "force_open", "force_closed")


class ByHand(MemoryStore):
    """A store without a thread: the test makes its exchanges."""

    def attach(self, circuit: Circuit) -> Link:
        self.link = super().attach(circuit)
        return self.link

    def poke(self, link: Link, within: float) -> None:
        pass


class Member:
    """One process: what it says to the record comes back some time later, or never."""

    def __init__(self, policy: TripPolicy, record: Record) -> None:
        self._record = record
        self._store = ByHand(MemoryServer())
        self._breaker = CircuitBreaker("shop", registry=None, store=self._store, trip=policy, reset_timeout=600)
        self._seen = 0
        self._answer: View | None = None
        self.news: list[View] = []

    @property
    def used(self) -> bool:
        return not self._store.link.new

    @property
    def state(self) -> CircuitState:
        return self._breaker.state

    def step(self, what: str) -> View | None:
        """Take a step. Returns what was decided by it, which all others are to be told."""
        if what == "loses":
            self._answer = None
            return None
        if what == "exchanges":
            return self._report() if self._answer is None else self._hear()
        if what in ORDERS:
            getattr(self._breaker, what)()
        else:
            attempt(self._breaker, fail if what == "fails" else succeed)
        return None

    def _report(self) -> View | None:
        report = self._store.link.collect() if self.used else None
        if report is None:
            return None
        self._answer, decided = take_in(self._record, report, self._seen, now=0.0)
        self._seen = report.number
        return self._answer if decided else None

    def _hear(self) -> None:
        assert self._answer is not None
        self._store.link.answered(self._answer)
        self._answer = None

    def listen(self) -> None:
        """Hear the news, which one thread does with the answers: not while one is under way."""
        while self.news and self._answer is None:
            self._store.link.told(self.news.pop(0))


def steps(*what: str) -> st.SearchStrategy[list[tuple[int, str]]]:
    """What three processes do."""
    return st.lists(st.tuples(st.integers(0, 2), st.sampled_from(what)), max_size=25)


def happens(policy: TripPolicy, many: int, steps: Sequence[tuple[int, str]]) -> Record:
    """Let it happen to so many processes, and in the end let all hear everything. Returns the record.

    They agree on what it says.
    """
    record = Record()
    members = [Member(policy, record) for _ in range(many)]
    to_the_end = [(who, "exchanges") for _ in range(6) for who in range(many)]
    for who, what in [*steps, *to_the_end]:
        decided = members[who].step(what)
        for member in members:
            if decided is not None and member is not members[who]:
                member.news.append(decided)
            member.listen()
    assert {str(member.state) for member in members if member.used} <= {record.state}, steps
    return record


def test_failures_in_a_row_open_the_circuit_in_whatever_order_they_are_heard_of() -> None:
    """S2: all orders of six steps of two processes."""
    every = list(itertools.product(range(2), STEPS[:3]))
    for rest in itertools.product(every, repeat=5):
        steps = ((0, "fails"), *rest)
        record = happens(ConsecutiveFailures(3), 2, steps)
        assert record.state == "open" or record.run < 3, steps


@given(steps(*STEPS))
@settings(max_examples=300)
def test_failures_of_three_open_the_circuit_in_whatever_order(steps: list[tuple[int, str]]) -> None:
    """S2: replies are lost, too."""
    record = happens(ConsecutiveFailures(4), 3, steps)
    assert record.state == "open" or record.run < 4


@given(steps(*STEPS))
@settings(max_examples=300)
def test_a_failure_rate_opens_the_circuit_in_whatever_order(steps: list[tuple[int, str]]) -> None:
    """S2"""
    record = happens(FailureRate(0.5, calls=100, minimum_calls=4), 3, steps)
    calls, failures = sum(record.numbers), sum(record.numbers[1::2])
    assert record.state == "open" or calls < 4 or failures < calls / 2


@given(steps(*STEPS, *ORDERS))
@settings(max_examples=300)
def test_orders_hold_for_all_in_whatever_order_they_are_heard_of(steps: list[tuple[int, str]]) -> None:
    """S6, S10"""
    happens(ConsecutiveFailures(4), 3, steps)


def test_an_order_that_was_overruled_before_its_answer_came_is_given_up() -> None:
    """S6: the reply is lost, and when it is asked for again the fleet has moved on."""
    steps = [(0, "reset"), (1, "open"), (1, "exchanges"), (1, "loses")]
    assert happens(ConsecutiveFailures(4), 2, steps).state == "closed"
