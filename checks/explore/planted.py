"""Breaking the engine on purpose: what is found while a bug is planted in the shipped code. The bugs are in `bugs`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from .report import story
from .search import Counterexample, explore
from .worlds import World

__all__ = ["Found", "Planted", "find", "planted"]


class Planted(NamedTuple):
    """One way to break the engine."""

    name: str
    """What the engine does wrong."""
    promise: str
    world: World
    patches: tuple[tuple[type | ModuleType, str, Any], ...]
    """Each a class or module, an attribute of it, and what is put in its place."""


@contextmanager
def planted(bug: Planted) -> Iterator[None]:
    """The shipped code, with `bug` in it."""
    shipped = [(owner, name, vars(owner)[name]) for owner, name, _ in bug.patches]
    for owner, name, broken in bug.patches:
        setattr(owner, name, broken)
    try:
        yield
    finally:
        for owner, name, right in shipped:
            setattr(owner, name, right)


class Found(NamedTuple):
    """How a bug was found."""

    promise: str
    steps: int
    story: list[str]


def find(bug: Planted) -> Found | None:
    """The shortest counterexample to the shipped code with `bug` in it; `None` if there is none."""
    with planted(bug):
        try:
            explore(bug.world)
        except Counterexample as found:
            return Found(found.promise, len(found.path), story(found))
    return None
