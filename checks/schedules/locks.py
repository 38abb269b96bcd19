"""Locks that tell the scheduler who waits, so that it can let another thread go on, and notice when there is none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

__all__ = ["Abandoned", "CooperativeLock", "Waiting", "locks_made_by"]


class Abandoned(KeyboardInterrupt):
    """Ends a thread of a run that cannot be finished. As an interrupt, for the package lets that pass everywhere."""


class Waiting(Protocol):
    """What locks tell the scheduler."""

    def wait(self, lock: CooperativeLock) -> None:
        """The running thread cannot go on before `lock` is free."""
        ...

    def lock_changed(self) -> None:
        """A lock was taken or released."""
        ...


class CooperativeLock:
    """`threading.Lock`, or `RLock` if `reentrant`, for threads of which one runs at a time."""

    __slots__ = ("_depth", "_owner", "_reentrant", "_scheduler")

    def __init__(self, scheduler: Waiting, reentrant: bool) -> None:
        self._scheduler = scheduler
        self._reentrant = reentrant
        self._owner = 0
        self._depth = 0

    @property
    def free(self) -> bool:
        """Whether a thread that waits for it can go on."""
        return self._depth == 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, when it is free."""
        me = threading.get_ident()
        if not (self._reentrant and self._owner == me):
            while self._depth:
                if not blocking:
                    return False
                self._scheduler.wait(self)
            self._owner = me
        self._depth += 1
        self._scheduler.lock_changed()
        return True

    def release(self) -> None:
        """Give it back."""
        self._depth -= 1
        if not self._depth:
            self._owner = 0
        self._scheduler.lock_changed()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


@contextmanager
def locks_made_by(scheduler: Waiting) -> Iterator[None]:
    """Within the block, the package makes its locks of this kind."""

    def lock() -> CooperativeLock:
        return CooperativeLock(scheduler, reentrant=False)

    def rlock() -> CooperativeLock:
        return CooperativeLock(scheduler, reentrant=True)

    replaced: list[tuple[Any, str, object]] = []
    for module in [each for name, each in sys.modules.items() if name.split(".")[0] == "circuitbreaker"]:
        for name, ours in (("Lock", lock), ("RLock", rlock)):
            if getattr(module, name, None) is getattr(threading, name):
                replaced.append((module, name, getattr(module, name)))
                setattr(module, name, ours)
    assert replaced, "no module of the package makes a lock under its own name"
    try:
        yield
    finally:
        for module, name, original in replaced:
            setattr(module, name, original)
