"""A fleet that exchanges news after every call behaves as one breaker that makes all these calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker import CircuitBreaker, ConsecutiveFailures, FailureRate, Outcome
from circuitbreaker.stores.memory import MemoryServer, MemoryStore

from .fleets import Fleet
from .support import attempt, fail, succeed


class Every:
    """A policy of one's own: every call counts, and how many there were."""

    def watch(self) -> Any:
        class Watch:
            seen = failed = 0

            def see(self, outcome: Outcome) -> str | None:
                self.seen += 1
                self.failed += outcome.failed
                return "too many" if self.failed * 3 >= self.seen and self.seen >= 4 else None

        return Watch()


POLICIES = {
    "in a row": ConsecutiveFailures(3),
    "calls": FailureRate(0.5, calls=6, minimum_calls=3),
    "many calls": FailureRate(0.3, calls=50, minimum_calls=10),
    "seconds": FailureRate(0.4, seconds=600, minimum_calls=5),
    "or": ConsecutiveFailures(4) | FailureRate(0.5, calls=8, minimum_calls=8),
    "and": ConsecutiveFailures(2) & FailureRate(0.5, calls=6, minimum_calls=4),
    "own": Every(),
    "own or ours": Every() | ConsecutiveFailures(3),  # type: ignore[operator]  # it combines with ours from the right
}
calls = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("sssfffr")), min_size=1, max_size=25)


@pytest.mark.parametrize("policy", POLICIES)
@given(calls)
@settings(max_examples=25)
def test_a_fleet_is_as_one_breaker(policy: str, calls: list[tuple[int, str]]) -> None:
    """S2, S10, C2: whoever makes the calls."""
    server = MemoryServer()
    fleet = Fleet(lambda **options: MemoryStore(server, **options))
    options: dict[str, Any] = {"trip": POLICIES[policy], "reset_timeout": 600}
    one = CircuitBreaker(registry=None, **options)
    try:
        for _ in range(3):
            fleet.add(interval=60.0, **options).call()  # It exchanges when told to, and not in between.
            one.call(succeed)
            fleet.sync()
        for who, what in calls:
            member = fleet.members[who].breaker
            for breaker in (member, one):
                breaker.reset() if what == "r" else attempt(breaker, fail if what == "f" else succeed)
            fleet.sync()
            assert fleet.states() == [str(one.state)] * 3
            assert all(each.breaker.metrics().reason == one.metrics().reason for each in fleet.members)
    finally:
        fleet.close()
