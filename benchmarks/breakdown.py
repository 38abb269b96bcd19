"""What makes up the cost of a row: C functions by instructions, source lines and opcodes by executed bytecodes.

The instructions of a function exclude those of the functions that it calls: the interpreter calls itself, so including
them would count most of them many times. If the interpreter was stripped of its symbols, its functions have no names.
"""

from __future__ import annotations

import linecache
import re
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from tempfile import TemporaryDirectory

from . import table
from .bytecodes import Step, executed
from .instructions import callgrind, of_row
from .processes import ROOT, Process, output
from .rows import Row

__all__ = ["breakdown"]

_SHOWN = 15
_FEW, _MANY = 500, 2_500


def breakdown(row: Row) -> None:
    """Print the breakdown of `row`."""
    print(f"\n{row.what}")
    of_row(row, "ours").run(1)  # compiles the modules
    _compare("instructions by function", *(_functions(of_row(row, side)) for side in ("floor", "ours")))
    floor, ours = executed(row.floor()), executed(row.ours())
    _compare("bytecodes by opcode", *(_summed(steps, lambda step: step.opcode) for steps in (floor, ours)))
    _compare("bytecodes by line", *(_summed(steps, _line) for steps in (floor, ours)))


def _compare(what: str, floor: Counter[str], ours: Counter[str]) -> None:
    """Print the largest parts of ours, next to the same parts of the floor."""
    print()
    table.parts(what, "floor", "ours", "more")
    for name, count in ours.most_common(_SHOWN):
        table.parts(name, f"{floor[name]:.1f}", f"{count:.1f}", f"{count - floor[name]:+.1f}")
    all_floor, all_ours = sum(floor.values()), sum(ours.values())
    table.parts("all", f"{all_floor:.1f}", f"{all_ours:.1f}", f"{all_ours - all_floor:+.1f}")


def _functions(process: Process) -> Counter[str]:
    """Instructions per operation, by C function."""
    few, many = _reported(process, _FEW), _reported(process, _MANY)
    many.subtract(few)
    return Counter({name: count / (_MANY - _FEW) for name, count in many.items()})  # type: ignore[misc]  # means


def _reported(process: Process, number: int) -> Counter[str]:
    with TemporaryDirectory() as folder:
        report = Path(folder) / "callgrind.out"
        callgrind(process, number, report)
        said = output(["callgrind_annotate", "--threshold=100", "--auto=no", "--show-percs=no", str(report)], ROOT)
    counts: Counter[str] = Counter()
    for count, function in re.findall(r"^ *([\d,]+)  (\S.*)$", said.stdout, re.MULTILINE):
        if function != "PROGRAM TOTALS":
            counts[_name(function)] += int(count.replace(",", ""))
    return counts


def _name(function: str) -> str:
    """The function's name without path, library, and mark of a recursive call."""
    return re.sub(r"'\d+$", "", function.partition(" [")[0].rpartition(":")[2])


def _summed(steps: Counter[Step], part: Callable[[Step], Hashable]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for step, count in steps.items():
        counts[str(part(step))] += count
    return counts


def _line(step: Step) -> str:
    return f"{Path(step.file).name}:{step.line}  {linecache.getline(step.file, step.line).strip()}"
