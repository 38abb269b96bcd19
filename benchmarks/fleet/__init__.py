"""What a circuit costs that is shared through a server, and how fast the fleet learns, tries and heals.

Everything is measured with real servers and real processes on this machine. What a process has to itself is measured
in this one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["measure"]


def measure(quick: bool) -> None:
    """Print every figure."""
    # Only this needs redis-py and a server, and the tests' way to start one.
    try:
        from tests.servers import Server, binary
    except ImportError as error:
        raise SystemExit(
            f"benchmarks: fleet needs redis-py, and tests/servers.py of the repository: {error}"
        ) from error
    try:
        binary()
    except RuntimeError as error:
        raise SystemExit(f"benchmarks: {error}") from error
    from . import commands, cost, figures, healing, spread, starters, trials

    parts: list[Callable[[Server, bool], None]] = [
        commands.measure,
        cost.measure,
        spread.measure,
        trials.measure,
        starters.measure,
        healing.measure,
    ]
    logging.getLogger("circuitbreaker").setLevel(logging.CRITICAL)  # Stores tell of what is done to servers here.
    figures.header("one circuit for the fleet")
    for part in parts:
        with Server() as server:
            part(server, quick)
