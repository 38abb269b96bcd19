"""Which entry a leaving `with` block belongs to.

`with breaker:` gives the interpreter one object for all blocks, and a thread, a task or a context tells nothing about
a block that is entered in one and left in another (a generator may be). What a block keeps all its life is the frame
in which it stands: a frame runs in one thread at a time, and leaves its blocks in the reverse order.
"""

from __future__ import annotations

import contextlib
from types import FrameType
from typing import Any, Generic, TypeVar

__all__ = ["Blocks"]

E = TypeVar("E")
_CONTEXTLIB: Any = vars(contextlib)


class Blocks(Generic[E]):
    """The entries of the blocks that are not left yet, by the identity of the frame that each stands in.

    No frame is kept alive. An entry made by hand (`breaker.__enter__()`), or by an `ExitStack` that is closed in
    another function, leaves from a frame that entered nothing: it takes the latest entry that there is.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, _Stack[E]] = {}

    def enter(self, frame: FrameType, entry: E) -> None:
        """Note the entry of a block in `frame`."""
        if frame.f_globals is _CONTEXTLIB:
            frame = _outside_contextlib(frame)
        key = id(frame)
        self._entries[key] = (entry, self._entries.get(key))

    def leave(self, frame: FrameType) -> E | None:
        """The entry of the innermost block in `frame`."""
        if frame.f_globals is _CONTEXTLIB:
            frame = _outside_contextlib(frame)
        key = id(frame)
        stack = self._entries.pop(key, None)
        if stack is None:
            if not self._entries:
                return None
            key, stack = self._entries.popitem()
        entry, outer = stack
        if outer is not None:
            self._entries[key] = outer
        return entry


def _outside_contextlib(frame: FrameType) -> FrameType:
    """The frame that an `ExitStack` works for: the one in which the stack's own block stands."""
    while frame.f_globals is _CONTEXTLIB and frame.f_back is not None:
        frame = frame.f_back
    return frame


_Stack = tuple[E, "_Stack[E] | None"]
