"""Mutates the package, or the modules named, and says which mutants the tests do not notice.

Works on copies of the checkout, one for each worker. Fails if a mutant is alive that is not listed as equivalent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from .config import MODULES
from .mutations import Place, places
from .report import explained, idle, lines, scores

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m checks.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="module", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time; 2")
    parser.add_argument(
        "--known", type=Path, help="a file of results: mutants of unchanged modules killed before stay so"
    )
    parser.add_argument("--equivalent", action="store_true", help="print which are listed as equivalent, and why")
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(MODULES):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    if arguments.equivalent:
        print("\n".join(explained()))
        return 0
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before its time"))  # What it found until then is kept.
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        results = _results(arguments.modules, arguments.workers, arguments.known, Path(scratch))
    found = scores(results)
    print("\n".join(lines(found)))
    print(*(f"listed as equivalent, but not alive: {each}" for each in idle(results, arguments.modules)), sep="\n")
    print(f"{time.monotonic() - began:.0f} s, {arguments.workers} workers, Python {sys.version.split()[0]}")
    return 1 if any(score.alive for score in found) else 0


def _results(modules: list[str], workers: int, known: Path | None, scratch: Path) -> list[dict[str, Any]]:
    sources = {module: (ROOT / "circuitbreaker" / f"{module}.py").read_text() for module in modules}
    digests = {module: hashlib.sha256(source.encode()).hexdigest() for module, source in sources.items()}
    every = [place for module in modules for place in places(module, sources[module])]
    before = _dead(known, digests)
    dead = {place: before[place] for place in every if place in before}
    todo = [place for place in every if place not in dead]
    kinds = [list(kind) for _, kind in groupby(todo, lambda place: place.kind)]
    shares = [[place for kind in kinds[index::workers] for place in kind] for index in range(workers)]
    running = [_Worker(scratch / str(index), share) for index, share in enumerate(shares)]
    try:
        for worker in running:
            worker.wait()
    finally:
        for worker in running:
            worker.stop()
        fresh = [each for worker in running for each in worker.results()]
        if known is not None:
            with known.open("a") as file:
                file.writelines(json.dumps({**each, "digest": digests[each["place"][0]]}) + "\n" for each in fresh)
    return [*dead.values(), *fresh]


def _dead(known: Path | None, digests: dict[str, str]) -> dict[Place, dict[str, Any]]:
    """The mutants of the present modules that were killed before: tests are added, not taken away."""
    if known is None or not known.exists():
        return {}
    results = [json.loads(line) for line in known.read_text().splitlines()]
    return {
        Place(*each["place"]): each
        for each in results
        if each["code"] != 0 and digests.get(each["place"][0]) == each["digest"]
    }


class _Worker:
    """A process with a copy of the checkout."""

    def __init__(self, home: Path, todo: list[Place]) -> None:
        checkout, self._log = home / "checkout", home / "results"
        _copy(checkout)
        (home / "work").write_text(json.dumps(todo))
        self._log.touch()
        paths = ["../work", "../results", ".."]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "checks.mutants.worker", *paths], cwd=checkout, env=environment
        )

    def wait(self) -> None:
        """Wait until all results are there."""
        if self._process.wait() != 0:
            sys.exit("a worker failed")

    def results(self) -> list[dict[str, Any]]:
        """The results that are there."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._process.terminate()
        self._process.wait()


def _copy(target: Path) -> None:
    """The checkout as git sees it, with what is not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


if __name__ == "__main__":
    sys.exit(main())
