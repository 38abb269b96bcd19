"""One copy of the checkout, whose mutants are tried one after the other. Runs in that copy, as a process of its own.

It reads the places from a file and appends a line of JSON for each to another.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from .config import slow, stages, tests
from .equivalent import equivalent
from .mutations import Mutant, Place, mutant
from .warm import Run, Runner

__all__ = ["run"]

PACKAGE = Path("circuitbreaker")
Judge = Callable[[Place, Mutant, Runner], Run]


def run(work: Path, results: Path, scratch: Path) -> None:
    """Try the mutants listed in `work`, in which those of one kind stand together."""
    todo = [Place(*each) for each in json.loads(work.read_text())]
    runner = Runner(scratch)
    modules = {place.module for place in todo}
    usual = runner.learn(tests(modules), slow(modules))
    if usual.code != 0:
        sys.exit(f"the tests fail without a mutation: {usual}\n{runner.output.read_text()}")
    with results.open("a") as log:
        for kind, places in groupby(todo, lambda place: place.kind):
            for result in _tried(list(places), equivalent(kind), runner):
                print(json.dumps(result), file=log, flush=True)


def _tried(places: list[Place], expected: int, runner: Runner) -> Iterator[dict[str, Any]]:
    """Try the mutants of one kind. If more than expected survive, the slow tests judge the survivors too."""
    results = [_try(place, _quickly, runner) for place in places]
    survivors = [Place(*each["place"]) for each in results if each["code"] == 0]
    yield from (each for each in results if each["code"] != 0 or len(survivors) <= expected)
    if len(survivors) > expected:
        yield from (_try(place, _slowly, runner) for place in survivors)


def _try(place: Place, judge: Judge, runner: Runner) -> dict[str, Any]:
    path = PACKAGE / f"{place.module}.py"
    source = path.read_text()
    made = mutant(place, source)
    if made is None:
        return {"place": place, "code": None}
    began = time.monotonic()
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    path.write_text(made.source)
    try:
        ended = judge(place, made, runner)
    finally:
        path.write_text(source)
    if ended.code in _NO_VERDICT and "while loading conftest" not in runner.output.read_text():
        sys.exit(f"pytest did not run for {place}: {ended}\n{runner.output.read_text()}")
    shown = {name: getattr(made, name) for name in ("line", "before", "after")}
    return {"place": place, "code": ended.code, "last": ended.last, "seconds": time.monotonic() - began, **shown}


def _quickly(place: Place, made: Mutant, runner: Runner) -> Run:
    first, others, _ = stages(place.module)
    quick, _ = runner.reaching(place.module, made.body)
    ended = runner.run(first, quick)
    return runner.run(others, quick) if ended.code == 0 else ended


def _slowly(place: Place, made: Mutant, runner: Runner) -> Run:
    first, others, slow = stages(place.module)
    _, rest = runner.reaching(place.module, made.body)
    ended = runner.run([*first, *others], rest)
    return runner.run(slow) if ended.code == 0 else ended


_NO_VERDICT = {3, 4, 5}
"""pytest's exit codes for its own faults, wrong arguments, and no tests. The package's own faults also show as 4."""


if __name__ == "__main__":
    run(*(Path(each) for each in sys.argv[1:4]))
