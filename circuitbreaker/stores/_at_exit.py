"""Closes what is open when the process ends, also a child of `multiprocessing`."""

from __future__ import annotations

import atexit
import multiprocessing.util
import weakref
from typing import Protocol

__all__ = ["close_at_exit"]


class _Closable(Protocol):
    def close(self) -> None: ...


_open: weakref.WeakSet[_Closable] = weakref.WeakSet()


def close_at_exit(thing: _Closable) -> None:
    """Have `thing.close()` called at the end of the process, if it lives then."""
    _open.add(thing)


def _close_all() -> None:  # pragma: no cover - at the end of the process, when nothing collects
    """Report what is left: the failures of a short life count too."""
    for each in list(_open):
        each.close()


atexit.register(_close_all)


def _close_at_exit_of_child(_: object) -> None:
    multiprocessing.util.Finalize(None, _close_all, exitpriority=0)


# Children of multiprocessing end without atexit, and those that are forked forget what was registered before.
_close_at_exit_of_child(None)
multiprocessing.util.register_after_fork(_open, _close_at_exit_of_child)
