"""Breakers to be weighed: with nothing but defaults, their places in a registry included."""

from __future__ import annotations

from collections.abc import Callable

from circuitbreaker import CircuitBreaker, Registry, circuit

from .work import work

__all__ = ["a_breaker", "a_key"]


def a_breaker() -> Callable[[int], object]:
    """Makes named breakers. The names are the caller's, and not weighed."""
    registry = Registry()
    names = [f"dependency {number}" for number in range(1_001)]
    return lambda number: CircuitBreaker(names[number], registry=registry)


def a_key() -> Callable[[int], object]:
    """Makes breakers by key, each by a first call. Their names, made of the keys, are weighed."""
    return circuit(key=lambda x: x, maxsize=1_000_000, registry=Registry(), name="tenants")(work)
