"""Two or three threads in a closed circuit, and what trips it."""

from __future__ import annotations

from functools import partial

from circuitbreaker import CircuitState, ConsecutiveFailures, FailureRate, SlowCallRate

from .scenario import EverySecond, Scene, scenario
from .subject import Boom, Pause, Result, Subject, require


@scenario(2, 3)
def two_successes(pause: Pause) -> Scene:
    """C1, E6: both go the way without a lock."""
    subject = Subject(pause)
    return Scene({"a call succeeds": subject.succeeds, "another succeeds": subject.succeeds}, subject.result)


@scenario(1, 2)
def three_successes(pause: Pause) -> Scene:
    """C1, E6."""
    subject = Subject(pause)
    names = "a call succeeds", "another succeeds", "a third succeeds"
    return Scene(dict.fromkeys(names, subject.succeeds), subject.result)


@scenario(1, 2, loose="failure_count")
def a_success_beside_a_trip(pause: Pause) -> Scene:
    """C2, E1, E6: the success is in its period, late, or refused; it is counted once in any case.

    A success between the failure's number and the period's end makes the run of failures 0: it came after the failure.
    """
    subject = Subject(pause)
    return Scene({"a call succeeds": subject.succeeds, "a call fails and trips": subject.fails}, subject.result)


@scenario(1, 2)
def two_failures_that_each_would_trip(pause: Pause) -> Scene:
    """C2, C3, E5: one of them trips, the other is late or refused."""
    subject = Subject(pause)
    return Scene({"a call fails": subject.fails, "another fails": subject.fails}, subject.result)


@scenario(1, 2)
def two_failures_that_trip_together(pause: Pause) -> Scene:
    """C2: the policy sees both, and trips at the second."""
    subject = Subject(pause, ConsecutiveFailures(2))

    def result(ends: list[object]) -> Result:
        seen = subject.result(ends)
        require(len(subject.changes) == 1, f"C2: it opened {len(subject.changes)} times")
        return seen

    return Scene({"a call fails": subject.fails, "another fails": subject.fails}, result)


@scenario(1, 2)
def two_successes_that_complete_the_minimum(pause: Pause) -> Scene:
    """C2: the success that makes the window large enough is shown to the policy, without a lock before."""
    subject = Subject(pause, FailureRate(0.5, calls=10, minimum_calls=4))
    subject.fails()
    subject.fails()
    return Scene({"a call succeeds": subject.succeeds, "another succeeds": subject.succeeds}, subject.result)


@scenario(1, 2, loose="seen")
def a_success_that_completes_the_minimum_beside_the_next(pause: Pause) -> Scene:
    """C2: both are due. If the later is shown first, it is taken for the earlier: 2 of 4 failed, not 2 of 5."""
    subject = Subject(pause, FailureRate(0.5, calls=10, minimum_calls=4))
    for end in (subject.fails, subject.fails, subject.succeeds):
        end()

    def result(ends: list[object]) -> Result:
        seen = subject.result(ends)
        require(seen.metrics.state is CircuitState.OPEN, "C2: 2 of 4 failed, and it is not open")
        return seen

    return Scene({"a call succeeds": subject.succeeds, "another succeeds": subject.succeeds}, result)


@scenario(1, 2, loose="seen")
def a_success_in_a_new_slot_beside_a_failure(pause: Pause) -> Scene:
    """C2: a window of seconds asks for the success that opens a slot, unless a failure opens it first."""
    subject = Subject(pause, FailureRate(0.5, seconds=10, minimum_calls=4))
    subject.fails()
    subject.succeeds()
    subject.clock.advance(1)
    return Scene({"a call succeeds": subject.succeeds, "a call fails": subject.fails}, subject.result)


@scenario(1, 2)
def a_policy_of_the_users_own_sees_all(pause: Pause) -> Scene:
    """C2, E4."""
    subject = Subject(pause, EverySecond())
    return Scene({"a call succeeds": subject.succeeds, "a call fails": subject.fails}, subject.result)


@scenario(1, 2)
def ignored_beside_a_trip(pause: Pause) -> Scene:
    """E3, E6."""
    subject = Subject(pause)
    return Scene({"a call is ignored": subject.ignored, "a call fails and trips": subject.fails}, subject.result)


@scenario(0, 1, loose="failure_count")
def success_failure_and_reset(pause: Pause) -> Scene:
    """C2, E1, M1. Loose as `a_success_beside_a_trip` is."""
    subject = Subject(pause)
    operations = {"a call succeeds": subject.succeeds, "a call fails": subject.fails, "reset": subject.breaker.reset}
    return Scene(operations, subject.result)


@scenario(1, 2, loose="failure_count")
def two_coroutines(pause: Pause) -> Scene:
    """C1, C3, E6: coroutines, stepped by two threads. Loose as `a_success_beside_a_trip` is."""
    subject = Subject(pause)

    @subject.breaker
    async def guarded(error: BaseException | None = None) -> str:
        return subject.service(error)

    def step(error: BaseException | None = None) -> str:
        try:
            guarded(error).send(None)
        except StopIteration as stop:
            return str(stop.value)
        raise AssertionError("it waits")

    fails = partial(subject.calls, step, Boom())
    return Scene({"a coroutine succeeds": partial(subject.calls, step), "one fails and trips": fails}, subject.result)


@scenario(1, 2)
def a_slow_call_beside_a_success(pause: Pause) -> Scene:
    """C2: a slow success takes its number under the lock."""
    subject = Subject(pause, SlowCallRate(0.5, slower_than=1, calls=10, minimum_calls=2))
    permit = subject.breaker.acquire()
    subject.clock.advance(2)
    return Scene({"a slow call": lambda: subject.settles(permit), "a call succeeds": subject.succeeds}, subject.result)
