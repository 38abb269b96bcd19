"""The record of one circuit, and all that may be done to it: add, compare, lease.

This is the rule of every store. `MemoryStore` runs it as it stands; `circuit.lua` is the same, line by line, for Redis
and Valkey. When to open is not decided here: processes decide that by their policies, and this compares versions, so
that of several that decide, one does (S6). Pure: time comes in as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .messages import UNKNOWN, Counts, Decision, Report, Terms, View

__all__ = ["Record", "take_in"]


_GRAINS = 20
"""Into how many pieces the history of a window is cut."""
_PATIENCE = 2.0
"""For how many seconds a lease that was asked for in vain counts as wanted."""
_MEMORY = 60.0
"""For how many seconds a process counts as failing, and successes as recent, if the policy does not look at time."""
_STEP = 1.0
"""A clock that is set back by fewer seconds is let be."""


@dataclass
class Record:
    """What all processes know of one circuit."""

    at: float = 0.0
    """When somebody reported last, by the server's clock, like all times here."""
    version: int = 0
    orders: int = 0
    origin: str = ""
    state: str = "closed"
    hold: str = ""
    reason: str = ""
    """Why it is in this state; of a half-open one, why it was opened."""
    length: float = 0.0
    until: float = 0.0
    opened: float = 0.0
    round: int = 0
    failure: tuple[str, str, float] | None = None
    """Type, text, and when."""
    digest: str = ""
    # of a closed period
    numbers: list[float] = field(default_factory=list[float])
    seconds: list[float] = field(default_factory=list[float])
    run: int = 0
    failing: dict[str, float] = field(default_factory=dict[str, float])
    """Processes that saw failures, and when they told last."""
    history: list[tuple[float, list[float]]] = field(default_factory=list[tuple[float, list[float]]])
    """The numbers as they were at these times."""
    # of a half-open one
    used: int = 0
    """Attempts used up by trials that ended."""
    successes: int = 0
    leases: dict[str, float] = field(default_factory=dict[str, float])
    """Trials that are leased, and until when."""
    refused: float = 0.0
    """Until when it counts that somebody asked for more leases than were free."""


def take_in(record: Record, report: Report, seen: int, now: float) -> tuple[View, bool]:
    """Take `report` in, if its number is beyond those `seen` of its process.

    Returns the answer, and whether something was decided that all must be told.
    """
    version, digest = record.version, record.digest or report.terms.digest
    peak = _apply(record, report, now) if report.number > seen else record.run
    return _view(record, report, peak, now)._replace(digest=digest), record.version > version


def _apply(record: Record, report: Report, now: float) -> int:
    """Take `report` in; return the failures in a row at its first success."""
    terms = report.terms
    _follow_clock(record, now)
    if report.known and report.version > record.version:
        _restore(record, report, report.known, now)
    current = report.version in (UNKNOWN, record.version)
    record.digest = terms.digest
    _drop_old(record, terms, now)
    peak = record.run
    if current and record.state == "closed" and report.counts:
        peak = _count(record, report.process, report.counts, terms, now)
    if current and record.state == "half_open":
        _settle(record, report)
    if report.decision and _may_decide(record, report, report.decision, current):
        _decide(record, report.process, report.decision, now)
    if report.wanted:
        _lease(record, report, terms, now)
    return peak


def _follow_clock(record: Record, now: float) -> None:
    """Move all times along with a clock that was set back, by hand, or by a failover to another host."""
    back = record.at - now
    record.at = now
    if back < _STEP:
        return
    record.until, record.opened, record.refused = record.until - back, record.opened - back, record.refused - back
    record.leases = {lease: deadline - back for lease, deadline in record.leases.items()}
    record.failing = {process: at - back for process, at in record.failing.items()}
    record.history = [(at - back, numbers) for at, numbers in record.history]
    if record.failure is not None:
        kind, text, at = record.failure
        record.failure = (kind, text, at - back)


# What happened


def _count(record: Record, process: str, counts: Counts, terms: Terms, now: float) -> int:
    """Add `counts`; return the failures in a row at their first success."""
    _note_history(record, terms, now)
    _add(record.numbers, counts.numbers)
    _add(record.seconds, counts.seconds)
    if any(counts.numbers[1::2]) and (process in record.failing or len(record.failing) < terms.quorum):
        record.failing[process] = now
    peak = record.run + counts.head
    record.run = counts.tail if any(counts.numbers[::2]) else peak
    return peak


def _add(sums: list[float], more: tuple[float, ...]) -> None:
    sums[:] = [*(a + b for a, b in zip(sums, more, strict=False)), *sums[len(more) :], *more[len(sums) :]]


def _note_history(record: Record, terms: Terms, now: float) -> None:
    """Remember how far the numbers were, if it is long enough since the last time."""
    newest = record.history[-1] if record.history else None
    late = terms.span > 0 and newest is not None and now - newest[0] >= terms.span / _GRAINS
    many = terms.calls > 0 and newest is not None and sum(record.numbers) - sum(newest[1]) >= terms.calls / _GRAINS
    if newest is None or late or many:
        record.history.append((now, list(record.numbers)))


