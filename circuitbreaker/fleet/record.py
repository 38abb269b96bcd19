"""The record of one circuit, and everything that is done to it: add, compare, lease.

Every store follows this rule. `MemoryStore` runs it as it is; `circuit.lua` is the same rule, line by line, for Redis
and Valkey. When to open is not decided here: processes decide that by their policies. The record compares versions, so
that exactly one of several concurrent decisions takes effect (S6). Pure: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .messages import UNKNOWN, Batch, Counts, Decision, Failure, Quotas, Report, Snapshot
from .tallies import Tallies, add, count, failures, subtract, successes

__all__ = ["Record", "Trials", "apply_report", "peek"]


_PIECES = 20
"""The history of a window is kept in about this many pieces."""
_CONTENTION = 2.0
"""Seconds for which a lease that was asked for in vain counts as wanted."""
_MEMORY = 60.0
"""Seconds for which a process counts as failing if the policy has no window of seconds."""
_LEASE = 30.0
"""Seconds that a trial may stay out if neither the configuration nor the open period says so."""
_STEP = 1.0
"""A clock that is set back by less than this many seconds is ignored."""


@dataclass
class Trials:
    """The trials of one half-open period."""

    used: int = 0
    """Attempts used up by trials that ended."""
    successes: int = 0
    leases: dict[str, float] = field(default_factory=dict[str, float])
    """Leases that are out, and until when."""
    contended_until: float = 0.0
    """Until when it counts that more leases were asked for than were free."""


@dataclass
class Record:
    """What all processes together know of one circuit. All times are on the clock of the records."""

    at: float = 0.0
    """When the last report was applied."""
    version: int = 0
    overrides: int = 0
    origin: str = ""
    state: str = "closed"
    hold: str = ""
    reason: str = ""
    """Why it is in this state; of a half-open circuit, why it was opened."""
    length: float = 0.0
    until: float = 0.0
    opened: float = 0.0
    round: int = 0
    failure: Failure | None = None
    """Type, text, and when."""
    slow_trial: float | None = None
    """If slow calls opened it: the seconds beyond which a trial does not close it."""
    digest: str = ""
    # of a closed period
    calls: Tallies = ()
    seconds: Tallies = ()
    streak: int = 0
    failing: dict[str, float] = field(default_factory=dict[str, float])
    """Processes that saw failures, and when they reported the last ones."""
    history: list[tuple[float, Tallies]] = field(default_factory=list[tuple[float, Tallies]])
    """`calls` as they were at these moments."""
    # of a half-open one
    trials: Trials = field(default_factory=Trials)


def apply_report(record: Record, report: Report, seen: int, now: float) -> tuple[Snapshot, bool]:
    """Apply `report` to `record`, unless its number is among those `seen` of its process.

    Returns the answer, and whether something was decided that all other processes must be notified of.
    """
    version, digest = record.version, record.digest or report.quotas.digest
    streak = _apply(record, report, now) if report.number > seen else record.streak
    return _answer(record, report, streak, now)._replace(digest=digest), record.version > version


def peek(record: Record, name: str, now: float) -> Snapshot:
    """The snapshot of a circuit for who only looks: `record` stays as it is."""
    moved = replace(record)
    _follow_clock(moved, now)
    return _snapshot(moved, name, now)


def _apply(record: Record, report: Report, now: float) -> int:
    """Apply `report`; return the failures in a row just before its first success."""
    quotas = report.quotas
    _follow_clock(record, now)
    if report.known and report.version > record.version:
        _restore(record, report, report.known, now)
    current = report.version in (UNKNOWN, record.version)
    record.digest = quotas.digest
    _drop_old(record, quotas, now)
    streak = record.streak
    if current and record.state == "closed" and report.counts:
        streak = _count(record, report.process, report.counts, quotas, now)
    if current and record.state == "half_open":
        _settle(record, report)
    if report.decision and _may_decide(record, report, report.decision, current):
        _decide(record, report.process, report.decision, now)
    if report.wanted:
        _lease(record, report, quotas, now)
    return streak


def _follow_clock(record: Record, now: float) -> None:
    """Move all times along with a clock that was set back, by hand or by a failover to another host."""
    back = record.at - now
    record.at = now
    if back < _STEP:
        return
    record.until, record.opened = record.until - back, record.opened - back
    leases = {lease: deadline - back for lease, deadline in record.trials.leases.items()}
    record.trials = replace(record.trials, leases=leases, contended_until=record.trials.contended_until - back)
    record.failing = {process: at - back for process, at in record.failing.items()}
    record.history = [(at - back, calls) for at, calls in record.history]
    if record.failure is not None:
        kind, text, at = record.failure
        record.failure = (kind, text, at - back)


# What happened


def _count(record: Record, process: str, counts: Counts, quotas: Quotas, now: float) -> int:
    """Add `counts`; return the failures in a row just before their first success."""
    _note_history(record, quotas, now)
    record.calls = add(record.calls, counts.calls)
    record.seconds = add(record.seconds, counts.seconds)
    if failures(counts.calls) and (process in record.failing or len(record.failing) < quotas.quorum):
        record.failing[process] = now
    streak = record.streak + counts.leading
    record.streak = counts.trailing if successes(counts.calls) else streak
    return streak


def _note_history(record: Record, quotas: Quotas, now: float) -> None:
    """Keep the calls as they are now, if the last such piece is long enough."""
    newest = record.history[-1] if record.history else None
    late = quotas.span > 0 and newest is not None and now - newest[0] >= quotas.span / _PIECES
    many = quotas.calls > 0 and newest is not None and count(record.calls) - count(newest[1]) >= quotas.calls / _PIECES
    if newest is None or late or many:
        record.history.append((now, record.calls))


def _drop_old(record: Record, quotas: Quotas, now: float) -> None:
    """Drop what no window reaches any more."""
    calls = count(record.calls)
    while len(record.history) > 1:
        at, before = record.history[1]
        if now - at < quotas.span or calls - count(before) < quotas.calls:
            break
        del record.history[0]
    for process in [each for each, at in record.failing.items() if now - at > (quotas.span or _MEMORY)]:
        del record.failing[process]


def _settle(record: Record, report: Report) -> None:
    """Count trials that ended. A success counts even if its lease ran out; its attempt is then another trial's (H4)."""
    trials = record.trials
    for lease in report.returned:
        trials.leases.pop(lease, None)
    for lease in report.succeeded:
        trials.used += trials.leases.pop(lease, None) is not None
        trials.successes += 1
    if trials.successes >= report.quotas.successes:
        many = trials.successes
        _begin(record, report.process, "closed", f"{many} trial{'' if many == 1 else 's'} succeeded")


