"""The search: breadth first, each state once, every move from each.

It keeps what a counterexample needs, a state's first predecessor and the move that led to it, and what `liveness`
needs, the edges of healthy moves among the states that are neither closed nor forced.
"""

from __future__ import annotations

import time
from array import array
from itertools import islice
from typing import NamedTuple

from .account import CLOSED
from .checks import Broken
from .liveness import Graph, Unhealthy
from .moves import HEALTHY, Bench, Move
from .worlds import World

__all__ = ["Counterexample", "Figures", "explore"]


class Figures(NamedTuple):
    """What a search saw."""

    world: str
    states: int
    transitions: int
    depth: int
    seconds: float
    processor: float
    """Seconds of processor time."""
    finished: bool
    """Whether the fixed point was reached: no state within the bounds is left out."""
    recovery: int
    """The longest way, in healthy moves, from any state back to closed."""


class Counterexample(Exception):
    """A way to break a promise; no way is shorter."""

    def __init__(self, world: World, path: list[Move], broken: Broken) -> None:
        super().__init__(str(broken))
        self.world = world
        self.path = path
        self.promise = broken.promise
        self.found = broken.found


def explore(world: World, most: int | None = None) -> Figures:
    """Explore `world`, up to `most` states if that is given. Raises `Counterexample`."""
    started, processor = time.perf_counter(), time.process_time()
    search = _Search(world)
    while search.level and (most is None or len(search.seen) < most):
        search.deepen()
    recovery = 0 if search.level else search.judge_graph()
    return Figures(
        world.name,
        len(search.seen),
        search.transitions,
        search.depth,
        time.perf_counter() - started,
        time.process_time() - processor,
        not search.level,
        recovery,
    )


class _Search:
    def __init__(self, world: World) -> None:
        self._world = world
        self._bench = Bench(world)
        first = self._bench.key()
        self.seen: dict[bytes, int] = {first: 0}
        self.level: list[bytes] = [first]
        self.depth = 0
        self.transitions = 0
        self._moves: list[Move] = [Move("")]
        self._number: dict[Move, int] = {}
        self._by = array("H", [0])  # the move that first led to each state
        self._from = array("I", [0])  # and from which state
        self._graph = Graph()

    def deepen(self) -> None:
        """Make every move from every state of the last level."""
        known = len(self.seen)
        for key in self.level:
            self._expand(key)
        self.level = list(islice(self.seen, known, None))
        self.depth += bool(self.level)

    def _expand(self, key: bytes) -> None:
        bench, graph = self._bench, self._graph
        bench.put(key)
        if bench.key() != key:
            broken = Broken("C2", "what the engine keeps at hand is not what follows from the rest")
            raise Counterexample(self._world, self._path(self.seen[key]), broken)
        there = here = graph.begin(lasting=bench.account.state != CLOSED and not bench.account.forced)
        for move in bench.moves():
            if there != here or bench.shuffled:
                bench.put(key)
            else:
                bench.begin()
            try:
                there = self._reach(bench.make(move, key), here, move)
            except Broken as broken:
                raise Counterexample(self._world, [*self._path(here), move], broken) from None
            self.transitions += 1
            if move.what in HEALTHY:
                graph.add(move.what, there, bench.refused)

    def _reach(self, key: bytes, here: int, move: Move) -> int:
        there = self.seen.get(key)
        if there is None:
            there = self.seen[key] = len(self.seen)
            self._by.append(self._note(move))
            self._from.append(here)
        return there

    def _note(self, move: Move) -> int:
        if move not in self._number:
            self._number[move] = len(self._moves)
            self._moves.append(move)
        return self._number[move]

    def _path(self, state: int) -> list[Move]:
        moves = []
        while state:
            moves.append(self._moves[self._by[state]])
            state = self._from[state]
        return moves[::-1]

    def judge_graph(self) -> int:
        """The longest way back to closed. Raises `Counterexample` if there is a state without one."""
        try:
            longest = self._graph.longest_recovery()
            self._graph.judge_waits()
        except Unhealthy as found:
            raise Counterexample(self._world, self._path(found.state), Broken(found.promise, found.how)) from None
        return longest
