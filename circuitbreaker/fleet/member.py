"""One process's share in the fleet's circuit, as a state machine: a report goes out, a snapshot comes in.

What is decided here takes effect here at once. The fleet accepts it if nothing else was decided before (S6); otherwise
this process follows what was. So calls never wait (S1), and what is decided while the store is away is reported when it
is back (S7).

Pure: the moment is an argument, as in `decisions`, and so is the engine, which is changed as the fleet decides. `Link`
runs this for a circuit.
"""

from __future__ import annotations

from typing import Protocol

from .._circuit.rules import LocalRules
from .._engine.engine import Engine, Transition
from .._engine.periods import TRIAL_TIME, Closed, HalfOpen, Period
from .._values import format_seconds, one_line
from ..events import Hold
from ..options import Settings
from .agreement import Agreement
from .decisions import hold_text, last_failure, open_period
from .leases import Leases
from .messages import UNKNOWN, Decision, Quotas, Report, Snapshot
from .outbox import Outbox
from .quotas import slow_thresholds
from .rules import FleetRules, LeasedHalfOpen
from .watch import FleetWatch

__all__ = ["Host", "Member"]

_SAFETY = 5
"""While a circuit is open, half-open or held, it is asked for after this many intervals without an occasion."""


class Host(Protocol):
    """What a member needs from whoever runs it."""

    @property
    def unreachable(self) -> bool:
        """Whether the record cannot be reached or used, as far as is known."""
        ...

    def report_within(self, seconds: float) -> None:
        """Have `Member.report` called within this many seconds."""
        ...


