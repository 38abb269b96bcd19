"""stamina: retries that do not hammer an open circuit. The retry goes outside, so the breaker sees each attempt.

    @stamina.retry(on=unless_open(OSError))
    @circuit
    def charge(card): ...

To wait for the circuit instead of giving up:

    @stamina.retry(on=unless_open(OSError, longer_than=10))

This is a backoff hook, a plain function of the error, so nothing of stamina is imported. It needs stamina 25.2, the
first version in which a hook can return how long to wait.
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
"""Decides for stamina whether to retry after an error: yes, no, or after a wait, in seconds or as a `timedelta`."""


def unless_open(
    on: type[Exception] | tuple[type[Exception], ...] | BackoffHook,
    *,
    longer_than: float | timedelta | None = None,
    jitter: float | timedelta = 1.0,
) -> BackoffHook:
    """Return a backoff hook that decides as `on` does, but does not retry what an open circuit refused.

    A refusal is a `CircuitOpenError`, or an error raised from one, as SDKs do with the errors of their clients. What is
    not an `Exception`, such as a cancellation, is never retried.

    Args:
        on: which other errors to retry: a type, a tuple of types, or a hook. If a hook raises, the error is logged and
            the call is not retried (E4).
        longer_than: retry a refusal too, unless its `retry_after` is longer than this, in seconds or as a `timedelta`.
            The wait is `retry_after` plus jitter; stamina's `wait_max` does not limit it, and its `timeout` takes
            effect only after it. While a circuit is forced open, a refusal is not retried.
        jitter: a random part of this is added to each wait, in seconds or as a `timedelta`. All refused callers wait
            for the same time, whenever they called, and would return together.

    Raises:
        ValueError: `longer_than` or `jitter` is not positive, or not finite.
        TypeError: an argument is of the wrong kind.
    """
    others, refusals = _as_hook(on), RefusalWait(longer_than, jitter)

    def decide(error: Exception) -> bool | float | timedelta:
        if not isinstance(error, Exception):
            return False
        refusal = refusal_cause(error)
        if refusal is None:
            return others(error)
        return refusals.worth_it(refusal) and refusals.wait(refusal)

    return decide


def _as_hook(on: Any) -> BackoffHook:
    """Return `on` as a hook that does not raise."""
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
