"""One change at a time: across threads by a lock, and within a thread by run to completion.

Run to completion is the rule of statecharts: what comes up in the middle of a step is done after that step. A thread
may come back while it is in the middle of one: by a signal handler, by the finalizer of a generator that the garbage
collector found, because the user's own policy or strategy uses the breaker, or because that waits and another greenlet
of the thread runs meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import RLock, get_ident
from typing import Any, TypeVar

__all__ = ["Turns"]

T = TypeVar("T")


class Turns:
    """Runs steps one at a time. Steps that had to be put off are in `later`."""

    __slots__ = ("_lock", "_owner", "later")

    def __init__(self) -> None:
        self._lock = RLock()  # re-entrant, for an interrupt between its taking and the next line
        self._owner = 0
        self.later: list[Callable[[], Any]] = []

    @property
    def inside(self) -> bool:
        """Whether this thread is in the middle of a step."""
        return self._owner == get_ident()

    def run(self, step: Callable[..., Any], *args: Any) -> Any:
        """Return what `step(*args)` returns, and run what was put off meanwhile; or put it off, inside a step."""
        if self._owner == get_ident():
            self.put_off(step, *args)
            return None
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

    def run_now(self, step: Callable[..., T], *args: Any) -> T:
        """As `run`, but at once even inside a step: for steps that change nothing that other steps change."""
        result: T = step(*args) if self.inside else self.run(step, *args)
        return result

    def put_off(self, step: Callable[..., Any], *args: Any) -> None:
        """Put off `step(*args)` to the next turn. Takes no lock: a finalizer may come here at any moment."""
        self.later.append(partial(step, *args))

    def catch_up(self) -> None:
        """Run what was put off, unless this thread is inside a step, after which that is done."""
        if self.later and not self.inside:
            self.run(self._run_later)

    def _run_later(self) -> None:
        while self.later:
            self.later.pop(0)()

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: no thread here holds the lock, whatever the parent's threads were doing (E9)."""
        self._lock = RLock()
        self._owner = 0
