"""C1 to C3: the closed circuit."""

from __future__ import annotations

import asyncio
import threading

import pytest

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock, Outcome, StateChange

from .support import Boom, attempt, fail, in_threads, succeed, trip


def test_closed_circuit_admits_every_call_at_any_concurrency() -> None:
    """C1: thirty calls are inside at once."""
    breaker = CircuitBreaker()
    inside = threading.Barrier(30)

    in_threads(30, lambda: breaker.call(inside.wait, 10))

    assert breaker.metrics().total_successes == 30


async def test_closed_circuit_admits_a_thousand_tasks_at_once() -> None:
    """C1"""
    breaker = CircuitBreaker()
    inside = 0
    everybody = asyncio.Event()

    @breaker
    async def work() -> None:
        nonlocal inside
        inside += 1
        if inside == 1000:
            everybody.set()
        await everybody.wait()

    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(1000))), 30)
    assert breaker.metrics().total_successes == 1000


@pytest.mark.parametrize("way", ["call", "block", "permit", "decorator"])
def test_nothing_is_held_while_user_code_runs(way: str) -> None:
    """C1: another thread uses the breaker in every way while a call is inside."""
    breaker = CircuitBreaker(failure_threshold=2)

    def other() -> None:
        thread = threading.Thread(target=lambda: (breaker.metrics(), attempt(breaker, fail), breaker.reset()))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

    if way == "call":
        breaker.call(other)
    elif way == "block":
        with breaker:
            other()
    elif way == "permit":
        with breaker.acquire():
            other()
    else:
        breaker(other)()


def test_it_opens_once_when_the_policy_says_so(clock: ManualClock) -> None:
    """C2"""
    changes: list[StateChange] = []
    breaker = CircuitBreaker(failure_threshold=3, on_state_change=changes.append, clock=clock)

    assert [attempt(breaker, fail) for _ in range(4)] == ["Boom", "Boom", "Boom", "CircuitOpenError"]
    assert [(each.old_state, each.new_state) for each in changes] == [(CircuitState.CLOSED, CircuitState.OPEN)]


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = CircuitBreaker(failure_threshold=2)
    for _ in range(5):
        attempt(breaker, fail)
        attempt(breaker, succeed)
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().failure_count == 0


def test_calls_that_fail_together_open_the_circuit_once() -> None:
    """C2, under threads: each of them is over the threshold, one of them trips."""
    changes: list[StateChange] = []
    breaker = CircuitBreaker(failure_threshold=5, on_state_change=changes.append)
    inside = threading.Barrier(30)

    def work() -> None:
        with pytest.raises(Boom), breaker:
            inside.wait(10)
            raise Boom

    in_threads(30, work)

    assert len(changes) == 1
    assert breaker.metrics().total_failures == 30


class Recorder:
    """A policy that opens at the fourth failure and remembers what its watches saw."""

    def __init__(self) -> None:
        self.seen: list[list[Outcome]] = []

    def watch(self) -> Recorder:
        self.seen.append([])
        return self

    def see(self, outcome: Outcome) -> str | None:
        self.seen[-1].append(outcome)
        return "four" if sum(each.failed for each in self.seen[-1]) == 4 else None


def test_the_policy_sees_each_outcome_once_while_its_period_lasts(clock: ManualClock) -> None:
    """C2: late results are not shown, neither to the old watch nor to the new one."""
    policy = Recorder()
    breaker = CircuitBreaker(trip=policy, clock=clock, reset_timeout=10)
    policy.seen.clear()
    breaker.reset()
    late, late_failure = breaker.acquire(), breaker.acquire()

    attempt(breaker, succeed)
    clock.advance(1)
    trip(breaker)
    late.success()
    late_failure.failure(Boom())
    clock.advance(10)
    attempt(breaker, succeed)  # the trial, which closes

    assert [(each.number, each.failed, each.streak) for each in policy.seen[0]] == [
        (1, False, 0),
        (2, True, 1),
        (3, True, 2),
        (4, True, 3),
        (5, True, 4),
    ]
    assert [each.at for each in policy.seen[0]] == [1000.0, 1001.0, 1001.0, 1001.0, 1001.0]
    assert policy.seen[1] == []
    assert breaker.metrics().total_calls == 8


@pytest.mark.parametrize("threshold", [1, 2])
def test_the_users_own_exception_reaches_the_caller_untouched(threshold: int) -> None:
    """C3: the same object, with the user's own cause and traceback, also from the call that trips."""
    breaker = CircuitBreaker(failure_threshold=threshold)
    cause = KeyError("why")
    original = Boom("what")

    def work() -> None:
        raise original from cause

    with pytest.raises(Boom) as caught:
        breaker(work)()

    assert caught.value is original
    assert original.__cause__ is cause
    assert original.__context__ is None
    assert caught.traceback[-1].name == "work"


def test_a_refusal_of_a_class_of_ones_own_reaches_the_caller_untouched() -> None:
    """C3: though its `__init__` is not that of its base, and it knows of no circuit."""

    class Down(CircuitOpenError):
        def __init__(self, text: str) -> None:
            Exception.__init__(self, text)

    breaker = CircuitBreaker(failure_threshold=1, is_failure=CircuitOpenError)
    original = Down("for repairs")

    def work() -> None:
        raise original

    with pytest.raises(Down) as caught:
        breaker(work)()
    assert caught.value is original
    assert breaker.state is CircuitState.OPEN
