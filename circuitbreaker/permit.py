"""Permit: permission for one call, as a value that can be passed anywhere and is settled once."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ._engine.periods import Admission
from ._typing import Self
from .outcomes import NO_RESULT, Verdict

if TYPE_CHECKING:
    from ._circuit.circuit import Circuit

__all__ = ["Permit"]


class Permit:
    """Permission for one call, for callback code. Settle it once: `success()`, `failure(error)` or `release()`.

    As a context manager it is settled by how its block ends. Settling it again does nothing (E2), and any thread may
    settle it. A permit that is garbage-collected unsettled is released: a trial's attempt is given back, and the call
    counts as ignored (H3).
    """

    __slots__ = ("_circuit", "_started", "_stopped", "_unsettled")

    def __init__(self, circuit: Circuit, admission: Admission, started: float) -> None:
        self._circuit = circuit
        self._started = started
        self._stopped: float | None = None
        self._unsettled = [admission]  # a list, whose pop() is atomic: of two threads that settle, only one succeeds

    def success(self) -> None:
        """Settle as a success."""
        self._settle_as(Verdict.SUCCESS)

    def failure(self, error: BaseException | None = None) -> None:
        """Settle as a failure, with `error` if there is one.

        An error that `ignore` matches, or that is not an `Exception` (E3), counts as ignored. `is_failure` is not used.

        Raises:
            TypeError: `error` is not an exception.
        """
        if not (error is None or isinstance(error, BaseException)):
            raise TypeError(f"error must be an exception or None, got {error!r}")
        if self._unsettled:
            ignored = error is not None and self._circuit.ignores(error)
            self._settle_as(Verdict.IGNORED if ignored else Verdict.FAILURE, error)

    def release(self) -> None:
        """Settle as ignored: the call did not take place, or its end says nothing. A trial gives its attempt back."""
        self._settle_as(Verdict.IGNORED)

    def stop_timing(self) -> None:
        """End the call's duration now, before the verdict: when a response has started, and its body is to come."""
        self._stopped = self._circuit.clock.monotonic()

    def settle(self, error: BaseException | None, result: object = NO_RESULT) -> None:
        """Settle as the breaker's options judge a call that raised `error`, or that returned `result`."""
        if self._unsettled:
            self._settle_as(self._circuit.judge(error, result), error, result)

    def _settle_as(self, verdict: Verdict, error: BaseException | None = None, result: object = NO_RESULT) -> None:
        """Settle with `verdict`, unless it is settled already."""
        try:
            admission = self._unsettled.pop()
        except IndexError:
            return
        self._circuit.settle(admission, self._started, verdict, error, result, self._stopped)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle(error)

    def __del__(self) -> None:
        # This may run at any moment, even while its thread holds the circuit's lock, so it only queues the release.
        if getattr(self, "_unsettled", None):  # None if an interrupt hit __init__
            self._circuit.turns.put_off(self._circuit.engine.release, self._unsettled.pop())

    def __repr__(self) -> str:
        return f"<Permit of {self._circuit.name!r}, {'unsettled' if self._unsettled else 'settled'}>"
