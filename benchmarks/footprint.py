"""What a breaker costs that nobody calls: its bytes, and the time to import it."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

from circuitbreaker import CircuitBreaker, Registry

from .loops import Loop
from .timing import best_of_many

__all__ = ["bytes_of_a_breaker", "seconds_to_start"]


def bytes_of_a_breaker(many: int = 1_000) -> float:
    """The mean over `many` named breakers with nothing but defaults, their places in the registry included."""
    registry = Registry()
    breakers: list[CircuitBreaker | None] = [None] * many
    names = [f"dependency {number}" for number in range(many)]
    CircuitBreaker("the first", registry=registry)  # pays for what all of them share
    tracemalloc.start()
    for number, name in enumerate(names):
        breakers[number] = CircuitBreaker(name, registry=registry)
    total, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return total / many


def seconds_to_start(seconds: float) -> tuple[float, float]:
    """How long an interpreter takes to start and end, bare and with our import.

    Without `site`, which may have imported for other packages what ours needs, and from compiled modules: the first run
    leaves them behind if there are none.
    """
    return best_of_many(_interpreter("pass"), _interpreter("import circuitbreaker"), 1, seconds)


def _interpreter(code: str) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            subprocess.run([sys.executable, "-s", "-S", "-c", code], cwd=_ROOT, env={}, check=True)

    return loop


_ROOT = Path(__file__).parent.parent
