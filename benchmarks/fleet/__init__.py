"""What a circuit shared through a server costs, and how fast a fleet opens, tries and recovers.

Everything is measured with real servers and real processes on this machine. What concerns only one process is measured
in this one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["measure"]


def measure(quick: bool) -> None:
    """Print every figure."""
    # Only this command needs redis-py, and the tests' module that starts servers.
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
    logging.getLogger("circuitbreaker").setLevel(logging.CRITICAL)  # Stores would log each outage that is caused here.
    figures.header("one circuit for the fleet")
    for part in parts:
        with Server() as server:
            part(server, quick)
