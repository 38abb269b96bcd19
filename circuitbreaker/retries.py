"""What a retry needs to know about an error: whether an open circuit refused the call, and how long to wait then."""

from __future__ import annotations

import math
from datetime import timedelta
from random import uniform

from ._causes import refusal_in
from ._values import seconds
from .errors import CircuitOpenError

__all__ = ["RefusalWait", "refusal_cause"]


def refusal_cause(error: BaseException | None) -> CircuitOpenError | None:
    """Return the refusal that `error` is or was raised from, or `None`.

    SDKs raise errors of their own from those of their clients, so causes (`__cause__`) are followed. Of an exception
    group, return the longest refusal if there is nothing else in it.
    """
    return None if error is None else refusal_in(error)


class RefusalWait:
    """Whether to wait for a circuit after a refusal, and how long.

    Args:
        longer_than: a refusal is worth waiting for unless its `retry_after` is longer than this, in seconds or as a
            `timedelta`; `None` if none is. While a circuit is forced open, no refusal is worth it.
        jitter: a random part of this is added to each wait, in seconds or as a `timedelta`. All refused callers wait
            for the same time, whenever they called, and would return together; and a `retry_after` of 0 would make
            them loop without a pause.

    Raises:
        ValueError: an argument is not positive, or not finite.
        TypeError: an argument is neither a number nor a `timedelta`.
    """

    def __init__(self, longer_than: float | timedelta | None = None, jitter: float | timedelta = 1.0) -> None:
        self.longer_than: float | None = None if longer_than is None else seconds("longer_than", longer_than)
        self.jitter: float = seconds("jitter", jitter)

    def worth_it(self, refusal: CircuitOpenError) -> bool:
        """Whether to wait for the circuit that refused."""
        return self.longer_than is not None and refusal.retry_after <= self.longer_than

    def wait(self, refusal: CircuitOpenError) -> float:
        """Seconds to wait: `retry_after` plus jitter; the jitter alone while the circuit is forced open."""
        known = refusal.retry_after if refusal.retry_after < math.inf else 0.0
        return known + uniform(0.0, self.jitter)
