"""The rules that an engine works by when its circuit is shared: a watch that sees the fleet, trials that are leased.

The engine does not know. It asks for the same things; these give others in their place. As long as the store does not
answer, the circuit goes on alone, by the rules that it would have without one (S7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._circuit.rules import LocalRules
from .._engine.periods import HalfOpen, Open, Trial
from .._engine.watches import SparseWatch
from .watch import SharedWatch

if TYPE_CHECKING:
    from .link import Link

__all__ = ["LeasedHalfOpen", "SharedRules"]


class SharedRules:
    """The rules of one process's circuit, with the fleet in mind: `engine.Rules`."""

    __slots__ = ("_link", "_rules")

    def __init__(self, rules: LocalRules, link: Link) -> None:
        self._rules = rules
        self._link = link

    def watch(self) -> SparseWatch:
        """A watch that sees what all processes saw."""
        alone = self._rules.watch() if self._link.quorum > 1 else None
        return SharedWatch(self._rules.watch(), alone, self._link)

    def open_for(self, round_: int, error: BaseException | None) -> float:
        """The seconds that an open period lasts. It begins now, so the fleet is told at once."""
        self._link.poke(0.0)
        return self._rules.open_for(round_, error)

    def half_open(self, opened: Open, now: float) -> HalfOpen | None:
        """Nothing as long as the store answers: a shared half-open period begins when a trial was leased."""
        if self._link.is_alone():
            return self._rules.half_open(opened, now)
        self._link.want(now)
        return None


class LeasedTrial(Trial):
    """A trial that the fleet leased to this process."""

    __slots__ = ("lease",)

    def __init__(self, period: HalfOpen, deadline: float, lease: str) -> None:
        super().__init__(period, deadline)
        self.lease: str = lease


class LeasedHalfOpen(HalfOpen):
    """A half-open period of the fleet: what may go here are the trials leased to this process (S4)."""

    __slots__ = ("_link",)

    def __init__(self, opened: Open, attempts: int, timeout: float, needed: int, link: Link) -> None:
        super().__init__(opened, attempts, timeout, needed)
        self._link = link

    def admit(self, now: float) -> Trial | None:
        """A trial, if one was leased. Otherwise the call waits to go, and one is asked for."""
        leased = self._link.leases.take(now)
        if leased is None:
            if self._link.is_alone():
                return super().admit(now)
            self._link.want(now)
            return None
        trial = LeasedTrial(self, leased[1], leased[0])
        self._trials[trial] = 1
        return trial

    def wait(self, now: float) -> float:
        """Seconds until a trial can be admitted, as far as is known here."""
        return super().wait(now) if self._link.is_alone() else self._link.leases.wait(now)

    def succeed(self, trial: Trial) -> None:
        """Tell the fleet."""
        super().succeed(trial)
        if isinstance(trial, LeasedTrial):
            self._link.leases.succeeded.append(trial.lease)
            self._link.poke(0.0)

    def release(self, trial: Trial) -> None:
        """Give the lease back (H3)."""
        super().release(trial)
        if isinstance(trial, LeasedTrial):
            self._link.leases.returned.append(trial.lease)
            self._link.poke(0.0)
