"""What type checkers see of guarded callables. Nothing here runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from ..breaker import CircuitBreaker
from ..keyed import KeyedBreakers

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BoundGuarded", "BoundGuardedByKey", "Decorator", "DecoratorByKey", "Guarded", "GuardedByKey", "M"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


class Method(Protocol[P]):
    """A function whose first parameter is called `self`: one that is about to become a method.

    Checkers see a guarded method as the method itself, without its `breaker`: only a plain method can implement a
    protocol's or an abstract class's, and be overridden by another.
    """

    def __call__(_method, self: Any, *args: P.args, **kwargs: P.kwargs) -> Any: ...  # noqa: N805


class ClassMethod(Protocol[P]):
    """The same with `cls`, for the function of a class method."""

    def __call__(self, cls: Any, *args: P.args, **kwargs: P.kwargs) -> Any: ...


M = TypeVar("M", bound="Method[...] | ClassMethod[...]")


class BoundGuarded(Protocol[P, R_co]):
    """A guarded method, bound."""

    breaker: CircuitBreaker

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Guarded(Protocol[P, R_co]):
    """A guarded callable: it takes and gives what the original does, and has a `breaker`."""

    breaker: CircuitBreaker
    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __get__(
        self: Guarded[Concatenate[type[S], Q], R], instance: S | None, owner: type[S] | None = None, /
    ) -> BoundGuarded[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: Guarded[Concatenate[S, Q], R], instance: S, owner: type | None = None, /
    ) -> BoundGuarded[Q, R]: ...
    @overload  # The same, as pyrefly understands it.
    def __get__(
        self: Callable[Concatenate[S, Q], R], instance: S, owner: type | None = None, /
    ) -> BoundGuarded[Q, R]: ...
    @overload
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[S], Q], R], instance: S | None, owner: type[S] | None = None, /
    ) -> BoundGuarded[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...


class GuardedByKey(Protocol[P, R_co]):
    """A callable guarded by one breaker per key."""

    breakers: KeyedBreakers
    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __get__(
        self: GuardedByKey[Concatenate[type[S], Q], R], instance: S | None, owner: type[S] | None = None, /
    ) -> BoundGuardedByKey[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: GuardedByKey[Concatenate[S, Q], R], instance: S, owner: type | None = None, /
    ) -> BoundGuardedByKey[Q, R]: ...
    @overload  # The same, as pyrefly understands it.
    def __get__(
        self: Callable[Concatenate[S, Q], R], instance: S, owner: type | None = None, /
    ) -> BoundGuardedByKey[Q, R]: ...
    @overload
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[S], Q], R], instance: S | None, owner: type[S] | None = None, /
    ) -> BoundGuardedByKey[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...


class BoundGuardedByKey(Protocol[P, R_co]):
    """A method guarded by key, bound."""

    breakers: KeyedBreakers

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Decorator(Protocol):
    """What `circuit(...)` gives: it guards any callable."""

    @overload  # A staticmethod is a callable too; the first overload that fits is taken.
    def __call__(  # type: ignore[overload-overlap]
        self,
        function: staticmethod[P, R],
        /,  # pyright: ignore[reportOverlappingOverload]
    ) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
    @overload
    def __call__(self, function: M, /) -> M: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Guarded[P, R]: ...


class DecoratorByKey(Protocol):
    """What `circuit(key=...)` gives: it guards any callable by key."""

    @overload  # A staticmethod is a callable too; the first overload that fits is taken.
    def __call__(  # type: ignore[overload-overlap]
        self,
        function: staticmethod[P, R],
        /,  # pyright: ignore[reportOverlappingOverload]
    ) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: classmethod[S, P, R], /) -> classmethod[S, P, R]: ...
    @overload
    def __call__(self, function: M, /) -> M: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> GuardedByKey[P, R]: ...
