"""Which entry a leaving `with` block belongs to.

`with breaker:` gives the interpreter one object for all blocks. Neither a thread, a task nor a context identifies a
block, for a generator may enter it in one and leave it in another. But all calls of one closed period are the same:
while there are no others, it does not matter which of them leaves, and each is a token on a stack. A block that differs
(it holds a permit, or belongs to another period than those in flight) is known by what it keeps all its life, the frame
in which it stands: a frame runs in one thread at a time, and leaves its blocks in reverse order.
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
    """The entries of the blocks that have not been left. `enter` and `leave` are called in a turn of the circuit.

    `common` is the closed period that all blocks in flight belong to, if there is one. Then a block enters without a
    turn:

        period.blocks.append(None), and then checks again that `common` is `period`. If it no longer is, another thread
        may not have seen the token: the block takes it back, and is noted by `enter`.

    and leaves by `period.blocks.pop()`. Nothing is kept alive. An entry that is made by hand in one function and left
    in another stands in no frame of its own: it takes a token if there is one, or else the latest entry, which is
    ambiguous if there are several.
    """

    __slots__ = ("_draining", "_entries", "_unambiguous", "common")

    def __init__(self) -> None:
        self.common: Closed | None = None
        self._draining: tuple[Closed, ...] = ()  # periods that were `common`, and may still have tokens
        self._entries: dict[_Place, _Stack] = {}
        self._unambiguous = True  # while there are entries, no token went to an exit that may not own it

    def enter(self, frame: FrameType, entry: Closed | Permit) -> None:
        """Note that a block in `frame` is entered."""
        common = self.common
        if common is not None and entry is common:
            common.blocks.append(None)
            return
        if common is not None:
            self._draining = (*self._draining, common)  # before the next line: a leaving block must see one of them
            self.common = None
        if isinstance(entry, Closed) and not (self._entries or any(period.blocks for period in self._draining)):
            entry.blocks.append(None)
            self._draining = ()
            self.common = entry
            return
        place = _place(frame)
        self._entries[place] = (entry, self._entries.get(place))

    def leave(self, frame: FrameType) -> tuple[Closed | Permit, bool] | None:
        """The entry of the innermost block in `frame`, and whether that is certain; `None` for an exit without one."""
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

    A frame is identified by its code too, because another frame may reuse its address when it has ended.
    """
    place = frame
    while place.f_code.co_name in _PASSING_ON and (caller := place.f_back) is not None:
        stack: Any = place.f_locals.get("self")
        if issubclass(type(stack), ExitStack | AsyncExitStack):
            return id(stack._exit_callbacks), None  # This is what a stack passes on by pop_all().
        if _is_async(place) and not _is_async(caller):
            break  # The caller runs the tasks of a loop: many blocks stand in it.
        place = caller
    return id(place), place.f_code


def _is_async(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & _ASYNC)


_ASYNC = 0x80 | 0x100 | 0x200  # inspect.CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR
_PASSING_ON = {"__enter__", "__exit__", "__aenter__", "__aexit__", "enter_context", "enter_async_context"}
_Place = tuple[int, CodeType | None]
_Stack = tuple["Closed | Permit", "_Stack | None"]
