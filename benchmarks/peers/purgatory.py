"""no lock, no totals, no limit of trials; a refusal raises the same object each time, whose traceback grows."""

from functools import partial
from typing import Any

from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState as Refused

from ..loops import Loop, new_blocks

__all__ = ["Refused", "breaker", "guarded", "guarded_async", "idle", "in_blocks"]


def breaker(failures: int) -> Any:
    return SyncCircuitBreakerFactory(default_threshold=failures, default_ttl=3600)


def guarded(breaker: Any, function: Any) -> Any:
    return breaker("work")(function)


def guarded_async(failures: int, function: Any) -> Any:
    return AsyncCircuitBreakerFactory(default_threshold=failures, default_ttl=3600)("work")(function)


def in_blocks(breaker: Any) -> Loop:
    return new_blocks(partial(breaker.get_breaker, "work"))


_factory = SyncCircuitBreakerFactory()


def idle(number: int) -> Any:
    return _factory.get_breaker(f"dependency {number}")
