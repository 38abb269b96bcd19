"""Lines for the logger `circuitbreaker`. What a handler raises reaches no caller (E4)."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

__all__ = ["log", "warn_once"]

_AT_MOST = 1000
"""How many warnings are given in the life of a process, so that what is remembered of them is bounded (E7)."""

_warned: set[tuple[object, ...]] = set()


def log(
    level: Literal["info", "warning", "error"], text: str, *args: object, error: BaseException | None = None
) -> None:
    """Log `text % args`, and `error` with its traceback if there is one."""
    with suppress(Exception):  # also of the import, at shutdown
        from logging import getLogger  # Most programs have imported it; the others need not pay for it.

        getattr(getLogger("circuitbreaker"), level)(text, *args, exc_info=error)


def warn_once(text: str, *args: object) -> None:
    """Log `text % args` as a warning, the first time in this process."""
    if (text, *args) not in _warned and len(_warned) < _AT_MOST:
        _warned.add((text, *args))
        log("warning", text, *args)
