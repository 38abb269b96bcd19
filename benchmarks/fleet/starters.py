"""How many calls a new process makes before it knows that the circuit is open."""

from __future__ import annotations

from time import monotonic, sleep

from circuitbreaker import CircuitOpenError
from tests.servers import Server

from .crew import Worker
from .figures import figure, median, part
from .shared import Shared

__all__ = ["measure"]

_TAKES = 0.001


class _Starter:
    """A process that has not made a call yet."""

    def __init__(self, url: str) -> None:
        self._shared = Shared(url, reset_timeout=3600)

    def call(self) -> tuple[int, float]:
        """Call until rejected; the number of calls before that, and the time they took."""
        guarded, start = self._shared.breaker(sleep), monotonic()
        for made in range(10_000):
            try:
                guarded(_TAKES)
            except CircuitOpenError:
                return made, monotonic() - start
        raise SystemExit("benchmarks: a new process does not learn that the circuit is open")


def measure(server: Server, quick: bool) -> None:
    """Print how many calls several new processes make."""
    opener = Shared(server.url, reset_timeout=3600)
    opener.join()
    opener.breaker.open()
    opener.sync()
    runs = [_start(server.url) for _ in range(5 if quick else 20)]
    opener.store.close()
    calls, seconds = [many for many, _ in runs], [1000 * took for _, took in runs]
    part("Calls of 1 ms that a new process makes before it knows that the circuit is open (goal: under 5)")
    figure(f"median of {len(runs)} processes", median(calls), "", 4)
    figure("the most", max(calls), "", 4)
    figure("time until it knows, median", median(seconds), "ms")
    figure("time until it knows, the most", max(seconds), "ms")


def _start(url: str) -> tuple[int, float]:
    worker = Worker(_Starter, url)
    try:
        found: tuple[int, float] = worker.ask("call")
        return found
    finally:
        worker.end()
