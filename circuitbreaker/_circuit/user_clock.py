"""A clock of the user's own, whose errors and nonsense stay here (E4)."""

from __future__ import annotations

import math
import time
from typing import Any

from ..clock import Clock
from .turns import Turns
from .user_code import UserCode

__all__ = ["UserClock"]


class UserClock:
    """Reads `clock`. While it raises or returns no finite number, its last time goes on by the system's clock.

    The error is logged once, and again only after the clock has worked. If a clock is set back, that is for the engine.
    """

    __slots__ = ("_clock", "_failing", "_last", "_read_at", "_turns", "_user_code")

    def __init__(self, clock: Clock, user_code: UserCode, turns: Turns) -> None:
        self._clock = clock
        self._user_code = user_code
        self._turns = turns
        self._failing: set[str] = set()  # the names of the methods that do
        self._last = 0.0
        self._read_at = time.monotonic()

    def monotonic(self) -> float:
        """The clock's own seconds."""
        found, now = self._read("monotonic"), time.monotonic()
        if found is None:
            return self._last + max(0.0, now - self._read_at)
        self._last, self._read_at = found, now
        return found

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC, by the clock, or by the system's."""
        found = self._read("time")
        return time.time() if found is None else found

    def _read(self, what: str) -> float | None:
        if what in self._failing:
            return self._try_again(what)
        user_code = self._user_code.in_step if self._turns.inside else self._user_code
        found: float | None = user_code("clock", None, _number, self._clock, what)
        if found is None:
            self._failing.add(what)
            if not self._turns.inside:
                self._user_code.log()  # now: a success has no other occasion
        return found

    def _try_again(self, what: str) -> float | None:
        try:
            found = _number(self._clock, what)
        except Exception:  # as before, and logged then
            return None
        self._failing.discard(what)
        return found


def _number(clock: Any, what: str) -> float:
    found = getattr(clock, what)()
    number = math.nan if isinstance(found, str | bytes) else float(found)
    if not math.isfinite(number):
        raise ValueError(f"{what}() of a clock must return a finite number, got {found!r}")
    return number
