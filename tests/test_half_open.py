"""H1 to H4: the half-open circuit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock, Permit, StateChange

from .support import Boom, attempt, collect_on_pypy, fail, fail_async, frequent_switches, in_threads, succeed, trip


@pytest.fixture
def half_open(clock: ManualClock) -> Callable[..., CircuitBreaker]:
    """Makes a breaker that is due for its first trial."""

    def make(**options: object) -> CircuitBreaker:
        given = {"failure_threshold": 1, "reset_timeout": 30, "clock": clock, **options}
        breaker = CircuitBreaker(**given)  # type: ignore[arg-type]
        trip(breaker)
        clock.advance(30)
        return breaker

    return make


Make = Callable[..., CircuitBreaker]


def permits(breaker: CircuitBreaker, many: int) -> list[Permit]:
    return [breaker.acquire() for _ in range(many)]


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_half_open_admits_at_most_its_attempts(half_open: Make, attempts: int) -> None:
    """H1"""
    breaker = half_open(half_open_max_attempts=attempts)
    out = permits(breaker, attempts)
    for _ in range(10):
        with pytest.raises(CircuitOpenError):
            breaker.acquire()
    assert breaker.metrics().total_rejections == 10
    assert len(out) == attempts


def test_finished_trials_use_up_their_attempts(half_open: Make) -> None:
    """H1: out or finished."""
    breaker = half_open(half_open_max_attempts=3, success_threshold=3)
    attempt(breaker)
    attempt(breaker)
    trial = breaker.acquire()
    assert attempt(breaker) == "CircuitOpenError"
    trial.success()
    assert breaker.state is CircuitState.CLOSED


def test_a_finished_trial_never_gives_its_attempt_to_another(half_open: Make, clock: ManualClock) -> None:
    """H1, H4: only a trial that is still out does, however long ago the others ended."""
    breaker = half_open(half_open_max_attempts=3, success_threshold=3)
    attempt(breaker)
    attempt(breaker)
    clock.advance(60)
    trial = breaker.acquire()
    assert attempt(breaker) == "CircuitOpenError"
    trial.success()
    assert breaker.state is CircuitState.CLOSED


def test_thirty_threads_get_no_more_trials_than_there_are_attempts(half_open: Make) -> None:
    """H1, under threads: the service sees three calls while they last."""
    breaker = half_open()
    reached: list[int] = []
    all_refused = threading.Event()

    def service() -> None:
        reached.append(1)
        assert all_refused.wait(10)  # A trial stays out until everybody else was refused.

    def work() -> None:
        try:
            breaker.call(service)
        except CircuitOpenError:
            if breaker.metrics().total_rejections == 27:
                all_refused.set()

    with frequent_switches():
        in_threads(30, work)

    assert len(reached) == 3
    assert breaker.metrics().total_rejections == 27


async def test_a_thousand_tasks_get_no_more_trials_than_there_are_attempts(half_open: Make) -> None:
    """H1, under tasks."""
    breaker = half_open()
    reached = 0
    done = asyncio.Event()

    @breaker
    async def service() -> None:
        nonlocal reached
        reached += 1
        await done.wait()

    tasks = [asyncio.ensure_future(service()) for _ in range(1000)]
    while breaker.metrics().total_rejections < 997:
        await asyncio.sleep(0)
    done.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert reached == 3
    assert sum(isinstance(result, CircuitOpenError) for result in results) == 997
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_enough_successful_trials_close_the_circuit(half_open: Make, threshold: int) -> None:
    """H2"""
    breaker = half_open(success_threshold=threshold)
    for done in range(threshold):
        assert breaker.metrics().success_count == done
        attempt(breaker)
    assert breaker.state is CircuitState.CLOSED
    assert breaker.metrics().success_count == 0
    assert breaker.metrics().failure_count == 0


async def test_a_failed_trial_of_a_coroutine_function_opens_it_again(half_open: Make) -> None:
    """H2"""
    breaker = half_open()
    with pytest.raises(Boom):
        await breaker(fail_async)()
    assert breaker.state is CircuitState.OPEN


def test_failures_in_a_row_are_counted_from_the_closed_circuit_on(clock: ManualClock) -> None:
    breaker = CircuitBreaker(failure_threshold=3, clock=clock)
    trip(breaker)
    assert breaker.metrics().failure_count == 3
    clock.advance(30)
    trial = breaker.acquire()
    assert breaker.metrics().failure_count == 3
    trial.failure(Boom())
    assert breaker.metrics().failure_count == 4
    clock.advance(30)
    attempt(breaker)
    assert breaker.metrics().failure_count == 0


@pytest.mark.parametrize(("threshold", "reason"), [(1, "1 trial succeeded"), (2, "2 trials succeeded")])
def test_the_change_to_closed_says_how_many_trials_succeeded(half_open: Make, threshold: int, reason: str) -> None:
    changes: list[StateChange] = []
    breaker = half_open(success_threshold=threshold, on_state_change=changes.append)
    for _ in range(threshold):
        attempt(breaker)
    assert changes[-1].reason == reason


def test_one_failed_trial_opens_it_again(half_open: Make, clock: ManualClock) -> None:
    """H2"""
    breaker = half_open(success_threshold=3)
    attempt(breaker)
    attempt(breaker)
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN
    assert breaker.metrics().failure_count == 1  # in a row: two trials had succeeded
    clock.advance(30)
    attempt(breaker, fail)
    assert breaker.metrics().failure_count == 2
    assert breaker.metrics().reason == "a trial failed: Boom: out of order"
    assert attempt(breaker) == "CircuitOpenError"
    clock.advance(30)
    assert attempt(breaker) == "fine"
    assert breaker.metrics().success_count == 1


def ignored(breaker: CircuitBreaker) -> None:
    with pytest.raises(LookupError), breaker:
        raise LookupError


def interrupted(breaker: CircuitBreaker) -> None:
    with pytest.raises(KeyboardInterrupt), breaker:
        raise KeyboardInterrupt


def exited(breaker: CircuitBreaker) -> None:
    with pytest.raises(SystemExit):
        breaker.call(lambda: (_ for _ in ()).throw(SystemExit))


def closed_generator(breaker: CircuitBreaker) -> None:
    @breaker
    def steps() -> object:
        yield 1

    running = steps()
    next(running)  # type: ignore[call-overload]
    running.close()  # type: ignore[attr-defined]


def released(breaker: CircuitBreaker) -> None:
    breaker.acquire().release()


def dropped(breaker: CircuitBreaker) -> None:
    breaker.acquire()
    collect_on_pypy()


def cancelled(breaker: CircuitBreaker) -> None:
    async def main() -> None:
        started = asyncio.Event()

        @breaker
        async def hang() -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(hang())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize(
    "neutral", [ignored, interrupted, exited, closed_generator, released, dropped, cancelled], ids=lambda f: f.__name__
)
def test_a_neutral_trial_gives_its_attempt_back(half_open: Make, neutral: Callable[[CircuitBreaker], None]) -> None:
    """H3"""
    breaker = half_open(ignore=LookupError, half_open_max_attempts=1)
    for times in range(1, 4):
        neutral(breaker)
        assert breaker.state is CircuitState.HALF_OPEN
        assert breaker.metrics().total_ignored == times
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED


def test_a_refusal_by_a_breaker_that_is_no_more_is_a_failure(half_open: Make) -> None:
    """H3: only that of the very same breaker is neutral, and others are made where those were that are gone."""
    refusals = [refusal_by(CircuitBreaker(failure_threshold=1)) for _ in range(20)]
    for _ in range(20):
        breaker = half_open(is_failure=(Exception, CircuitOpenError))
        for refusal in refusals:
            breaker.reset()
            with pytest.raises(CircuitOpenError), breaker:
                raise refusal
            assert breaker.state is CircuitState.OPEN


def refusal_by(breaker: CircuitBreaker) -> CircuitOpenError:
    breaker.open()
    with pytest.raises(CircuitOpenError) as refused:
        breaker.acquire()
    return refused.value.with_traceback(None)


def test_a_trial_that_stays_out_too_long_gives_its_attempt_to_the_next_call(
    half_open: Make, clock: ManualClock
) -> None:
    """H4: half_open_timeout is as long as the open period was."""
    breaker = half_open(half_open_max_attempts=1)
    breaker.acquire().release()
    kept = breaker.acquire()
    clock.advance(29.9)
    assert attempt(breaker) == "CircuitOpenError"
    clock.advance(0.1)
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED
    kept.failure(Boom())
    assert breaker.state is CircuitState.CLOSED


def test_half_open_timeout_can_be_chosen(half_open: Make, clock: ManualClock) -> None:
    """H4"""
    breaker = half_open(half_open_max_attempts=1, half_open_timeout=5)
    kept = breaker.acquire()
    clock.advance(5)
    with breaker.acquire():
        pass
    assert breaker.state is CircuitState.CLOSED
    kept.release()


def test_an_expired_trial_still_counts_while_the_period_lasts(half_open: Make, clock: ManualClock) -> None:
    """H4: a slow dependency can prove itself."""
    breaker = half_open(half_open_max_attempts=1)
    slow = breaker.acquire()
    clock.advance(100)
    other = breaker.acquire()
    slow.success()
    assert breaker.state is CircuitState.CLOSED
    other.failure(Boom())
    assert breaker.state is CircuitState.CLOSED


def test_an_expired_trial_that_fails_opens_it_again(half_open: Make, clock: ManualClock) -> None:
    """H4, H2"""
    breaker = half_open(half_open_max_attempts=1)
    slow = breaker.acquire()
    clock.advance(100)
    breaker.acquire().release()
    slow.failure(Boom())
    assert breaker.state is CircuitState.OPEN


def test_an_expired_trial_that_is_released_gives_back_what_it_no_longer_has(
    half_open: Make, clock: ManualClock
) -> None:
    """H1, H4: else the period would admit one too many."""
    breaker = half_open(half_open_max_attempts=1)
    slow = breaker.acquire()
    clock.advance(100)
    other = breaker.acquire()
    slow.release()
    assert attempt(breaker) == "CircuitOpenError"
    other.success()


def test_the_oldest_expired_trial_goes_first(half_open: Make, clock: ManualClock) -> None:
    """H4"""
    breaker = half_open(half_open_max_attempts=2, success_threshold=2)
    first = breaker.acquire()
    clock.advance(10)
    second = breaker.acquire()
    clock.advance(20)
    third = breaker.acquire()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == 10.0
    for permit in (first, second, third):
        permit.release()


def test_a_success_with_a_handed_on_attempt_leaves_the_others_their_own(half_open: Make, clock: ManualClock) -> None:
    """H1, H4: the attempt that was handed on is not used up twice."""
    breaker = half_open(half_open_max_attempts=2, success_threshold=2)
    slow = breaker.acquire()
    clock.advance(30)
    second, third = permits(breaker, 2)
    slow.success()
    assert breaker.metrics().success_count == 1
    assert attempt(breaker) == "CircuitOpenError"
    second.release()
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED
    third.release()


def test_nothing_leaves_it_half_open_for_ever(half_open: Make, clock: ManualClock) -> None:
    """H4: all trials are kept by callers who never come back."""
    breaker = half_open()
    kept = permits(breaker, 3)
    for _ in range(10):
        clock.advance(30)
        kept += permits(breaker, 3)
    clock.advance(30)
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED
    assert len(kept) == 33


def test_a_recovered_dependency_is_found_by_concurrent_threads(half_open: Make) -> None:
    """H1, H2 under threads: the circuit ends closed, and its totals add up."""
    breaker = half_open(half_open_max_attempts=2, success_threshold=2)
    with frequent_switches():
        in_threads(16, lambda: [attempt(breaker, succeed) for _ in range(200)])
    metrics = breaker.metrics()
    assert metrics.state is CircuitState.CLOSED
    assert metrics.total_successes + metrics.total_rejections == 16 * 200
    assert metrics.total_calls == 16 * 200 + 1
