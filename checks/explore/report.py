"""What people read: the figures of a search, and counterexamples step by step."""

from __future__ import annotations

from contextlib import suppress

from circuitbreaker._engine.periods import HalfOpen, Open

from .checks import PROMISES, Broken
from .moves import BY_PERMIT, Bench, Move
from .search import Counterexample, Figures

__all__ = ["figures", "header", "story", "total"]

_SHAPE = "{:<34}{:>11}{:>13}{:>7}{:>10}{:>9}{:>10}  {}"
_STEP = "  {:>4}  {:<48}{:<42}{}"


def header() -> str:
    """The first line of the figures."""
    return _SHAPE.format("world", "states", "transitions", "depth", "recovery", "seconds", "a second", "fixed point")


def figures(found: Figures) -> str:
    """One world's line. The rate is by processor time."""
    return _line(found, str(found.depth), str(found.recovery), "yes" if found.finished else "no")


def total(all_found: list[Figures]) -> str:
    """The sums, and the greatest depth and recovery."""
    states, transitions = sum(each.states for each in all_found), sum(each.transitions for each in all_found)
    sums = Figures(
        f"{len(all_found)} worlds",
        states,
        transitions,
        max(each.depth for each in all_found),
        sum(each.seconds for each in all_found),
        sum(each.processor for each in all_found),
        all(each.finished for each in all_found),
        max(each.recovery for each in all_found),
    )
    return figures(sums)


def _line(found: Figures, depth: str, recovery: str, finished: str) -> str:
    rate = f"{found.transitions / found.processor:,.0f}"
    numbers = f"{found.states:,}", f"{found.transitions:,}", depth, recovery, f"{found.seconds:.1f}", rate
    return _SHAPE.format(found.world, *numbers, finished)


def story(found: Counterexample) -> list[str]:
    """A counterexample: what happened step by step, and the promise that it breaks. Run it where the bug still is."""
    teller = _Teller(found)
    lines = [_STEP.format("time", "what happens", "what follows", "state after")]
    lines += [teller.step(move) for move in found.path]
    return [*lines, f"  {found.promise} is broken: {found.found}.", f"  {found.promise}: {PROMISES[found.promise]}"]


class _Teller:
    """Goes the way of a counterexample again, and gives each call a number that it keeps."""

    def __init__(self, found: Counterexample) -> None:
        self._bench = Bench(found.world)
        self._calls: list[int] = []  # the number of each call, in the order of the bench
        self._begun = 0
        self._settled = 0
        self._time = 0

    def step(self, move: Move) -> str:
        """Make one move, and tell of it."""
        bench, before = self._bench, self._bench.key()
        bench.put(before)
        what, calls = self._what(move), len(self._calls)
        self._end(move)
        with suppress(Broken):
            bench.make(move, before)
        begun = move.what == "admit" and len(bench.subject.calls) > calls
        line = _STEP.format(self._time, what, self._follows(move, begun), _state(bench))
        self._time += move.what == "tick"
        self._sort(begun)
        return line.rstrip()

    def _what(self, move: Move) -> str:
        if move.what in _WORDS:
            return _WORDS[move.what]
        return _ENDS.get(move.what, "{}()").format(self._calls[move.which] if move.what in _ENDS else move.what)

    def _end(self, move: Move) -> None:
        """Keep the numbers as the bench keeps the calls."""
        if move.what not in _ENDS or move.what == "within":
            return
        number = self._calls.pop(move.which)
        if move.what in BY_PERMIT and self._settled in self._calls:
            self._calls.remove(self._settled)
        if move.what in (*BY_PERMIT, "again"):
            self._calls.append(number)
            self._settled = number

    def _sort(self, begun: bool) -> None:
        if begun:
            self._begun += 1
            self._calls.append(self._begun)
        with suppress(ValueError):  # After a broken promise the two may not know of the same calls.
            pairs = self._bench.pairs()
            self._calls = [self._calls[each] for each in sorted(range(len(pairs)), key=pairs.__getitem__)]

    def _follows(self, move: Move, begun: bool) -> str:
        refused = self._bench.refused
        words = [f"it is call {self._begun + 1}"] if begun else []
        words += ["admitted"] if move.what == "call" and refused is None else []
        words += [f"refused, wait {refused:g}"] if refused is not None else []
        changes = [change for change in self._bench.subject.told if len(change) == 3]
        if changes:
            words.append(" -> ".join(map(str, [changes[0][0], *(new for _, new, _ in changes)])))
        return ", ".join(words)


_WORDS = {
    "admit": "a call begins",
    "call": "a call begins, and succeeds at once",
    "tick": "a unit of time passes",
    "read": "the metrics are read",
}
_ENDS = {
    "within": "within call {}, another succeeds at once",
    "success": "call {} succeeds",
    "failure": "call {} fails",
    "release": "call {} is released",
    "drop": "the permit of call {} is dropped",
    "leave by success": "call {}, of a decorated function, succeeds",
    "leave by failure": "call {}, of a decorated function, fails",
    "leave by release": "call {}, of a decorated function, is cancelled",
    "again": "the permit of call {} is settled again",
}


def _state(bench: Bench) -> str:
    """The engine's state, in words."""
    engine, now = bench.subject.engine, bench.subject.clock.monotonic()
    period = engine.period
    words = str(period.state)
    if isinstance(period, Open):
        words += f", {max(0.0, period.until - now):g} left"
    if isinstance(period, HalfOpen):
        words += f", {len(period.trials)} out and {period.finished} used of {_attempts(bench.world.attempts)}"
    return words + (f", {engine.hold}" if engine.hold else "")


def _attempts(many: int) -> str:
    return f"{many} attempt{'' if many == 1 else 's'}"