# What is decided


def _may_decide(record: Record, report: Report, decision: Decision, current: bool) -> bool:
    if decision.override:
        return report.version == UNKNOWN or report.overrides == record.overrides
    if not current or decision.state == record.state == "closed":
        return False
    if record.state == "closed":
        return report.quotas.quorum == 1 or len(record.failing) >= report.quotas.quorum
    return report.version != UNKNOWN  # A process that does not know yet that it is not closed has to learn that first.


def _decide(record: Record, process: str, decision: Decision, now: float) -> None:
    _begin(record, process, decision.state, decision.reason)
    record.overrides += decision.override
    record.hold = decision.hold
    _set_times(record, decision, now)


def _begin(record: Record, process: str, state: str, reason: str) -> None:
    """Begin a period. The one place where the state changes."""
    record.version += 1
    record.origin = process
    record.state, record.reason = state, reason
    record.calls, record.seconds, record.streak = (), (), 0
    record.failing, record.history = {}, []
    record.trials = Trials()


def _set_times(record: Record, decision: Decision, now: float) -> None:
    record.length, record.round = decision.length, decision.round
    record.until, record.opened = now + decision.left, now + decision.left - decision.length
    record.failure, record.slow_trial = _shifted(decision.failure, now), decision.slow_trial


def _shifted(failure: Failure | None, now: float) -> Failure | None:
    """`failure` with when it happened in place of how long ago, or the other way round."""
    return None if failure is None else (failure[0], failure[1], now - failure[2])


