"""The shipped engine, explored by `checks.explore`: small worlds to the fixed point, and broken engines found out."""

from __future__ import annotations

import os
import re
from random import Random
from typing import Any

import pytest

from checks.explore import report
from checks.explore.__main__ import main
from checks.explore.bugs import PLANTED
from checks.explore.checks import PROMISES
from checks.explore.moves import BY_PERMIT, Bench, Move
from checks.explore.planted import Planted, find
from checks.explore.processes import explore_all
from checks.explore.search import explore
from checks.explore.worlds import QUICK, World


@pytest.mark.parametrize("world", QUICK, ids=lambda world: world.name)
def test_every_order_of_events_keeps_the_promises(world: World) -> None:
    """C1, C2, O1, O3, O4, H1 to H5, E1, E2, E5, E6, M1, M2, and that nothing lasts for ever: in every state."""
    seen = explore(world)
    assert seen.finished
    assert seen.states > 400
    assert seen.transitions > 10 * seen.states
    assert world.successes < seen.recovery < 20


def test_an_exploration_may_end_before_the_fixed_point() -> None:
    """A search that was cut short says so."""
    seen = explore(QUICK[0], most=100)
    assert not seen.finished
    assert "no" in report.figures(seen)


class Deadly(World):
    def __reduce__(self) -> Any:
        return os._exit, (3,)


def test_a_process_that_dies_is_told_of() -> None:
    """Of the others, what they found."""
    found = list(explore_all([Deadly("deadly"), QUICK[0]], 2))
    assert ["deadly: the process that explored it died, with exit status 3"] in found
    assert [each.finished for each in found if not isinstance(each, list)] == [True]


@pytest.mark.parametrize("wrong", [["--more", "-1"], ["--processes", "0"]])
def test_a_command_line_that_explores_nothing_is_an_error(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--quick", *wrong])


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Planted) -> None:
    """C1, C2, O1, O3, O4, H1, H2, H3, H4, E1, E2, E5, E6, M1, M2: each, broken, is found by its number."""
    found = find(bug)
    assert found is not None
    assert found.promise == bug.promise
    assert found.steps <= 10


def test_each_promise_that_is_checked_has_a_planted_bug() -> None:
    """Or its check might be empty."""
    assert {bug.promise for bug in PLANTED} == set(PROMISES)


def test_a_counterexample_can_be_read() -> None:
    """H1"""
    found = find(next(bug for bug in PLANTED if bug.name == "one trial too many is admitted"))
    assert found is not None
    assert found.steps == 5
    assert [re.sub(r" {2,}", " | ", line.strip()) for line in found.story] == [
        "time | what happens | what follows | state after",
        "0 | open() | closed -> open | open, 2 left",
        "0 | a unit of time passes | open, 1 left",
        "1 | a unit of time passes | open, 0 left",
        "2 | a call begins | it is call 1, open -> half_open | half_open, 1 out and 0 used of 1 attempt",
        "2 | a call begins | it is call 2 | half_open, 2 out and 0 used of 1 attempt",
        "H1 is broken: a call is admitted that must be refused, wait 2.",
        "H1: A half-open period admits at most half_open_max_attempts trials; all other calls are rejected.",
    ]


@pytest.mark.parametrize("world", QUICK, ids=lambda world: world.name)
def test_a_state_that_is_put_in_and_read_is_the_state_of_a_breaker_that_lived_through_it(world: World) -> None:
    """One bench is put into each state before each move, as in a search; the other one just lives on."""
    random = Random(world.name)
    put, living = Bench(world), Bench(world)
    for _ in range(500):
        before = put.key()
        put.put(before)
        move = random.choice(put.moves())
        same = move
        if move.which or move.what in (*BY_PERMIT, "drop", "again", "within") or move.what.startswith("leave"):
            same = Move(move.what, living.pairs().index(put.pairs()[move.which]))
        living.begin()
        assert put.make(move, before) == living.make(same, before)


@pytest.mark.parametrize("world", QUICK[:3], ids=lambda world: world.name)
def test_a_call_is_judged_by_what_it_meets_when_its_turn_comes(world: World) -> None:
    """C1, O1, H1, M2: whatever it saw before, when it looked without a lock."""
    random = Random(world.name)
    bench = Bench(world)
    for _ in range(500):
        before = bench.key()
        bench.put(before)
        moves = bench.moves()
        admitted, _ = bench.subject.engine.admit(bench.subject.clock.monotonic())
        bench.account.admit()
        assert (admitted[1] if isinstance(admitted, tuple) else None) == bench.account.wait
        bench.put(before)
        bench.make(random.choice(moves), before)
