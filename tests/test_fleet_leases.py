"""What one process does with the trials that are leased to it: phase by phase, without a circuit."""

from __future__ import annotations

from typing import Any

import pytest

from circuitbreaker.fleet.leases import Leases
from circuitbreaker.fleet.messages import Snapshot
from circuitbreaker.fleet.record import Record, peek

PAUSE, SOON = 0.5, 0.02


@pytest.fixture
def leases() -> Leases:
    return Leases(PAUSE, SOON)


def answer(*granted: str, lasts: float = 30.0, **fields: Any) -> Snapshot:
    return peek(Record(), "shop", 0.0)._replace(leases=tuple((each, lasts) for each in granted), **fields)


def test_nothing_is_asked_for_before_a_call_waits(leases: Leases) -> None:
    """S9"""
    assert leases.to_request(0.0, 3) == 0
    assert leases.ask_again_in(0.0) is None
    assert leases.use(0.0) is None
    assert leases.wait(0.0) == SOON


def test_calls_that_wait_are_asked_for_up_to_the_attempts(leases: Leases) -> None:
    """S4"""
    for _ in range(5):
        assert leases.note_waiting(1.0) == 0.0
    assert leases.to_request(1.0, 3) == 3
    assert leases.drain() == ((), ())
    assert leases.to_request(1.0, 3) == 1, "one ahead, for the next call"


def test_a_lease_is_held_until_a_call_uses_it(leases: Leases) -> None:
    """S4: it is counted from when it was asked for, so it never lasts longer than the fleet has it."""
    leases.note_waiting(1.0)
    leases.grant(answer("a", lasts=30.0), requested=1, asked_at=1.0, now=1.5)
    assert leases.has_unused
    assert (leases.wait(2.0), leases.to_request(2.0, 3), leases.ask_again_in(2.0)) == (0.0, 0, None)
    assert leases.use(2.0) == ("a", 31.0)
    leases.grant(answer("a"), requested=0, asked_at=2.0, now=2.0)
    assert leases.use(2.0) is None, "it is listed while its trial is out, and used once"


def test_a_lease_that_ran_out_is_not_used_and_another_is_asked_for(leases: Leases) -> None:
    """H4"""
    leases.note_waiting(1.0)
    leases.grant(answer("a", lasts=10.0), requested=1, asked_at=1.0, now=1.0)
    assert leases.to_request(11.0, 3) == 1
    assert leases.use(11.0) is None


def test_a_refusal_says_when_to_ask_again(leases: Leases) -> None:
    """S4, S9: sooner for a call that waits."""
    leases.note_waiting(1.0)
    leases.grant(answer(wait=0.2, left=0.0), requested=1, asked_at=1.0, now=1.0)
    assert leases.wait(1.0) == pytest.approx(0.2)
    assert leases.ask_again_in(1.0) == pytest.approx(0.2)
    assert leases.to_request(1.1, 3) == 0
    assert leases.to_request(1.21, 3) == 1
    leases.drain()
    assert leases.to_request(1.21, 3) == 0, "no call waits any more"
    assert leases.ask_again_in(1.21) == pytest.approx(0.2 + 2 * PAUSE - 0.21)
    assert leases.note_waiting(1.1) == pytest.approx(0.1)


def test_what_no_call_uses_is_given_back_when_calls_wait_elsewhere(leases: Leases) -> None:
    """S4"""
    leases.note_waiting(1.0)
    leases.grant(answer("a", contended=True), requested=1, asked_at=1.0, now=1.0)
    assert leases.has_unused, "it has just come"
    leases.grant(answer("a", contended=True), requested=0, asked_at=2.0, now=2.0)
    assert not leases.has_unused
    assert leases.drain() == ((), ("a",))
    assert leases.ask_again_in(2.0) is not None, "its call was not long ago"


def test_a_process_without_calls_leaves_its_attempts_to_others(leases: Leases) -> None:
    """S4"""
    leases.note_waiting(1.0)
    leases.grant(answer("a", lasts=300.0), requested=1, asked_at=1.0, now=1.0)
    leases.grant(answer("a", contended=True), requested=0, asked_at=62.0, now=62.0)
    assert leases.drain() == ((), ("a",))
    assert leases.ask_again_in(62.0) is None
    leases.note_waiting(63.0)
    assert leases.ask_again_in(63.0) == SOON, "until a call waits"


def test_trials_are_reported_once(leases: Leases) -> None:
    leases.succeeded("a")
    leases.returned("b")
    assert (leases.to_report, leases.unreported_successes) == (True, 1)
    assert leases.drain() == (("a",), ("b",))
    assert (leases.to_report, leases.unreported_successes) == (False, 0)


def test_calls_that_wait_for_long_without_an_answer_go_on_alone(leases: Leases) -> None:
    """S7: many at one moment are one."""
    for at in (0.0, 0.1, 0.5, 1.0, 1.1):
        leases.note_waiting(at)
        assert not leases.unanswered
    leases.note_waiting(1.5)
    assert leases.unanswered
    leases.answered()
    assert not leases.unanswered
