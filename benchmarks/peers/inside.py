"""The program that runs in a library's environment, where nothing else is installed.

`python -m benchmarks.peers.inside MODULE PACKAGE WHAT NUMBER`, where WHAT is

    time           print every figure as JSON, taking NUMBER ms for each
    call, await..  run that operation NUMBER times, to count instructions; floor:call runs its floor
    files          print the files of the library that a guarded call needs, as JSON
"""

from __future__ import annotations

import gc
import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ..footprint import bytes_each, seconds_to_import
from ..timing import best_of_many
from ..work import work
from .operations import OPERATIONS

__all__: list[str] = []


def main() -> None:
    module, package, what, number = sys.argv[1:]
    peer = import_module(module)
    if what == "time":
        print(json.dumps(_figures(peer, package, int(number) / 1e3)))
    elif what == "files":
        print(json.dumps(_files(peer, package)))
    else:
        _run(peer, what, int(number))


def _figures(peer: ModuleType, package: str, seconds: float) -> dict[str, Any]:
    """Seconds per operation of the floor and of the library, seconds to import it, and bytes of a breaker."""
    figures: dict[str, Any] = {
        name: best_of_many(operation.floor(), operation.through(peer), operation.number, seconds)
        for name, operation in OPERATIONS.items()
        if hasattr(peer, operation.needs)
    }
    figures["import"] = seconds_to_import(package, Path.cwd(), seconds)
    figures["bytes"] = bytes_each(getattr(peer, "idle", lambda number: peer.breaker(5)), 1_000)
    return figures


def _files(peer: ModuleType, package: str) -> list[str]:
    peer.guarded(peer.breaker(5), work)(1)
    modules = [sys.modules[name] for name in sys.modules if name.split(".")[0] == package]
    return [module.__file__ for module in modules if module.__file__]


def _run(peer: ModuleType, what: str, number: int) -> None:
    gc.disable()  # as in timing.py
    operation = OPERATIONS[what.rpartition(":")[2]]
    loop = operation.floor() if what.startswith("floor:") else operation.through(peer)
    loop(number)


if __name__ == "__main__":
    main()
