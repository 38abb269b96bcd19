"""What a breaker reports: its state, the end of each call, its numbers. Frozen values without behaviour.

Durations and waits are in seconds; times are aware datetimes in UTC. Annotations are the types themselves, so that
`typing.get_type_hints` needs to look up no name.
"""

from datetime import datetime
from enum import Enum
from typing import Any, Literal, NamedTuple

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
"""The events that `breaker.on()` and `registry.on()` accept."""


class CircuitState(str, Enum):
    """The three states of a circuit. Each is a string too, equal to its value."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"

    def __str__(self) -> str:
        return self.value


class Hold(str, Enum):
    """An order that overrides the circuit's state, without changing it, until `reset()` (M2). It is a string too."""

    FORCED_OPEN = "force_open"
    FORCED_CLOSED = "force_closed"
    SHADOW = "shadow"

    def __str__(self) -> str:
        return self.value


class LastFailure(NamedTuple):
    """Summary of a failure. Only the name of the exception's type and its text are kept, never the exception."""

    type: str
    text: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type


class StateChange(NamedTuple):
    """`"state_change"`: the circuit changed its state."""

    name: str
    old_state: CircuitState
    new_state: CircuitState
    reason: str
    """Why, with the numbers."""
    at: datetime
    retry_after: float
    """Seconds until a trial can be admitted: the length of the open period that begins, or 0."""
    last_failure: LastFailure | None
    origin: str = ""
    """The process that decided the change, if it was another one; only for circuits with a store."""


class CallSucceeded(NamedTuple):
    """`"success"`: a call succeeded."""

    name: str
    duration: float


class CallFailed(NamedTuple):
    """`"failure"`: a call failed. `error` is `None` if the failure was a returned value, or came without an error."""

    name: str
    duration: float
    error: BaseException | None


class CallIgnored(NamedTuple):
    """`"ignored"`: a call ended as neither success nor failure. `error` is `None` for a permit that was released.

    A permit that is garbage-collected unsettled is counted but not published, since that can happen at any moment.
    """

    name: str
    duration: float
    error: BaseException | None


class CallRejected(NamedTuple):
    """`"rejected"`: a call was refused. If `shadow`, it would have been refused, but ran."""

    name: str
    state: CircuitState
    retry_after: float
    reason: str
    shadow: bool


class StoreChange(NamedTuple):
    """`"store"`: a circuit lost its store, or reached it again. Without the store the circuit works on its own."""

    name: str
    reachable: bool
    error: str
    """Why the store is unreachable: the type and text of the error; empty if it is reachable."""


Event = StateChange | CallSucceeded | CallFailed | CallIgnored | CallRejected | StoreChange
"""What a listener receives."""


class Metrics(NamedTuple):
    """A breaker's numbers at one moment. Totals cover the breaker's lifetime and are exact under threads (E6)."""

    name: str
    state: CircuitState
    hold: Hold | None
    failure_count: int
    """Consecutive failures; 0 after a success."""
    success_count: int
    """Consecutive successful trials of the current half-open period."""
    total_calls: int
    """Calls that have ended, in whatever way: the sum of the next four totals."""
    total_successes: int
    total_failures: int
    total_rejections: int
    total_ignored: int
    shadow_rejections: int
    """Calls that ran in shadow and would otherwise have been refused; each also counts by how it ended."""
    last_failure_time: datetime | None
    last_success_time: datetime | None
    next_attempt_time: datetime | None
    """When the next trial can be admitted; `None` if calls are admitted now, or if that time is unknown."""
    opened_at: datetime | None
    """When the circuit opened; `None` when closed."""
    reason: str
    """Why the circuit is not closed; empty when closed."""
    last_failure: LastFailure | None
    store: str | None = None
    """`"connected"`, `"connecting"` before the first answer, or `"unreachable: ..."`; `None` without a store."""


def _equal(self: Any, other: Any) -> Any:
    """Whether both are of one kind, with equal fields. A success is no failure, though it has the same fields."""
    if not issubclass(type(other), tuple):
        return NotImplemented
    return type(self) is type(other) and self[:] == other[:]


def _unequal(self: Any, other: Any) -> Any:
    equal = _equal(self, other)
    return equal if equal is NotImplemented else not equal


_kinds: tuple[Any, ...] = (LastFailure, StateChange, CallSucceeded, CallFailed, CallIgnored, CallRejected, StoreChange)
for _kind in (*_kinds, Metrics):  # To type checkers, the body of a NamedTuple cannot have these methods.
    _kind.__eq__, _kind.__ne__ = _equal, _unequal
