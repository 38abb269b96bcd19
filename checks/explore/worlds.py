"""Which configurations are explored. Time passes in whole units, so every length here is a whole number."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import Any, NamedTuple

from circuitbreaker import ConsecutiveFailures, ExponentialBackoff, FailureRate, TripPolicy
from circuitbreaker.policies import AllOf, AnyOf

from .naive import Naive, naive

__all__ = ["LONG", "QUICK", "World"]

ORDERS = ("open", "reset", "force_open", "force_closed", "shadow")


class Bounds(NamedTuple):
    """What keeps a world finite."""

    out: int
    """Calls that may be out at once."""
    calls: int
    """Calls that a window of time may hold."""


class World:
    """One configuration of a breaker, and the bounds within which everything that can happen is explored."""

    def __init__(
        self,
        name: str,
        *,
        trip: TripPolicy | None = None,
        lengths: tuple[int, ...] = (2,),
        attempts: int = 1,
        successes: int = 1,
        timeout: int | None = None,
        out: int = 3,
        calls: int = 6,
        orders: tuple[str, ...] = ORDERS,
        heard: bool = False,
        nested: bool = True,
    ) -> None:
        self.name = name
        self.trip: TripPolicy = ConsecutiveFailures(2) if trip is None else trip
        self.lengths = lengths  # of the first open period, the second, ...; the last goes on
        self.attempts = attempts
        self.successes = successes
        self.timeout = timeout
        self.bounds = Bounds(out, calls)
        self.orders = orders
        self.nested = nested  # whether calls are made inside trials
        self.heard = heard  # whether somebody listens to calls, so that every call asks for a permit

    def larger(self, more: int) -> World:
        """The same world with `more` calls that may be out at once. Each about doubles the states."""
        larger = copy(self)
        larger.bounds = self.bounds._replace(out=self.bounds.out + more)
        return larger

    @cached_property
    def naive(self) -> Naive:
        """The trip policy, for the account."""
        return naive(self.trip, self.bounds.calls)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the breaker."""
        first, *others = self.lengths
        growing = ExponentialBackoff(first, others[0] / first, self.lengths[-1]) if others else None
        return {
            "trip": self.trip,
            "reset_timeout": first if growing is None else growing,
            "half_open_max_attempts": self.attempts,
            "success_threshold": self.successes,
            "half_open_timeout": self.timeout,
        }

    def length(self, opening: int) -> int:
        """How long the `opening`th open period since the circuit was closed is to last."""
        return self.lengths[min(opening, len(self.lengths)) - 1]

    @cached_property
    def longest_run(self) -> int:
        """Consecutive failures beyond which more make no difference."""
        return _most(self.trip, lambda part: part.threshold if isinstance(part, ConsecutiveFailures) else 1)

    @cached_property
    def numbers(self) -> int:
        """The number of calls in a closed period beyond which more make no difference."""
        return _most(self.trip, lambda part: (part.calls or 0) if isinstance(part, FailureRate) else 0)


def _most(policy: TripPolicy, measure: Any) -> int:
    if isinstance(policy, AnyOf | AllOf):
        return max(_most(part, measure) for part in policy.policies)
    return int(measure(policy))


def _rate(calls: int, minimum: int) -> FailureRate:
    return FailureRate(0.5, calls=calls, minimum_calls=minimum)


def _rate_of_seconds(seconds: int, minimum: int) -> FailureRate:
    return FailureRate(0.5, seconds=seconds, minimum_calls=minimum)


QUICK = [
    World("1 attempt", out=3),
    World("2 attempts, long lease", attempts=2, timeout=3, out=2),
    World("2 attempts, 2 successes, short lease", attempts=2, successes=2, timeout=1, out=3),
    World("3 attempts, 2 successes", attempts=3, successes=2, lengths=(1,), out=3),
    World("growing open periods", lengths=(1, 2), out=2),
    World("rate of 3 calls", trip=_rate(3, 2), lengths=(1,), out=2),
    World("rate of 1 second", trip=_rate_of_seconds(1, 2), lengths=(1,), out=2, calls=3),
    World("run or rate, heard", trip=ConsecutiveFailures(2) | _rate(3, 2), lengths=(1,), out=2, heard=True),
    World("run and rate", trip=ConsecutiveFailures(2) & _rate(3, 2), lengths=(1,), out=2),
]
"""Small worlds, which take seconds."""

LONG = [
    World("as by default, of 3 units", trip=ConsecutiveFailures(5), attempts=3, lengths=(3,), out=5),
    World("2 attempts, 8 calls out", attempts=2, out=8),
    World("run or rate of 5 calls", trip=ConsecutiveFailures(2) | _rate(5, 3), attempts=2, out=5),
    World("rate of 6 calls", trip=_rate(6, 4), attempts=2, successes=2, timeout=1, out=6),
    World(
        "rate of 4 calls or of 1 second, heard", trip=_rate(4, 3) | _rate_of_seconds(1, 2), out=3, calls=4, heard=True
    ),
    World("run and rate of 2 seconds", trip=ConsecutiveFailures(2) & _rate_of_seconds(2, 3), out=3, calls=4),
    World("rate of 3 seconds", trip=_rate_of_seconds(3, 3), lengths=(3,), out=2, calls=5),
    World("3 attempts, 2 successes, long lease", attempts=3, successes=2, lengths=(3,), timeout=4, out=7),
    World(
        "3 attempts, 3 successes, growing",
        trip=ConsecutiveFailures(3),
        attempts=3,
        successes=3,
        lengths=(1, 2, 4),
        timeout=2,
        out=6,
    ),
    World("rate of 2 seconds", trip=_rate_of_seconds(2, 3), attempts=2, out=3, calls=5),
]
"""Worlds that take minutes."""
