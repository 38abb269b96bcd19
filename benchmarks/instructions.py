"""How many instructions one operation takes, counted by callgrind: noise does not come into it.

One side of a row runs twice, with different numbers of operations. The difference of the two counts, divided by that of
the numbers, has neither start-up nor set-up in it. The kernel's instructions are not counted, and reading the clock is
a system call under valgrind: it looks cheaper here than it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .rows import ROWS, Row

__all__ = ["count"]

_COUNTED = ("sync", "coroutine", "block", "last_calls", "last_seconds", "rejected")
_ROOT = Path(__file__).parent.parent


def count(quick: bool) -> Iterator[tuple[Row, float, float]]:
    """Each row, with the instructions per operation of the floor and of ours. Exits if there is no valgrind."""
    if shutil.which("valgrind") is None:
        raise SystemExit("benchmarks: instructions are counted by valgrind, and there is none: apt install valgrind")
    return _count(*((1_000, 3_000) if quick else (1_000, 11_000)))


def _count(few: int, many: int) -> Iterator[tuple[Row, float, float]]:
    _run(_python("sync", "ours", 1))  # leaves compiled modules behind, or a count would have the compiler in it

    def per_operation(name: str, side: str) -> float:
        return (_instructions(name, side, many) - _instructions(name, side, few)) / (many - few)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        floors = [pool.submit(per_operation, name, "floor") for name in _COUNTED]
        ours = [pool.submit(per_operation, name, "ours") for name in _COUNTED]
        for name, floor, our in zip(_COUNTED, floors, ours, strict=True):
            yield ROWS[name], floor.result(), our.result()


def _instructions(name: str, side: str, number: int) -> int:
    """All instructions of a process that runs one side of a row."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    found = re.search(r"Collected : (\d+)", said := _run([*valgrind, *_python(name, side, number)]))
    if found is None:
        raise SystemExit(f"benchmarks: callgrind counted nothing:\n{said}")
    return int(found[1])


def _python(name: str, side: str, number: int) -> list[str]:
    return [sys.executable, "-s", "-S", "-m", "benchmarks.rows", name, side, str(number)]


def _run(command: list[str]) -> str:
    """What `command` says. Counts repeat exactly only with a fixed hash seed and nothing else in the environment."""
    env = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    ran = subprocess.run(command, cwd=_ROOT, env=env, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"benchmarks: {' '.join(command)} failed:\n{ran.stderr}")
    return ran.stderr
