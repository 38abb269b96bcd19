"""The score of each module, and the mutants that are alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .config import MODULES
from .equivalent import EQUIVALENT, reason

__all__ = ["Score", "idle", "lines", "listed", "scores"]


class Score(NamedTuple):
    """What became of a module's mutants."""

    module: str
    mutants: int
    killed: int
    by_time: int
    equivalent: int
    alive: list[dict[str, Any]]


def scores(results: Iterable[dict[str, Any]]) -> list[Score]:
    """One for each module that has mutants."""
    made = [each for each in results if each["code"] is not None]
    modules = [module for module in MODULES if any(each["place"][0] == module for each in made)]
    return [_score(module, [each for each in made if each["place"][0] == module]) for module in modules]


def _score(module: str, results: list[dict[str, Any]]) -> Score:
    survivors = [each for each in results if each["code"] == 0]
    alive = [each for each in survivors if why(each) is None]
    return Score(
        module,
        len(results),
        len(results) - len(survivors),
        sum(each["code"] < 0 for each in results),
        len(survivors) - len(alive),
        sorted(alive, key=lambda each: int(each["line"])),
    )


def why(result: dict[str, Any]) -> str | None:
    """Why a survivor is equivalent to the original, if it is."""
    return reason(result["place"][0], result["definition"], result["before"], result["after"])


def lines(found: list[Score]) -> Iterator[str]:
    """A table in Markdown, and what is alive."""
    yield "| module | mutants | killed | of these by time | equivalent | alive |"
    yield "|---|---:|---:|---:|---:|---:|"
    for score in [*found, _sum(found)]:
        yield f"| {' | '.join(map(str, score[:5]))} | {len(score.alive)} |"
    for score in found:
        for each in score.alive:
            yield f"\n{score.module}:{each['line']} {each['definition']} ({each['place'][1]})"
            yield f"  - {each['before']}\n  + {each['after']}"


def _sum(found: list[Score]) -> Score:
    mutants, killed, by_time, equivalent = (sum(each) for each in list(zip(*found, strict=True))[1:5])
    return Score("all", mutants, killed, by_time, equivalent, [each for score in found for each in score.alive])


def listed() -> Iterator[str]:
    """The mutants listed as equivalent, and why, as a list in Markdown."""
    for module in MODULES:
        if each_of := [each for each in EQUIVALENT if each.module == module]:
            yield f"\n**{module}**\n"
            yield from (f"- `{each.before}` as {_shorts(each.after)}: {each.why}" for each in each_of)


def _shorts(codes: tuple[str, ...]) -> str:
    return " or ".join(f"`{code}`" for code in codes)


def idle(results: list[dict[str, Any]]) -> list[str]:
    """Those listed as equivalent that are not alive: the line has changed, or a test tells them apart."""
    seen = {
        (each["place"][0], each["definition"], each["before"], each["after"]) for each in results if each["code"] == 0
    }
    return [
        f"{each.module} {each.definition}: {after}"
        for each in EQUIVALENT
        for after in each.after
        if (*each[:3], after) not in seen
    ]
