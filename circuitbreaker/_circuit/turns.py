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

__all__ = ["Turns"]

T = TypeVar("T")


class Turns:
    """Runs steps one at a time; what is left to be run is in `later`."""

    __slots__ = ("_lock", "_owner", "later")

    def __init__(self) -> None:
        self._lock = RLock()  # re-entrant, for an interrupt between its taking and the next line
        self._owner = 0
        self.later: list[Callable[[], Any]] = []

    @property
    def inside(self) -> bool:
        """Whether this thread is in the middle of a step."""
        return self._owner == get_ident()

    def leave(self, step: Callable[..., Any], *args: Any) -> None:
        """Leave `step(*args)` to whoever comes next. Takes no lock: a finalizer may come here at any moment."""
        self.later.append(partial(step, *args))

    def run(self, step: Callable[..., Any], *args: Any) -> None:
        """Run `step(*args)`, then what came meanwhile; or leave it, if this thread is inside a step."""
        if self.inside:
            self.leave(step, *args)
        else:
            self._take_turn(step, *args)

    def run_now(self, step: Callable[..., T], *args: Any) -> T:
        """As `run`, but at once also inside: for steps that change nothing of what others change."""
        return step(*args) if self.inside else self._take_turn(step, *args)

    def catch_up(self) -> None:
        """Run what was left, unless this thread is inside a step, after which that is done."""
        if self.later and not self.inside:
            self._take_turn(self._run_later)

    def _take_turn(self, step: Callable[..., T], *args: Any) -> T:
        try:
            with self._lock:
                self._owner = get_ident()
                try:
                    return step(*args)
                finally:
                    self._owner = 0
        finally:
            if self.later:
                self.catch_up()

    def _run_later(self) -> None:
        while self.later:
            self.later.pop(0)()

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: nobody here holds the lock, whatever the parent's threads were doing (E9)."""
        self._lock = RLock()
        self._owner = 0
