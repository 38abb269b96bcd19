"""The breaker that the threads use, what they know of it, and what must be so when they are done."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    ManualClock,
    Metrics,
    Outcome,
    Permit,
    StateChange,
)
from circuitbreaker._engine.watches import SparseWatch
from circuitbreaker.policies import _BuiltIn, begin

__all__ = ["Boom", "Pause", "Result", "Subject", "require", "totals"]

Pause = Callable[[], None]
"""A point in a user's own code where its thread may be stopped."""


class Boom(Exception):
    """The dependency's failure."""


def require(truth: object, promise: str) -> None:
    """Raise an `AssertionError` that names the promise, if it is broken."""
    if not truth:
        raise AssertionError(promise)


@dataclass(frozen=True)
class Result:
    """All that can be seen of a breaker when the threads are done. Two orders that lead to the same are equal."""

    ends: tuple[Hashable, ...]
    metrics: Metrics
    changes: tuple[tuple[str, str, str], ...]
    seen: tuple[tuple[Outcome, ...], ...]

    def differences(self, other: Result) -> list[str]:
        """What is not the same in `other`, field by field."""
        mine, theirs = self._flat(), other._flat()
        return [f"{name}: {mine[name]} instead of {theirs[name]}" for name in mine if mine[name] != theirs[name]]

    def without(self, loose: tuple[str, ...]) -> Hashable:
        """What is compared, if these fields are not."""
        return tuple(value for name, value in self._flat().items() if name not in loose)

    def _flat(self) -> dict[str, object]:
        flat: dict[str, object] = {each.name: getattr(self, each.name) for each in fields(self)}
        del flat["metrics"]
        return flat | {name: getattr(self.metrics, name) for name in self.metrics._fields}


class Subject:
    """A breaker with a clock, and all that it told."""

    def __init__(self, pause: Pause, policy: Any = None, **options: Any) -> None:
        self.pause = pause
        self.clock = ManualClock(1000.0)
        self.problems: list[str] = []
        self.policy = _Recorded(policy or ConsecutiveFailures(1), self)
        self.changes: list[StateChange] = []
        self.ended: list[str] = []
        given = {"ignore": LookupError, "reset_timeout": 10, **options}
        self.breaker = CircuitBreaker(
            "subject", registry=None, trip=self.policy, clock=self.clock, on_state_change=self.changes.append, **given
        )
        self.guarded = self.breaker(self.service)

    def service(self, error: BaseException | None = None) -> str:
        """What is guarded: its thread may be stopped in it."""
        self.pause()
        if error is not None:
            raise error
        return "result"

    # What the threads do: each says how it ended

    def calls(self, way: Callable[..., Any], error: BaseException | None = None) -> str:
        """One call, which must bring back its own result or error (C3)."""
        try:
            result = way() if error is None else way(error)
        except CircuitOpenError:
            return self.end("rejected")
        except BaseException as caught:
            require(caught is error, f"C3: the caller gets {caught!r} instead of {error!r}")
            return self.end("ignored" if isinstance(caught, LookupError) else "failure")
        require(error is None and result == "result", f"C3: the caller gets {result!r} instead of {error!r}")
        return self.end("success")

    def succeeds(self) -> str:
        """A decorated call that succeeds."""
        return self.calls(self.guarded)

    def fails(self) -> str:
        """A decorated call that fails."""
        return self.calls(self.guarded, Boom())

    def ignored(self) -> str:
        """A decorated call that ends without a verdict."""
        return self.calls(self.guarded, LookupError())

    def block(self, error: BaseException | None = None) -> str:
        """A call in a `with` block."""
        with self.breaker:
            return self.service(error)

    def block_succeeds(self) -> str:
        """A block that ends well."""
        return self.calls(self.block)

    def block_fails(self) -> str:
        """A block that raises."""
        return self.calls(self.block, Boom())

    def asks(self, out: list[Permit]) -> str:
        """Asks for a permit, to be settled later."""
        try:
            out.append(self.breaker.acquire())
        except CircuitOpenError:
            return self.end("rejected")
        return "admitted"

    def settles(self, permit: Permit) -> str:
        """A permit's success."""
        permit.success()
        return self.end("success")

    def end(self, end: str) -> str:
        """A call ended so."""
        self.ended.append(end)
        return end

    # What must be so

    def result(self, ends: list[object]) -> Result:
        """Check what holds whatever the order was, and give what can be seen."""
        for end in ends:
            require(not isinstance(end, BaseException), f"C3: a thread ended by {end!r}")
        require(not self.breaker._circuit.listeners.queued, "E5: a transition was not told, and nobody is at it")
        metrics = self.breaker.metrics()
        self._check_totals(metrics)
        self._check_changes()
        self._check_rest()
        changes = tuple((each.old_state.value, each.new_state.value, each.reason) for each in self.changes)
        seen = tuple(tuple(watch.seen) for watch in self.policy.watches)
        return Result(tuple(ends), metrics, changes, seen)

    def _check_totals(self, metrics: Metrics) -> None:
        counted = totals(metrics)
        took_place = {name: self.ended.count(name) for name in counted}
        require(counted == took_place, f"E6: it counted {_differing(counted, took_place)}")
        succeeded = metrics.total_successes > 0
        require((metrics.last_success_time is not None) == succeeded, "E6: the time of the last success is lost")

    def _check_changes(self) -> None:
        states = [CircuitState.CLOSED, *(each.new_state for each in self.changes)]
        told = all(earlier.new_state is later.old_state for earlier, later in pairwise(self.changes))
        told = told and all(each.old_state is before for each, before in zip(self.changes, states, strict=False))
        require(told and states[-1] is self.breaker.state, f"E5: told in another order, or not once: {self.changes}")

    def _check_rest(self) -> None:
        circuit = self.breaker._circuit
        require(not self.problems, "; ".join(self.problems))
        require(not circuit.turns.later, "what was left to be run was not run")
        require(not circuit.user_code.raised, "E4: what the user's code raised was not logged")
        blocks = self.breaker._blocks
        require(not blocks._entries and not (blocks.common and blocks.common.blocks), "W4: a block's entry was left")


