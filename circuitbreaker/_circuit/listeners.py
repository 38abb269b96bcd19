"""Who hears what a breaker tells.

A call is told of at once, by the thread that made it. Transitions, and calls made in the middle of a change, are queued
and told of when the change is made: in their order, each exactly once, by one thread at a time (E5).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, cast, get_args

from .._callables import plain_callable
from ..events import Event, EventName
from .user_code import UserCode

__all__ = ["Listener", "Listeners", "check_event"]

Listener = Callable[[Any], object]
_ByEvent = dict[str, tuple[tuple[object, Listener], ...]]
_NOBODY: _ByEvent = {}
"""What breakers without listeners share. None is changed in place."""


class Listeners:
    """The listeners of one breaker. `add`, `remove` and `queue` are called inside a change."""

    __slots__ = ("by_event", "_user_code", "_notifying", "_turn", "queued")

    def __init__(self, user_code: UserCode) -> None:
        self._user_code = user_code
        self.by_event: _ByEvent = _NOBODY
        self.queued: list[tuple[EventName, Event]] = []
        self._turn: dict[str, object] = {}  # who publishes, if anybody does
        self._notifying: list[int] = []  # the threads that are in a listener

    def add(self, event: EventName, listener: Listener, token: object) -> None:
        """Let `listener` hear of `event` until `remove(token)`."""
        self.by_event = {**self.by_event, event: (*self.by_event.get(event, ()), (token, listener))}

    def remove(self, token: object) -> None:
        """Forget what was added with `token`."""
        kept = {event: tuple(each for each in old if each[0] is not token) for event, old in self.by_event.items()}
        self.by_event = {event: entries for event, entries in kept.items() if entries}

    def hears(self, event: EventName) -> bool:
        """Whether anybody listens to `event`."""
        return bool(self.by_event.get(event))

    @property
    def time_calls(self) -> bool:
        """Whether anybody wants to know how long calls take."""
        return self.hears("success") or self.hears("failure") or self.hears("ignored")

    def notify(self, event: EventName, value: Event) -> None:
        """Tell of a call, now. A call made by a listener is not told of, or it might go on for ever."""
        if get_ident() not in self._notifying:
            self._notify(event, value)

    def queue(self, event: EventName, value: Event) -> None:
        """Have something told by the next `publish`."""
        self.queued.append((event, value))

    def publish(self) -> None:
        """Tell of what is queued, unless a thread is at it; that one then tells of this too."""
        while self.queued and self._publish():
            pass

    def _publish(self) -> bool:
        """Tell of what is queued, if it is this thread's turn, and whether it was.

        A lock that is only tried might stay locked after an interrupt; whoever takes this turn can tell it as its own.
        """
        turn, me = self._turn, object()
        try:
            if turn.setdefault("taken", me) is not me:
                return False
            self._publish_all()
            return True
        finally:
            if "taken" in turn and turn["taken"] is me:  # Nothing is called here, so nothing can interrupt.
                del turn["taken"]

    def _publish_all(self) -> None:
        # On its own: since Python 3.12 an interrupt at the end of a loop within `try` may pass its `finally` by.
        while self.queued:
            self._notify(*self.queued.pop(0))

    def _notify(self, event: EventName, value: Event) -> None:
        me = get_ident()
        telling = self._notifying  # a child that a listener forks has another
        try:
            telling.append(me)
            for _, listener in self.by_event.get(event, ()):
                self._user_code(f"{event} listener", None, listener, value)
        finally:
            telling.remove(me)

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: the parent tells of what is queued; whoever held the lock is not here (E9)."""
        self._turn = {}
        self.queued = []
        self._notifying = []


def check_event(event: Any) -> EventName:
    """`event` if it is the name of one."""
    if event not in get_args(EventName):
        raise ValueError(f"event must be one of {', '.join(get_args(EventName))}; got {event!r}")
    return cast("EventName", event)


def check_listener(listener: Any) -> Listener:
    """`listener` if it can be called and answers at once."""
    return plain_callable("listener", listener)
