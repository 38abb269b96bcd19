"""The score of each module, and the mutants that are alive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .config import MODULES
from .equivalent import equivalent, listed
from .mutations import Kind, Place

__all__ = ["Score", "explained", "idle", "lines", "scores"]

Result = dict[str, Any]


class Score(NamedTuple):
    """What became of a module's mutants."""

    module: str
    mutants: int
    killed: int
    by_time: int
    equivalent: int
    alive: int
    suspects: list[Result]
    """The survivors of each kind of which more survived than are listed as equivalent."""


def scores(results: Iterable[Result]) -> list[Score]:
    """One for each module that has mutants."""
    made = [each for each in results if each["code"] is not None]
    modules = [module for module in MODULES if any(each["place"][0] == module for each in made)]
    return [_score(module, [each for each in made if each["place"][0] == module]) for module in modules]


def _score(module: str, results: list[Result]) -> Score:
    survivors = _survivors(results)
    many = sum(map(len, survivors.values()))
    allowed = sum(min(len(each), equivalent(kind)) for kind, each in survivors.items())
    suspects = [one for kind, each in survivors.items() if len(each) > equivalent(kind) for one in each]
    by_time = sum(each["code"] < 0 for each in results)
    suspects.sort(key=lambda each: int(each["line"]))
    return Score(module, len(results), len(results) - many, by_time, allowed, many - allowed, suspects)


def _survivors(results: Iterable[Result]) -> dict[Kind, list[Result]]:
    found: defaultdict[Kind, list[Result]] = defaultdict(list)
    for each in results:
        if each["code"] == 0:
            found[Place(*each["place"]).kind].append(each)
    return found


def lines(found: list[Score]) -> Iterator[str]:
    """A table in Markdown, and what is alive."""
    yield "| module | mutants | killed | of these by time | equivalent | alive |"
    yield "|---|---:|---:|---:|---:|---:|"
    for score in [*found, _sum(found)]:
        yield f"| {' | '.join(map(str, score[:6]))} |"
    for score in found:
        for each in score.suspects:
            kind = Place(*each["place"]).kind
            spared = f", {equivalent(kind)} of this kind listed as equivalent" if equivalent(kind) else ""
            yield f"\n{score.module}:{each['line']} {kind.definition} ({kind.operator}{spared})"
            yield f"  - {each['before']}\n  + {each['after']}"


def _sum(found: list[Score]) -> Score:
    columns = list(zip(*found, strict=True))[1:6]
    mutants, killed, by_time, spared, alive = (sum(each) for each in columns)
    return Score("all", mutants, killed, by_time, spared, alive, [])


def explained() -> Iterator[str]:
    """The mutants listed as equivalent, and why, as a list in Markdown."""
    for kind, many, why in listed():
        yield f"- {kind.module}, `{kind.definition or 'the module'}`, {many} by {kind.operator}: {why}"


def idle(results: Iterable[Result], modules: list[str]) -> Iterator[str]:
    """The kinds in `modules` of which fewer are alive than are listed as equivalent."""
    survivors = _survivors(results)
    for kind, many, _ in listed():
        alive = len(survivors.get(kind, ()))
        if kind.module in modules and alive < many:
            yield f"{kind.module} {kind.definition}, by {kind.operator}: {many} listed, {alive} alive"
