"""Breakers by key against a list in the order of use: whatever their circuits go through, the right one is dropped.

Each key has a reference circuit of its own, so that the list knows which are open, half-open or held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from circuitbreaker import CircuitBreaker, CircuitOpenError, ManualClock, Registry, circuit

from .reference import Call, Reference
from .support import Boom

keys = st.integers(0, 7)


class KeyedAndNaive(RuleBasedStateMachine):
    """Does the same to both, and compares."""

    @initialize(size=st.integers(1, 4))
    def begin(self, size: int) -> None:
        self.size = size
        self.clock = ManualClock()
        self.registry = Registry()
        self.naive: list[tuple[int, Reference]] = []  # the least recently used first
        self.seen: dict[int, CircuitBreaker] = {}
        self.kept: set[CircuitBreaker] = set()  # so that none disappears just because nobody holds it

        @circuit(
            key=lambda key, fails=False: key,
            name="keyed",
            maxsize=size,
            registry=self.registry,
            failure_threshold=2,
            reset_timeout=10,
            half_open_max_attempts=2,
            success_threshold=2,
            clock=self.clock,
        )
        def fetch(key: int, fails: bool = False) -> int:
            if fails:
                raise Boom
            return key

        self.fetch: Callable[..., int] = fetch
        self.breakers: Any = fetch.breakers

    def use(self, key: int) -> Reference:
        """What the list does for a call: the key is the last one used; if it is new, others may have to go."""
        found = [reference for each, reference in self.naive if each == key]
        reference = found[0] if found else Reference(2, 2, 2, lambda number: 10.0, None)
        self.naive = [(each, other) for each, other in self.naive if each != key] + [(key, reference)]
        for each, other in self.naive[:-1] if not found else []:
            if len(self.naive) > self.size and self.may_be_dropped(other):
                self.naive.remove((each, other))
        return reference

    def may_be_dropped(self, reference: Reference) -> bool:
        """Whether it is closed, or has been open for twice its 10 s, and has no hold."""
        over = reference.state == "open" and self.clock.monotonic() >= reference.until + 10
        return (reference.state == "closed" or over) and reference.hold is None

    @rule(key=keys, fails=st.booleans())
    def a_call(self, key: int, fails: bool) -> None:
        reference = self.use(key)
        call: Call | None = reference.admit(self.clock.monotonic())
        try:
            assert self.fetch(key, fails) == key
            ended = "success"
        except Boom:
            ended = "failure"
        except CircuitOpenError:
            ended = "refused"
        assert ended == ("refused" if call is None else "failure" if fails else "success")
        if call is not None:
            reference.settle(call, "failure" if fails else "success", self.clock.monotonic())

    @precondition(lambda self: self.naive)
    @rule(data=st.data(), order=st.sampled_from(["open", "reset", "force_open", "force_closed", "shadow"]))
    def an_order(self, data: st.DataObject, order: str) -> None:
        key, reference = data.draw(st.sampled_from(self.naive), label="to")
        getattr(self.breakers[key], order)()
        if order == "open":
            reference.open(self.clock.monotonic())
        elif order == "reset":
            reference.reset()
        else:
            reference.force(order)

    @rule(key=keys)
    def a_look(self, key: int) -> None:
        found = self.breakers.get(key)
        assert (found is not None) == (key in self.breakers) == (key in [each for each, _ in self.naive])
        assert found is None or found.metrics().name.startswith(f"keyed[{key}]")

    @rule(seconds=st.sampled_from([1.0, 10.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def they_keep_the_same_in_the_same_order(self) -> None:
        assert list(self.breakers) == [key for key, _ in self.naive]
        assert len(self.breakers) == len(self.naive)

    @invariant()
    def they_are_in_the_same_states(self) -> None:
        states = [(breaker.state.value, breaker.metrics().total_calls) for breaker in self.breakers.values()]
        expected = []
        for _, reference in self.naive:
            totals = reference.totals
            calls = sum(totals[each] for each in ("success", "failure", "ignored", "rejected"))
            expected.append((reference.state, calls))
        assert states == expected

    @invariant()
    def the_registry_knows_those_and_no_others(self) -> None:
        self.kept.update(self.breakers.values())
        assert {breaker.name for breaker in self.registry} == {breaker.name for breaker in self.breakers.values()}

    @invariant()
    def none_within_its_time_half_open_or_held_was_dropped(self) -> None:
        for key, breaker in self.seen.items():
            due = breaker.metrics().next_attempt_time
            over = breaker.state.value == "open" and due and due.timestamp() + 10 <= self.clock.time()
            free = (breaker.state.value == "closed" or over) and breaker.hold is None
            assert free or self.breakers.get(key) is breaker
        self.seen = dict(self.breakers)


KeyedAndNaive.TestCase.settings = settings(stateful_step_count=60)
TestKeyedAndNaive = KeyedAndNaive.TestCase
