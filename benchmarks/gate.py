"""The gate: no row may exceed its committed bound by more than 10 %.

It compares ratios of instruction counts, ours over the floor's. They are the same on every run with the same
interpreter, so there is no noise. Another build of the same Python may differ by nearly 10 %: write and check bounds
with the same builds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from .instructions import of_rows

__all__ = ["BOUNDS", "GATED", "bounds_for", "check", "excess", "write"]

GATED = (
    "sync",
    "coroutine",
    "block",
    "last_calls",
    "last_seconds",
    "rejected",
    "failing",
    "trial",
    "permit",
    "keyed",
    "listener",
)
BOUNDS = Path(__file__).with_name("bounds.json")
_ALLOWED = 1.1
_FEW, _MANY = 200, 1_200
_VERSION = "{}.{}".format(*sys.version_info)


def check() -> None:
    """Print what each row costs. Exits with 1 if one costs too much."""
    bounds = bounds_for(_VERSION, _written())
    ratios = _measure()
    for name, ratio in ratios.items():
        could_be_lower = ", which could be lower" if ratio < bounds[name] / _ALLOWED else ""
        print(f"{name:<14}{ratio:6.2f} times the floor, bound {bounds[name]:6.2f}{could_be_lower}")
    if too_much := excess(ratios, bounds):
        raise SystemExit("\n".join(["benchmarks: it has become slower.", *too_much]))


def bounds_for(version: str, written: Mapping[str, dict[str, float]]) -> dict[str, float]:
    """The bounds for a version of Python. Exits unless there is exactly one for each row."""
    bounds = written.get(version, {})
    if set(bounds) != set(GATED):
        raise SystemExit(f"benchmarks: {BOUNDS.name} has not the right bounds for Python {version}: gate --write")
    return bounds


def excess(ratios: Mapping[str, float], bounds: Mapping[str, float]) -> list[str]:
    """One line for each row that exceeds its bound by more than 10 %."""
    return [
        f"{name}: {ratio:.2f} times the floor, {ratio / bounds[name] - 1:.0%} over the bound of {bounds[name]:.2f}"
        for name, ratio in ratios.items()
        if ratio > bounds[name] * _ALLOWED
    ]


def write() -> None:
    """Write what is measured now as the bounds of this Python."""
    written = {**_written(), _VERSION: {name: round(ratio, 2) for name, ratio in _measure().items()}}
    BOUNDS.write_text(json.dumps(dict(sorted(written.items())), indent=2) + "\n")
    print(f"{BOUNDS.name}: {written[_VERSION]}")


def _measure() -> dict[str, float]:
    return {name: cost.ratio for name, cost in of_rows(GATED, _FEW, _MANY).items()}


def _written() -> dict[str, dict[str, float]]:
    return json.loads(BOUNDS.read_text()) if BOUNDS.exists() else {}
