"""Listeners, what finalizers leave, metrics, and breakers by key."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from circuitbreaker import CircuitState, Outcome, Permit, circuit

from .scenario import EverySecond, Scene, scenario
from .subject import Boom, Pause, Result, Subject, require

# Listeners, and what is left for later


@scenario(1, 2)
def transitions_are_told_while_others_are_made(pause: Pause) -> Scene:
    """E5: the listener may be stopped too, and uses the breaker."""
    subject = Subject(pause)

    def listen(event: object) -> None:
        pause()
        subject.breaker.metrics()

    subject.breaker.on("state_change", listen)
    return Scene({"open": subject.breaker.open, "reset": subject.breaker.reset}, subject.result)


@scenario(0, 1)
def three_transitions_at_once(pause: Pause) -> Scene:
    """E5."""
    subject = Subject(pause)
    subject.breaker.open()
    operations = {"reset": subject.breaker.reset, "open": subject.breaker.open, "a call fails": subject.fails}
    return Scene(operations, subject.result)


@scenario(1, 2)
def a_call_beside_a_new_listener(pause: Pause) -> Scene:
    """E5: a call that began before is not told of; no call is told of twice."""
    subject = Subject(pause)
    told: list[object] = []

    def listen() -> None:
        subject.breaker.on("success", told.append)

    def result(ends: list[object]) -> Result:
        require(len(told) <= 1, f"E5: one call was told of {len(told)} times")
        return subject.result(ends)

    return Scene({"a call succeeds": subject.succeeds, "on('success')": listen}, result)


@scenario(1, 2)
def a_dropped_permit_beside_a_failure(pause: Pause) -> Scene:
    """H3, E6: what a finalizer leaves is done by whoever comes next, once."""
    subject = Subject(pause)

    def drop() -> str:
        end = subject.asks([])  # and drops what it gets
        return end if end == "rejected" else subject.end("ignored")

    return Scene({"a permit is dropped": drop, "a call fails": subject.fails}, subject.result)


@scenario(1, 2)
def a_permit_dropped_inside_a_change(pause: Pause) -> Scene:
    """H3, C2: a policy drops a permit; what that leaves is done when the change is."""
    kept: list[Permit] = []

    class Dropping(EverySecond):
        def watch(self) -> Dropping:
            return self

        def see(self, outcome: Outcome) -> str | None:
            if kept:
                kept.clear()
                subject.ended.append("ignored")
            return super().see(outcome)

    subject = Subject(pause, Dropping())
    kept.append(subject.breaker.acquire())
    return Scene({"a call fails": subject.fails, "another fails": subject.fails}, subject.result)


@scenario(1, 2)
def metrics_beside_a_success(pause: Pause) -> Scene:
    """E6: what they show is of one moment: a success has its time."""
    subject = Subject(pause)

    def look() -> int:
        metrics = subject.breaker.metrics()
        if metrics.total_successes:
            require(metrics.last_success_time, "E6: a success without its time")
        return metrics.total_calls

    return Scene({"a call succeeds": subject.succeeds, "metrics": look}, subject.result)


# Keys


def _by_key(subject: Subject, maxsize: int) -> Any:
    return circuit(key=lambda key, fails=False: key, maxsize=maxsize, registry=None, failure_threshold=1)(
        lambda key, fails=False: subject.service(Boom() if fails else None)
    )


@scenario(1, 2)
def two_threads_meet_a_new_key(pause: Pause) -> Scene:
    """One breaker is made, and counts both."""
    subject = Subject(pause)
    guarded = _by_key(subject, 2)

    def result(ends: list[object]) -> Result:
        require(guarded.breakers["a"].metrics().total_successes == 2, "E6: two breakers were made for one key")
        return subject.result(ends)

    return Scene({"a call by a": lambda: guarded("a"), "another by a": lambda: guarded("a")}, result)


@scenario(1, 1)
def two_new_keys_for_one_place(pause: Pause) -> Scene:
    """E7, C3: past `maxsize` one is dropped, and both calls get their results."""
    subject = Subject(pause)
    guarded = _by_key(subject, 1)
    guarded("a")

    def result(ends: list[object]) -> Result:
        require(ends == ["result", "result"], f"C3: the callers got {ends}")
        require(len(guarded.breakers) == 1, f"E7: {len(guarded.breakers)} breakers are kept")
        return subject.result(ends)

    return Scene({"a call by b": lambda: guarded("b"), "a call by c": lambda: guarded("c")}, result)


@scenario(0, 1)
def an_open_key_and_two_new_ones_for_one_place(pause: Pause) -> Scene:
    """O1: a breaker that is open is not dropped, so there are two."""
    subject = Subject(pause)
    guarded = _by_key(subject, 1)
    with suppress(Boom):
        guarded("a", fails=True)

    def result(ends: list[object]) -> Result:
        require(guarded.breakers["a"].state is CircuitState.OPEN, "O1: an open breaker was dropped")
        require(len(guarded.breakers) == 2, f"E7: {len(guarded.breakers)} breakers are kept")
        return subject.result(ends)

    return Scene({"a call by b": lambda: guarded("b"), "a call by c": lambda: guarded("c")}, result)
