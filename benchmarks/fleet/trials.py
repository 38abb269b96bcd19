"""How many trials reach a dead dependency."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import uniform
from threading import Event, Thread
from time import monotonic, sleep

from circuitbreaker import CircuitOpenError
from tests.servers import Server

from .crew import Worker, all_do, crew
from .figures import figure, part
from .shared import PATIENCE, Shared

__all__ = ["measure"]

_PROCESSES, _THREADS, _BUDGET = 8, 50, 3
_RESET_TIMEOUT = 0.3
_TAKES = 0.02
"""Seconds after which a call fails."""


class _Member:
    """One process with many threads that make calls."""

    def __init__(self, url: str) -> None:
        self._shared = Shared(url, reset_timeout=_RESET_TIMEOUT, half_open_max_attempts=_BUDGET)
        self.join, self.when = self._shared.join, self._shared.when
        self._trials: list[float] = []
        self._calls = [0] * _THREADS
        self._over = Event()

    def open(self) -> None:
        """Open the circuit for all."""
        self._shared.breaker.open()
        self._shared.sync()

    def go(self) -> None:
        """Start all threads."""
        for index in range(_THREADS):
            Thread(target=self._call, args=[index], daemon=True).start()

    def _call(self, index: int) -> None:
        guarded = self._shared.breaker(self._try)
        while not self._over.is_set():
            with suppress(CircuitOpenError, ConnectionError):
                guarded()
            self._calls[index] += 1
            sleep(uniform(0.01, 0.05))

    def _try(self) -> None:
        self._trials.append(monotonic())
        sleep(_TAKES)
        raise ConnectionError

    def trials(self) -> list[float]:
        """The times at which calls reached the dependency."""
        return list(self._trials)

    def stop(self) -> int:
        """Stop all threads; the number of calls they made."""
        self._over.set()
        return sum(self._calls)


def measure(server: Server, quick: bool) -> None:
    """Print the number of trials per half-open period."""
    periods = 6 if quick else 20
    with crew(_PROCESSES, _Member, server.url) as members:
        all_do(members, "join")
        members[0].ask("open")
        all_do(members, "when", "open")
        all_do(members, "go")
        found = _first(members, periods)
        calls = sum(all_do(members, "stop"))
    crowd = f"{_PROCESSES} processes of {_THREADS} threads"
    part(f"Trials that reach a dead dependency, of {calls:,} calls that {crowd} make")
    figure(f"the most in one of {len(found)} half-open periods", max(found), "", _BUDGET)
    figure(f"in all {len(found)} periods", sum(found), "", _BUDGET * len(found))


def _first(members: Sequence[Worker], periods: int) -> list[int]:
    """The numbers of trials in the first `periods` half-open periods."""
    end = monotonic() + PATIENCE
    while monotonic() < end:
        sleep(_RESET_TIMEOUT)
        found = _by_period(sorted(moment for each in all_do(members, "trials") for moment in each))
        if len(found) > periods:
            return found[:periods]
    raise SystemExit("benchmarks: trials are not made any more")


def _by_period(moments: Sequence[float]) -> list[int]:
    """The number of trials in each period: between two periods the circuit is open for `_RESET_TIMEOUT`."""
    found: list[int] = []
    before = float("-inf")
    for moment in moments:
        if moment - before > _RESET_TIMEOUT / 2:
            found.append(0)
        found[-1] += 1
        before = moment
    return found
