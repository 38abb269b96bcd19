"""What the engine asks of one breaker's options, with the user's own code guarded (E4)."""

from __future__ import annotations

from .._engine.periods import TRIAL_TIME, HalfOpen, Open
from .._engine.watches import SparseWatch
from .._values import seconds
from ..backoff import Constant, Opening, Strategy
from ..clock import Clock
from ..options import Settings
from ..policies import begin
from .user_code import UserCode

__all__ = ["LocalRules"]

_AFTER_AN_ERROR = 30.0
"""Seconds that an open period lasts whose strategy raised, or gave no sensible number."""


class LocalRules:
    """The rules of one circuit by the settings of its breaker: an `engine.Rules`."""

    __slots__ = ("_clock", "_settings", "_user_code")

    def __init__(self, settings: Settings, user_code: UserCode, clock: Clock) -> None:
        self._settings = settings
        self._user_code = user_code
        self._clock = clock

    def watch(self) -> SparseWatch:
        """A watch for a new closed period."""
        return begin(self._settings.trip, self._user_code.in_step)

    def open_for(self, round_: int, error: BaseException | None) -> float:
        """Seconds that the open period of this round lasts."""
        strategy = self._settings.reset_timeout
        if isinstance(strategy, Constant):
            return strategy.seconds
        opening = Opening(round_, error, self._clock.time())
        return self._user_code.in_step("reset_timeout strategy", _AFTER_AN_ERROR, _ask, strategy, opening)

    def half_open(self, opened: Open, now: float) -> HalfOpen | None:
        """The half-open period that follows `opened`."""
        settings = self._settings
        timeout = settings.half_open_timeout
        if timeout is None:
            timeout = opened.length or TRIAL_TIME
        return HalfOpen(opened, settings.half_open_max_attempts, timeout, settings.success_threshold)


def _ask(strategy: Strategy, opening: Opening) -> float:
    return seconds("reset_timeout", strategy(opening), zero=True)
