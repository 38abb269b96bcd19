"""stamina: retries that do not hammer an open circuit. The retry goes outside, so that the breaker sees each attempt.

    @stamina.retry(on=unless_open(OSError))
    @circuit
    def charge(card): ...

To wait for the circuit instead of giving up:

    @stamina.retry(on=unless_open(OSError, longer_than=10))

This is a backoff hook, a plain function of the error, so there is nothing of stamina's to import. It takes stamina
25.2, the first that lets a hook say how long to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from logging import getLogger
from typing import Any

from ..retries import RefusalWait, refusal_cause

__all__ = ["BackoffHook", "unless_open"]

_logger = getLogger("circuitbreaker")

BackoffHook = Callable[[Exception], bool | float | timedelta]
"""What stamina asks whether to retry after an error: yes, no, or yes after so long."""


def unless_open(
    on: type[Exception] | tuple[type[Exception], ...] | BackoffHook,
    *,
    longer_than: float | timedelta | None = None,
    jitter: float | timedelta = 1.0,
) -> BackoffHook:
    """The backoff hook that answers as `on` does, but does not retry what an open circuit refused.

    A refusal is a `CircuitOpenError`, or an error that was raised from one, as SDKs do with the errors of their
    clients. What is no `Exception`, such as a cancellation, is not retried.

    Args:
        on: which other errors to retry: a type, a tuple of types, or a hook. A hook that raises is logged, and the
            call is not retried (E4).
        longer_than: retry a refusal too, if its `retry_after` is at most so long, in seconds or as a `timedelta`. The
            wait is `retry_after` and some jitter; stamina's `wait_max` does not limit it, and its `timeout` only stops
            what comes after it. A circuit that is forced open is given up all the same.
        jitter: seconds, or a `timedelta`; how much of it is drawn for each wait. All who were refused wait for the
            same moment, whenever they came, and would be back at once.

    Raises:
        ValueError: a time is not positive, or not finite.
        TypeError: an argument is of the wrong kind.
    """
    others, patience = _hook(on), RefusalWait(longer_than, jitter)

    def decide(error: Exception) -> bool | float | timedelta:
        if not isinstance(error, Exception):
            return False
        refusal = refusal_cause(error)
        if refusal is None:
            return others(error)
        return patience.worth_it(refusal) and patience.wait(refusal)

    return decide


def _hook(on: Any) -> BackoffHook:
    """`on` as a hook that does not raise."""
    kinds: Any = on if isinstance(on, tuple) else (on,)  # pyright: ignore[reportUnknownVariableType]
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return lambda error: isinstance(error, on)
    hook: Any = on  # pyright: ignore[reportUnknownVariableType]
    if isinstance(hook, type) or not callable(hook):
        raise TypeError(f"on must be a type of Exception, a tuple of them, or a backoff hook, got {hook!r}")

    def ask(error: Exception) -> Any:
        try:
            return hook(error)
        except Exception:
            _logger.exception("stamina: the backoff hook %r raised; the call is not retried", hook)
            return False

    return ask
