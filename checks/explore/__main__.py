"""`python -m checks.explore`: explore the shipped engine, and print how much was seen.

Every order of admissions, results, time and control is tried, each state once, up to the bounds of a world; each move
is judged by the promises. With `--quick`, small worlds only; with `--planted`, show that broken engines are found out.
"""

from __future__ import annotations

import argparse
import platform
import sys

from . import report
from .bugs import PLANTED
from .planted import find
from .processes import explore_all
from .worlds import LONG, QUICK, World

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; 0 if all is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m checks.explore", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true", help="small worlds, in seconds")
    what.add_argument("--planted", action="store_true", help="break the engine in many ways, and find each")
    parser.add_argument("--more", type=int, default=0, metavar="N", help="let N more calls be out at once; default: 0")
    parser.add_argument("--processes", type=int, default=2, help="default: 2")
    asked = parser.parse_args(arguments)
    if asked.more < 0 or asked.processes < 1:
        parser.error("--more must be 0 or more, and --processes 1 or more")
    if asked.planted:
        return _find_all_planted()
    print(f"circuitbreaker on {platform.python_implementation()} {platform.python_version()}")
    worlds = QUICK if asked.quick else [*QUICK, *LONG]
    return _explore_all([world.larger(asked.more) for world in worlds], asked.processes)


def _explore_all(worlds: list[World], processes: int) -> int:
    """Explore all worlds, and print their figures as they come in."""
    print(report.header())
    seen = []
    for found in explore_all(worlds, processes):
        if isinstance(found, list):
            print(*found, sep="\n")
            return 1
        seen.append(found)
        print(report.figures(found), flush=True)
    print(report.total(seen))
    return 0


def _find_all_planted() -> int:
    """Print the shortest counterexample of each planted bug; 1 if one is not found."""
    missed = 0
    for bug in PLANTED:
        print(f"{bug.promise}: {bug.name} ({bug.world.name})")
        found = find(bug)
        right = found is not None and found.promise == bug.promise
        missed += not right
        print("\n".join(found.story if found else ["  NOT FOUND"]))
        print("" if right else f"  NOT FOUND as a breach of {bug.promise}\n")
    print(f"{len(PLANTED)} bugs planted, {len(PLANTED) - missed} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
