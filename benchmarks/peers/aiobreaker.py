"""no lock, no totals, no limit of trials, all waiting calls go at once; no blocks."""

from datetime import timedelta
from typing import Any

from aiobreaker import CircuitBreaker
from aiobreaker import CircuitBreakerError as Refused

__all__ = ["Refused", "breaker", "guarded", "guarded_async"]


def breaker(failures: int) -> Any:
    return CircuitBreaker(fail_max=failures, timeout_duration=timedelta(hours=1))


def guarded(breaker: Any, function: Any) -> Any:
    return breaker(function)


def guarded_async(failures: int, function: Any) -> Any:
    return breaker(failures)(function)
