"""The trials that the fleet leases to one process: asked for when calls wait, used by calls, accounted for.

    nothing wanted ── a call waits ──> wanted ── leased ──> held ── a call uses it ──> wanted, ahead of the next call
                                         │  ^                │
                             none is free│  │its time comes  └── no call uses it, calls wait elsewhere ──> given back
                                         v  │
                                        refused

A call never waits for a lease: it is refused, a lease is asked for, and the next call finds it. A process that makes
few calls keeps its lease for the next one, unless calls wait elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .messages import Snapshot

__all__ = ["Leases"]

_UNANSWERED = 4
"""After this many refused calls, at least `_APART` seconds apart, assume that no answer will come."""
_APART = 0.5
_LONG_AGO = 60.0
"""A process none of whose calls waited for this many seconds leaves its attempts to others for whom calls wait."""


class Leases:
    """One process's leases in one half-open period.

    `pause` is how many seconds to wait before asking again without a call, `soon` the least between two requests.
    """

    def __init__(self, pause: float, soon: float) -> None:
        self._pause = pause
        self._soon = soon
        self._demand: _Demand | None = None  # nothing is wanted
        self._refusal: _Refusal | None = None  # nothing was asked for in vain
        self._held = _Held()
        self._silence = _Silence()
        self._settled = _Settled()

    # What calls do

    def use(self, now: float) -> tuple[str, float] | None:
        """A lease that is not over and its deadline, if there is one."""
        while self._held.leases:
            lease, deadline = self._held.leases.popitem()
            if deadline > now:
                return lease, deadline
        return None

    def note_waiting(self, now: float) -> float:
        """A call was refused for want of a lease. Returns in how many seconds to ask for one."""
        if self._demand is not None and now < self._demand.latest:  # The clock was set back.
            self._refusal, self._silence = None, _Silence()
        self._demand = _Demand(now, 1 + (self._demand.waiting if self._demand else 0))
        self._silence.note(now)
        return max(0.0, self._refusal.ask_at - now) if self._refusal else 0.0

    def succeeded(self, lease: str) -> None:
        """The lease's trial succeeded."""
        self._settled.succeeded.append(lease)

    def returned(self, lease: str) -> None:
        """The lease's trial ended without a verdict."""
        self._settled.returned.append(lease)

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted, as far as is known."""
        if self._held.leases:
            return 0.0
        return max(self._soon, self._refusal.ask_at - now) if self._refusal else self._soon

    @property
    def unanswered(self) -> bool:
        """Whether calls have waited for long and no answer came."""
        return self._silence.calls >= _UNANSWERED

    @property
    def has_unused(self) -> bool:
        """Whether a lease is held that no call has used yet."""
        return bool(self._held.leases)

    # What is asked and answered

    def to_request(self, now: float, attempts: int) -> int:
        """How many leases to ask for now, at most `attempts`."""
        if self._demand is None or any(deadline > now for deadline in self._held.leases.values()):
            return 0
        if self._refusal is not None and now < self._refusal.until(self._demand):
            return 0
        return min(max(1, self._demand.waiting), attempts)

    @property
    def to_report(self) -> bool:
        """Whether trials ended, or leases are given back, that are not reported yet."""
        return bool(self._settled.succeeded or self._settled.returned)

    @property
    def unreported_successes(self) -> int:
        """Trials that succeeded and are not reported yet."""
        return len(self._settled.succeeded)

    def drain(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The leases whose trials succeeded and those that are given back, for the report that is being made."""
        settled, self._settled = self._settled, _Settled()
        if self._demand is not None:
            self._demand = self._demand._replace(waiting=0)
        return tuple(settled.succeeded), tuple(settled.returned)

    def answered(self) -> None:
        """An answer came."""
        self._silence = _Silence()

    def grant(self, snapshot: Snapshot, requested: int, asked_at: float, now: float) -> None:
        """Hold what is leased, by the answer to a report of the moment `asked_at` that asked for `requested` leases."""
        self._held.add(snapshot.leases or (), asked_at, now)
        if snapshot.contended and not self._held.is_fresh(now, self._pause / 2):
            self._give_back(now)
        if requested and not self._held.leases:
            wait = min(snapshot.wait, max(snapshot.left, self._pause))
            # Without a call, later than the processes for whom calls wait.
            self._refusal = _Refusal(now + max(self._soon, wait), now + snapshot.wait + 2 * self._pause)

    def _give_back(self, now: float) -> None:
        """No call came for what is held, and elsewhere calls wait."""
        self._settled.returned.extend(self._held.leases)
        self._held.leases.clear()
        if self._demand is not None and now - self._demand.latest >= _LONG_AGO:
            self._demand = None

    def ask_again_in(self, now: float) -> float | None:
        """In how many seconds to ask again; `None` if there is nothing to ask for."""
        if self._held.leases or self._demand is None:
            return None
        return max(self._soon, self._refusal.until(self._demand) - now) if self._refusal else self._soon


class _Demand(NamedTuple):
    """Calls want leases: some that were refused, and the next ones."""

    latest: float
    """When the last call was refused."""
    waiting: int
    """Calls that were refused since the last report."""


class _Refusal(NamedTuple):
    """No lease was free."""

    ask_at: float
    """When to ask again, for calls that wait."""
    remind_at: float
    """When to ask again without such calls."""

    def until(self, demand: _Demand) -> float:
        return self.ask_at if demand.waiting else self.remind_at


@dataclass
class _Held:
    """Leases that no call has used yet."""

    leases: dict[str, float] = field(default_factory=dict[str, float])
    """Each with its deadline."""
    met: set[str] = field(default_factory=set[str])
    """All leases that were ever held: a snapshot also lists those in use."""
    since: float | None = None
    """When the last one came."""

    def add(self, leases: tuple[tuple[str, float], ...], asked_at: float, now: float) -> None:
        for lease, left in leases:
            if lease not in self.met:
                self.met.add(lease)
                self.leases[lease] = asked_at + left
                self.since = now

    def is_fresh(self, now: float, seconds: float) -> bool:
        return self.since is not None and now - self.since <= seconds


@dataclass
class _Settled:
    """Leases that are accounted for in the next report."""

    succeeded: list[str] = field(default_factory=list[str])
    returned: list[str] = field(default_factory=list[str])


@dataclass
class _Silence:
    """Refused calls since the last answer, counting at most one in half a second."""

    calls: int = 0
    last: float | None = None

    def note(self, now: float) -> None:
        if self.last is None or now - self.last >= _APART:
            self.calls += 1
            self.last = now
