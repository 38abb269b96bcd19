"""holds its lock while the guarded function runs; a block is a new generator each time; async needs Tornado."""

from typing import Any

from pybreaker import CircuitBreaker
from pybreaker import CircuitBreakerError as Refused

from ..loops import Loop, new_blocks

__all__ = ["Refused", "breaker", "guarded", "in_blocks"]


def breaker(failures: int) -> Any:
    return CircuitBreaker(fail_max=failures, reset_timeout=3600)


def guarded(breaker: Any, function: Any) -> Any:
    return breaker(function)


def in_blocks(breaker: Any) -> Loop:
    return new_blocks(breaker.calling)
