"""Which entry a leaving `with` block belongs to.

`with breaker:` gives the interpreter one object for all blocks, and a thread, a task or a context tells nothing about
a block that is entered in one and left in another (a generator may be). What a block keeps all its life is the frame
in which it stands: a frame runs in one thread at a time, and leaves its blocks in the reverse order.
"""

from __future__ import annotations

from types import FrameType
from typing import Generic, TypeVar

__all__ = ["Blocks"]

E = TypeVar("E")


class Blocks(Generic[E]):
    """The entries of the blocks that are not left yet, by the identity of what each stands in.

    That is the frame of its `with` statement, found through the `__enter__` of a class that passes it on; or the
    `ExitStack` that it was given to. Nothing is kept alive. An entry made by hand in one function and left in another
    stands in nothing: it leaves with the latest entry that there is, and not for certain if there are several.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, _Stack[E]] = {}

    def enter(self, frame: FrameType, entry: E) -> None:
        """Note the entry of a block in `frame`."""
        key = id(frame) if frame.f_code.co_name not in _PASSING_ON else _place(frame)
        self._entries[key] = (entry, self._entries.get(key))

    def leave(self, frame: FrameType) -> tuple[E, bool] | None:
        """The entry of the innermost block in `frame`, and whether it is that for certain."""
        key = id(frame) if frame.f_code.co_name not in _PASSING_ON else _place(frame)
        stack = self._entries.pop(key, None)
        certain = stack is not None
        if stack is None:
            try:
                key, stack = self._entries.popitem()
            except KeyError:
                return None
        entry, outer = stack
        if outer is not None:
            self._entries[key] = outer
        return entry, certain or not self._entries


def _place(frame: FrameType) -> int:
    """Where the block stands on whose behalf `frame` runs."""
    place: FrameType | None = frame
    while place is not None and place.f_code.co_name in _PASSING_ON:
        callbacks = getattr(place.f_locals.get("self"), "_exit_callbacks", None)
        if callbacks is not None:
            return id(callbacks)  # An ExitStack, known by what pop_all() hands on.
        place = place.f_back
    return id(place)


_PASSING_ON = {"__enter__", "__exit__", "__aenter__", "__aexit__", "enter_context", "enter_async_context"}
_Stack = tuple[E, "_Stack[E] | None"]
