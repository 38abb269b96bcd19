"""A table in plain text: what, the figure, its goal, whether it is met."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["figure", "header", "median", "part", "percentile"]

_SHAPE = "{:<84}{:>14}{:>12}  {}"


def header(what: str) -> None:
    """Print the first line."""
    _print(what, "figure", "goal", "met")


def part(what: str) -> None:
    """Print the heading of a part."""
    print(f"\n{what}", flush=True)


def figure(what: str, value: float, unit: str = "", goal: float | None = None) -> None:
    """Print one line. The goal is met if `value`, as printed, does not exceed it."""
    digits = 0 if isinstance(value, int) or value >= 100 else 2
    met = "" if goal is None else "yes" if round(value, digits) <= goal else "NO"
    _print(
        f"  {what}", f"{value:,.{digits}f} {unit}".rstrip(), "" if goal is None else f"{goal:g} {unit}".rstrip(), met
    )


def median(values: Sequence[float]) -> float:
    """The value that half of `values` do not exceed."""
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of `values` do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def _print(*cells: str) -> None:
    print(_SHAPE.format(*cells).rstrip(), flush=True)