def _drop_old(record: Record, terms: Terms, now: float) -> None:
    calls = sum(record.numbers)
    while len(record.history) > 1:
        at, numbers = record.history[1]
        if now - at < terms.span or calls - sum(numbers) < terms.calls:
            break
        del record.history[0]
    for process in [each for each, at in record.failing.items() if now - at > (terms.span or _MEMORY)]:
        del record.failing[process]


def _settle(record: Record, report: Report) -> None:
    """Trials ended. A success counts also if its lease had run out; its attempt is then another's (H4)."""
    for lease in report.returned:
        record.leases.pop(lease, None)
    for lease in report.succeeded:
        record.used += record.leases.pop(lease, None) is not None
        record.successes += 1
    if record.successes >= report.terms.successes:
        many = record.successes
        reason = f"{many} trial{'' if many == 1 else 's'} succeeded"
        _begin(record, report.process, "closed", reason)


# What is decided


def _may_decide(record: Record, report: Report, decision: Decision, current: bool) -> bool:
    if decision.ordered:
        return report.version == UNKNOWN or report.orders == record.orders
    if not current or decision.state == record.state == "closed":
        return False
    if record.state == "closed":
        return report.terms.quorum == 1 or len(record.failing) >= report.terms.quorum
    return report.version != UNKNOWN  # Who has never heard that it is not closed has something to learn first.


def _decide(record: Record, process: str, decision: Decision, now: float) -> None:
    _begin(record, process, decision.state, decision.reason)
    record.orders += decision.ordered
    record.hold = decision.hold
    _set_times(record, decision, now)


def _begin(record: Record, process: str, state: str, reason: str) -> None:
    """Begin a period. The one place where the state changes."""
    record.version += 1
    record.origin = process
    record.state, record.reason = state, reason
    record.numbers, record.seconds, record.run = [], [], 0
    record.failing, record.history = {}, []
    record.used, record.successes, record.leases, record.refused = 0, 0, {}, 0.0


def _set_times(record: Record, decision: Decision, now: float) -> None:
    record.length, record.round = decision.length, decision.round
    record.until, record.opened = now + decision.left, now + decision.left - decision.length
    kind, text, ago = decision.failure or ("", "", 0.0)
    record.failure = (kind, text, now - ago) if decision.failure else None


def _restore(record: Record, report: Report, known: Decision, now: float) -> None:
    """The record was lost, or is older than what a process knows: take that over."""
    _begin(record, report.process, known.state, known.reason)
    record.version, record.orders, record.hold = report.version, report.orders, known.hold
    record.origin = report.origin
    _set_times(record, known, now)
    if known.state == "half_open":  # Nobody knows which trials are out: as many as there may be.
        deadline = now + (report.terms.lease or record.length)
        record.leases = {f"lost/{index}": deadline for index in range(report.terms.attempts)}


# Who may try


def _lease(record: Record, report: Report, terms: Terms, now: float) -> None:
    """Lease what is free of the attempts, for as long as a trial may stay out."""
    if record.state == "open" and now >= record.until:
        _begin(record, report.process, "half_open", record.reason)
    if record.state != "half_open":
        return
    for lease in [lease for lease, deadline in record.leases.items() if deadline <= now]:
        del record.leases[lease]
    free = _free(record, terms)
    if free < report.wanted:
        record.refused = now + _PATIENCE
    for index in range(min(free, report.wanted)):
        record.leases[f"{report.process}/{report.number}.{index}"] = now + (terms.lease or record.length)


def _free(record: Record, terms: Terms) -> int:
    free = terms.attempts - record.used - len(record.leases)
    return free if record.leases else max(free, 1)  # With no trial out there is none to wait for.


def _wait(record: Record, terms: Terms, now: float) -> float:
    """Seconds until a lease may be free."""
    if record.state != "half_open":
        return max(0.0, record.until - now)
    return 0.0 if _free(record, terms) > 0 else max(0.0, min(record.leases.values()) - now)


def _view(record: Record, report: Report, peak: int, now: float) -> View:
    mine = tuple((lease, at - now) for lease, at in record.leases.items() if lease.startswith(f"{report.process}/"))
    kind, text, at = record.failure or ("", "", 0.0)
    return View(
        name=report.name,
        version=record.version,
        orders=record.orders,
        origin=record.origin,
        state=record.state,
        hold=record.hold,
        reason=record.reason,
        length=record.length,
        left=0.0 if record.state == "closed" else record.until - now,
        round=record.round,
        age=0.0 if record.state == "closed" else now - record.opened,
        failure=(kind, text, now - at) if record.failure else None,
        digest=record.digest,
        successes=record.successes,
        numbers=tuple(record.numbers),
        seconds=tuple(record.seconds),
        peak=peak,
        run=record.run,
        failing=len(record.failing),
        leases=mine,
        wait=_wait(record, report.terms, now),
        contended=now < record.refused,
        history=_history(record, now) if report.version == UNKNOWN else (),
    )


def _history(record: Record, now: float) -> tuple[tuple[float, tuple[float, ...]], ...]:
    """What was added between the moments that are remembered, and since the last."""
    ends = [numbers for _, numbers in record.history[1:]] + [record.numbers]
    return tuple(
        (now - at, tuple(end - begun for end, begun in zip(numbers, before + [0] * len(numbers), strict=False)))
        for (at, before), numbers in zip(record.history, ends, strict=False)
    )
