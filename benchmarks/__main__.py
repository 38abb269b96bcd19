"""What a breaker costs, compared with code written by hand.

  time          every row by the clock, with memory and import time (the default), or the named rows only
  instructions  the rows whose cost is entirely in instructions, counted by callgrind
  breakdown     what makes up the cost of a row, by function, line and bytecode
  peers         the same operations through other libraries, each in its own environment
  fleet         what sharing a circuit costs, and how fast a fleet opens, tries and recovers; needs a server
  clients       what a guard adds to a request of each supported client
  frames        the package's frames that a call, a trip, a refusal and a recovery enter
  size          the size of the source, minified and compressed, ours and theirs
  gate          compares the ratios of instructions with the committed bounds; fails beyond 10 %

All but `gate` only report, and say whether goals are met.
"""

from __future__ import annotations

import argparse
import platform

from . import clients, fleet, frames, gate, table
from .breakdown import breakdown
from .footprint import bytes_each, seconds_to_import
from .instructions import COUNTED, of_rows
from .memory import a_breaker, a_key
from .peers.compare import compare
from .processes import ROOT
from .rows import ROWS
from .size import sizes
from .timing import best_of_many


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=COMMANDS, default="time", metavar="what")
    parser.add_argument("rows", nargs="*", help=f"for time, instructions and breakdown: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time, less exact")
    parser.add_argument("--instructions", action="store_true", help="peers: by callgrind, not by the clock")
    parser.add_argument("--write", action="store_true", help="gate: write new bounds")
    arguments = parser.parse_intermixed_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.platform()}")
    COMMANDS[arguments.what](arguments)


def by_time(arguments: argparse.Namespace) -> None:
    seconds = 0.3 if arguments.quick else 2.0  # per row
    table.header("time per operation, best of many")
    for row in [ROWS[name] for name in arguments.rows or ROWS]:
        floor, ours = best_of_many(row.floor(), row.ours(), row.number, seconds)
        table.line(row.what, f"{floor * 1e9:.0f} ns", f"{ours * 1e9:.0f} ns", ours / floor, row.goal, "x")
    if not arguments.rows:
        footprint(seconds)


def footprint(seconds: float) -> None:
    bare, ours = seconds_to_import("circuitbreaker", ROOT, seconds)
    table.line("import, over a bare interpreter", _ms(bare), _ms(ours), (ours - bare) * 1e3, 25, "ms")
    table.line("one idle breaker", "", "", bytes_each(a_breaker(), 1_000), 2048, "B")
    table.line("one of 100,000 breakers by key", "", "", bytes_each(a_key(), 100_000), None, "B")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def by_instructions(arguments: argparse.Namespace) -> None:
    few, many = (500, 1_500) if arguments.quick else (1_000, 6_000)
    table.header("instructions per operation, by callgrind")
    for name, cost in of_rows(arguments.rows or COUNTED, few, many).items():
        row = ROWS[name]
        table.line(row.what, f"{cost.floor:.0f}", f"{cost.ours:.0f}", cost.ratio, row.goal, "x")


def by_function(arguments: argparse.Namespace) -> None:
    for name in arguments.rows or ["sync"]:
        if name not in COUNTED:
            raise SystemExit(f"benchmarks: instructions do not explain {name}; one of {', '.join(COUNTED)}")
        breakdown(ROWS[name])


COMMANDS = {
    "time": by_time,
    "instructions": by_instructions,
    "breakdown": by_function,
    "peers": lambda arguments: compare(arguments.instructions, arguments.quick),
    "fleet": lambda arguments: fleet.measure(arguments.quick),
    "clients": lambda arguments: clients.measure(1.0 if arguments.quick else 6.0),
    "frames": lambda arguments: frames.measure(),
    "size": lambda arguments: sizes(),
    "gate": lambda arguments: gate.write() if arguments.write else gate.check(),
}


if __name__ == "__main__":
    main()