def _restore(record: Record, report: Report, known: Decision, now: float) -> None:
    """Restore a record that was lost, or is older than what a process knows."""
    _begin(record, report.process, known.state, known.reason)
    record.version, record.overrides, record.hold = report.version, report.overrides, known.hold
    record.origin = report.origin
    _set_times(record, known, now)
    if known.state == "half_open":  # Which trials are out is lost: assume as many as there may be.
        deadline = now + _lease_time(record, report.quotas)
        record.trials.leases = {f"lost/{index}": deadline for index in range(report.quotas.attempts)}


# Who may try


def _lease(record: Record, report: Report, quotas: Quotas, now: float) -> None:
    """Lease the attempts that are free, up to the number wanted."""
    if record.state == "open" and now >= record.until:
        _begin(record, report.process, "half_open", record.reason)
    if record.state != "half_open":
        return
    trials = record.trials
    for lease in [lease for lease, deadline in trials.leases.items() if deadline <= now]:
        del trials.leases[lease]
    free = _free(trials, quotas)
    if free < report.wanted:
        trials.contended_until = now + _CONTENTION
    for index in range(min(free, report.wanted)):
        trials.leases[f"{report.process}/{report.number}.{index}"] = now + _lease_time(record, quotas)


def _lease_time(record: Record, quotas: Quotas) -> float:
    """Seconds that a trial may stay out. An open period of 0 seconds says nothing about that."""
    return quotas.lease or record.length or _LEASE


def _free(trials: Trials, quotas: Quotas) -> int:
    free = quotas.attempts - trials.used - len(trials.leases)
    return free if trials.leases else max(free, 1)  # With no trial out, one is always free.


def _wait(record: Record, quotas: Quotas, now: float) -> float:
    """Seconds until a lease may become free."""
    if record.state != "half_open":
        return max(0.0, record.until - now)
    return 0.0 if _free(record.trials, quotas) > 0 else max(0.0, min(record.trials.leases.values()) - now)


# What is answered


def _answer(record: Record, report: Report, streak: int, now: float) -> Snapshot:
    """The snapshot for the process that reported."""
    mine = f"{report.process}/"
    return _snapshot(record, report.name, now)._replace(
        streak_at_success=streak,
        leases=tuple((lease, at - now) for lease, at in record.trials.leases.items() if lease.startswith(mine)),
        wait=_wait(record, report.quotas, now),
        history=_history(record, now) if report.version == UNKNOWN else (),
    )


def _snapshot(record: Record, name: str, now: float) -> Snapshot:
    """What is the same for all."""
    closed = record.state == "closed"
    return Snapshot(
        name=name,
        version=record.version,
        overrides=record.overrides,
        origin=record.origin,
        state=record.state,
        hold=record.hold,
        reason=record.reason,
        length=record.length,
        left=0.0 if closed else record.until - now,
        round=record.round,
        age=0.0 if closed else now - record.opened,
        failure=_shifted(record.failure, now),
        digest=record.digest,
        slow_trial=record.slow_trial,
        successes=record.trials.successes,
        calls=record.calls,
        seconds=record.seconds,
        streak=record.streak,
        failing=len(record.failing),
        wait=max(0.0, record.until - now) if record.state == "open" else 0.0,
        contended=now < record.trials.contended_until,
    )


def _history(record: Record, now: float) -> tuple[Batch, ...]:
    """The calls between the moments that are kept, and since the last."""
    ends = [calls for _, calls in record.history[1:]] + [record.calls]
    pieces = zip(record.history, ends, strict=False)
    return tuple(Batch(now - at, subtract(end, before)) for (at, before), end in pieces)
