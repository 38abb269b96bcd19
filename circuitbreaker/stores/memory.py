"""Records in this process's memory: the reference for every other store, and one for tests without a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Condition
from time import monotonic

from ..clock import Clock, SystemClock
from ..fleet.messages import Report, View
from ..fleet.record import Record, take_in
from .store import Store

__all__ = ["MemoryServer", "MemoryStore"]


class MemoryServer:
    """What a server is to `RedisStore`: several stores that meet in one are a fleet."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.condition: Condition = Condition()
        self.error: Exception | None = None
        """What every exchange raises, to try an outage out."""
        self._records: dict[str, Record] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._backends: list[_MemoryBackend] = []

    def add(self, backend: _MemoryBackend) -> None:
        """Have `backend` told of what is decided."""
        self._backends.append(backend)

    def remove(self, backend: _MemoryBackend) -> None:
        """Undo `add`."""
        self._backends.remove(backend)

    def flush(self) -> None:
        """Forget everything."""
        with self.condition:
            self._records.clear()
            self._seen.clear()

    def take_in(self, report: Report, sender: object) -> View:
        """Take `report` in by the rule, and tell the others if something was decided."""
        with self.condition:
            record = self._records.setdefault(report.name, Record())
            whose = (report.name, report.process)
            seen = self._seen.get(whose, 0)
            self._seen[whose] = max(seen, report.number)
            view, decided = take_in(record, report, seen, self.clock.monotonic())
            if decided:
                for backend in self._backends:
                    if backend is not sender:
                        backend.news.append(view._replace(leases=None, history=()))
                self.condition.notify_all()
            return view

    def record(self, name: str) -> Record:
        """A copy of a circuit's record."""
        with self.condition:
            return replace(self._records.get(name, Record()))


class _MemoryBackend:
    def __init__(self, server: MemoryServer) -> None:
        self.news: list[View] = []
        self._server = server
        self._woken = False
        server.add(self)

    def exchange(self, reports: Sequence[Report]) -> Sequence[View | Exception]:
        if self._server.error is not None:
            raise self._server.error
        return [self._server.take_in(report, self) for report in reports]

    def listen(self, timeout: float) -> Sequence[View]:
        deadline = monotonic() + timeout
        with self._server.condition:
            while not (self.news or self._woken) and (left := deadline - monotonic()) > 0:
                self._server.condition.wait(left)
            self._woken = False
            news, self.news = self.news, []
            return news

    def wake(self) -> None:
        self._woken = True
        with self._server.condition:
            self._server.condition.notify_all()

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        self._server.condition = Condition()

    def close(self) -> None:
        self._server.remove(self)


class MemoryStore(Store):
    """A store within one process: stores that share a `server` are to each other what processes are.

    Args:
        server: where the records are; one of its own if not given.
        interval, quorum, expire: see `Store`.
    """

    def __init__(
        self,
        server: MemoryServer | None = None,
        *,
        interval: float = 0.1,
        quorum: int = 1,
        expire: float = 86400.0,
    ) -> None:
        self.server: MemoryServer = server or MemoryServer()
        super().__init__(_MemoryBackend(self.server), interval=interval, quorum=quorum, expire=expire)
