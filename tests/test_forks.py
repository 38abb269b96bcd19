"""Fork: parent and child both have a working circuit, wherever it was when the process split."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from circuitbreaker import CircuitBreaker, CircuitState, ManualClock, Outcome

from .support import Boom, attempt, exit_of_child, make_due, recovers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
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
