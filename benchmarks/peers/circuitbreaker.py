"""no lock, no totals, no limit of trials, all waiting calls go at once; its `with` never refuses, so it guards none."""

from typing import Any

from circuitbreaker import CircuitBreaker
from circuitbreaker import CircuitBreakerError as Refused

__all__ = ["Refused", "breaker", "guarded", "guarded_async"]


def breaker(failures: int) -> Any:
    return CircuitBreaker(failure_threshold=failures, recovery_timeout=3600)


def guarded(breaker: Any, function: Any) -> Any:
    return breaker(function)


def guarded_async(failures: int, function: Any) -> Any:
    return breaker(failures)(function)
