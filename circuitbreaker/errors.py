"""Every error that this package raises on purpose.

    CircuitBreakerError           anything below
    └── CircuitOpenError          the circuit refused the call; nothing ran

A wrong option is a plain `ValueError` or `TypeError`; an unknown name is a `KeyError`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ._values import format_seconds
from .events import CircuitState, Hold, LastFailure

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CircuitBreakerError", "CircuitOpenError"]


class CircuitBreakerError(Exception):
    """The root of this package's errors."""


class CircuitOpenError(CircuitBreakerError):
    """The circuit refused a call. The guarded code did not run (O1, H1).

    It carries text and numbers only, so that keeping it keeps nothing else alive (O2).
    """

    name: str
    """The breaker's name."""
    state: CircuitState
    """The circuit's state when it refused."""
    retry_after: float
    """Seconds until another call may be let through, at the latest; `inf` while the circuit is forced open."""
    reason: str
    """Why the circuit opened: the policy and its numbers."""
    opened_at: datetime | None
    """When it opened, in UTC; `None` if the circuit is closed and a hold refuses."""
    last_failure: LastFailure | None
    """The last failure's type, text and time."""
    hold: Hold | None
    """The hold in force, if any."""
    circuit_id: int
    """Tells the circuit that refused from others of the same name."""

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
    def like(cls, refused: CircuitOpenError) -> Self:
        """The same refusal as an error of this class, which may be one that is also something else."""
        error = cls(refused.name, refused.state, refused.retry_after)
        vars(error).update(vars(refused))
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.state, self.retry_after), vars(self)

    def __str__(self) -> str:
        return f"circuit {self.name!r} is {self._state()}{self._why()}; {self._next()}"

    def _state(self) -> str:
        at = f" {self.opened_at:%Y-%m-%d %H:%M:%S} UTC" if self.opened_at else ""
        if self.hold is Hold.FORCED_OPEN:
            return "forced open" + (f"; it opened at{at}" if at else "")
        if self.state is CircuitState.HALF_OPEN:
            return f"half-open, and all its trials are out; it opened at{at}"
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
