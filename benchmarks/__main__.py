"""`python -m benchmarks`: the table of what a breaker costs, by the clock; with `instructions`, by callgrind.

It reports, and judges nothing but whether a goal is met. A goal that is missed is no error.
"""

from __future__ import annotations

import argparse
import platform

from . import instructions, table
from .footprint import bytes_of_a_breaker, seconds_to_start
from .rows import ROWS
from .timing import best_of_many


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("by", nargs="?", choices=["time", "instructions"], default="time", help="default: time")
    parser.add_argument("--quick", action="store_true", help="less exact, in a fifth of the time")
    arguments = parser.parse_args()
    print(f"circuitbreaker on {platform.python_implementation()} {platform.python_version()}, {platform.platform()}")
    by = by_time if arguments.by == "time" else by_instructions
    by(arguments.quick)


def by_time(quick: bool) -> None:
    """Every row of the table."""
    seconds = 0.3 if quick else 2.0  # per row
    table.header("time per operation, best of many")
    for row in ROWS.values():
        floor, ours = best_of_many(*row.sides(), row.number, seconds)
        table.line(row.what, f"{floor * 1e9:.0f} ns", f"{ours * 1e9:.0f} ns", ours / floor, row.goal, "x")
    bare, ours = seconds_to_start(seconds)
    table.line("import, over a bare interpreter", _ms(bare), _ms(ours), (ours - bare) * 1e3, 25, "ms")
    table.line("one idle breaker", "", "", bytes_of_a_breaker(), 2048, "B")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def by_instructions(quick: bool) -> None:
    """The rows whose cost is all in instructions."""
    counts = instructions.count(quick)
    table.header("instructions per operation, by callgrind")
    for row, floor, ours in counts:
        table.line(row.what, f"{floor:.0f}", f"{ours:.0f}", ours / floor, row.goal, "x")


if __name__ == "__main__":
    main()
