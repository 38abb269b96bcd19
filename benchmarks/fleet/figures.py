"""A table in plain text: what, the figure, its goal, whether it is met."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["figure", "header", "median", "part", "percentile"]

_SHAPE = "{:<84}{:>14}{:>12}  {}"


def header(what: str) -> None:
    """The first line."""
    _print(what, "figure", "goal", "met")


def part(what: str) -> None:
    """A line above others."""
    print(f"\n{what}", flush=True)


def figure(what: str, value: float, unit: str = "", goal: float | None = None) -> None:
    """One line: the goal is met if `value`, as printed, is no more."""
    digits = 0 if isinstance(value, int) or value >= 100 else 2
    met = "" if goal is None else "yes" if round(value, digits) <= goal else "NO"
    _print(
        f"  {what}", f"{value:,.{digits}f} {unit}".rstrip(), "" if goal is None else f"{goal:g} {unit}".rstrip(), met
    )


def median(values: Sequence[float]) -> float:
    """The value that half of them do not exceed."""
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def _print(*cells: str) -> None:
    print(_SHAPE.format(*cells).rstrip(), flush=True)
