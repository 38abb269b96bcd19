"""What a breaker tells: its state, what happened to a call, its numbers. Frozen values, no behaviour.

Durations and waits are in seconds; moments are aware datetimes in UTC.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Literal, NamedTuple

__all__ = [
    "CallFailed",
    "CallIgnored",
    "CallRejected",
    "CallSucceeded",
    "CircuitState",
    "Event",
    "EventName",
    "Hold",
    "LastFailure",
    "Metrics",
    "StateChange",
    "StoreChange",
]

EventName = Literal["state_change", "success", "failure", "rejected", "ignored", "store"]
"""What `breaker.on()` and `registry.on()` can be asked for."""


class CircuitState(Enum):
    """The three states of a circuit."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"

    def __str__(self) -> str:
        return self.value


class Hold(Enum):
    """What somebody ordered, beside the state, until `reset()` (M2)."""

    FORCED_OPEN = "force_open"
    FORCED_CLOSED = "force_closed"
    SHADOW = "shadow"

    def __str__(self) -> str:
        return self.value


class LastFailure(NamedTuple):
    """A failure, summed up: nothing of the exception is kept but its type's name and its text."""

    type: str
    text: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type


class StateChange(NamedTuple):
    """`"state_change"`: the circuit moved."""

    name: str
    old_state: CircuitState
    new_state: CircuitState
    reason: str
    """Why, with the numbers."""
    at: datetime
    retry_after: float
    """Seconds until a trial may go: the length of the open period that begins, or 0."""
    last_failure: LastFailure | None
    origin: str = ""
    """The process that decided it, if it was another one: for a circuit that has a store."""


class CallSucceeded(NamedTuple):
    """`"success"`: a call ended well."""

    name: str
    duration: float


class CallFailed(NamedTuple):
    """`"failure"`: a call ended in a failure. `error` is `None` when a returned value was the failure."""

    name: str
    duration: float
    error: BaseException | None


class CallIgnored(NamedTuple):
    """`"ignored"`: a call ended without a verdict. `error` is `None` for a permit that was released.

    A permit that is dropped unsettled is counted, and not told of: that may happen at any moment.
    """

    name: str
    duration: float
    error: BaseException | None


class CallRejected(NamedTuple):
    """`"rejected"`: a call was refused; in shadow, it would have been and ran all the same."""

    name: str
    state: CircuitState
    retry_after: float
    reason: str
    shadow: bool


class StoreChange(NamedTuple):
    """`"store"`: the store of a circuit can be reached again, or no longer; the circuit goes on alone meanwhile."""

    name: str
    reachable: bool
    error: str
    """Why not: the type and text of the error; empty if it can be reached."""


Event = StateChange | CallSucceeded | CallFailed | CallIgnored | CallRejected | StoreChange


class Metrics(NamedTuple):
    """A breaker's numbers at one moment. Totals cover its whole life and are exact under threads (E6)."""

    name: str
    state: CircuitState
    hold: Hold | None
    failure_count: int
    """Consecutive failures; 0 after a success."""
    success_count: int
    """Consecutive successful trials of the present half-open period."""
    total_calls: int
    """Calls that ended, whichever way: the sum of the four totals below."""
    total_successes: int
    total_failures: int
    total_rejections: int
    total_ignored: int
    shadow_rejections: int
    """Calls that ran in shadow and would otherwise have been refused; also counted by how they ended."""
    last_failure_time: datetime | None
    last_success_time: datetime | None
    next_attempt_time: datetime | None
    """When the next trial may go; `None` if calls are admitted now or nobody can tell."""
    opened_at: datetime | None
    """When the circuit opened; `None` when closed."""
    reason: str
    """Why it is not closed; empty when closed."""
    last_failure: LastFailure | None
    store: str | None = None
    """`"connected"`, `"connecting"` before the first answer, or `"unreachable: ..."`; `None` without a store."""
