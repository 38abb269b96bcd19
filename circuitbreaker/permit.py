"""Permit: permission for one call, as a value that can be passed anywhere and is settled once."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import ref

from ._engine.periods import Admission, HalfOpen, Trial
from ._typing import Self
from ._values import quoted
from .outcomes import NO_RESULT, Verdict

if TYPE_CHECKING:
    from ._circuit.circuit import Circuit

__all__ = ["Permit", "is_within_trial"]

_Around = tuple["ref[Permit]", "_Around | None"]
_around: ContextVar[_Around | None] = ContextVar("circuitbreaker.trials", default=None)
"""The permits of the trials that this context is inside, the innermost first. Tasks that it starts are inside too."""


def is_within_trial(period: HalfOpen, now: float) -> bool:
    """Whether this call is made inside a trial of `period` (H5) whose attempt has not gone to another call (H4)."""
    around = _around.get()
    while around is not None:
        permit, around = around[0](), around[1]
        trial = None if permit is None else permit.trial
        if trial is not None and trial.period is period and now < trial.deadline:
            return True
    return False


class Permit:
    """Permission for one call, for callback code. Settle it once: `success()`, `failure(error)` or `release()`.

    As a context manager it is settled by how its block ends. Settling it again does nothing (E2), and any thread may
    settle it. A permit that is garbage-collected unsettled is released: a trial's attempt is given back, and the call
    counts as ignored (H3).
    """

    __slots__ = ("__weakref__", "_circuit", "_started", "_stopped", "_unsettled")

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

        An error that says nothing about the dependency counts as ignored: one that `ignore` matches, that is not an
        `Exception`, or that is a refusal (E3, E11), unless `is_failure` names its type. Any other is a failure,
        whatever `is_failure` says. An ignored call may have been slow (E12).

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
            verdict = Verdict.IGNORED  # if an exit from outside comes while it is judged
            try:
                verdict = self._circuit.judge(error, result)
            finally:
                self._settle_as(verdict, error, result)

    @property
    def trial(self) -> Trial | None:
        """The trial that is to be settled, if this is one's permit."""
        admission = next(iter(self._unsettled), None)
        return admission if isinstance(admission, Trial) else None

    def enter(self) -> None:
        """Let calls of the same circuit that this context makes until this is settled ride on the trial (H5)."""
        outer = _around.get()
        while outer is not None and ((permit := outer[0]()) is None or not permit._unsettled):
            outer = outer[1]  # It was settled elsewhere.
        _around.set((ref(self), outer))

    def _settle_as(self, verdict: Verdict, error: BaseException | None = None, result: object = NO_RESULT) -> None:
        """Settle with `verdict`, unless it is settled already."""
        try:
            admission = self._unsettled.pop()
        except IndexError:
            return
        if (around := _around.get()) is not None and around[0]() is self:
            _around.set(around[1])
        self._circuit.settle(admission, self._started, verdict, error, result, self._stopped)

    def __enter__(self) -> Self:
        if self.trial is not None:
            self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle(error)

    def __del__(self) -> None:
        # This may run at any moment, even while its thread holds the circuit's lock, so it only queues the release.
        if getattr(self, "_unsettled", None):  # None if an interrupt hit __init__
            self._circuit.turns.put_off(self._circuit.engine.release, self._unsettled.pop(), 0.0, 0.0)

    def __repr__(self) -> str:
        return f"<Permit of {quoted(self._circuit.name)}, {'unsettled' if self._unsettled else 'settled'}>"
