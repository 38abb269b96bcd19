"""What an error is made of: the members of a group, and the errors that it was raised from (E11).

Groups are recognized by their shape, because on Python 3.10 they come from a package. Causes are those of `raise ...
from ...`. `__context__` does not count: what is raised while another error is handled may be about something else, for
example the service that one falls back to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import CircuitOpenError

__all__ = ["Chain", "errors_in", "head_of", "is_cancellation", "of_the_caller", "refusal_in"]

Chain = tuple[BaseException, ...]
"""An error, what it is made of, and so on; at least one."""

_DEEPEST = 10
"""How many errors of a chain to look at."""
_MOST = 10_000
"""How many chains of one error to look at: groups that contain each other would have more than anyone can count."""


def errors_in(error: BaseException) -> Iterable[Chain]:
    """All chains that start with `error`: one for each member of each group, down to the first cause.

    An error that is no group, and was not raised from another, is one chain of itself. A chain has at most 10 errors,
    none of them twice, so the search ends even if an error is its own cause.
    """
    if error.__cause__ is None and not _members(error):  # Written out here, as most errors are of this kind.
        return ((error,),)
    return _chains((error,), _made_of(error))


def _chains(first: Chain, inner: Chain) -> Iterator[Chain]:
    to_do = _longer(first, inner) or [first]  # It may be made of nothing but itself.
    for _ in range(_MOST):
        if not to_do:
            return
        while longer := _longer(to_do[-1], _made_of(to_do[-1][-1])):
            to_do[-1:] = longer
        yield to_do.pop()


def _longer(chain: Chain, inner: Chain) -> list[Chain]:
    """`chain` with each of `inner` at its end, the first one last."""
    if len(chain) == _DEEPEST:
        return []
    return [(*chain, each) for each in reversed(inner) if all(each is not known for known in chain)]


def _made_of(error: BaseException) -> Chain:
    members = _members(error)
    if members:
        return members
    cause: Any = error.__cause__
    return (cause,) if isinstance(cause, BaseException) else ()


def _members(error: BaseException) -> Chain:
    """The members of a group; empty for any other error."""
    try:
        members: tuple[Any, ...] | None = getattr(error, "exceptions", None)
    except Exception:  # of the error's own code
        return ()
    if isinstance(members, tuple) and all(isinstance(each, BaseException) for each in members):
        return members
    return ()


def head_of(chain: Chain) -> BaseException:
    """The outermost error of `chain` that is no group."""
    return next((each for each in chain if not _members(each)), chain[-1])


# Refusals


def refusal_in(error: BaseException) -> CircuitOpenError | None:
    """The refusal that `error` is or was raised from; the longest one, if `error` is a group of nothing else."""
    longest: Any = None
    for chain in errors_in(error):
        # An error may lie about its class, but not about its type.
        refusal: Any = next((each for each in chain if issubclass(type(each), CircuitOpenError)), None)
        if refusal is None:
            return None
        if longest is None or refusal.retry_after > longest.retry_after:
            longest = refusal
    found: CircuitOpenError | None = longest
    return found


# Cancellations


def is_cancellation(error: BaseException) -> bool:
    """Whether `error` is a `concurrent.futures.CancelledError`, the only cancellation that is an `Exception`."""
    cancelled = getattr(sys.modules.get("concurrent.futures"), "CancelledError", None)  # slow to import
    return cancelled is not None and isinstance(error, cancelled)


_CANCELLATIONS = {
    ("asyncio.exceptions", "CancelledError"),
    ("concurrent.futures._base", "CancelledError"),
    ("greenlet", "GreenletExit"),
    ("trio", "Cancelled"),
}
"""By name, because none of these libraries is imported here (E8)."""


def of_the_caller(kind: type[BaseException]) -> bool:
    """Whether errors of this type are a cancellation, or end the program or a generator: never the dependency's."""
    return issubclass(kind, KeyboardInterrupt | SystemExit | GeneratorExit) or any(
        (each.__module__, each.__qualname__) in _CANCELLATIONS for each in kind.__mro__
    )
