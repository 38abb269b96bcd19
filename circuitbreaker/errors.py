"""The errors that this package raises on purpose.

    CircuitBreakerError           base class of the errors below
    └── CircuitOpenError          the circuit refused the call; nothing ran

An invalid option raises a plain `ValueError` or `TypeError`, an unknown name a `KeyError`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ._values import format_seconds, quoted
from .events import CircuitState, Hold, LastFailure

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CircuitBreakerError", "CircuitOpenError"]


class CircuitBreakerError(Exception):
    """Base class of this package's errors."""


class CircuitOpenError(CircuitBreakerError):
    """The circuit refused a call; the guarded code did not run (O1, H1).

    It holds only text and numbers, so keeping it keeps nothing else alive (O2).
    """

    name: str
    """The breaker's name."""
    state: CircuitState
    """The circuit's state when it refused."""
    retry_after: float
    """Seconds until the next call can be admitted, at most; `inf` while the circuit is forced open."""
    reason: str
    """Why the circuit opened: the policy and its numbers."""
    opened_at: datetime | None
    """When the circuit opened, in UTC; `None` if it is closed and a hold refuses its calls."""
    last_failure: LastFailure | None
    """The last failure's type, text and time."""
    hold: Hold | None
    """The hold in force, if any."""
    circuit_id: int
    """Identifies the circuit that refused, since others may have the same name."""

    def __init__(
        self,
        name: str,
        state: CircuitState,
        retry_after: float,
        reason: str = "",
        opened_at: datetime | None = None,
        last_failure: LastFailure | None = None,
        hold: Hold | None = None,
        circuit_id: int = 0,
    ) -> None:
        self.name = name
        self.state = state
        self.retry_after = retry_after
        self.reason = reason
        self.opened_at = opened_at
        self.last_failure = last_failure
        self.hold = hold
        self.circuit_id = circuit_id

    @classmethod
    def from_refusal(cls, refused: CircuitOpenError) -> Self:
        """Return the refusal as an error of this class: a subclass that is also an error of some client."""
        error = cls(refused.name, refused.state, refused.retry_after)
        vars(error).update(vars(refused))
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.state, self.retry_after), vars(self)

    def __str__(self) -> str:
        return f"circuit {quoted(self.name)} is {self._state()}{self._why()}; {self._next()}"

    def _state(self) -> str:
        at = f" {self.opened_at:%Y-%m-%d %H:%M:%S} UTC" if self.opened_at else ""
        if self.hold is Hold.FORCED_OPEN:
            return "forced open" + (f"; it opened at{at}" if at else "")
        if self.state is CircuitState.HALF_OPEN:
            return f"half-open with all its attempts taken; it opened at{at}"
        return "open" + (f" since{at}" if at else "")

    def _why(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        if self.last_failure is None or reason.endswith(str(self.last_failure)):
            return reason
        return f"{reason}; last failure {self.last_failure}"

    def _next(self) -> str:
        if self.hold is Hold.FORCED_OPEN:
            return "it stays so until reset()"
        return f"next trial in {format_seconds(self.retry_after)} s"
