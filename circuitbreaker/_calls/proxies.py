"""Guarded callables that are not functions: objects with `__call__`, partials, built-ins, bound methods.

A proxy is its original in everything but the call. Only this module imports wrapt, and `guard` imports this one at the
first such decoration: wrapt imports asyncio, which takes ten times as long as the rest of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from ..breaker import CircuitBreaker
    from ..keyed import KeyedBreakers

__all__ = ["GuardedObject", "GuardedObjectByKey"]

_Proxy: Any = wrapt.CallableObjectProxy
Wrap = Callable[[Callable[..., Any]], Any]
"""Guards another callable as this one is guarded."""


class _GuardedObject(_Proxy):  # type: ignore[misc]  # Any is what a proxy of anything is
    """Calls `guarded` in place of `wrapped`, and is `wrapped` in everything else."""

    def __init__(self, wrapped: Callable[..., Any], guarded: Callable[..., Any], wrap: Wrap) -> None:
        super().__init__(wrapped)  # pyright: ignore[reportUnknownMemberType]
        self._self_guarded = guarded
        self._self_wrap = wrap

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._self_guarded(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind as the original does, if it does."""
        wrapped: Any = self.__wrapped__
        if not hasattr(wrapped.__class__, "__get__"):
            return self
        bound = wrapped.__get__(instance, owner)
        return self if bound is wrapped else self._self_wrap(bound)

    def __copy__(self) -> Any:
        return self._self_wrap(copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._self_wrap(deepcopy(self.__wrapped__, memo))

    def __reduce_ex__(self, protocol: object) -> Any:
        return self.__reduce__()


class GuardedObject(_GuardedObject):
    """Guarded by one breaker, which its copies share. It pickles if its original does: the breaker is found by name."""

    def __init__(
        self, wrapped: Callable[..., Any], guarded: Callable[..., Any], wrap: Wrap, breaker: CircuitBreaker
    ) -> None:
        super().__init__(wrapped, guarded, wrap)
        self._self_breaker = breaker

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker that guards it."""
        return self._self_breaker

    def __reduce__(self) -> Any:
        return _guarded_by, (self._self_breaker, self.__wrapped__)


def _guarded_by(breaker: CircuitBreaker, wrapped: Callable[..., Any]) -> Any:
    return breaker(wrapped)


class GuardedObjectByKey(_GuardedObject):
    """Guarded by one breaker per key. It does not pickle: another process could not know which breakers are meant."""

    def __init__(
        self, wrapped: Callable[..., Any], guarded: Callable[..., Any], wrap: Wrap, breakers: KeyedBreakers
    ) -> None:
        super().__init__(wrapped, guarded, wrap)
        self._self_breakers = breakers

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers that guard it, by key."""
        return self._self_breakers

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle {self.__wrapped__!r}: it is guarded by key")
