"""Notices that a decorator is applied again for each call, so that each breaker sees one call and never opens.

`method_decorator(circuit(...))` of Django does that for each request, `circuit(...)(f)(x)` for each call.
"""

from __future__ import annotations

from itertools import count

from .._engine.periods import total
from .._log import warn_once

__all__ = ["note_new"]

_IN_A_ROW = 10
_AT_MOST = 1000

_latest: dict[str, tuple[count[int], ...]] = {}
"""What counts the calls of the latest breakers made for each unnamed function. It keeps no breaker alive."""


def note_new(name: str, calls: count[int]) -> None:
    """Note that a breaker was made for the function called `name`; for each call it takes a number from `calls`.

    If those before it saw one call each, and see no more, a warning says so once.
    """
    latest = _latest.get(name, ())
    if not latest and len(_latest) >= _AT_MOST:
        _latest.clear()  # Functions come and go; what is kept is bounded (E7).
    if len(latest) == _IN_A_ROW and all(total(each) == 1 for each in latest):
        warn_once(_ANEW, _IN_A_ROW, name)
    _latest[name] = (*latest, calls)[-_IN_A_ROW:]


_ANEW = (
    "%d breakers in a row were made for %s and saw one call each: a decorator seems to be applied anew for each call, "
    "so that no circuit ever opens. Give it a name, circuit(name=...), by which the breaker is found; or apply it once"
)
