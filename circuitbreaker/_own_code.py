"""Running the user's own code: predicates, policies, strategies, listeners.

What they raise is logged with the breaker's name and goes no further (E4). Only `KeyboardInterrupt` does: it is the
user at the keyboard, not the code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["OwnCode"]

T = TypeVar("T")


class OwnCode:
    """Runs the user's own code on behalf of the breaker called `name`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, what: str, default: T, function: Callable[..., T], *args: Any) -> T:
        """What `function(*args)` returns, or `default` if it raises."""
        try:
            return function(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _log(self._name, what, error)
            return default


def _log(name: str, what: str, error: BaseException) -> None:
    from logging import getLogger  # An import that most programs have made, and that the others need not pay for.

    getLogger("circuitbreaker").error("circuit %r: its %s raised", name, what, exc_info=error)
