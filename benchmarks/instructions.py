"""How many instructions one operation takes, counted by callgrind: noise does not come into it.

A loop runs twice, with different numbers of operations. The difference of the two counts, divided by that of the
numbers, has neither start-up nor set-up in it. The kernel's instructions are not counted, and reading the clock is a
system call under valgrind: it looks cheaper here than it is.
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
"""The rows whose cost is all in instructions, and that need nothing but the standard library."""


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
    of_row(rows[0], "ours").run(1)  # leaves compiled modules behind, or a count would have the compiler in it
    counts = count([*floors.values(), *(of_row(row, "ours") for row in rows)], few, many)
    by_floor = dict(zip(floors, counts[: len(floors)], strict=True))
    return {row.name: Cost(by_floor[row.floor], ours) for row, ours in zip(rows, counts[len(floors) :], strict=True)}


def of_row(row: Row, side: str) -> Process:
    """The process that runs one side of a row."""
    return Process(sys.executable, ROOT, "benchmarks.rows", (row.name, side))


def count(processes: Iterable[Process], few: int, many: int) -> list[float]:
    """Instructions per operation of each. Exits if there is no valgrind."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda process: per_operation(process, few, many), processes))


def per_operation(process: Process, few: int, many: int) -> float:
    """Instructions per operation."""
    return (callgrind(process, many) - callgrind(process, few)) / (many - few)


def callgrind(process: Process, number: int, report: Path = Path("/dev/null")) -> int:
    """All instructions of a process. What callgrind has to say beyond that goes to `report`."""
    if shutil.which("valgrind") is None:
        raise SystemExit("benchmarks: instructions are counted by valgrind, and there is none: apt install valgrind")
    said = process.run(number, ("valgrind", "--tool=callgrind", f"--callgrind-out-file={report}")).stderr
    found = re.search(r"Collected : (\d+)", said)
    if found is None:
        raise SystemExit(f"benchmarks: callgrind counted nothing:\n{said}")
    return int(found[1])
