"""How long to stay open: a constant, growing or jittered time, or the one that the failure itself asks for.

A strategy is a callable from `Opening` to seconds. It is called once per open period (O4), under the breaker's lock.
If it raises, or returns anything but a finite number of at least 0, the period lasts 30 seconds (E4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta, timezone
from itertools import product
from typing import Any, NamedTuple

from ._callables import is_awaitable, plain_callable
from ._causes import Chain, errors_in
from ._values import Value, at_least, format_seconds, seconds

__all__ = ["Constant", "ExponentialBackoff", "Opening", "RetryAfter", "Strategy", "as_strategy"]


class Opening(NamedTuple):
    """What a strategy receives when the circuit opens."""

    round: int
    """1 when the circuit opens from closed, and one more each time its trials fail. Closing starts again at 1."""
    error: BaseException | None
    """The error of the call that opened it; `None` if a returned value, a success or `open()` did."""
    time: float
    """Wall-clock time, in seconds since 1970-01-01 UTC."""


Strategy = Callable[[Opening], float]
"""Returns the length of one open period, in seconds."""


class Constant(Value):
    """The same length for every open period."""

    __slots__ = ("seconds",)
    seconds: float

    def __init__(self, name: str, value: float | timedelta) -> None:
        self._set(seconds=seconds(name, value, zero=True))

    def __call__(self, opening: Opening) -> float:
        """The same seconds each time."""
        return self.seconds

    def __repr__(self) -> str:
        return f"{format_seconds(self.seconds)} s"


class ExponentialBackoff(Value):
    """`initial` seconds at first, `factor` times as long after each failed round, never more than `maximum`.

    Jitter is drawn once per period, and spreads out the trials of processes that failed together. `jitter=1.0` is the
    "full jitter" of Marc Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).

    Args:
        initial: length of the first open period, in seconds or as a `timedelta`.
        factor: growth from one round to the next, at least 1.
        maximum: the longest period, in seconds or as a `timedelta`; at least `initial`.
        jitter: ratio from 0 to 1 by which a period may be shortened at random.

    Raises:
        ValueError: an argument breaks its rule.
        TypeError: an argument is of the wrong kind.
    """

    __slots__ = ("initial", "factor", "maximum", "jitter")
    initial: float
    factor: float
    maximum: float
    jitter: float

    def __init__(
        self,
        initial: float | timedelta,
        factor: float = 2.0,
        maximum: float | timedelta = 600.0,
        jitter: float = 0.0,
    ) -> None:
        self._set(
            initial=seconds("initial", initial),
            factor=at_least("factor", factor, 1),
            maximum=seconds("maximum", maximum),
            jitter=at_least("jitter", jitter, 0),
        )
        if self.jitter > 1:
            raise ValueError(f"jitter must be at most 1, got {jitter!r}")
        if self.maximum < self.initial:
            raise ValueError(f"maximum must be at least initial, {self.initial:g}: got {maximum!r}")

    def __call__(self, opening: Opening) -> float:
        """Seconds for this round, shortened by the jitter."""
        try:
            delay = min(self.initial * self.factor ** (opening.round - 1), self.maximum)
        except OverflowError:
            delay = self.maximum
        return delay * (1 - self.jitter * _random()) if self.jitter else delay


def _random() -> float:
    from random import random  # Only jitter needs it, and it is slow to import.

    return random()


class RetryAfter(Value):
    """As `fallback` says, and longer if the failure itself asks for more time, up to `maximum`.

    A failure asks through an attribute `retry_after` (a number of seconds or a `timedelta`), or through a `Retry-After`
    header, in seconds or as an HTTP date (RFC 9110, 10.2.3), on `error.response` or on the error. If it does not ask
    itself, the errors that it was raised from may; of a group, whoever asks for the longest time counts.

    Args:
        fallback: seconds, a `timedelta`, or another strategy. Its growth and jitter apply whatever a failure asks for.
        maximum: the longest period that a failure can ask for, in seconds or as a `timedelta`.
        minimum: the shortest period that a failure can ask for, in seconds or as a `timedelta`; it may then be shorter
            than the fallback. By default a failure cannot shorten a period: a service that asks for no time at all, by
            mistake, would get no rest.

    Raises:
        ValueError: an argument breaks its rule.
        TypeError: an argument is of the wrong kind.
    """

    __slots__ = ("fallback", "maximum", "minimum")
    fallback: Strategy
    maximum: float
    minimum: float | None

    def __init__(
        self,
        fallback: float | timedelta | Strategy,
        maximum: float | timedelta = 600.0,
        minimum: float | timedelta | None = None,
    ) -> None:
        self._set(
            fallback=as_strategy("fallback", fallback),
            maximum=seconds("maximum", maximum),
            minimum=None if minimum is None else seconds("minimum", minimum),
        )
        if self.minimum is not None and self.maximum < self.minimum:
            raise ValueError(f"maximum must be at least minimum, {self.minimum:g}: got {maximum!r}")

    def __call__(self, opening: Opening) -> float:
        """Seconds of the fallback, or those that the failure asks for."""
        asked = _requested_delay(opening.error, opening.time)
        if asked is None:
            return self.fallback(opening)
        least = self.fallback(opening) if self.minimum is None else self.minimum
        return max(least, min(asked, self.maximum))


def _requested_delay(error: BaseException | None, now: float) -> float | None:
    """Seconds that `error` asks for, itself or by what it is made of: the longest of a group's."""
    if error is None:
        return None
    asked = (_requested_by(chain, now) for chain in errors_in(error))
    return max((each for each in asked if each is not None), default=None)


def _requested_by(chain: Chain, now: float) -> float | None:
    """What the outermost error of `chain` asks for that asks for a positive finite time, by one of three sources."""
    for each, ask in product(chain, (_attribute, _header_of_response, _header)):
        try:
            asked = _delay(ask(each), now)
        except Exception:
            continue  # The source is missing, malformed, or raises in the error's own code.
        if asked is not None and 0 < asked < math.inf:
            return asked
    return None


def _attribute(error: Any) -> Any:
    return error.retry_after


def _header_of_response(error: Any) -> Any:
    return _header(error.response)


def _header(response: Any) -> Any:
    value = response.headers.get("Retry-After")
    return response.headers.get("retry-after") if value is None else value


def _delay(value: Any, now: float) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return None if value is None or isinstance(value, bool) else float(value)
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdecimal():
        return float(text)
    return _until(text, now)


def _until(date: str, now: float) -> float:
    from email.utils import parsedate_to_datetime  # Only dates need it, and it is slow to import.

    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:  # "-0000" and the obsolete asctime form; an HTTP date is in UTC.
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() - now


def as_strategy(name: str, value: float | timedelta | Strategy) -> Strategy:
    """Return `value`, which is a number of seconds, a `timedelta` or a strategy, as a strategy."""
    if callable(value) or is_awaitable(value):
        return plain_callable(name, value)
    return Constant(name, value)
