"""What a retry asks about an error: was it refused by an open circuit, and when is it worth while to come again."""

from __future__ import annotations

import math
from datetime import timedelta
from random import uniform

from ._values import seconds
from .errors import CircuitOpenError

__all__ = ["RefusalWait", "refusal_cause"]

_REMOVES = 10
"""How many errors to look behind: there is an end to it, also where an error is its own cause."""


def refusal_cause(error: BaseException | None) -> CircuitOpenError | None:
    """The refusal that `error` is, or was raised from, as SDKs do with the errors of their clients; `None` if none."""
    for _ in range(_REMOVES):
        if error is None or isinstance(error, CircuitOpenError):
            return error
        error = error.__cause__
    return None


class RefusalWait:
    """How long to wait for a circuit.

    Args:
        longer_than: a refusal is worth a wait if its `retry_after` is at most so long, in seconds or as a `timedelta`;
            `None`: no refusal is. Nothing is worth it while a circuit is forced open.
        jitter: seconds, or a `timedelta`, of which a random part is added to each wait. All who were refused wait for
            the same moment, whenever they came, and would be back at once; and a `retry_after` of 0 would be a busy
            loop.

    Raises:
        ValueError: a time is not positive, or not finite.
        TypeError: a time is no time.
    """

    def __init__(self, longer_than: float | timedelta | None = None, jitter: float | timedelta = 1.0) -> None:
        self.longer_than: float | None = None if longer_than is None else seconds("longer_than", longer_than)
        self.jitter: float = seconds("jitter", jitter)

    def worth_it(self, refusal: CircuitOpenError) -> bool:
        """Whether to wait."""
        return self.longer_than is not None and refusal.retry_after <= self.longer_than

    def wait(self, refusal: CircuitOpenError) -> float:
        """The seconds to wait; while a circuit is forced open, when nobody knows, the jitter alone."""
        told = refusal.retry_after if refusal.retry_after < math.inf else 0.0
        return told + uniform(0.0, self.jitter)
