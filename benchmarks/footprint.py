"""What an idle breaker costs: its bytes, and the time to import it. Imports no breaker itself."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from .loops import Loop
from .timing import best_of_many

__all__ = ["bytes_each", "seconds_to_import"]


def bytes_each(make: Callable[[int], object], many: int) -> float:
    """The mean size of what `make` returns for 1 to `many`. `make(0)` comes first and creates what they share."""
    made = [make(0)] + [None] * many
    tracemalloc.start()
    for number in range(1, many + 1):
        made[number] = make(number)
    total, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return total / many


def seconds_to_import(module: str, folder: Path, seconds: float) -> tuple[float, float]:
    """How long an interpreter takes to start and exit: bare, and importing `module` from `folder`.

    It runs without `site`, which may import modules that this package needs too, and from compiled modules: the first
    run compiles them if necessary.
    """
    return best_of_many(_interpreter("pass", folder), _interpreter(f"import {module}", folder), 1, seconds)


def _interpreter(code: str, folder: Path) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            subprocess.run([sys.executable, "-s", "-S", "-c", code], cwd=folder, env={}, check=True)

    return loop
