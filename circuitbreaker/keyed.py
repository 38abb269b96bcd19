"""One breaker per key: made on first use, the least recently used forgotten when there are too many."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import islice
from threading import RLock

from ._fork import renew_in_child
from ._values import positive_count
from .breaker import CircuitBreaker
from .events import CircuitState

__all__ = ["KeyedBreakers"]


class KeyedBreakers(Mapping[Hashable, CircuitBreaker]):
    """The breakers made so far, by key. Looking makes none, and does not count as use.

    Past `maxsize`, the least recently used breaker that is closed and not held is dropped. One that is open, half-open
    or held never is, for its next caller would get a closed one; so a mapping full of those grows beyond `maxsize`.

    Args:
        make: makes the breaker for a key.
        drop: is told of a breaker that is dropped.
        maxsize: how many breakers to keep.
    """

    def __init__(
        self, make: Callable[[Hashable], CircuitBreaker], drop: Callable[[CircuitBreaker], None], maxsize: int
    ) -> None:
        self._make = make
        self._drop = drop
        self.maxsize: int = positive_count("maxsize", maxsize)
        self._breakers: dict[Hashable, CircuitBreaker] = {}  # the least recently used first
        self._lock = RLock()  # re-entrant: a key's __eq__ may use what it guards
        renew_in_child(self)

    def _use(self, key: Hashable) -> CircuitBreaker:
        """The breaker for `key`, made if need be, and now the most recently used."""
        with self._lock:
            breaker = self._breakers.pop(key, None)
            if breaker is not None:
                self._breakers[key] = breaker  # behind all others
                return breaker
            breaker = self._breakers[key] = self._make(key)
            self._shrink()
            return breaker

    def _shrink(self) -> None:
        """Drop what is too much, the newest excepted."""
        excess = max(0, len(self._breakers) - self.maxsize)
        older = list(self._breakers.items())[:-1]
        idle = (key for key, each in older if each.state is CircuitState.CLOSED and each.hold is None)
        for key in list(islice(idle, excess)):
            dropped = self._breakers.pop(key, None)  # None if the key's hash or equality has changed meanwhile
            if dropped is not None:
                self._drop(dropped)

    def __getitem__(self, key: Hashable) -> CircuitBreaker:
        with self._lock:  # for a breaker that is being used is not in its place for a moment
            return self._breakers[key]

    def __iter__(self) -> Iterator[Hashable]:
        with self._lock:
            return iter(list(self._breakers))

    def __len__(self) -> int:
        return len(self._breakers)

    def __repr__(self) -> str:
        return f"<KeyedBreakers, {len(self)} of at most {self.maxsize}>"

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: nobody here holds the lock (E9)."""
        self._lock = RLock()
