"""Interleavings, in short: `python -m checks.schedules` tries more of them, and says how."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checks.schedules.__main__ import main, search
from checks.schedules.checking import Checker
from checks.schedules.planted import PLANTED
from checks.schedules.points import SwitchPoints
from checks.schedules.report import story
from checks.schedules.scenarios import SCENARIOS
from checks.schedules.scheduler import Scheduler
from circuitbreaker import CircuitBreaker


@pytest.fixture
def checker() -> Iterator[Checker]:
    with Checker(SwitchPoints()).open() as checker:
        yield checker


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_schedule_breaks_a_promise(checker: Checker, name: str) -> None:
    """C1 to C3, O1, O3, H1 to H4, E1 to E7, W4, M1, M2: those that the scenario's own docstring cites."""
    scenario = SCENARIOS[name]
    tried = checker.explore(scenario, scenario.short)
    assert tried.counterexample is None, story(tried.counterexample)
    assert tried.schedules > (10 if scenario.short else 1)
    assert tried.points > 10


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_race_is_found(name: str) -> None:
    """With a story that ends in the promise, or in what an owner of the lock waits for."""
    found = search(PLANTED[name]).counterexample
    assert found is not None
    assert len(found.run.stops) >= 3
    assert "is stopped in" in story(found)
    assert found.problem


@pytest.mark.parametrize("name", ["a permit settled by two threads", "a call beside force open"])
def test_stopping_before_every_bytecode_finds_no_other_result(name: str) -> None:
    """What is passed over shares nothing."""
    tried = []
    for every in (False, True):
        with Checker(SwitchPoints(every=every)).open() as checker:
            tried.append(checker.explore(SCENARIOS[name], 1))
    assert tried[1].counterexample is None
    assert tried[1].points > tried[0].points
    assert tried[1].results == tried[0].results


def test_random_schedules_break_no_promise(checker: Checker) -> None:
    """E6, C2"""
    tried = checker.walk(SCENARIOS["success failure and reset"], 100, seed=1)
    assert tried.counterexample is None, story(tried.counterexample)
    assert tried.schedules == 100


def test_a_thread_that_does_not_end_is_a_problem() -> None:
    """Also where no thread may be stopped, as when it is found what there should be."""
    breaker = CircuitBreaker()

    def go_on_for_ever() -> None:
        while True:
            assert breaker.metrics().total_calls == 0

    with Scheduler(SwitchPoints()).open() as scheduler:
        problems = [scheduler.run([go_on_for_ever, breaker.metrics], fine=fine).problem for fine in (True, False)]
        assert problems == ["it does not end: 20000 steps"] * 2
        assert not scheduler.run([breaker.metrics]).problem


def test_that_nothing_was_tried_is_a_problem(checker: Checker) -> None:
    with pytest.raises(AssertionError, match="two successes: nothing was tried"):
        checker.walk(SCENARIOS["two successes"], 0, seed=1)


@pytest.mark.parametrize("wrong", [["no such scenario"], ["--preemptions", "-1"], ["--walks", "-1"]])
def test_a_command_line_that_tries_nothing_is_an_error(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(wrong)


def test_a_counterexample_replays() -> None:
    race = PLANTED["tally by read and write"]
    found = [search(race).counterexample for _ in range(2)]
    assert found[0] is not None
    assert found[0] == found[1]
