"""no lock for a success; exact totals; trials limited in number and time."""

from typing import Any

from circuitbreaker import CircuitBreaker, FailureRate
from circuitbreaker import CircuitOpenError as Refused

from ..loops import Loop, blocks

__all__ = ["Refused", "breaker", "guarded", "guarded_async", "in_blocks", "of_last_calls", "of_last_seconds"]


def breaker(failures: int) -> Any:
    return CircuitBreaker(failure_threshold=failures, reset_timeout=3600)


def guarded(breaker: Any, function: Any) -> Any:
    return breaker(function)


def guarded_async(failures: int, function: Any) -> Any:
    return breaker(failures)(function)


def in_blocks(breaker: Any) -> Loop:
    return blocks(breaker)


def of_last_calls() -> Any:
    return CircuitBreaker(trip=FailureRate(calls=100))


def of_last_seconds() -> Any:
    return CircuitBreaker(trip=FailureRate(seconds=30))
