"""Processes that are controlled from here: each has one object, whose methods are called through a pipe."""

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
    """A process with an object made by `make(*arguments)`."""

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self._pipe, end = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(end, make, arguments), daemon=True)
        self._process.start()
        end.close()

    def tell(self, method: str, *arguments: object) -> None:
        """Call a method, without waiting for its result."""
        self._pipe.send((method, arguments))

    def answer(self) -> Any:
        """Wait for the result of a method."""
        if not self._pipe.poll(2 * PATIENCE):
            raise SystemExit("benchmarks: a process does not answer")
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            raise SystemExit("benchmarks: a process has failed") from None

    def ask(self, method: str, *arguments: object) -> Any:
        """Call a method, and wait for its result."""
        self.tell(method, *arguments)
        return self.answer()

    def kill(self) -> None:
        """Kill it, whatever it is doing."""
        self._process.kill()
        self._process.join(PATIENCE)

    def end(self) -> None:
        """Let it end, and kill it if it does not."""
        self._pipe.close()
        self._process.join(0 if self._process.exitcode is not None else 2)
        self.kill()


@contextmanager
def crew(many: int, make: Callable[..., object], *arguments: object) -> Iterator[list[Worker]]:
    """Run `many` workers with equal objects."""
    with ExitStack() as parts:
        workers = []
        for _ in range(many):
            workers.append(Worker(make, *arguments))
            parts.callback(workers[-1].end)
        yield workers


def all_do(workers: Sequence[Worker], method: str, *arguments: object) -> list[Any]:
    """Call a method in all workers at the same time; their results."""
    for worker in workers:
        worker.tell(method, *arguments)
    return [worker.answer() for worker in workers]


def _serve(pipe: Connection, make: Callable[..., object], arguments: Sequence[object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent process ends them.
    made = make(*arguments)
    with suppress(EOFError, ConnectionError):
        while True:
            method, given = pipe.recv()
            pipe.send(getattr(made, method)(*given))
