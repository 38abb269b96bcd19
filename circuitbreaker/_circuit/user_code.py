"""Runs the user's own code: predicates, policies, strategies, listeners.

What they raise is logged with the breaker's name and goes no further (E4), except for `KeyboardInterrupt`, which comes
from the user at the keyboard. It is logged later, when no lock is held, because a logging handler may use the breaker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import local
from typing import Any, TypeVar

from .._values import quoted

__all__ = ["UserCode"]

T = TypeVar("T")


class UserCode:
    """Runs the user's own code on behalf of the breaker called `name`."""

    __slots__ = ("_name", "raised")

    def __init__(self, name: str) -> None:
        self._name = name
        self.raised: list[tuple[str, BaseException]] = []

    def __call__(self, what: str, default: T, function: Callable[..., T], *args: Any) -> T:
        """Return what `function(*args)` returns, or `default` if it raises."""
        try:
            return function(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if not _this_thread.is_logging:
                self.raised.append((what, error))
            return default

    def log(self) -> None:
        """Log what was raised since the last call. Called with no lock held."""
        with suppress(IndexError):  # if another thread took what was there
            while self.raised:
                _log(self._name, *self.raised.pop(0))


class _ThisThread(local):  # not a list of threads, which a forked child would inherit (E9)
    is_logging = 0
    """How deep. What a logging handler's own use of a breaker raises is not logged, or that might never end."""


_this_thread = _ThisThread()


def _log(name: str, what: str, error: BaseException) -> None:
    _this_thread.is_logging += 1
    try:
        with suppress(Exception):  # of a logging handler, or of the import at shutdown: the caller must not see it (E4)
            from logging import getLogger  # Most programs have imported it; the others need not pay for it.

            getLogger("circuitbreaker").error("circuit %s: its %s raised", quoted(name), what, exc_info=error)
    finally:
        _this_thread.is_logging -= 1
