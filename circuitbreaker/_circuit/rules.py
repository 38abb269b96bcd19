"""What the engine asks of the user's configuration, with the user's own code guarded (E4)."""

from __future__ import annotations

from .._engine.periods import HalfOpen, Open
from .._engine.watches import SparseWatch
from ..backoff import Opening, draw
from ..options import Settings
from ..policies import begin
from .user_code import UserCode

__all__ = ["LocalRules"]


class LocalRules:
    """The rules of one circuit: `engine.Rules`, by the settings of its breaker."""

    __slots__ = ("_user_code", "_settings", "successes_to_close")

    def __init__(self, settings: Settings, user_code: UserCode) -> None:
        self._settings = settings
        self._user_code = user_code
        self.successes_to_close: int = settings.success_threshold

    def watch(self) -> SparseWatch:
        """A watch for a new closed period."""
        return begin(self._settings.trip, self._user_code)

    def open_for(self, opening: int, error: BaseException | None) -> float:
        """The seconds that the `opening`th open period since the circuit was closed lasts."""
        return draw(self._settings.reset_timeout, Opening(opening, error, self._settings.clock.time()), self._user_code)

    def half_open(self, opened: Open, now: float) -> HalfOpen | None:
        """The half-open period that follows `opened`."""
        timeout = self._settings.half_open_timeout
        return HalfOpen(opened, self._settings.half_open_max_attempts, opened.length if timeout is None else timeout)
