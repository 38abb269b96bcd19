"""`Backend`: what another engine has to implement to keep records. `Store` does everything else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from ..fleet.messages import Report, Snapshot

__all__ = ["Backend"]


class Backend(Protocol):
    """The place where the records are.

    `exchange`, `listen` and `close` are called by the store's thread alone, `wake`, `names` and `peek` by any thread.
    What `exchange` and `listen` raise is an outage: it is logged once, and they are called again.
    """

    def exchange(self, reports: Sequence[Report]) -> Sequence[Snapshot | Exception]:
        """Apply each report by the rule of `circuitbreaker.fleet.record`, atomically, and answer it.

        If the record of one circuit cannot be used, an exception takes the place of its answer. A report whose number
        was applied before, for its name and process, changes nothing and is answered again. If a decision was made,
        every other process's `listen` returns the circuit's snapshot soon.
        """
        ...

    def listen(self, timeout: float) -> Sequence[Snapshot]:
        """Return the circuits about which other processes decided something.

        Waits for one at most `timeout` seconds, and no longer than until `wake` is called.
        """
        ...

    def wake(self) -> None:
        """Let the `listen` that is under way, or else the next one, return at once. Never blocks."""
        ...

    def names(self) -> Collection[str]:
        """The names of all circuits that have a record. Writes nothing.

        A circuit may be missing for a minute after its first report.
        """
        ...

    def peek(self, name: str) -> Snapshot | None:
        """The snapshot of one circuit, `None` if it has no record. Writes nothing, and no process notices it.

        Its `leases` are `None`: no process asked.
        """
        ...

    def renew(self) -> None:
        """In a forked child: drop what belongs to the parent, without closing it."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...
