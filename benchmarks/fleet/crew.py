"""Processes that do what they are told: each has one object, whose methods are called from here."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from .shared import PATIENCE

__all__ = ["Worker", "all_do", "crew"]

_context = multiprocessing.get_context("spawn")


class Worker:
    """A process with an object that `make(*arguments)` makes there."""

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self._pipe, end = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(end, make, arguments), daemon=True)
        self._process.start()
        end.close()

    def tell(self, method: str, *arguments: object) -> None:
        """Have a method called."""
        self._pipe.send((method, arguments))

    def answer(self) -> Any:
        """What it returned."""
        if not self._pipe.poll(2 * PATIENCE):
            raise SystemExit("benchmarks: a process does not answer")
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            raise SystemExit("benchmarks: a process has failed") from None

    def ask(self, method: str, *arguments: object) -> Any:
        """Have a method called; what it returned."""
        self.tell(method, *arguments)
        return self.answer()

    def kill(self) -> None:
        """Kill it, in the middle of whatever it does."""
        self._process.kill()
        self._process.join(PATIENCE)

    def end(self) -> None:
        """End it, if need be by force."""
        self._pipe.close()
        self._process.join(0 if self._process.exitcode is not None else 2)
        self.kill()


@contextmanager
def crew(many: int, make: Callable[..., object], *arguments: object) -> Iterator[list[Worker]]:
    """So many workers, all alike."""
    with ExitStack() as parts:
        workers = []
        for _ in range(many):
            workers.append(Worker(make, *arguments))
            parts.callback(workers[-1].end)
        yield workers


def all_do(workers: Sequence[Worker], method: str, *arguments: object) -> list[Any]:
    """Have a method called in all of them at the same time; what each returned."""
    for worker in workers:
        worker.tell(method, *arguments)
    return [worker.answer() for worker in workers]


def _serve(pipe: Connection, make: Callable[..., object], arguments: Sequence[object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Who starts the processes also ends them.
    made = make(*arguments)
    with suppress(EOFError, ConnectionError):
        while True:
            method, given = pipe.recv()
            pipe.send(getattr(made, method)(*given))
