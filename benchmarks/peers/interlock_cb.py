"""locks; trials limited; times every call; no consecutive failures: its plain breaker is one by rate, the last 100."""

from typing import Any

from interlock import CircuitBreaker, Config, WindowType
from interlock import CircuitOpenError as Refused

from ..loops import Loop, blocks

__all__ = ["Refused", "breaker", "guarded", "guarded_async", "in_blocks", "of_last_calls", "of_last_seconds"]


def breaker(failures: int) -> Any:
    return CircuitBreaker(name="work", config=Config(minimum_number_of_calls=failures, wait_duration_in_open=3600))


def guarded(breaker: Any, function: Any) -> Any:
    return breaker(function)


def guarded_async(failures: int, function: Any) -> Any:
    return breaker(failures)(function)


def in_blocks(breaker: Any) -> Loop:
    return blocks(breaker)


def of_last_calls() -> Any:
    return CircuitBreaker(name="work", config=Config(window_size=100))


def of_last_seconds() -> Any:
    return CircuitBreaker(name="work", config=Config(window_type=WindowType.TIME_BASED, window_size=30))
