"""Fork: parent and child both have a working circuit, wherever it was when the process split."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    ManualClock,
    Outcome,
    Registry,
    Watch,
    circuit,
)

from .interrupting import handled_everywhere
from .support import Boom, attempt, exit_of_child, fail, in_threads, make_due, recovers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def test_a_child_recovers_though_its_parents_other_thread_had_the_only_trial(clock: ManualClock) -> None:
    """E9, H4: the thread that would settle it does not exist in the child."""
    breaker = make_due(clock)
    inside, leave = threading.Event(), threading.Event()
    trial = threading.Thread(target=breaker.call, args=(lambda: (inside.set(), leave.wait(10)),))
    trial.start()
    assert inside.wait(10)

    def child() -> bool:
        refused = attempt(breaker) == "CircuitOpenError"
        return refused and recovers(breaker, clock)

    assert exit_of_child(child) == 0
    leave.set()
    trial.join(10)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("where", ["registry", "keys"])
def test_a_child_makes_breakers_though_its_parents_other_thread_was_making_one(where: str) -> None:
    """E9: that thread is in the user's policy, and holds the lock of what it makes a breaker for."""
    inside, leave = threading.Event(), threading.Event()

    class Policy:
        def watch(self) -> Watch:
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                leave.wait(10)
            return ConsecutiveFailures(1).watch()

    registry = Registry(trip=Policy())
    by_key = circuit(key=lambda key: key, registry=None, trip=Policy())(lambda key: key)
    make: Callable[[str], object] = registry.get_or_create if where == "registry" else by_key
    making = threading.Thread(target=make, args=("one",))
    making.start()
    assert inside.wait(10)

    child = exit_of_child(lambda: make("another") is not None)
    leave.set()
    making.join(10)
    assert child == 0


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the handler of a signal is what stops the thread")
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
def test_a_child_counts_exactly_whatever_its_parents_other_thread_was_changing(opened: bool) -> None:
    """E9, E6: that thread is stopped at each point of a reset in turn, which ends the period that the calls were in."""

    def make() -> tuple[Callable[[], object], Callable[[], object]]:
        breaker = CircuitBreaker(failure_threshold=2)
        if opened:
            breaker.open()
            breaker.force_closed()
        for _ in range(10):
            attempt(breaker)
        return breaker.reset, lambda: in_threads(1, lambda: exits.append(exit_of_child(lambda: counts(breaker))))

    def counts(breaker: CircuitBreaker) -> bool:
        for _ in range(5):
            attempt(breaker)
        attempt(breaker, fail)
        return breaker.metrics()[5:10] == (16, 15, 1, 0, 0)

    exits: list[int] = []
    for where in handled_everywhere(make):
        assert exits.pop() == 0, where


def test_a_child_logs_what_is_raised_in_its_threads_though_one_of_its_parents_was_logging() -> None:
    """E9, E4: a new thread may have the identity of one that is not here."""
    inside, leave = threading.Event(), threading.Event()
    parent, logged = os.getpid(), list[logging.LogRecord]()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if os.getpid() == parent:
                inside.set()
                leave.wait(10)
            else:
                logged.append(record)

    def unsure(error: Exception) -> bool:
        raise RuntimeError

    breaker = CircuitBreaker(is_failure=unsure, failure_threshold=100)

    def child() -> bool:
        for _ in range(20):
            in_threads(1, lambda: attempt(breaker, fail))
        return len(logged) == 20

    logger, handler = logging.getLogger("circuitbreaker"), Handler()
    logger.addHandler(handler)
    try:
        logging_thread = threading.Thread(target=attempt, args=(breaker, fail))
        logging_thread.start()
        assert inside.wait(10)
        assert exit_of_child(child) == 0
    finally:
        leave.set()
        logging_thread.join(10)
        logger.removeHandler(handler)


def test_a_refusal_by_the_parents_circuit_is_a_failure_for_the_childs(clock: ManualClock) -> None:
    """E9, H3: from the fork on they are two circuits."""
    breaker = make_due(clock, is_failure=(Exception, CircuitOpenError))
    breaker.force_open()
    with pytest.raises(CircuitOpenError) as refused:
        breaker.acquire()
    breaker.reset()

    def refuse() -> None:
        raise refused.value

    def child() -> bool:
        attempt(breaker, refuse)
        return breaker.state is CircuitState.OPEN

    assert exit_of_child(child) == 0
    attempt(breaker, refuse)
    assert breaker.metrics().total_ignored == 1


def forking_in_a_block(breaker: CircuitBreaker, fork: Callable[[], object]) -> None:
    with breaker:
        fork()


def forking_in_a_call(breaker: CircuitBreaker, fork: Callable[[], object]) -> None:
    breaker.call(fork)


def forking_in_a_generator(breaker: CircuitBreaker, fork: Callable[[], object]) -> None:
    @breaker
    def steps() -> Iterator[object]:
        yield fork()

    list(steps())


def forking_with_a_permit(breaker: CircuitBreaker, fork: Callable[[], object]) -> None:
    permit = breaker.acquire()
    fork()
    permit.success()


@pytest.mark.parametrize(
    "way",
    [forking_in_a_block, forking_in_a_call, forking_in_a_generator, forking_with_a_permit],
    ids=lambda f: f.__name__,
)
def test_a_call_that_forks_ends_in_both_processes(clock: ManualClock, way: Callable[..., None]) -> None:
    """E9, E2: each settles its own trial."""
    breaker = make_due(clock)
    children: list[int] = []
    way(breaker, lambda: children.append(os.fork()))
    well = breaker.state is CircuitState.CLOSED and breaker.metrics().total_successes == 1
    if children == [0]:  # pragma: no cover - the child's coverage is not collected
        os._exit(not (well and attempt(breaker) == "fine"))
    assert well
    assert exit_of_child(children[0]) == 0


@pytest.mark.parametrize("where", ["predicate", "policy", "strategy", "listener", "finalizer"])
def test_own_code_that_forks_leaves_both_processes_a_circuit(clock: ManualClock, where: str) -> None:
    """E9: the policy and the strategy run in the middle of a change, with the lock held."""
    children: list[int] = []

    def fork(what: str) -> bool:
        if what == where and not children:
            children.append(os.fork())
        return True

    class Policy:
        def watch(self) -> Policy:
            return self

        def see(self, outcome: Outcome) -> str | None:
            return "seen" if fork("policy") and outcome.failed else None

    class Finalized(Boom):
        def __del__(self) -> None:
            fork("finalizer")

    breaker = CircuitBreaker(
        trip=Policy(),
        is_failure=lambda error: fork("predicate"),
        reset_timeout=lambda opening: 30.0 * fork("strategy"),
        on_state_change=lambda change: fork("listener"),
        clock=clock,
    )
    with pytest.raises(Boom):
        breaker.call(raise_it, Finalized)
    gc.collect()
    well = breaker.state is CircuitState.OPEN and breaker.metrics().total_failures == 1
    well = well and attempt(breaker) == "CircuitOpenError" and recovers(breaker, clock)
    if children == [0]:  # pragma: no cover - the child's coverage is not collected
        os._exit(not well)
    assert well
    assert exit_of_child(children[0]) == 0


def raise_it(kind: type[Exception]) -> None:
    raise kind