class Member:
    """One process's share in one circuit."""

    def __init__(
        self,
        name: str,
        process: str,
        rules: LocalRules,
        settings: Settings,
        quotas: Quotas,
        interval: float,
        host: Host,
    ) -> None:
        self.quotas: Quotas = quotas
        self.quorum: int = quotas.quorum
        self.interval: float = interval
        self.soon: float = interval / 5
        self.slow_thresholds: tuple[float, ...] = slow_thresholds(settings.trip)
        self.unused: bool = True
        """Whether no call and no override came yet."""
        self._rules = rules
        self._host = host
        self._agreement = Agreement()
        self._outbox = Outbox(name, process, quotas, rules)
        self._forget_trials()

    def _forget_trials(self) -> None:
        self.leases: Leases = Leases(_SAFETY * self.interval, self.soon)

    def rules(self) -> FleetRules:
        """The rules for the circuit's engine."""
        return FleetRules(self._rules, self)

    @property
    def process(self) -> str:
        """The name under which this process reports."""
        return self._outbox.process

    @property
    def snapshot(self) -> Snapshot | None:
        """The last decision of the fleet that is known here."""
        return self._agreement.snapshot

    @property
    def awaits_answer(self) -> bool:
        """Whether a report is not answered yet: the next one is the same."""
        return self._outbox.pending is not None

    # What happens here

    def begin(self, engine: Engine) -> None:
        """The first call comes."""
        self.unused = False
        if self._agreement.synced_period is None:  # As far as is known, the fleet's circuit is like a new one.
            self._agreement.synced_period = engine.period
        self.report_within(0.0)

    def note_override(self, engine: Engine) -> None:
        """A person ordered something. Report it, if it made a difference."""
        if engine.period is not self._agreement.synced_period or hold_text(engine.hold) != self._agreement.hold:
            self._outbox.has_override = True
            self.unused = False
            self.report_within(0.0)

    def propose(self, reason: str, slow_trial: float) -> None:
        """Propose to the fleet to open: the policy says so by what all processes saw."""
        self._outbox.proposed_reason, self._outbox.proposed_slow_trial = reason, slow_trial

    def note_waiting(self, now: float) -> None:
        """A call was refused for want of a lease."""
        self.report_within(self.leases.note_waiting(now))

    def report_within(self, seconds: float) -> None:
        """Have a report made within this many seconds."""
        self._host.report_within(seconds)

    def is_alone(self) -> bool:
        """Whether to decide here: the store does not answer, or the fleet did not accept an opening made here."""
        return self._host.unreachable or self.leases.unanswered or self._agreement.local_opening is not None

    def ask_within(self, seconds: float) -> None:
        """Have a report made within this many seconds even if there is nothing to report."""
        self._outbox.must_ask = True
        self.report_within(seconds)

    # A report goes out

    def report(self, engine: Engine, now: float, wall: float) -> Report | None:
        """What to report, if there is anything. A report that was not answered comes again before a new one."""
        report = self._outbox.next_report(engine, self._agreement, self.leases, now, wall)
        if report is None:
            self._schedule(now)
        return report

    def _schedule(self, now: float) -> None:
        """While the circuit is not closed, report again some time, and when a trial may be free."""
        if self._agreement.is_at_rest:
            return
        self.report_within(_SAFETY * self.interval)
        if self.leases.has_unused:
            self._outbox.must_ask = True  # Calls elsewhere may wait for what no call uses here.
        if (within := self.leases.ask_again_in(now)) is not None:
            self.report_within(within)

    # A snapshot comes in

    def apply_news(self, engine: Engine, snapshot: Snapshot, now: float, wall: float) -> Transition | None:
        """Follow a decision of another process, as it is published to all."""
        if self.snapshot is None or not self._agreement.is_news(snapshot):
            return None
        change = self._follow(engine, snapshot, now, wall)
        self._schedule(now)
        return change

    def apply_answer(self, engine: Engine, snapshot: Snapshot, now: float, wall: float) -> Transition | None:
        """Take in the answer to the pending report."""
        report = self._outbox.take()
        self.leases.answered()
        change = self._reconcile(engine, snapshot, report, now, wall) or self._learn(engine, snapshot, report, now)
        self._grant_leases(engine, snapshot, report, now)
        self._schedule(now)
        if self._outbox.has_override or not self._agreement.is_synced(engine.period):
            self.report_within(0.0)  # It came while the answer was under way.
        return change

    def _reconcile(
        self, engine: Engine, snapshot: Snapshot, report: Report, now: float, wall: float
    ) -> Transition | None:
        """Bring together what was decided here and what the fleet decided."""
        if not self._agreement.is_news(snapshot):
            self._stay(engine, snapshot, report, now)
            return None
        if snapshot.origin == self.process and self._outbox.asked_for(snapshot.state, report.decision):
            return self._accept(engine, snapshot, now, wall)
        if self._is_as_new(engine, snapshot) and not self._was_accepted(report.decision):
            if isinstance(engine.period, Closed):
                self._agreement.synced_period = engine.period  # What happened here until now counts.
            self._stay(engine, snapshot, report, now)
            return None
        return self._follow(engine, snapshot, now, wall)

    def _is_as_new(self, engine: Engine, snapshot: Snapshot) -> bool:
        """Whether this is the first answer, and nothing in it contradicts what is here."""
        return self.snapshot is None and snapshot.state == "closed" and snapshot.hold == hold_text(engine.hold)

    def _was_accepted(self, decision: Decision | None) -> bool:
        """Whether a first report's decision was accepted: always, except for want of a quorum."""
        return decision is not None and (decision.override or self.quorum == 1)

    def _stay(self, engine: Engine, snapshot: Snapshot, report: Report, now: float) -> None:
        """Nothing new was decided. An opening that was asked for has no quorum: it holds for this process alone."""
        self._agreement.learn(snapshot, now)
        proposed, decision = self._outbox.proposed_period, report.decision
        asked = decision is not None and decision.state == "open" and proposed is not None
        if asked and report.version in (UNKNOWN, snapshot.version) and engine.period is proposed:
            self._agreement.local_opening = proposed
            self._forget_trials()

    def _accept(self, engine: Engine, snapshot: Snapshot, now: float, wall: float) -> Transition | None:
        """The fleet accepted what was decided here."""
        proposed = self._outbox.proposed_period
        if proposed is None or isinstance(proposed, HalfOpen):  # which is reported as an open one
            return self._follow(engine, snapshot, now, wall)
        self._agreement.learn(snapshot, now)
        self._agreement.sync(proposed)
        self._forget_trials()
        return None

    def _follow(self, engine: Engine, snapshot: Snapshot, now: float, wall: float) -> Transition | None:
        """Change the engine as was decided elsewhere."""
        overrides = self._agreement.overrides
        self._agreement.learn(snapshot, now)
        if self._outbox.has_override and snapshot.overrides == overrides:
            return None  # The override that was ordered here comes after it.
        self._outbox.has_override, self._outbox.proposed_reason = False, ""
        hold = Hold(snapshot.hold) if snapshot.hold else None
        self._forget_trials()
        period = self._period(engine, snapshot, hold, now, wall)
        self._agreement.sync(period)
        length = format_seconds(snapshot.length)
        reason = f"{length} s have passed" if snapshot.state == "half_open" else one_line(snapshot.reason)
        origin = "" if snapshot.origin == self.process else one_line(snapshot.origin)
        return engine.follow(period, hold, now, reason, last_failure(snapshot, wall), origin)

    def _period(self, engine: Engine, snapshot: Snapshot, hold: Hold | None, now: float, wall: float) -> Period:
        """A period for the engine that stands for `snapshot`."""
        if snapshot.state == "closed":
            return engine.new_closed(hold)
        opened = open_period(snapshot, now, wall)
        if snapshot.state == "open":
            return opened
        timeout = self.quotas.lease or snapshot.length or TRIAL_TIME
        return LeasedHalfOpen(opened, self.quotas.attempts, timeout, self.quotas.successes, self)

    def _learn(self, engine: Engine, snapshot: Snapshot, report: Report, now: float) -> Transition | None:
        """Show the policy what others saw. It may open the circuit, or with a quorum propose to."""
        period = engine.period
        if period is not self._agreement.synced_period:
            return None
        if not isinstance(period, Closed) or not isinstance(period.watch, FleetWatch):
            return None
        counts = report.counts if report.version in (UNKNOWN, snapshot.version) else None
        reason = period.watch.learn(period, snapshot, counts, now)
        engine.refresh()
        if reason is None:
            return None
        if self.quorum == 1:
            return engine.trip(period, now, reason)
        if snapshot.failing >= self.quorum:
            self.propose(reason, period.watch.slow_trial)
            self.report_within(0.0)
        return None

    def _grant_leases(self, engine: Engine, snapshot: Snapshot, report: Report, now: float) -> None:
        period = engine.period
        if isinstance(period, LeasedHalfOpen) and period is self._agreement.synced_period:
            period.successes = snapshot.successes + self.leases.unreported_successes
            self.leases.grant(snapshot, report.wanted, self._outbox.sent_at, now)
        elif snapshot.state == "open":
            self.leases.grant(snapshot, report.wanted, self._outbox.sent_at, now)

    def renew(self, process: str) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: it is another process. What the parent saw, decided and was leased is the parent's."""
        pending = self._outbox.pending
        self.unused, self._outbox = True, self._outbox.renewed(process)
        self._forget_trials()
        period = self._agreement.synced_period
        if isinstance(period, Closed) and isinstance(period.watch, FleetWatch):
            period.watch.renew(period, None if pending is None else pending.counts)
