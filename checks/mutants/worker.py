"""One copy of the checkout, whose mutants are tried one after the other. Runs in that copy, as a process of its own.

It reads the places from a file and appends a line of JSON for each to another.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

from .config import SLOW, TESTS, stages
from .equivalent import reason
from .mutations import Mutant, Place, mutant
from .warm import Run, Runner

__all__ = ["run"]

PACKAGE = Path("circuitbreaker")


def run(work: Path, results: Path, scratch: Path) -> None:
    """Try the mutants listed in `work`."""
    todo = [Place(*each) for each in json.loads(work.read_text())]
    runner = Runner(scratch)
    usual = runner.learn(TESTS, SLOW)
    if usual.code != 0:
        sys.exit(f"the tests fail without a mutation: {usual}\n{runner.output.read_text()}")
    with results.open("a") as log:
        for place in todo:
            print(json.dumps(_tried(place, runner)), file=log, flush=True)


def _tried(place: Place, runner: Runner) -> dict[str, Any]:
    path = PACKAGE / f"{place.module}.py"
    source = path.read_text()
    made = mutant(place, source)
    if made is None:
        return {"place": place, "code": None}
    began = time.monotonic()
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    path.write_text(made.source)
    try:
        ended = _judged(place, made, runner)
    finally:
        path.write_text(source)
    shown = {name: getattr(made, name) for name in ("line", "definition", "before", "after")}
    return {"place": place, "code": ended.code, "last": ended.last, "seconds": time.monotonic() - began, **shown}


def _judged(place: Place, made: Mutant, runner: Runner) -> Run:
    chosen = runner.reaching(place.module, made.body) if made.body else None
    first, others, slow = stages(place.module)
    ended = runner.run(first, chosen)
    if ended.code == 0:
        ended = runner.run(others, chosen)
    if ended.code == 0 and reason(place.module, *made.shown) is None:
        ended = runner.run(slow, None)
    if ended.code in _NO_VERDICT and "while loading conftest" not in runner.output.read_text():
        sys.exit(f"pytest did not run for {place}: {ended}\n{runner.output.read_text()}")
    return ended


_NO_VERDICT = {3, 4, 5}
"""pytest's exit codes for its own faults, wrong arguments, and no tests. The package's own faults also show as 4."""


if __name__ == "__main__":
    run(*(Path(each) for each in sys.argv[1:4]))
