"""The errors that this package raises on purpose.

    CircuitBreakerError           base class of the errors below
    └── CircuitOpenError          the circuit refused the call; nothing ran

An invalid option raises a plain `ValueError` or `TypeError`, an unknown name a `KeyError`.
"""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ._typing import Self
from ._values import format_seconds, quoted
from .events import CircuitState, Hold, LastFailure

__all__ = ["CircuitBreakerError", "CircuitOpenError"]


class CircuitBreakerError(Exception):
    """Base class of this package's errors."""


class CircuitOpenError(CircuitBreakerError):
    """The circuit refused a call; the guarded code did not run (O1, H1).

    It holds only text and numbers, so keeping it keeps nothing else alive (O2). Its `args` are plain values, which
    JSON can carry, and from which the class makes the same error again: Celery and others send errors like that.
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
        if not isinstance(state, CircuitState):  # These are the `args` of such an error, perhaps from another process.
            state, retry_after, opened_at, last_failure, hold = _restored(
                state, retry_after, opened_at, last_failure, hold
            )
        self.name = name
        self.state = state
        self.retry_after = retry_after
        self.reason = reason
        self.opened_at = opened_at
        self.last_failure = last_failure
        self.hold = hold
        self.circuit_id = circuit_id

    if not TYPE_CHECKING:  # pragma: no branch - To type checkers, `args` is the attribute that all errors have.

        @property
        def args(self) -> tuple[Any, ...]:
            """Plain values for `__init__`, unless others were set. Worked out here: a refusal must not pay for it."""
            mine = vars(self)
            if "_args" in mine or "circuit_id" not in mine:  # The latter, if a subclass did not call __init__.
                return mine.get("_args", ())
            opened_at, last, hold = self.opened_at, self.last_failure, self.hold
            return (
                self.name,
                self.state.value,
                self.retry_after,
                self.reason,
                None if opened_at is None else opened_at.isoformat(),
                None if last is None else [last.type, last.text, last.at.isoformat()],
                None if hold is None else hold.value,
                self.circuit_id,
            )

        @args.setter
        def args(self, values: Iterable[object]) -> None:
            vars(self)["_args"] = tuple(values)

    @classmethod
    def from_refusal(cls, refused: "CircuitOpenError") -> Self:
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


def _restored(state: Any, retry_after: Any, opened_at: Any, last_failure: Any, hold: Any) -> tuple[Any, ...]:
    """The values that came as plain ones."""
    if last_failure is not None:
        kind, text, at = last_failure
        last_failure = LastFailure(kind, text, _moment(at))
    return (
        CircuitState(state),
        math.inf if retry_after is None else float(retry_after),  # Strict JSON has no infinity.
        None if opened_at is None else _moment(opened_at),
        last_failure,
        None if hold is None else Hold(hold),
    )


def _moment(at: Any) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at
