"""A breaker's listeners, and when each event reaches them.

The events of a call reach them at once, in the thread that made the call. Transitions, and calls made in the middle of
a step, are queued and published when the step is done: in order, each exactly once, one thread at a time (E5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

from .._callables import plain_callable
from ..events import Event, EventName
from .user_code import UserCode, is_inside, scopes

__all__ = ["Listener", "Listeners", "check_event", "check_listener"]

Listener = Callable[[Any], object]
_ByEvent = dict[str, tuple[tuple[object, Listener], ...]]
_NONE: _ByEvent = {}
"""What breakers without listeners share. It is never changed in place."""


class Listeners:
    """The listeners of one breaker. `add`, `remove` and `queue` are called inside a step."""

    __slots__ = ("_publisher", "_user_code", "by_event", "queued")

    def __init__(self, user_code: UserCode) -> None:
        self._user_code = user_code
        self.by_event: _ByEvent = _NONE  # has no event that nobody listens to
        self.queued: list[tuple[EventName, Event]] = []
        self._publisher: dict[str, object] = {}  # the turn that publishes, while one does

    def add(self, event: EventName, listener: Listener, token: object) -> None:
        """Notify `listener` of `event` until `remove(token)`."""
        self.by_event = {**self.by_event, event: (*self.by_event.get(event, ()), (token, listener))}

    def remove(self, token: object) -> None:
        """Forget what was added with `token`."""
        kept = {event: tuple(each for each in old if each[0] is not token) for event, old in self.by_event.items()}
        self.by_event = {event: entries for event, entries in kept.items() if entries}

    @property
    def need_durations(self) -> bool:
        """Whether a listener needs to know how long calls take."""
        return not self.by_event.keys().isdisjoint(("success", "failure", "ignored"))

    def notify(self, event: EventName, value: Event) -> None:
        """Notify of a call, now. A call made by a listener is no event, or that might go on for ever."""
        if not scopes.get() or not is_inside(self):
            self._notify(event, value)

    def queue(self, event: EventName, value: Event) -> None:
        """Leave an event to the next `publish`."""
        self.queued.append((event, value))

    def publish(self) -> None:
        """Publish what is queued, unless another thread is publishing; that one then publishes this too."""
        while self.queued and self._publish():
            pass

    def _publish(self) -> bool:
        """Publish what is queued if this thread gets the turn; return whether it did.

        A lock that is tried might stay locked after an interrupt; a turn knows whose it is.
        """
        publisher, me = self._publisher, object()
        try:
            if publisher.setdefault("taken", me) is not me:
                return False
            self._publish_all()
            return True
        finally:  # Nothing is called here, so nothing can interrupt.
            try:
                mine = publisher["taken"] is me
            except KeyError:  # Another thread's turn has ended.
                mine = False
            if mine:
                del publisher["taken"]

    def _publish_all(self) -> None:
        # On its own: since Python 3.12 an interrupt at the end of a loop within `try` may pass its `finally` by.
        outside: BaseException | None = None
        while self.queued:
            try:
                self._notify(*self.queued.pop(0))
            except BaseException as error:
                outside = outside or error
        if outside is not None:
            raise outside  # once all is published (E5)

    def _notify(self, event: EventName, value: Event) -> None:
        outer = scopes.get()
        scope: list[object] = [self]
        outside: BaseException | None = None
        try:
            scopes.set((*outer, scope))
            for _, listener in self.by_event.get(event, ()):
                try:
                    self._user_code(f"{event} listener", None, listener, value)
                except BaseException as error:
                    outside = outside or error
        finally:
            scope[0] = None  # It is no call, so no interrupt comes before the next line is done.
            scopes.set(outer)
        if outside is not None:
            raise outside  # once all listeners were notified

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: the parent publishes what is queued, and whoever was publishing is not here (E9)."""
        self._publisher = {}
        self.queued = []


def check_event(event: Any) -> EventName:
    """`event` if it is the name of one."""
    if event not in get_args(EventName):
        raise ValueError(f"event must be one of {', '.join(get_args(EventName))}; got {event!r}")
    return cast("EventName", event)


def check_listener(listener: Any) -> Listener:
    """`listener` if it can be called and answers at once."""
    return plain_callable("listener", listener)
