"""The time from the failure that trips until the last process rejects calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random
from threading import Thread
from time import monotonic, sleep

from circuitbreaker import CircuitOpenError
from tests.servers import Server

from ..work import work
from .crew import Worker, all_do, crew
from .figures import figure, median, part, percentile
from .shared import Shared, rejects

__all__ = ["measure"]

_PROCESSES = 8


class _Member:
    """One process with several circuits, each with its own store."""

    def __init__(self, url: str, many: int) -> None:
        self._all = [Shared(url, failure_threshold=1, reset_timeout=3600) for _ in range(many)]

    def join(self) -> None:
        """Make the first call with each circuit."""
        for each in self._all:
            each.join()

    def call_on(self, per_second: float) -> None:
        """From now on, make `per_second` calls a second."""
        Thread(target=self._call, args=[1 / per_second], daemon=True).start()

    def _call(self, pause: float) -> None:
        while True:
            with suppress(CircuitOpenError):
                self._all[0].breaker.call(work, 1)
            sleep(pause)

    def fail(self) -> float:
        """Trip the first circuit with a failing call; the time of the failure."""
        failed = []

        def fail() -> None:
            failed.append(monotonic())
            raise ConnectionError

        with suppress(ConnectionError):
            self._all[0].breaker.call(fail)
        return failed[0]

    def reset(self) -> None:
        """Close the circuit for all."""
        self._all[0].breaker.reset()

    def when(self, state: str) -> float:
        """Wait for all circuits to reach `state`; the time at which the last one did."""
        since = max(each.when(state) for each in self._all)
        if any(rejects(each.breaker) is not (state == "open") for each in self._all):
            raise SystemExit(f"benchmarks: a circuit that is {state} does not behave like it")
        return since


def measure(server: Server, quick: bool) -> None:
    """Print the times for 8 processes, and for more simulated ones."""
    part("Time from the failure that trips to the last one rejecting")
    _measure(server, 1, 40 if quick else 300, 50, "8 processes, each with 100 calls a second")
    _measure(server, 8, 10 if quick else 100, 50, "64 stores in 8 processes")
    _measure(server, 64, 5 if quick else 30, 50, "512 stores in 8 processes")


def _measure(server: Server, many: int, rounds: int, goal: float, what: str) -> None:
    with crew(_PROCESSES, _Member, server.url, many) as members:
        all_do(members, "join")
        if many == 1:
            all_do(members, "call_on", 100)
        times = [1000 * time for time in _times(members, rounds)]
    figure(f"{what}, median of {rounds}", median(times), "ms")
    figure(f"{what}, p99", percentile(times, 99), "ms", goal)


def _times(members: Sequence[Worker], rounds: int) -> Iterator[float]:
    random = Random(1)
    for index in range(rounds):
        actor = members[index % len(members)]
        failed = actor.ask("fail")
        yield max(all_do(members, "when", "open")) - failed
        actor.ask("reset")
        all_do(members, "when", "closed")
        sleep(random.uniform(0.0, 0.05))  # at a random time between two exchanges
