"""locks; trials limited; no consecutive failures: its plain breaker is one by rate over 30 seconds in ten buckets."""

from typing import Any

from nopanic import CircuitOpen as Refused
from nopanic import circuit_breaker

from ..loops import Loop, new_blocks

__all__ = ["Refused", "breaker", "guarded", "guarded_async", "in_blocks", "of_last_seconds"]


def breaker(failures: int) -> Any:
    return circuit_breaker(min_calls=failures, reset_timeout=3600)


def guarded(breaker: Any, function: Any) -> Any:
    return breaker(function)


def guarded_async(failures: int, function: Any) -> Any:
    return breaker(failures)(function)


def in_blocks(breaker: Any) -> Loop:
    return new_blocks(breaker.guard)


def of_last_seconds() -> Any:
    return circuit_breaker(window=30.0)
