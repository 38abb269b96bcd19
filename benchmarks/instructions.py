"""How many instructions one operation takes, counted by callgrind, and so without noise.

A loop runs twice, with different numbers of operations. The difference of the counts, divided by that of the numbers,
excludes start-up and set-up. The kernel's instructions are not counted, and under valgrind reading the clock is a
system call, so it looks cheaper here than it is.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .processes import ROOT, Process
from .rows import ROWS, Row

__all__ = ["COUNTED", "Cost", "callgrind", "count", "of_row", "of_rows", "per_operation"]

COUNTED = (
    "sync",
    "coroutine",
    "block",
    "last_calls",
    "last_seconds",
    "rejected",
    "failing",
    "fallback",
    "trial",
    "async_block",
    "call",
    "permit",
    "keyed",
    "item",
    "async_item",
    "slow_calls",
    "listener",
    "state_listener",
)
"""The rows whose cost is entirely in instructions, and that need only the standard library."""


class Cost(NamedTuple):
    """Instructions per operation."""

    floor: float
    ours: float

    @property
    def ratio(self) -> float:
        """How many times the floor ours costs."""
        return self.ours / self.floor


def of_rows(names: Iterable[str], few: int, many: int) -> dict[str, Cost]:
    """The cost of each row. A floor that several rows share is counted once."""
    rows = [ROWS[name] for name in names]
    floors = {row.floor: of_row(row, "floor") for row in rows}
    of_row(rows[0], "ours").run(1)  # compiles the modules, which must not be counted
    counts = count([*floors.values(), *(of_row(row, "ours") for row in rows)], few, many)
    by_floor = dict(zip(floors, counts[: len(floors)], strict=True))
    return {row.name: Cost(by_floor[row.floor], ours) for row, ours in zip(rows, counts[len(floors) :], strict=True)}


def of_row(row: Row, side: str) -> Process:
    """The process that runs one side of a row."""
    return Process(sys.executable, ROOT, "benchmarks.rows", (row.name, side))


def count(processes: Iterable[Process], few: int, many: int) -> list[float]:
    """Instructions per operation of each process. Exits if there is no valgrind."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda process: per_operation(process, few, many), processes))


def per_operation(process: Process, few: int, many: int) -> float:
    """Instructions per operation."""
    return (callgrind(process, many) - callgrind(process, few)) / (many - few)


def callgrind(process: Process, number: int, report: Path = Path("/dev/null")) -> int:
    """All instructions of a process. callgrind's details are written to `report`."""
    if shutil.which("valgrind") is None:
        raise SystemExit("benchmarks: instructions are counted by valgrind, and there is none: apt install valgrind")
    said = process.run(number, ("valgrind", "--tool=callgrind", f"--callgrind-out-file={report}")).stderr
    found = re.search(r"Collected : (\d+)", said)
    if found is None:
        raise SystemExit(f"benchmarks: callgrind counted nothing:\n{said}")
    return int(found[1])
