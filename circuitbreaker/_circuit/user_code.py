"""Runs the user's own code: predicates, policies, strategies, listeners.

What it raises is logged with the breaker's name and goes no further (E4): later, when no lock is held, because a
logging handler may use the breaker. What comes from outside while it runs passes: an interrupt, the exit of SIGTERM's
handler, the error that a handler of an alarm raises, a greenlet's kill or timeout.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import CodeType
from typing import Any, TypeVar

__all__ = ["Scope", "UserCode"]

T = TypeVar("T")


class UserCode:
    """Runs the user's own code on behalf of the breaker called `name`."""

    __slots__ = ("_name", "exit", "raised")

    def __init__(self, name: str) -> None:
        self._name = name
        self.raised: list[tuple[str, BaseException]] = []
        self.exit: BaseException | None = None  # what came from outside during the step under way

    def __call__(self, what: str, default: T, function: Callable[..., T], *args: Any) -> T:
        """Return what `function(*args)` returns, or `default` if it raises."""
        try:
            return function(*args)
        except BaseException as error:
            if _is_from_outside(error):
                raise
            if not Scope.of(_LOGGING):
                self.raised.append((what, error))
            return default

    def in_step(self, what: str, default: T, function: Callable[..., T], *args: Any) -> T:
        """The same within a step of the circuit. What comes from outside waits in `exit` until the step is complete."""
        try:
            return self(what, default, function, *args)
        except BaseException as outside:
            self.exit = self.exit or outside
            return default

    def pass_exit(self) -> None:
        """Raise what came from outside during the step that is now complete."""
        outside, self.exit = self.exit, None
        if outside is not None:
            raise outside

    def log(self) -> None:
        """Log what was raised since the last call. Called with no lock held."""
        with suppress(IndexError):  # if another thread took what was there
            while self.raised:
                _log(self._name, *self.raised.pop(0))


def _log(name: str, what: str, error: BaseException) -> None:
    scope = Scope(
        _LOGGING
    )  # What a logging handler's own use of a breaker raises is not logged, or that might not end.
    try:
        scope.enter()
        with suppress(Exception):  # of a logging handler, or of the import at shutdown: the caller must not see it (E4)
            from logging import getLogger  # Most programs have imported it; the others need not pay for it.

            getLogger("circuitbreaker").error("circuit %r: its %s raised", name, what, exc_info=error)
    finally:
        scope.leave()


_LOGGING = object()


class Scope:
    """Code that runs on behalf of `owner`, with all that it calls and starts, until it is left.

    It belongs to the context: a thread, a task and a greenlet have each their own, also where several share a thread,
    or where threads were replaced by greenlets after this module was imported.
    """

    __slots__ = ("_active", "_owner")

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self._active = True

    @staticmethod
    def of(owner: object) -> bool:
        """Whether this code is in a scope of `owner`."""
        return any(scope._owner is owner and scope._active for scope in _scopes.get())

    def enter(self) -> None:
        """Begin it in this context."""
        _scopes.set((*_scopes.get(), self))

    def leave(self) -> None:
        """End it, also for what it has started that goes on."""
        self._active = False
        _scopes.set(tuple(scope for scope in _scopes.get() if scope._active))


_scopes: ContextVar[tuple[Scope, ...]] = ContextVar("circuitbreaker.scopes", default=())


def _is_from_outside(error: BaseException) -> bool:
    """Whether `error` is not the code's own: an exit of some kind, or raised by a handler of a signal."""
    return not issubclass(type(error), Exception) or not _signal_handlers().isdisjoint(_codes_in(error))


def _signal_handlers() -> set[CodeType]:
    """The code of the handlers in force. Without `signal` there are none."""
    signal = sys.modules.get("signal")
    if signal is None:
        return set()
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = [getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers]
    return {code for code in codes if isinstance(code, CodeType)}


def _codes_in(error: BaseException) -> set[CodeType]:
    """The code of all functions that `error` has passed."""
    codes: set[CodeType] = set()
    traceback = error.__traceback__
    while traceback is not None:
        codes.add(traceback.tb_frame.f_code)
        traceback = traceback.tb_next
    return codes
