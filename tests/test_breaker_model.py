"""The breaker against a plain reference model: every way in and out, orders, holds and time, in random order.

What is refused, counted, told and shown must agree after every step. The reference is written from the promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import nullcontext
from contextvars import Context
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from circuitbreaker import CircuitBreaker, CircuitOpenError, ExponentialBackoff, ManualClock, StateChange

from .reference import Call, Reference, Verdict
from .support import Boom, in_threads

END = {"success": None, "failure": Boom, "ignored": LookupError}
verdicts = st.sampled_from(["success", "failure", "ignored"])

Steps = Generator[None, type[Exception] | None, None]
"""A call that is under way: it ends when it is sent the error to end with, or `None`."""


def end(error: type[Exception] | None) -> None:
    if error is not None:
        raise error


def in_a_block(breaker: CircuitBreaker) -> Steps:
    with breaker:
        end((yield))


def by_permit(breaker: CircuitBreaker) -> Steps:
    with breaker.acquire():
        end((yield))


def in_a_generator(breaker: CircuitBreaker) -> Steps:
    @breaker
    def steps() -> Steps:
        end((yield))

    return (yield from steps())


class _Suspended:
    def __await__(self) -> Steps:
        return (yield)


def in_a_coroutine(breaker: CircuitBreaker) -> Steps:
    @breaker
    async def work() -> None:
        end(await _Suspended())  # type: ignore[func-returns-value]

    return (yield from work().__await__())


def apart(steps: Steps) -> Steps:
    """`steps` in a context of their own, as another task would take them: no call is made inside another (H5)."""
    context = Context()
    sent = None
    while True:
        try:
            sent = yield context.run(steps.send, sent)
        except GeneratorExit:
            context.run(steps.close)
            raise
        except StopIteration:
            return


WAYS: list[Callable[[CircuitBreaker], Steps]] = [in_a_block, by_permit, in_a_generator, in_a_coroutine]


class BreakerAndReference(RuleBasedStateMachine):
    """Does the same to both, and compares."""

    under_way: Bundle[tuple[Steps, Call]] = Bundle("under_way")
    permits: Bundle[Any] = Bundle("permits")

    @initialize(
        failures=st.integers(1, 3),
        successes=st.integers(1, 3),
        more_attempts=st.integers(0, 2),
        factor=st.sampled_from([1.0, 2.0]),
        trial_timeout=st.sampled_from([None, 4.0]),
        listened_to=st.booleans(),
    )
    def begin(
        self,
        failures: int,
        successes: int,
        more_attempts: int,
        factor: float,
        trial_timeout: float | None,
        listened_to: bool,
    ) -> None:
        strategy = ExponentialBackoff(10, factor=factor, maximum=30)
        self.clock = ManualClock()
        self.changes: list[StateChange] = []
        self.heard: list[str] = []
        self.expected: list[str] = []
        self.listened_to = listened_to
        self.breaker = CircuitBreaker(
            failure_threshold=failures,
            success_threshold=successes,
            half_open_max_attempts=successes + more_attempts,
            half_open_timeout=trial_timeout,
            reset_timeout=strategy,
            ignore=LookupError,
            clock=self.clock,
            on_state_change=self.changes.append,
            registry=None,
        )
        if listened_to:
            for event in ("success", "failure", "ignored", "rejected"):
                self.breaker.on(event, lambda told, event=event: self.heard.append(event))
        self.reference = Reference(
            failures,
            successes,
            successes + more_attempts,
            lambda number: min(10 * factor ** (number - 1), 30.0),
            trial_timeout,
        )

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def admit(self) -> Call | None:
        shadowed = self.reference.totals["shadowed"]
        call = self.reference.admit(self.now)
        if call is None or self.reference.totals["shadowed"] > shadowed:
            self.expected.append("rejected")
        return call

    def settle(self, call: Call, verdict: Verdict, told: bool = True) -> None:
        if told and not call.settled:
            self.expected.append(verdict)
        self.reference.settle(call, verdict, self.now)

    def refused(self, error: CircuitOpenError) -> None:
        assert error.state.value == self.reference.state
        assert error.retry_after == self.reference.wait(self.now) > 0

    # Calls

    @rule(target=under_way, way=st.sampled_from(WAYS))
    def a_call_begins(self, way: Callable[[CircuitBreaker], Steps]) -> tuple[Steps, Call]:
        steps = apart(way(self.breaker))
        call = self.admit()
        if call is not None:
            next(steps)
            return steps, call
        with pytest.raises(CircuitOpenError) as caught:
            next(steps)
        self.refused(caught.value)
        return steps, Call("unwatched", 0, settled=True)

    @rule(begun=consumes(under_way), verdict=verdicts, elsewhere=st.booleans())
    def a_call_ends(self, begun: tuple[Steps, Call], verdict: Verdict, elsewhere: bool) -> None:
        steps, call = begun
        assume(not call.settled)
        work = lambda: steps.send(END[verdict])  # noqa: E731
        with pytest.raises(END[verdict] or StopIteration):
            in_threads(1, work) if elsewhere else work()
        self.settle(call, verdict)

    @rule(begun=consumes(under_way))
    def a_call_is_abandoned(self, begun: tuple[Steps, Call]) -> None:
        steps, call = begun
        steps.close()
        self.settle(call, "ignored")

    @rule(target=permits)
    def a_permit_is_acquired(self) -> Any:
        call = self.admit()
        if call is not None:
            return [self.breaker.acquire()], call
        with pytest.raises(CircuitOpenError) as caught:
            self.breaker.acquire()
        self.refused(caught.value)
        return [], Call("unwatched", 0, settled=True)

    @rule(acquired=permits, how=st.sampled_from(["success", "failure", "release"]))
    def a_permit_is_settled_perhaps_again(self, acquired: Any, how: Verdict) -> None:
        held, call = acquired
        if held:
            getattr(held[0], how)()
            self.settle(call, "ignored" if how == "release" else how)

    @rule(acquired=consumes(permits))
    def a_permit_is_dropped(self, acquired: Any) -> None:
        held, call = acquired
        held.clear()
        self.settle(call, "ignored", told=False)

    @rule(verdict=verdicts, decorated=st.booleans())
    def a_call_is_made(self, verdict: Verdict, decorated: bool) -> None:
        work = self.breaker(end) if decorated else lambda error: self.breaker.call(end, error)
        call = self.admit()
        if call is None:
            with pytest.raises(CircuitOpenError) as caught:
                work(END[verdict])
            self.refused(caught.value)
            return
        with pytest.raises(END[verdict]) if END[verdict] else nullcontext():
            work(END[verdict])
        self.settle(call, verdict)

    @rule(decorated=st.booleans())
    def three_calls_fail(self, decorated: bool) -> None:
        for _ in range(3):
            self.a_call_is_made("failure", decorated)

    @rule()
    def a_call_within_a_call(self) -> None:
        outer = self.admit()
        if outer is None:
            with pytest.raises(CircuitOpenError), self.breaker:
                raise AssertionError
            return
        inner = Call("within", -1) if outer.kind == "trial" else self.admit()  # H5
        with self.breaker:
            self.breaker.acquire().success()
        assert inner is not None
        self.settle(inner, "success")
        self.settle(outer, "success")

    @precondition(lambda self: self.reference.hold is None)
    @rule(target=permits)
    def it_trips_and_a_trial_goes(self) -> Any:
        while self.reference.state != "open":
            self.time_passes_until_a_call_may_go()
            self.a_call_is_made("failure", decorated=False)
        self.time_passes_until_a_call_may_go()
        return self.a_permit_is_acquired()

    # Time and orders

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 9.5, 10.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def time_passes_until_a_call_may_go(self) -> None:
        wait = self.reference.wait(self.now)
        if wait < math.inf:
            self.clock.advance(wait)

    @rule()
    def it_is_opened(self) -> None:
        self.breaker.open()
        self.reference.open(self.now)

    @rule()
    def it_is_reset(self) -> None:
        self.breaker.reset()
        self.reference.reset()

    @rule(hold=st.sampled_from(["force_open", "force_closed", "shadow"]))
    def it_is_held(self, hold: str) -> None:
        getattr(self.breaker, hold)()
        self.reference.force(hold)

    # What must agree

    @invariant()
    def they_agree(self) -> None:
        metrics, reference = self.breaker.metrics(), self.reference
        assert self.breaker.state.value == metrics.state.value == reference.state
        assert (None if metrics.hold is None else metrics.hold.value) == reference.hold
        assert metrics.total_successes == reference.totals["success"]
        assert metrics.total_failures == reference.totals["failure"]
        assert metrics.total_ignored == reference.totals["ignored"]
        assert metrics.total_rejections == reference.totals["rejected"]
        assert metrics.shadow_rejections == reference.totals["shadowed"]
        assert metrics.success_count == reference.successful_trials
        assert reference.run is None or metrics.failure_count == reference.run
        assert (metrics.opened_at is None) == (metrics.reason == "") == (reference.state == "closed")

    @invariant()
    def the_next_attempt_is_when_the_reference_says(self) -> None:
        shown, wait = self.breaker.metrics().next_attempt_time, self.reference.wait(self.now)
        if self.reference.hold in ("force_open", "force_closed"):
            assert shown is None
        elif self.reference.state == "open":
            assert shown == datetime.fromtimestamp(self.reference.until, timezone.utc)
        else:
            assert shown == (datetime.fromtimestamp(self.now + wait, timezone.utc) if wait else None)

    @invariant()
    def they_tell_the_same(self) -> None:
        changes = [(each.old_state.value, each.new_state.value) for each in self.changes]
        assert changes == self.reference.changes
        assert self.heard == (self.expected if self.listened_to else [])


BreakerAndReference.TestCase.settings = settings(max_examples=2 * settings.default.max_examples, stateful_step_count=40)
TestBreakerAndReference = BreakerAndReference.TestCase
