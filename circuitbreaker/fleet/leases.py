"""The trials that the fleet leases to one process: asked for when calls wait, used by calls, and accounted for.

A call never waits for a lease. One that finds none is refused, and has one asked for; it is there for the next call. A
process whose calls are seldom keeps its lease for the next of them, unless calls wait elsewhere.
"""

from __future__ import annotations

import math

from .messages import View

__all__ = ["Leases"]

_STRIKES = 4
"""So many calls that waited in vain, each half a second after the last, say that the store does not answer."""
_STRIKE = 0.5
_LONG_AGO = 60.0
"""A process none of whose calls waited for so many seconds leaves its place to others for whom calls wait."""


class Leases:
    """One process's leases in one half-open period. `pause` is how long to wait before asking once more, in seconds."""

    def __init__(self, pause: float, soon: float) -> None:
        self._pause = pause
        self._soon = soon
        self._unused: dict[str, float] = {}  # and until when they last
        self._met: set[str] = set()  # all that there ever were
        self._leased_at = -math.inf
        self._waiting = 0  # calls, since the last request
        self._wanted = False  # whether a call waited, and may come again
        self._wanted_at = -math.inf
        self._ask_at = -math.inf  # before this it is no use to ask
        self._remind_at = -math.inf  # ... unless a call waits
        self._strikes = 0
        self._strike_at = -math.inf
        self.succeeded: list[str] = []
        self.returned: list[str] = []

    # What calls do

    def take(self, now: float) -> tuple[str, float] | None:
        """A lease that lasts, and until when, if there is one."""
        while self._unused:
            lease, deadline = self._unused.popitem()
            if deadline > now:
                return lease, deadline
        return None

    def want(self, now: float) -> float:
        """A call waits. Returns in how many seconds to ask for it."""
        self._waiting += 1
        self._wanted, self._wanted_at = True, now
        if now - self._strike_at >= _STRIKE:
            self._strikes += 1
            self._strike_at = now
        return max(0.0, self._ask_at - now)

    def wait(self, now: float) -> float:
        """Seconds until a trial may be had, as far as is known."""
        return 0.0 if self._unused else max(self._soon, self._ask_at - now)

    @property
    def in_vain(self) -> bool:
        """Whether calls have waited for long, and no answer came."""
        return self._strikes >= _STRIKES

    # What is asked and answered

    def wish(self, now: float, attempts: int) -> int:
        """How many to ask for now."""
        if not self._wanted or any(deadline > now for deadline in self._unused.values()):
            return 0
        if now < (self._ask_at if self._waiting else self._remind_at):
            return 0
        return min(max(1, self._waiting), attempts)

    def tell(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Those that succeeded and those that are given back, which are being reported."""
        told = tuple(self.succeeded), tuple(self.returned)
        self.succeeded, self.returned, self._waiting = [], [], 0
        return told

    def answered(self) -> None:
        """The store answers."""
        self._strikes = 0

    def take_in(self, view: View, wished: int, asked_at: float, now: float) -> None:
        """What is leased, by the answer to a report made at `asked_at` that wished for so many."""
        for lease, left in view.leases or ():
            if lease not in self._met:
                self._met.add(lease)
                self._unused[lease] = asked_at + left
                self._leased_at = now
        if view.contended and now - self._leased_at > self._pause / 2:
            self.returned.extend(self._unused)  # No call came for them, and elsewhere calls wait.
            self._unused.clear()
            self._wanted = now - self._wanted_at < _LONG_AGO
        if wished and not self._unused:
            self._ask_at = now + max(self._soon, min(view.wait, max(view.left, self._pause)))
            self._remind_at = now + view.wait + 2 * self._pause  # later than those for whom calls wait

    def look_in(self, now: float) -> float | None:
        """In how many seconds to ask again; `None` if there is nothing to be asked."""
        if self._unused or not self._wanted:
            return None
        return max(self._soon, (self._ask_at if self._waiting else self._remind_at) - now)

    @property
    def idle(self) -> bool:
        """Whether there is one that no call has used yet."""
        return bool(self._unused)