def totals(metrics: Metrics) -> dict[str, int]:
    """How many calls ended in each way."""
    return {
        "success": metrics.total_successes,
        "failure": metrics.total_failures,
        "rejected": metrics.total_rejections,
        "ignored": metrics.total_ignored,
    }


def _differing(counted: dict[str, int], took_place: dict[str, int]) -> str:
    wrong = [name for name in counted if counted[name] != took_place[name]]
    return ", ".join(f"{counted[name]} of {took_place[name]} calls that ended as {name}" for name in wrong)


class _Recorded(_BuiltIn):
    """A policy that remembers what each of its watches was shown."""

    __slots__ = ("policy", "subject", "watches")
    policy: Any
    subject: Subject
    watches: list[_RecordedWatch]

    def __init__(self, policy: Any, subject: Subject) -> None:
        self._set(policy=policy, subject=subject, watches=[])

    def _begin(self, run: Callable[..., Any]) -> SparseWatch:
        watch = _RecordedWatch(begin(self.policy, run), self.subject)
        self.watches.append(watch)
        return watch


class _RecordedWatch(SparseWatch):
    """As the watch inside it, with a check that each outcome comes once, and none after the period's end (C2, E1)."""

    __slots__ = ("_inner", "_subject", "next_number", "next_time", "seen", "slower_than")

    def __init__(self, inner: SparseWatch, subject: Subject) -> None:
        self._inner = inner
        self._subject = subject
        self.seen: list[Outcome] = []
        self.next_number, self.next_time, self.slower_than = inner.next_number, inner.next_time, inner.slower_than

    def see(self, outcome: Outcome) -> str | None:
        subject = self._subject
        if any(each.number == outcome.number for each in self.seen):
            subject.problems.append(f"C2: the policy saw number {outcome.number} twice")
        if subject.breaker.state is not CircuitState.CLOSED or subject.policy.watches[-1] is not self:
            subject.problems.append(f"E1: the policy saw number {outcome.number} when its period had ended")
        self.seen.append(outcome._replace(error=None))  # Errors are never equal.
        reason = self._inner.see(outcome)
        self.next_number, self.next_time = self._inner.next_number, self._inner.next_time
        return reason
