"""Which entry a leaving `with` block belongs to.

`with breaker:` gives the interpreter one object for all blocks, and a thread, a task or a context tells nothing about
a block that is entered in one and left in another (a generator may be). But calls of one closed period are all common:
while there are no others, it does not matter which of them leaves, and each is a token on a heap. A block that differs
(it holds a permit, or belongs to another period than those in flight) is noted by what it keeps all its life, the frame
in which it stands: a frame runs in one thread at a time, and leaves its blocks in the reverse order.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from .._engine.periods import Closed

if TYPE_CHECKING:
    from ..permit import Permit

__all__ = ["Blocks"]


class Blocks:
    """The entries of the blocks that are not left yet. `enter` and `leave` are called under the breaker's lock.

    `common` is the closed period of all blocks in flight, if that is how it is. Then a block enters without the lock:

        period.blocks.append(None); and once more makes sure that `common` is `period`, for if it is no longer,
        somebody may not have seen the token: it takes the token back, and is noted by `enter`.

    and leaves by `period.blocks.pop()`. Nothing is kept alive. An entry that is made by hand in one function and left
    in another stands in nothing: it takes a token if there is one, or else the latest entry; and not for certain, if
    there are several.
    """

    __slots__ = ("_draining", "_entries", "_unambiguous", "common")

    def __init__(self) -> None:
        self.common: Closed | None = None
        self._draining: tuple[Closed, ...] = ()  # periods that were `common`, whose tokens are perhaps not all left
        self._entries: dict[_Place, _Stack] = {}
        self._unambiguous = True  # no token was taken by what may not own one, while there are entries

    def enter(self, frame: FrameType, entry: Closed | Permit) -> None:
        """Note the entry of a block in `frame`."""
        common = self.common
        if common is not None and entry is common:
            common.blocks.append(None)
            return
        if common is not None:
            self._draining = (*self._draining, common)  # before the next line: a leaving block sees one, not neither
            self.common = None
        if isinstance(entry, Closed) and not (self._entries or any(period.blocks for period in self._draining)):
            entry.blocks.append(None)
            self._draining = ()
            self.common = entry
            return
        place = _place(frame)
        self._entries[place] = (entry, self._entries.get(place))

    def leave(self, frame: FrameType) -> tuple[Closed | Permit, bool] | None:
        """The entry of the innermost block in `frame`, and whether it is that for certain."""
        place = _place(frame)
        stack = self._entries.pop(place, None)
        found = stack is not None
        if stack is None:
            for period in (self.common, *self._draining):
                if period is not None and period.blocks:
                    period.blocks.pop()
                    self._unambiguous = not self._entries
                    return period, True
            if not self._entries:
                return None
            place, stack = self._entries.popitem()
        entry, outer = stack
        if outer is not None:
            self._entries[place] = outer
        certain = found or (self._unambiguous and not self._entries)
        self._unambiguous = self._unambiguous or not self._entries
        return entry, certain


def _place(frame: FrameType) -> _Place:
    """What a block stands in: the frame of its `with` statement, or the `ExitStack` that it was given to.

    A frame is told by its code too, for when it has ended, another may have its identity.
    """
    place: FrameType | None = frame
    while place is not None and place.f_code.co_name in _PASSING_ON:
        stack: Any = place.f_locals.get("self")
        if issubclass(type(stack), ExitStack | AsyncExitStack):
            return id(stack._exit_callbacks), None  # It is what a stack hands on by pop_all().
        place = place.f_back
    return id(place), place and place.f_code


_PASSING_ON = {"__enter__", "__exit__", "__aenter__", "__aexit__", "enter_context", "enter_async_context"}
_Place = tuple[int, CodeType | None]
_Stack = tuple["Closed | Permit", "_Stack | None"]
