"""One change at a time: across threads by a lock, and within a thread by waiting one's turn.

A thread may come back while it is in the middle of a change: by a signal handler, by the finalizer of a generator that
the garbage collector found, or because the user's own policy or strategy uses the breaker. What it brings then is done
when the change under way is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import RLock, get_ident
from typing import Any, TypeVar

__all__ = ["Serial"]

T = TypeVar("T")


class Serial:
    """Runs steps one at a time; what is left to be run is in `later`."""

    __slots__ = ("_owner", "later", "lock")

    def __init__(self) -> None:
        self.lock: RLock = RLock()  # re-entrant, for an interrupt between its taking and the next line
        self._owner = 0
        self.later: list[Callable[[], Any]] = []

    @property
    def inside(self) -> bool:
        """Whether this thread is in the middle of a step."""
        return self._owner == get_ident()

    def leave(self, step: Callable[..., Any], *args: Any) -> None:
        """Leave `step(*args)` to the next `run`. Takes no lock, so that a finalizer may come here at any moment."""
        self.later.append(partial(step, *args))

    def run(self, step: Callable[..., T], *args: Any) -> T | None:
        """Run `step(*args)`, then what came meanwhile; or leave it, and return `None`, if this thread is inside one."""
        if self.inside:
            self.leave(step, *args)
            return None
        return self.run_now(step, *args)

    def run_now(self, step: Callable[..., T], *args: Any) -> T:
        """As `run`, but at once also inside: for steps that change nothing of what others change."""
        if self.inside:
            return step(*args)
        try:
            with self.lock:
                self._owner = get_ident()
                try:
                    return step(*args)
                finally:
                    self._owner = 0
        finally:
            self.catch_up()

    def catch_up(self) -> None:
        """Run what was left, unless this thread is inside a step, after which that is done."""
        while self.later and not self.inside:
            with self.lock:
                self._owner = get_ident()
                try:
                    while self.later:
                        self.later.pop(0)()
                finally:
                    self._owner = 0

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: nobody here holds the lock, whatever the parent's threads were doing (E9)."""
        self.lock = RLock()
        self._owner = 0
