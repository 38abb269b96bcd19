"""The engine's rules for a shared circuit: a watch that sees the whole fleet, and trials that are leased.

The engine does not know that its circuit is shared. While the store does not answer, the circuit goes on alone, by the
rules that it would have without a store (S7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._circuit.rules import LocalRules
from .._engine.periods import HalfOpen, Open, Trial
from .._engine.watches import SparseWatch
from .watch import FleetWatch

if TYPE_CHECKING:
    from .member import Member

__all__ = ["FleetRules", "LeasedHalfOpen"]


class FleetRules:
    """The rules of one process's share in a circuit: `engine.Rules`."""

    __slots__ = ("_local", "_member")

    def __init__(self, local: LocalRules, member: Member) -> None:
        self._local = local
        self._member = member

    def watch(self) -> SparseWatch:
        """A watch that sees what all processes saw."""
        alone = self._local.watch() if self._member.quorum > 1 else None
        return FleetWatch(self._local.watch(), alone, self._member)

    def open_for(self, round_: int, error: BaseException | None) -> float:
        """Seconds that the open period of this round lasts. It begins now, so it is reported at once."""
        self._member.report_within(0.0)
        return self._local.open_for(round_, error)

    def half_open(self, opened: Open, now: float) -> HalfOpen | None:
        """`None` while the store answers: a shared half-open period begins when a trial is leased."""
        if self._member.is_alone():
            return self._local.half_open(opened, now)
        self._member.note_waiting(now)
        return None


class LeasedTrial(Trial):
    """A trial that the fleet leased to this process."""

    __slots__ = ("lease",)

    def __init__(self, period: HalfOpen, deadline: float, lease: str) -> None:
        super().__init__(period, deadline)
        self.lease: str = lease


class LeasedHalfOpen(HalfOpen):
    """A half-open period of the fleet. It admits the trials that are leased to this process (S4)."""

    __slots__ = ("_member",)

    def __init__(self, opened: Open, attempts: int, timeout: float, needed: int, member: Member) -> None:
        super().__init__(opened, attempts, timeout, needed)
        self._member = member

    def admit(self, now: float) -> Trial | None:
        """A trial, if one is leased. Otherwise the call is refused, and a lease is asked for."""
        leased = self._member.leases.use(now)
        if leased is None:
            if self._member.is_alone():
                return super().admit(now)
            self._member.note_waiting(now)
            return None
        lease, deadline = leased
        self.since = now
        trial = LeasedTrial(self, deadline, lease)
        self._trials[trial] = 1
        return trial

    def wait(self, now: float) -> float:
        """Seconds until a trial can be admitted, as far as is known here."""
        return super().wait(now) if self._member.is_alone() else self._member.leases.wait(now)

    def succeed(self, trial: Trial) -> None:
        """Count the success, and report it at once."""
        super().succeed(trial)
        if isinstance(trial, LeasedTrial):
            self._member.leases.succeeded(trial.lease)
            self._member.report_within(0.0)

    def release(self, trial: Trial) -> None:
        """Give the lease back, and report that at once (H3)."""
        super().release(trial)
        if isinstance(trial, LeasedTrial):
            self._member.leases.returned(trial.lease)
            self._member.report_within(0.0)
