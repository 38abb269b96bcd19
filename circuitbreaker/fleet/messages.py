"""What processes and the place where they meet tell each other about one circuit.

A process sends a `Report`: what it saw and decided since its last one. The answer is a `View`: how the circuit stands.
Both are plain values that fit into JSON. All times are spans in seconds, so no clock is ever compared with another: the
one that counts is where the records are (S5).

A circuit's `version` counts the decisions made about it. A decision is for the version that it was made on, and comes
to nothing if there is a newer one (S6).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["UNKNOWN", "Counts", "Decision", "Report", "Terms", "View"]

UNKNOWN = -1
"""The version that a process knows that has not heard of the circuit yet."""


class Counts(NamedTuple):
    """Calls that ended in one closed period."""

    numbers: tuple[float, ...]
    """How many, by class: successes and failures that were faster than all bounds of `SlowCallRate`, then successes and
    failures slower than the first, and so on."""
    seconds: tuple[float, ...]
    """How long they took together, by class; 0 where nobody timed them."""
    head: int = 0
    """Failures before the first success among them; all of them if there is none."""
    tail: int = 0
    """Failures after the last success among them; all of them if there is none."""


class Decision(NamedTuple):
    """A state that the circuit shall have, and why."""

    state: str
    hold: str
    """The hold, or empty."""
    ordered: bool
    """Whether a person ordered it: then it counts unless another order came first, whatever else happened."""
    reason: str
    length: float
    """How long the open period lasts from its beginning to its end; 0 for a closed one."""
    left: float
    """How much of it is left."""
    round: int
    failure: tuple[str, str, float] | None
    """The last failure: its type, its text, and how long ago it was."""


class Terms(NamedTuple):
    """What a process's configuration asks of the place where the records are."""

    attempts: int
    """Trials of one half-open period."""
    successes: int
    """Successful trials that close the circuit."""
    lease: float | None
    """How long a trial may stay out; `None` for as long as the open period was."""
    quorum: int
    """How many processes must have seen failures before the circuit opens for all."""
    span: float
    """How far back the policy looks, in seconds; 0 for not by time."""
    calls: int
    """How far back the policy looks, in calls; 0 for not by calls."""
    expire: int
    """After how many seconds without any news a record disappears."""
    digest: str
    """Tells configurations apart."""


class Report(NamedTuple):
    """What one process has to say about one circuit."""

    name: str
    process: str
    """Who says it; no two processes, and no two lives of one, are called alike."""
    number: int
    """1, 2, 3 ...: one that was taken in already changes nothing, and is answered all the same."""
    version: int
    """What the process knows, and what its counts and its decision are based on."""
    orders: int
    """How many orders it knows of."""
    terms: Terms
    counts: Counts | None = None
    decision: Decision | None = None
    known: Decision | None = None
    """What the process knows, if anything was decided: if the record is older it was lost, and is taken from here."""
    origin: str = ""
    """Who decided what the process knows."""
    succeeded: tuple[str, ...] = ()
    """Leases whose trials succeeded."""
    returned: tuple[str, ...] = ()
    """Leases that are given back."""
    wanted: int = 0
    """Trials for which calls are waiting to go."""


class View(NamedTuple):
    """How a circuit stands."""

    name: str
    version: int
    orders: int
    origin: str
    """Which process made the last decision."""
    state: str
    hold: str
    reason: str
    """Why it is in this state; of a half-open one, why it was opened."""
    length: float
    left: float
    """Seconds until a trial may go; 0 or less if that time has come, and 0 of a closed one."""
    round: int
    age: float
    """Seconds since the circuit opened; 0 of a closed one."""
    failure: tuple[str, str, float] | None
    digest: str
    """The configuration of the process that told something last."""
    successes: int = 0
    """Successful trials of this half-open period."""
    numbers: tuple[float, ...] = ()
    """All calls of this closed period, by class, with those of the report that this answers."""
    seconds: tuple[float, ...] = ()
    peak: int = 0
    """Failures in a row up to the first success of the report that this answers."""
    run: int = 0
    """Failures in a row now."""
    failing: int = 0
    """Processes that have seen failures in this closed period, counted up to the quorum."""
    leases: tuple[tuple[str, float], ...] | None = None
    """The leases of the process that asked, and how many seconds each lasts; `None` for what goes out to all."""
    wait: float = 0.0
    """Seconds until a lease may be free for who got none."""
    contended: bool = False
    """Whether calls wait for leases in vain. Then who has one and no use for it gives it back."""
    history: tuple[tuple[float, tuple[float, ...]], ...] = ()
    """For who is new: calls by class, and how many seconds ago they ended, the oldest first."""
