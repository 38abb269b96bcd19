"""What one process reports about one circuit: one report at a time, repeated until it is answered.

A report may have been applied though its answer is lost. So a repeated one keeps its number and says nothing new, but
it is brought up to date: less may be left of an open period, and old counts are no longer of use.
"""

from __future__ import annotations

import math
from typing import cast

from .._circuit.rules import LocalRules
from .._engine.engine import Engine
from .._engine.periods import Closed, Open, Period, total
from .agreement import Agreement
from .decisions import decided, opening
from .leases import Leases
from .messages import Counts, Decision, Quotas, Report
from .watch import FleetWatch

__all__ = ["Outbox"]

_MEMORY = 60.0
"""Counts that could not be reported for this many seconds are dropped, if the policy has no window of seconds."""


class Outbox:
    """The reports of one process about one circuit, and what is to be in the next one."""

    def __init__(self, name: str, process: str, quotas: Quotas, rules: LocalRules) -> None:
        self.process: str = process
        self.quotas: Quotas = quotas
        self.has_override: bool = False
        """Whether a person ordered something that is not reported yet."""
        self.proposed_reason: str = ""
        """Why the policy would open the fleet's circuit, by what all processes saw; not reported yet."""
        self.proposed_slow_trial: float = math.inf
        self.must_ask: bool = False
        """Whether to report even if there is nothing to report: someone wants the answer."""
        self.pending: Report | None = None
        self.proposed_period: Period | None = None
        """The engine's period that the decision in the last report is about, if it is about one."""
        self.sent_at: float = 0.0
        """When the last report was made or repeated."""
        self._name = name
        self._rules = rules
        self._number = 0
        self._made_at = 0.0
        self._calls = 0  # up to the last report

    def next_report(
        self, engine: Engine, agreement: Agreement, leases: Leases, now: float, wall: float
    ) -> Report | None:
        """The pending report, or a new one if there is anything to report."""
        if self.pending is not None:
            self._bring_up_to_date(self.pending, engine, agreement, now, wall)
        else:
            self._compose(engine, agreement, leases, now, wall)
        self._calls, self.sent_at = _total_calls(engine), now
        return self.pending

    def take(self) -> Report:
        """Take out the pending report, which was answered."""
        report, self.pending = self.pending, None
        assert report is not None
        return report

    def asked_for(self, state: str, decision: Decision | None) -> bool:
        """Whether the report with this `decision` asks for `state`, or did before it was brought up to date."""
        if decision is None:
            return self.proposed_period is not None and state == "open"
        return decision.state == state

    # A new report

    def _compose(self, engine: Engine, agreement: Agreement, leases: Leases, now: float, wall: float) -> None:
        decision, proposed = self._decision(engine, agreement, now, wall)  # first: the counted period may end by it
        counts = _counts(agreement.synced_period)
        wanted = 0 if isinstance(engine.period, Closed) else leases.to_request(now, self.quotas.attempts)
        has_called = self._calls != _total_calls(engine)  # Then ask whether what is known here is still so.
        anything = counts or decision or wanted or leases.to_report or self.must_ask or has_called
        if anything or agreement.snapshot is None:
            self._put(agreement, counts, decision, leases, wanted, now)
            self.proposed_period, self.has_override = proposed, False
        self.must_ask = False

    def _put(
        self,
        agreement: Agreement,
        counts: Counts | None,
        decision: Decision | None,
        leases: Leases,
        wanted: int,
        now: float,
    ) -> None:
        self._number, self._made_at = self._number + 1, now
        self.pending = Report(
            self._name,
            self.process,
            self._number,
            agreement.version,
            agreement.overrides,
            self.quotas,
            counts,
            decision,
            agreement.restorable(now),
            agreement.origin,
            *leases.drain(),
            wanted,
        )

    def _decision(
        self, engine: Engine, agreement: Agreement, now: float, wall: float
    ) -> tuple[Decision | None, Period | None]:
        """What was decided here that the fleet does not know of, and the period that it began."""
        if self.proposed_reason and not self.has_override and isinstance(engine.period, Closed):
            return self._proposed_opening(engine, wall), None
        proposed = self._unreported(engine.period, agreement)
        if proposed is None:
            return None, None
        return decided(engine, proposed, self.has_override, now, wall), proposed

    def _proposed_opening(self, engine: Engine, wall: float) -> Decision:
        """What the policy proposes. The quorum decides on it, so the circuit stays closed here until the answer."""
        reason, self.proposed_reason = self.proposed_reason, ""
        return opening(engine, reason, self._rules.open_for(1, None), wall, self.proposed_slow_trial)

    def _unreported(self, period: Period, agreement: Agreement) -> Period | None:
        """`period`, if the fleet has to know of it."""
        if self.has_override:
            return period
        if agreement.is_synced(period):
            return None
        if isinstance(period, Closed) and agreement.is_closed:
            agreement.sync(period)  # It opened and closed again for this process alone.
            cast("FleetWatch", period.watch).begin_late()  # A period without a watch began by an override.
            return None
        return period

    # The same report again

    def _bring_up_to_date(self, report: Report, engine: Engine, agreement: Agreement, now: float, wall: float) -> None:
        decision = self._still_decided(report.decision, engine, now, wall)
        dropped = decision is None and report.decision is not None
        outdated = now - self._made_at > (self.quotas.span or _MEMORY)
        self.pending = report._replace(
            counts=None if dropped or outdated else report.counts,
            decision=decision,
            known=agreement.restorable(now),
        )

    def _still_decided(self, decision: Decision | None, engine: Engine, now: float, wall: float) -> Decision | None:
        proposed, period = self.proposed_period, engine.period
        if decision is not None and proposed is period:
            return decided(engine, period, decision.override, now, wall)
        if decision is not None and isinstance(proposed, Open) and not decision.override:
            if isinstance(period, Closed):
                return None  # It opened and closed again for this process alone, unless the first attempt arrived.
            return decision._replace(left=max(0.0, proposed.until - now))
        return decision

    def renewed(self, process: str) -> Outbox:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: an outbox of its own, from which nothing was reported."""
        outbox = Outbox(self._name, process, self.quotas, self._rules)
        outbox.must_ask, outbox._calls = self.must_ask, self._calls
        return outbox


def _counts(period: Period | None) -> Counts | None:
    """What was seen in the fleet's closed period, also if that has ended here."""
    if not isinstance(period, Closed) or not isinstance(period.watch, FleetWatch):
        return None
    counts = period.watch.collect(period)
    period.refresh()
    return counts


def _total_calls(engine: Engine) -> int:
    return engine.successes + engine.failures + engine.ignored + total(engine.rejections)
