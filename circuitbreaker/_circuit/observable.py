"""`on()`: listen to a breaker, or to all breakers of a registry. Checkers know the type of each event's listener."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, overload

from ..events import (
    CallFailed,
    CallIgnored,
    CallRejected,
    CallSucceeded,
    EventName,
    StateChange,
    StoreChange,
)
from .listeners import Listener, check_event, check_listener

__all__ = ["Observable"]

# A listener returns nothing, so that a checker finds one that is a coroutine function.
OnStateChange = TypeVar("OnStateChange", bound=Callable[[StateChange], None])
OnSuccess = TypeVar("OnSuccess", bound=Callable[[CallSucceeded], None])
OnFailure = TypeVar("OnFailure", bound=Callable[[CallFailed], None])
OnRejected = TypeVar("OnRejected", bound=Callable[[CallRejected], None])
OnIgnored = TypeVar("OnIgnored", bound=Callable[[CallIgnored], None])
OnStore = TypeVar("OnStore", bound=Callable[[StoreChange], None])


class Observable:
    """What has listeners: a breaker, or a registry on behalf of its breakers."""

    __slots__ = ()

    @overload
    def on(self, event: Literal["state_change"], listener: Callable[[StateChange], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["success"], listener: Callable[[CallSucceeded], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["failure"], listener: Callable[[CallFailed], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["rejected"], listener: Callable[[CallRejected], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["ignored"], listener: Callable[[CallIgnored], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["store"], listener: Callable[[StoreChange], None]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["state_change"]) -> Callable[[OnStateChange], OnStateChange]: ...
    @overload
    def on(self, event: Literal["success"]) -> Callable[[OnSuccess], OnSuccess]: ...
    @overload
    def on(self, event: Literal["failure"]) -> Callable[[OnFailure], OnFailure]: ...
    @overload
    def on(self, event: Literal["rejected"]) -> Callable[[OnRejected], OnRejected]: ...
    @overload
    def on(self, event: Literal["ignored"]) -> Callable[[OnIgnored], OnIgnored]: ...
    @overload
    def on(self, event: Literal["store"]) -> Callable[[OnStore], OnStore]: ...
    def on(self, event: EventName, listener: Any = None) -> Callable[..., Any]:
        """Call `listener` with each `event` of this breaker, or of every breaker in this registry, present and future.

        `EventName` lists the events. Returns a function that ends it. Without a listener it is a decorator, which
        returns the function as it is.

        Listeners run after the event, with no lock held: call events in the calling thread, state changes in order, one
        at a time (E5). They may use the breaker: a call that a listener makes counts like any other, but is no event.
        What a listener raises is logged (E4). A call that began before there was a listener to the ends of calls is no
        event.

        Raises:
            ValueError: there is no such event.
            TypeError: the listener cannot be called, or is a coroutine function.
        """
        check_event(event)
        if listener is None:
            return partial(_subscribe, self, event)
        return self._subscribe(event, check_listener(listener))

    def _subscribe(self, event: EventName, listener: Listener) -> Callable[[], None]:
        raise NotImplementedError  # pragma: no cover - a breaker and a registry have their own


def _subscribe(subject: Observable, event: EventName, listener: Any) -> Any:
    """`on(event)` as a decorator: return the listener unchanged."""
    subject._subscribe(event, check_listener(listener))
    return listener
