"""Running the user's own code: predicates, policies, strategies, listeners.

What they raise is logged with the breaker's name and goes no further (E4). Only `KeyboardInterrupt` does: it is the
user at the keyboard, not the code. It is logged later, when no lock is held, for a logging handler may use the breaker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["OwnCode"]

T = TypeVar("T")


class OwnCode:
    """Runs the user's own code on behalf of the breaker called `name`."""

    __slots__ = ("_name", "_raised")

    def __init__(self, name: str) -> None:
        self._name = name
        self._raised: list[tuple[str, BaseException]] = []

    def __call__(self, what: str, default: T, function: Callable[..., T], *args: Any) -> T:
        """What `function(*args)` returns, or `default` if it raises."""
        try:
            return function(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._raised.append((what, error))
            return default

    def log(self) -> None:
        """Log what was raised since the last time. Called with no lock held."""
        while self._raised:
            from logging import getLogger  # Most programs have imported it, and the others need not pay for it.

            what, error = self._raised.pop(0)
            getLogger("circuitbreaker").error("circuit %r: its %s raised", self._name, what, exc_info=error)
