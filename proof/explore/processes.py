"""Worlds explored side by side, each in a new process, which frees its memory when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import get_context

from .report import story
from .search import Counterexample, Figures, explore
from .worlds import World

__all__ = ["explore_all"]


def explore_all(worlds: list[World], processes: int) -> Iterator[Figures | list[str]]:
    """The figures of each world as they come in, or the story of a counterexample."""
    worlds = worlds[::-1]  # the largest first, so that none is left to run alone
    if processes == 1:
        yield from map(_explore_one, worlds)
        return
    with get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_explore_one, worlds)


def _explore_one(world: World) -> Figures | list[str]:
    try:
        return explore(world)
    except Counterexample as found:
        return [f"{world.name}: a promise is broken", *story(found)]
