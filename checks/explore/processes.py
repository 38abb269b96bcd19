"""Worlds explored side by side, each in a new process, which frees its memory when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from .report import story
from .search import Counterexample, Figures, explore
from .worlds import World

__all__ = ["explore_all"]


def explore_all(worlds: list[World], processes: int) -> Iterator[Figures | list[str]]:
    """The figures of each world as they come in, or the story of a counterexample or of a process that died."""
    if processes == 1:
        yield from map(_explore_one, reversed(worlds))
        return
    waiting = list(worlds)
    running: dict[Connection, tuple[World, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                world = waiting.pop()  # the largest first, so that none is left to run alone
                ear, process = _begin(world)
                running[ear] = world, process
            for ear in wait(list(running)):
                yield _end(ear, *running.pop(ear))
    finally:
        for _, process in running.values():
            process.terminate()


def _begin(world: World) -> tuple[Connection, BaseProcess]:
    spawn = get_context("spawn")
    ear, mouth = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_tell, args=(world, mouth), daemon=True)
    process.start()
    mouth.close()  # Only the process has it now, so the ear hears when that dies: a pool would wait for ever.
    return ear, process


def _tell(world: World, mouth: Connection) -> None:
    mouth.send(_explore_one(world))


def _end(ear: Connection, world: World, process: BaseProcess) -> Figures | list[str]:
    found: Figures | list[str] | None = None
    with suppress(EOFError):
        found = ear.recv()
    process.join()
    return found or [f"{world.name}: the process that explored it died, with exit status {process.exitcode}"]


def _explore_one(world: World) -> Figures | list[str]:
    try:
        return explore(world)
    except Counterexample as found:
        return [f"{world.name}: a promise is broken", *story(found)]
