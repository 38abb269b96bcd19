"""Renews locks in forked children, where a lock that a thread of the parent held would never be released (E9)."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakValueDictionary

__all__ = ["all_renewable", "renew_in_child"]


class _Renewable(Protocol):
    def _renew(self) -> None: ...


_alive: WeakValueDictionary[int, _Renewable] = WeakValueDictionary()


def renew_in_child(thing: _Renewable) -> None:
    """Call `thing._renew()` in every child forked while `thing` is alive. Keeps only a weak reference."""
    _alive[id(thing)] = thing


def all_renewable() -> list[object]:
    """What is alive of what was given to `renew_in_child`."""
    return list(_alive.values())


def _renew_all() -> None:  # pragma: no cover - runs in forked children, where nothing collects
    for thing in list(_alive.values()):
        thing._renew()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows and WebAssembly cannot fork
    os.register_at_fork(after_in_child=_renew_all)
