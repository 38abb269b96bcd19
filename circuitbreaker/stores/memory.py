"""Records in this process's memory: the reference for every other store, and a store for tests without a server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from threading import Condition
from time import monotonic

from ..clock import Clock, SystemClock
from ..fleet.messages import Report, Snapshot
from ..fleet.record import Record, apply_report, peek
from .store import Store

__all__ = ["MemoryServer", "MemoryStore"]


class MemoryServer:
    """What a server is to `RedisStore`: stores that have the same one are a fleet.

    `clock` is the clock of the records, by default the system's.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.condition: Condition = Condition()
        self.error: Exception | None = None
        """If set, every exchange raises it: for trying out an outage."""
        self._records: dict[str, Record] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._backends: list[_MemoryBackend] = []

    def add(self, backend: _MemoryBackend) -> None:
        """Notify `backend` of decisions."""
        self._backends.append(backend)

    def remove(self, backend: _MemoryBackend) -> None:
        """Undo `add`."""
        self._backends.remove(backend)

    def flush(self) -> None:
        """Delete all records."""
        with self.condition:
            self._records.clear()
            self._seen.clear()

    def receive(self, report: Report, sender: object) -> Snapshot:
        """Apply `report`, notify all backends but the `sender` if something was decided, and return the answer."""
        with self.condition:
            record = self._records.setdefault(report.name, Record())
            whose = (report.name, report.process)
            seen = self._seen.get(whose, 0)
            self._seen[whose] = max(seen, report.number)
            snapshot, decided = apply_report(record, report, seen, self.clock.monotonic())
            if decided:
                for backend in self._backends:
                    if backend is not sender:
                        backend.news.append(snapshot._replace(leases=None, history=()))
                self.condition.notify_all()
            return snapshot

    def names(self) -> Collection[str]:
        """The names of all circuits that have a record."""
        with self.condition:
            return list(self._records)

    def peek(self, name: str) -> Snapshot | None:
        """The snapshot of one circuit, `None` if it has no record."""
        with self.condition:
            record = self._records.get(name)
            return None if record is None else peek(record, name, self.clock.monotonic())

    def record(self, name: str) -> Record:
        """A copy of a circuit's record; a new one if it has none."""
        with self.condition:
            return deepcopy(self._records.get(name, Record()))


class _MemoryBackend:
    def __init__(self, server: MemoryServer) -> None:
        self.news: list[Snapshot] = []
        self._server = server
        self._woken = False
        server.add(self)

    def exchange(self, reports: Sequence[Report]) -> Sequence[Snapshot | Exception]:
        if self._server.error is not None:
            raise self._server.error
        return [self._server.receive(report, self) for report in reports]

    def listen(self, timeout: float) -> Sequence[Snapshot]:
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

    def names(self) -> Collection[str]:
        return self._server.names()

    def peek(self, name: str) -> Snapshot | None:
        return self._server.peek(name)

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        self._server.condition = Condition()

    def close(self) -> None:
        self._server.remove(self)


class MemoryStore(Store):
    """A store within one process: stores that share a `server` relate to each other as processes do.

    Args:
        server: where the records are; one of its own by default.
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
