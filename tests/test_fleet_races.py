"""Every order in which calls, reports and answers of a fleet may come: what was counted together opens together.

The two halves of an exchange are steps of their own here, with calls between them, and replies that are lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker import ConsecutiveFailures, FailureRate, TripPolicy
from circuitbreaker.fleet.record import Record
from circuitbreaker.fleet.tallies import count, failures

from .simulated_fleet import Process, World
from .support import attempt, fail, succeed

STEPS = ("fails", "succeeds", "exchanges", "loses")
ORDERS = ("reset", "open", "force_open", "force_closed")


def steps(*what: str) -> st.SearchStrategy[list[tuple[int, str]]]:
    """What three processes do."""
    return st.lists(st.tuples(st.integers(0, 2), st.sampled_from(what)), max_size=25)


def happens(policy: TripPolicy, many: int, steps: Sequence[tuple[int, str]]) -> Record:
    """Let it happen to so many processes, and in the end let all hear everything. Returns the record.

    They agree on what it says.
    """
    world = World()
    world.members = [Process(world, trip=policy, reset_timeout=600) for _ in range(many)]
    to_the_end = [(who, "exchanges") for _ in range(6) for who in range(many)]
    for who, what in [*steps, *to_the_end]:
        step(world.members[who], what)
        for process in world.members:
            process.listen()
    used = [process for process in world.members if not process.link.unused]
    assert {process.state for process in used} <= {world.record.state}, steps
    return world.record


def step(process: Process, what: str) -> None:
    if what == "loses":
        process.answer = None
    elif what == "exchanges" and process.answer is not None:
        process.hear()
    elif what == "exchanges":
        if not process.link.unused:
            process.send()
    elif what in ORDERS:
        getattr(process.breaker, what)()
    else:
        attempt(process.breaker, fail if what == "fails" else succeed)


def test_failures_in_a_row_open_the_circuit_in_whatever_order_they_are_heard_of() -> None:
    """S2: all orders of six steps of two processes."""
    every = list(itertools.product(range(2), STEPS[:3]))
    for rest in itertools.product(every, repeat=5):
        steps = ((0, "fails"), *rest)
        record = happens(ConsecutiveFailures(3), 2, steps)
        assert record.state == "open" or record.streak < 3, steps


@given(steps(*STEPS))
@settings(max_examples=300)
def test_failures_of_three_open_the_circuit_in_whatever_order(steps: list[tuple[int, str]]) -> None:
    """S2: replies are lost, too."""
    record = happens(ConsecutiveFailures(4), 3, steps)
    assert record.state == "open" or record.streak < 4


@given(steps(*STEPS))
@settings(max_examples=300)
def test_a_failure_rate_opens_the_circuit_in_whatever_order(steps: list[tuple[int, str]]) -> None:
    """S2"""
    record = happens(FailureRate(0.5, calls=100, minimum_calls=4), 3, steps)
    calls, failed = count(record.calls), failures(record.calls)
    assert record.state == "open" or calls < 4 or failed < calls / 2


@given(steps(*STEPS, *ORDERS))
@settings(max_examples=300)
def test_orders_hold_for_all_in_whatever_order_they_are_heard_of(steps: list[tuple[int, str]]) -> None:
    """S6, S10"""
    happens(ConsecutiveFailures(4), 3, steps)


def test_an_order_that_was_overruled_before_its_answer_came_is_given_up() -> None:
    """S6: the reply is lost, and when it is asked for again the fleet has moved on."""
    steps = [(0, "reset"), (1, "open"), (1, "exchanges"), (1, "loses")]
    assert happens(ConsecutiveFailures(4), 2, steps).state == "closed"
