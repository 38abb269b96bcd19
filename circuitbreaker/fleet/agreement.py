"""What one process knows of the fleet's decisions, and which of its own periods stands for the last of them."""

from __future__ import annotations

from .._engine.periods import HalfOpen, Period
from .messages import UNKNOWN, Decision, Snapshot

__all__ = ["Agreement"]


class Agreement:
    """The last snapshot that is known here, and how the engine's period relates to it."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.synced_period: Period | None = None
        """The engine's period when it last followed, or made, the fleet's decision."""
        self.local_opening: Period | None = None
        """An open period that the fleet did not accept: it holds for this process alone."""
        self._known_at = 0.0

    # What is known

    @property
    def version(self) -> int:
        """The version known here."""
        return UNKNOWN if self.snapshot is None else self.snapshot.version

    @property
    def overrides(self) -> int:
        """How many overrides are known here."""
        return 0 if self.snapshot is None else self.snapshot.overrides

    @property
    def origin(self) -> str:
        """The process that made the decision known here."""
        return "" if self.snapshot is None else self.snapshot.origin

    @property
    def hold(self) -> str:
        """The fleet's hold as known here, or empty."""
        return "" if self.snapshot is None else self.snapshot.hold

    @property
    def is_closed(self) -> bool:
        """Whether the fleet's circuit is closed as far as is known here."""
        return self.snapshot is None or self.snapshot.state == "closed"

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to wait for: the circuit is closed for all, and not held."""
        return self.is_closed and not self.hold and self.local_opening is None

    def is_news(self, snapshot: Snapshot) -> bool:
        """Whether `snapshot` contains a decision that is not known here."""
        if self.snapshot is None or snapshot.version > self.version:
            return True
        return snapshot.version == self.version and snapshot.origin != self.origin

    def is_synced(self, period: Period) -> bool:
        """Whether the fleet knows of the engine's `period`, or need not know."""
        return period is self.synced_period or period is self.local_opening or isinstance(period, HalfOpen)

    def restorable(self, now: float) -> Decision | None:
        """The decision known here, for a store that has lost it."""
        known = self.snapshot
        if known is None or known.version == 0:
            return None
        left = known.left - (now - self._known_at)
        what = (known.state, known.hold, False, known.reason, known.length, left, known.round, known.failure)
        return Decision(*what, known.slow_trial)

    # What changes it

    def learn(self, snapshot: Snapshot, now: float) -> None:
        """Know `snapshot`, which came at `now`."""
        self.snapshot, self._known_at = snapshot, now

    def sync(self, period: Period) -> None:
        """Let the engine's `period` stand for the fleet's decision."""
        self.synced_period, self.local_opening = period, None
