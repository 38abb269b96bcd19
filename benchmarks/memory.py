"""Breakers whose memory is measured: with the defaults, including their entries in a registry."""

from __future__ import annotations

from collections.abc import Callable

from circuitbreaker import CircuitBreaker, Registry, circuit

from .work import work

__all__ = ["a_breaker", "a_key"]


def a_breaker() -> Callable[[int], object]:
    """Returns a function that makes named breakers. The names exist already, so they are not counted."""
    registry = Registry()
    names = [f"dependency {number}" for number in range(1_001)]
    return lambda number: CircuitBreaker(names[number], registry=registry)


def a_key() -> Callable[[int], object]:
    """Returns a function that makes a breaker by key with each call. Their names, made from the keys, are counted."""
    return circuit(key=lambda x: x, maxsize=1_000_000, registry=Registry(), name="tenants")(work)
