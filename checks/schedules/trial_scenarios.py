"""Permits that two threads settle, and trials that several ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from circuitbreaker import CircuitState, Permit

from .scenario import Scene, opened_and_due, scenario
from .subject import Boom, Pause, Result, Subject, require, totals

# Permits


@scenario(1, 2)
def a_permit_settled_by_two_threads(pause: Pause) -> Scene:
    """E2: one of them settles it."""
    subject = Subject(pause)
    permit = subject.breaker.acquire()
    return _one_settles(subject, permit.success, lambda: permit.failure(Boom()))


@scenario(1, 2)
def a_trials_permit_settled_by_two_threads(pause: Pause) -> Scene:
    """E2, H2: the circuit closes or opens again, by one of them."""
    subject = opened_and_due(pause)
    permit = subject.breaker.acquire()
    return _one_settles(subject, permit.success, lambda: permit.failure(Boom()))


@scenario(1, 2)
def a_trials_permit_settled_and_given_back(pause: Pause) -> Scene:
    """E2, H3: by `settle`, which asks the user's predicates before, and by `release`."""
    subject = opened_and_due(pause)
    permit = subject.breaker.acquire()
    return _one_settles(subject, permit.release, lambda: permit.settle(Boom()))


def _one_settles(subject: Subject, one: Callable[[], None], other: Callable[[], None]) -> Scene:
    before = Counter(totals(subject.breaker.metrics()))

    def result(ends: list[object]) -> Result:
        settled = Counter(totals(subject.breaker.metrics())) - before
        require(settled.total() == 1, f"E2: one permit was counted as {dict(settled)}")
        subject.ended.extend(settled)
        return subject.result(ends)

    return Scene({"one settles it": one, "another settles it": other}, result)


@scenario(1, 2, loose="failure_count")
def a_permits_success_beside_a_trip(pause: Pause) -> Scene:
    """E1, E6: the success was under way before, so it counts in any case. Loose as `a_success_beside_a_trip` is."""
    subject = Subject(pause)
    permit = subject.breaker.acquire()
    return Scene(
        {"a permit's success": lambda: subject.settles(permit), "a call fails and trips": subject.fails}, subject.result
    )


# Half-open


def _trials(pause: Pause, threads: int, attempts: int) -> Scene:
    subject = opened_and_due(pause, half_open_max_attempts=attempts, success_threshold=attempts)
    out: list[Permit] = []

    def result(ends: list[object]) -> Result:
        require(len(out) == attempts, f"H1: {len(out)} trials went out; {attempts} may")
        for permit in out:
            subject.settles(permit)
        require(subject.breaker.state is CircuitState.CLOSED, "H2: the trials succeeded, and it did not close")
        return subject.result(ends)

    names = "a call asks", "another asks", "a third asks"
    return Scene(dict.fromkeys(names[:threads], lambda: subject.asks(out)), result)


@scenario(1, 2)
def two_threads_ask_for_one_trial(pause: Pause) -> Scene:
    """H1, O3, E5: the open period has just ended; one thread makes the circuit half-open, and gets the trial."""
    return _trials(pause, 2, 1)


@scenario(0, 1)
def three_threads_ask_for_two_trials(pause: Pause) -> Scene:
    """H1."""
    return _trials(pause, 3, 2)


@scenario(1, 2)
def a_trial_succeeds_and_another_fails(pause: Pause) -> Scene:
    """H2: each call finds it open and due, half-open, or moved on by the other."""
    subject = opened_and_due(pause, half_open_max_attempts=2)
    return Scene({"a call succeeds": subject.succeeds, "a call fails": subject.fails}, subject.result)


@scenario(1, 2)
def two_trials_close_together(pause: Pause) -> Scene:
    """H2, E5: two successes are wanted."""
    subject = opened_and_due(pause, half_open_max_attempts=2, success_threshold=2)
    return Scene({"a call succeeds": subject.succeeds, "another succeeds": subject.succeeds}, subject.result)


@scenario(1, 2)
def a_trial_that_stayed_out_beside_the_next(pause: Pause) -> Scene:
    """H4: the attempt goes to the next call, and the old trial's success counts."""
    subject = opened_and_due(pause, half_open_max_attempts=1)
    permit = subject.breaker.acquire()
    subject.clock.advance(10)
    old = "the old trial succeeds"
    return Scene({old: lambda: subject.settles(permit), "a call succeeds": subject.succeeds}, subject.result)
