"""The messages about one circuit between a process and the place where the records are.

A process sends a `Report`: what it saw and decided since its last one. The answer is a `Snapshot` of the circuit. Both
are plain values that fit into JSON. All times are spans of seconds relative to the moment of the message, so no two
clocks are ever compared: the clock that counts is the one of the records (S5).

A circuit's `version` counts the decisions made about it. A decision names the version that it is based on, and has no
effect if the record has a newer one (S6).
"""

from __future__ import annotations

from typing import NamedTuple

from .tallies import Tallies, Tally

__all__ = ["UNKNOWN", "Batch", "Counts", "Decision", "Failure", "Quotas", "Report", "Snapshot", "Tally"]

UNKNOWN = -1
"""The version that a process reports before its first answer."""

Failure = tuple[str, str, float]
"""A failure: its type, its text, and how many seconds ago it happened."""


class Counts(NamedTuple):
    """Calls that one process saw end in one closed period."""

    calls: Tallies
    """Calls by class of duration."""
    seconds: Tallies
    """The seconds that they took together, by class; 0 where durations were not measured."""
    leading: int = 0
    """Failures before the first success; all failures if there is no success."""
    trailing: int = 0
    """Failures after the last success; all failures if there is no success."""


class Decision(NamedTuple):
    """A state for the circuit, and the reason for it."""

    state: str
    """`"closed"`, `"open"` or `"half_open"`."""
    hold: str
    """The hold, or empty."""
    override: bool
    """Whether a person ordered it. An override takes effect unless another override came first."""
    reason: str
    length: float
    """Seconds that the open period lasts in all; 0 for a closed one."""
    left: float
    """Seconds of it that are left."""
    round: int
    """1 for the first open period since the circuit was closed, 2 for the one after the first failed trial, ..."""
    failure: Failure | None
    """The last failure."""
    slow_trial: float | None = None
    """If slow calls opened it: the seconds beyond which a trial does not close it."""


class Quotas(NamedTuple):
    """What a process's configuration asks of the place where the records are."""

    attempts: int
    """Trials that one half-open period may have out or finished."""
    successes: int
    """Successful trials that close the circuit."""
    lease: float | None
    """Seconds that a trial may stay out; `None` for the length of the open period."""
    quorum: int
    """How many processes must have seen failures before the circuit opens for all of them."""
    span: float
    """Seconds that the policy's window goes back; 0 if it has no window of seconds."""
    calls: int
    """Calls that the policy's window goes back; 0 if it has no window of calls."""
    expire: int
    """Seconds without any report after which the record is deleted."""
    digest: str
    """The options in short. Processes with different ones are warned."""


class Report(NamedTuple):
    """What one process reports about one circuit."""

    name: str
    process: str
    """Who reports. Unique per process and circuit, also across restarts."""
    number: int
    """1, 2, 3, ... A report whose number was applied before changes nothing, and is answered again."""
    version: int
    """The version that this process knows. Its counts and its decision are based on it."""
    overrides: int
    """How many overrides this process knows of."""
    quotas: Quotas
    counts: Counts | None = None
    decision: Decision | None = None
    known: Decision | None = None
    """The decision that this process knows, if there was any. A record that is older was lost, and is restored."""
    origin: str = ""
    """The process that made the decision in `known`."""
    succeeded: tuple[str, ...] = ()
    """Leases whose trials succeeded."""
    returned: tuple[str, ...] = ()
    """Leases that are given back unused, or whose trials ended without a verdict."""
    wanted: int = 0
    """Leases that are asked for."""


class Batch(NamedTuple):
    """Calls that ended in one piece of the past."""

    ago: float
    """Seconds since they began to end."""
    calls: Tallies


class Snapshot(NamedTuple):
    """A circuit at one moment."""

    name: str
    version: int
    overrides: int
    """How many overrides there were."""
    origin: str
    """The process that made the last decision."""
    state: str
    """`"closed"`, `"open"` or `"half_open"`."""
    hold: str
    """The hold, or empty."""
    reason: str
    """Why it is in this state; of a half-open circuit, why it was opened."""
    length: float
    """Seconds that the last open period lasts, or lasted, in all."""
    left: float
    """Seconds until a trial is allowed; 0 or less once that time has come, and 0 for a closed circuit."""
    round: int
    age: float
    """Seconds since the circuit opened; 0 for a closed one."""
    failure: Failure | None
    """The last failure, as far as a decision carried it."""
    digest: str
    """The options, in short, of the process that reported last."""
    successes: int = 0
    """Successful trials of this half-open period."""
    calls: Tallies = ()
    """All calls of this closed period by class of duration, including those of the report that this answers."""
    seconds: Tallies = ()
    """The seconds that they took together, by class."""
    streak_at_success: int = 0
    """Failures in a row just before the first success of the report that this answers."""
    streak: int = 0
    """Failures in a row now."""
    failing: int = 0
    """Processes that saw failures in this closed period, counted up to the quorum."""
    leases: tuple[tuple[str, float], ...] | None = None
    """The leases of the process that asked, each with the seconds that it lasts; `None` if no process asked."""
    wait: float = 0.0
    """Seconds until a lease may become free; 0 if no process asked and the circuit is half-open."""
    contended: bool = False
    """Whether calls elsewhere wait for leases in vain. A process that does not use its leases then returns them."""
    history: tuple[Batch, ...] = ()
    """For a process that reports for the first time: the calls of the policy's window, the oldest first."""
    slow_trial: float | None = None
    """If slow calls opened it: the seconds beyond which a trial does not close it."""
