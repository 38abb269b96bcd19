"""Runs the user's own code: predicates, policies, strategies, listeners.

What it raises is logged with the breaker's name and goes no further (E4): later, when no lock is held, because a
logging handler may use the breaker. What comes from outside while it runs passes: an interrupt, the exit of SIGTERM's
handler, the error that a handler of an alarm raises, a greenlet's kill or timeout.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from .._log import log
from .._values import quoted

__all__ = ["UserCode", "is_inside", "scopes"]

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
            if not is_inside(_LOGGING):
                self.raised.append((what, error))
            return default

    def in_step(self, what: str, default: T, function: Callable[..., T], *args: Any) -> T:
        """The same within a step of the circuit. What comes from outside waits in `exit` until the step is complete."""
        try:
            return self(what, default, function, *args)
        except BaseException as outside:
            self.exit = self.exit or outside
            return default

    def log(self) -> None:
        """Log what was raised since the last call. Called with no lock held."""
        with suppress(IndexError):  # if another thread took what was there
            while self.raised:
                _log(self._name, *self.raised.pop(0))


def _log(name: str, what: str, error: BaseException) -> None:
    outer = scopes.get()
    scope: list[object] = [_LOGGING]
    try:
        scopes.set((*outer, scope))
        log("error", "circuit %s: its %s raised", quoted(name), what, error=error)
    finally:
        scope[0] = None  # It is no call, so no interrupt comes before the next line is done.
        scopes.set(outer)


_LOGGING = object()
"""The scope of logging. What a logging handler's own use of a breaker raises is not logged: that might not end."""

scopes: ContextVar[tuple[list[object], ...]] = ContextVar("circuitbreaker.scopes", default=())
"""Which code this is inside: whose it is, in a list of its own, which the end of that code takes it out of.

It belongs to the context: a thread, a task and a greenlet have each their own, also where several share a thread, or
where threads were replaced by greenlets after this module was imported. What code starts is inside it until it ends.
"""


def is_inside(whose: object) -> bool:
    """Whether this code is inside code of `whose`."""
    return any(scope[0] is whose for scope in scopes.get())


def _is_from_outside(error: BaseException) -> bool:
    """Whether `error` is not the code's own: an exit of some kind, or raised by a handler of a signal."""
    return not issubclass(type(error), Exception) or not _signal_handlers().isdisjoint(_codes_in(error))


def _signal_handlers() -> set[object]:
    """The code of the handlers in force. Without `signal` there are none."""
    signal: Any = sys.modules.get("signal")
    if signal is None:
        return set()
    numbers: Iterable[int] = signal.valid_signals()
    handlers: Iterator[Any] = filter(callable, map(signal.getsignal, numbers))  # pyright: ignore[reportUnknownArgumentType]
    return {getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers}


def _codes_in(error: BaseException) -> set[object]:
    """The code of all functions that `error` has passed."""
    codes: set[object] = set()
    traceback = error.__traceback__
    while traceback is not None:
        codes.add(traceback.tb_frame.f_code)
        traceback = traceback.tb_next
    return codes
