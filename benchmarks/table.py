"""A table in plain text, printed line by line as the numbers become known."""

from __future__ import annotations

__all__ = ["header", "line", "parts", "wide"]

_SHAPE = "{:<46}{:>13}{:>13}{:>10}{:>10}  {}"


def header(what: str) -> None:
    """Print the first line."""
    _print(what, "floor", "ours", "cost", "goal", "met")


def line(what: str, floor: str, ours: str, cost: float, goal: float | None, unit: str) -> None:
    """Print one line. The goal is met if `cost`, as printed, does not exceed it."""
    shown = f"{cost:.2f} {unit}" if cost < 100 else f"{cost:.0f} {unit}"
    if goal is None:
        _print(what, floor, ours, shown, "", "")
    else:
        met = "yes" if round(cost, 2) <= goal else "NO"
        _print(what, floor, ours, shown, f"{goal:g} {unit}", met)


def _print(*cells: str) -> None:
    print(_SHAPE.format(*cells).rstrip(), flush=True)


def wide(what: str, cells: list[str]) -> None:
    """Print one line, or the header, of a table with any number of columns."""
    print(f"{what:<38}" + "".join(f"{cell:>15}" for cell in cells), flush=True)


def parts(what: str, *cells: str) -> None:
    """Print one line, or the header, of a breakdown."""
    print(f"{what[:90]:<92}" + "".join(f"{cell:>10}" for cell in cells), flush=True)
