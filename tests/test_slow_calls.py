"""E12: slowness is a fact about time, however a call ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from circuitbreaker import (
    CallIgnored,
    CircuitBreaker,
    CircuitState,
    ConsecutiveFailures,
    ExponentialBackoff,
    FailureRate,
    ManualClock,
    SlowCallRate,
    StateChange,
)
from circuitbreaker.clients import ClientGuard

from .support import Boom, attempt, fail, go_on, succeed

SLOW = SlowCallRate(0.5, slower_than=1, calls=4, minimum_calls=2)


class Deadline(BaseException):
    """As a cancellation: it comes from outside of the call."""


@pytest.fixture
def make(clock: ManualClock) -> Callable[..., CircuitBreaker]:
    return lambda **options: CircuitBreaker(**{"trip": SLOW, "reset_timeout": 30, "clock": clock, **options})


Make = Callable[..., CircuitBreaker]


def give_up(breaker: CircuitBreaker, clock: ManualClock, after: float = 5.0) -> None:
    """A call that hangs, and is given up."""
    with pytest.raises(Deadline), breaker:
        clock.advance(after)
        raise Deadline


def slow(breaker: CircuitBreaker, clock: ManualClock, takes: float = 5.0) -> str:
    return attempt(breaker, lambda: clock.advance(takes))


def by_block(breaker: CircuitBreaker, clock: ManualClock, error: BaseException) -> None:
    with breaker:
        clock.advance(5)
        raise error


def by_permit(breaker: CircuitBreaker, clock: ManualClock, error: BaseException) -> None:
    with breaker.acquire():
        clock.advance(5)
        raise error


def by_explicit_failure(breaker: CircuitBreaker, clock: ManualClock, error: BaseException) -> None:
    permit = breaker.acquire()
    clock.advance(5)
    permit.failure(error)
    raise error


def by_function(breaker: CircuitBreaker, clock: ManualClock, error: BaseException) -> None:
    @breaker
    def work() -> None:
        clock.advance(5)
        raise error

    work()


def by_coroutine(breaker: CircuitBreaker, clock: ManualClock, error: BaseException) -> None:
    @breaker
    async def work() -> None:
        clock.advance(5)
        raise error

    asyncio.run(work())


def by_generator(breaker: CircuitBreaker, clock: ManualClock, error: BaseException) -> None:
    @breaker
    def work() -> Iterator[None]:
        yield
        clock.advance(5)
        raise error

    list(work())


def by_async_generator(breaker: CircuitBreaker, clock: ManualClock, error: BaseException) -> None:
    @breaker
    async def work() -> Any:
        yield
        clock.advance(5)
        raise error

    async def main() -> None:
        async for _ in work():
            pass

    asyncio.run(main())


WAYS = [by_block, by_permit, by_explicit_failure, by_function, by_coroutine, by_generator, by_async_generator]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [Deadline(), KeyError()], ids=["cancelled", "ignored"])
def test_a_call_that_was_given_up_too_late_was_slow(
    make: Make, clock: ManualClock, way: Callable[..., None], error: BaseException
) -> None:
    """E12: to the policy. It is ignored in the totals, and in the events."""
    events: list[CallIgnored] = []
    breaker = make(ignore=KeyError)
    breaker.on("ignored", events.append)
    for _ in range(2):
        assert breaker.state is CircuitState.CLOSED
        with pytest.raises(type(error)):
            way(breaker, clock, error)
    metrics = breaker.metrics()
    assert metrics.state is CircuitState.OPEN
    assert metrics.reason == "slow call rate (over 1 s) 100 % of 2 calls, threshold 50 %"
    assert (metrics.total_ignored, metrics.total_failures, metrics.total_successes) == (2, 0, 0)
    assert [(each.duration, each.error) for each in events] == [(5.0, error)] * 2


def test_a_call_that_was_given_up_in_time_says_nothing(make: Make, clock: ManualClock) -> None:
    """E12, E3: not even that there was a call."""
    breaker = make()
    for _ in range(10):
        give_up(breaker, clock, after=1.0)
    slow(breaker, clock)
    assert breaker.state is CircuitState.CLOSED
    slow(breaker, clock)
    assert breaker.state is CircuitState.OPEN


def test_what_did_not_take_place_was_not_slow(make: Make, clock: ManualClock) -> None:
    """E12, H3: a permit that is released or dropped, and a consumer that leaves a generator."""
    breaker = make()

    @breaker
    def work() -> Iterator[int]:
        yield 1

    for _ in range(5):
        permit = breaker.acquire()
        clock.advance(5)
        permit.release()
        permit = breaker.acquire()
        clock.advance(5)
        del permit
        steps = work()
        next(steps)
        clock.advance(5)
        steps.close()  # type: ignore[attr-defined]
    assert breaker.metrics().total_ignored == 15
    assert breaker.state is CircuitState.CLOSED


def test_calls_that_were_given_up_are_in_the_window_among_the_others(make: Make, clock: ManualClock) -> None:
    """E12: of the last 4 calls."""
    breaker = make(trip=SlowCallRate(0.75, slower_than=1, calls=4, minimum_calls=4))
    give_up(breaker, clock)
    give_up(breaker, clock)
    for _ in range(3):
        attempt(breaker)
    give_up(breaker, clock)
    give_up(breaker, clock)
    assert breaker.state is CircuitState.CLOSED
    give_up(breaker, clock)
    assert breaker.metrics().reason == "slow call rate (over 1 s) 75 % of 4 calls, threshold 75 %"


def test_the_success_that_completes_the_minimum_is_seen(make: Make, clock: ManualClock) -> None:
    """E12: calls that were given up count towards it."""
    breaker = make(trip=SlowCallRate(0.5, slower_than=1, calls=10, minimum_calls=4))
    give_up(breaker, clock)
    give_up(breaker, clock)
    attempt(breaker)
    assert breaker.state is CircuitState.CLOSED
    attempt(breaker)
    assert breaker.metrics().reason == "slow call rate (over 1 s) 50 % of 4 calls, threshold 50 %"


def test_a_window_of_seconds_forgets_them(make: Make, clock: ManualClock) -> None:
    """E12"""
    breaker = make(trip=SlowCallRate(0.5, slower_than=1, seconds=20, minimum_calls=2))
    give_up(breaker, clock)
    clock.advance(20)
    give_up(breaker, clock)
    assert breaker.state is CircuitState.CLOSED
    give_up(breaker, clock)
    assert breaker.state is CircuitState.OPEN


def test_other_policies_do_not_see_them(make: Make, clock: ManualClock) -> None:
    """E12, C2: they are no outcomes: they neither thin out failures nor end a series of them."""
    rate = FailureRate(0.5, calls=4, minimum_calls=4)
    breaker = make(trip=rate | SlowCallRate(1.0, slower_than=1, calls=100))
    for function in (fail, succeed, fail):
        attempt(breaker, function)
        give_up(breaker, clock)
    attempt(breaker)
    assert breaker.metrics().reason == "failure rate 50 % of 4 calls, threshold 50 %"
    breaker = make(trip=ConsecutiveFailures(2) | SlowCallRate(1.0, slower_than=1, calls=100))
    attempt(breaker, fail)
    give_up(breaker, clock)
    assert breaker.metrics().failure_count == 1
    attempt(breaker, fail)
    assert breaker.metrics().reason == "2 consecutive failures, threshold 2"


def test_policies_that_must_agree_do_so_on_an_outcome(make: Make, clock: ManualClock) -> None:
    """E12"""
    breaker = make(trip=ConsecutiveFailures(1) & SLOW)
    give_up(breaker, clock)
    give_up(breaker, clock)
    assert breaker.state is CircuitState.CLOSED
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN


def test_each_policy_says_for_itself_what_slow_is(make: Make, clock: ManualClock) -> None:
    """E12"""
    most = SlowCallRate(1.0, slower_than=1, calls=4, minimum_calls=4)
    breaker = make(trip=most | SlowCallRate(1.0, slower_than=9, calls=2, minimum_calls=2))
    for _ in range(3):
        give_up(breaker, clock, after=5)
        assert breaker.state is CircuitState.CLOSED
    give_up(breaker, clock, after=5)
    assert breaker.metrics().reason == "slow call rate (over 1 s) 100 % of 4 calls, threshold 100 %"


def test_one_that_is_given_up_after_its_period_changes_nothing(make: Make, clock: ManualClock) -> None:
    """E1"""
    breaker = make()
    late = [breaker.acquire() for _ in range(5)]
    clock.advance(5)
    breaker.open(0)
    attempt(breaker)
    for permit in late:
        permit.failure(Deadline())
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().total_ignored == 5


def test_they_are_in_snapshots(make: Make, clock: ManualClock) -> None:
    breaker = make(trip=SlowCallRate(0.75, slower_than=1, calls=4, minimum_calls=4))
    for _ in range(3):
        give_up(breaker, clock)
    copy = make(trip=SlowCallRate(0.75, slower_than=1, calls=4, minimum_calls=4))
    go_on(copy, breaker, clock)
    for each in (breaker, copy):
        attempt(each)
        assert each.metrics().reason == "slow call rate (over 1 s) 75 % of 4 calls, threshold 75 %"


# Trials


def opened_by_slow_calls(make: Make, clock: ManualClock, **options: Any) -> CircuitBreaker:
    breaker = make(**options)
    slow(breaker, clock)
    slow(breaker, clock)
    assert breaker.state is CircuitState.OPEN
    clock.advance(30)
    return breaker


def test_a_slow_trial_opens_again_what_slow_calls_opened(make: Make, clock: ManualClock) -> None:
    """E12, H2, O4: it is one more round, and counts as the success that it is."""
    changes: list[StateChange] = []
    breaker = opened_by_slow_calls(make, clock, reset_timeout=ExponentialBackoff(30), on_state_change=changes.append)
    slow(breaker, clock)
    assert changes[-1].reason == "a trial took 5 s, more than 1 s"
    assert changes[-1].retry_after == 60
    assert breaker.metrics().total_successes == 3
    clock.advance(60)
    attempt(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_a_dependency_that_stays_slow_stays_shut_out(make: Make, clock: ManualClock) -> None:
    """E12, H4: it never closes, and never stays half-open: each round admits one call."""
    breaker = opened_by_slow_calls(make, clock)
    for _ in range(20):
        slow(breaker, clock)
        assert breaker.state is CircuitState.OPEN
        clock.advance(30)
    attempt(breaker)
    assert breaker.state is CircuitState.CLOSED


def test_a_trial_that_is_just_as_fast_as_it_may_be_closes(make: Make, clock: ManualClock) -> None:
    """E12"""
    breaker = opened_by_slow_calls(make, clock)
    slow(breaker, clock, takes=1.0)
    assert breaker.state is CircuitState.CLOSED


def test_a_trial_that_is_given_up_too_late_opens_again_too(make: Make, clock: ManualClock) -> None:
    """E12: and one that is given up in time gives its attempt back (H3)."""
    breaker = opened_by_slow_calls(make, clock, half_open_max_attempts=1)
    give_up(breaker, clock, after=1.0)
    assert breaker.state is CircuitState.HALF_OPEN
    give_up(breaker, clock)
    assert breaker.metrics().reason == "a trial took 5 s, more than 1 s"
    assert breaker.state is CircuitState.OPEN
    clock.advance(30)
    trial = breaker.acquire()
    clock.advance(5)
    trial.release()
    assert breaker.state is CircuitState.HALF_OPEN


def test_what_failures_opened_a_slow_trial_closes(make: Make, clock: ManualClock) -> None:
    """E12, H2: also if the policy would have opened for slow calls; and what `open()` opened."""
    breaker = make(trip=ConsecutiveFailures(1) | SLOW)
    attempt(breaker, fail)
    clock.advance(30)
    give_up(breaker, clock)
    assert breaker.state is CircuitState.HALF_OPEN
    slow(breaker, clock)
    assert breaker.state is CircuitState.CLOSED
    breaker.open()
    clock.advance(30)
    slow(breaker, clock)
    assert breaker.state is CircuitState.CLOSED


def test_what_slow_calls_opened_remains_so_until_it_closes(make: Make, clock: ManualClock) -> None:
    """E12: through failed trials, and orders."""
    breaker = opened_by_slow_calls(make, clock)
    attempt(breaker, fail)
    breaker.open(30)
    clock.advance(30)
    slow(breaker, clock)
    assert breaker.state is CircuitState.OPEN
    breaker.reset()
    breaker.open(0)
    slow(breaker, clock)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("trip", "most"),
    [
        (SLOW | SlowCallRate(0.5, slower_than=3, calls=4, minimum_calls=2), 1),
        (SlowCallRate(0.5, slower_than=3, calls=4, minimum_calls=2) & SLOW, 1),
        (SlowCallRate(0.5, slower_than=0.5, calls=9, minimum_calls=9) | SLOW, 1),
        ((SlowCallRate(0.5, slower_than=0.5, calls=4, minimum_calls=1) & ConsecutiveFailures(1)) | SLOW, 1),
    ],
)
def test_the_policies_that_opened_it_say_what_slow_is(make: Make, clock: ManualClock, trip: Any, most: float) -> None:
    """E12: the strictest of them."""
    breaker = opened_by_slow_calls(make, clock, trip=trip)
    slow(breaker, clock, takes=most + 0.1)
    assert breaker.metrics().reason == f"a trial took 1.1 s, more than {most} s"
    clock.advance(30)
    slow(breaker, clock, takes=most)
    assert breaker.state is CircuitState.CLOSED


def test_under_a_hold_a_slow_trial_moves_nothing(make: Make, clock: ManualClock) -> None:
    """M2"""
    breaker = opened_by_slow_calls(make, clock, half_open_max_attempts=2)
    one, other = breaker.acquire(), breaker.acquire()
    breaker.force_closed()
    clock.advance(5)
    one.success()
    other.failure(Deadline())
    assert breaker.state is CircuitState.HALF_OPEN


def test_a_slow_trial_that_comes_late_changes_nothing(make: Make, clock: ManualClock) -> None:
    """E1"""
    breaker = opened_by_slow_calls(make, clock)
    late = [breaker.acquire(), breaker.acquire()]
    attempt(breaker)
    clock.advance(5)
    late[0].success()
    late[1].failure(Deadline())
    assert breaker.state is CircuitState.CLOSED


def test_what_opened_it_is_in_snapshots(make: Make, clock: ManualClock) -> None:
    breaker = opened_by_slow_calls(make, clock)
    copy = make()
    go_on(copy, breaker, clock)
    slow(copy, clock)
    assert copy.state is CircuitState.OPEN


# Clients


def test_a_request_that_is_given_up_too_late_was_slow(clock: ManualClock) -> None:
    """E12: the judge is not asked. A cancellation while the body arrives says nothing if the headers were in time."""
    guard = ClientGuard(
        "test",
        key=lambda request: "k",
        judge=lambda end: None,
        options={"trip": SLOW, "clock": clock, "registry": None},
    )
    for _ in range(3):
        with pytest.raises(Deadline), guard.admit("request") as call:
            call.started()
            clock.advance(5)
            raise Deadline
    breaker = guard.breakers["k"]
    assert breaker.state is CircuitState.CLOSED
    for _ in range(3):
        with pytest.raises(Boom), guard.admit("request"):
            clock.advance(5)
            raise Boom
    assert breaker.state is CircuitState.CLOSED
    for _ in range(2):
        with pytest.raises(Deadline), guard.admit("request"):
            clock.advance(5)
            raise Deadline
    assert breaker.state is CircuitState.OPEN
    assert breaker.metrics().total_ignored == 8
