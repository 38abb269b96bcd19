"""One breaker per key: made on first use; the least recently used is dropped when there are too many."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from itertools import count
from threading import RLock
from types import EllipsisType

from ._engine.periods import HalfOpen, opened_by
from ._fork import renew_in_child
from ._typing import Self, Unpack
from ._values import one_line, positive_count
from .breaker import CircuitBreaker
from .options import Options, Settings, merged
from .registry import Registry, resolve_registry

__all__ = ["DEFAULT_MAXSIZE", "KeyedBreakers"]

DEFAULT_MAXSIZE = 1024
"""How many breakers are kept by default."""


class KeyedBreakers(Mapping[Hashable, CircuitBreaker]):
    """The breakers made so far, by key. Only `use()` makes one or counts as use; reading the mapping does neither.

        hosts = KeyedBreakers("shop", failure_threshold=3)
        with hosts.use("images.example"): ...

    Past `maxsize`, the least recently used breaker that may be dropped is dropped: one that is closed, or that has been
    open for twice its wait or longer, and so had no call since the wait was over. One that is within that time,
    half-open or held never is, because its next caller would get a closed one; a mapping full of those grows beyond
    `maxsize`.

    A key is kept as long as its breaker, and its text is part of the breaker's name. So use short values that mean the
    same at the next call, such as a host or a tenant's id, not an object such as `self` or a request.

    Args:
        name: prefix of the breakers' names; the key follows in brackets.
        maxsize: how many breakers to keep.
        registry: where they are found, and whose defaults apply: the default registry if not given, `None` for none.
        options: see `Options`.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or of the wrong kind.
    """

    def __init__(
        self,
        name: str,
        *,
        maxsize: int = DEFAULT_MAXSIZE,
        registry: Registry | EllipsisType | None = ...,
        **options: Unpack[Options],
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        self.name: str = name
        self.maxsize: int = positive_count("maxsize", maxsize)
        self._home = resolve_registry(registry, name)
        Settings(options if self._home is None else merged(self._home.defaults, options))
        self._options = options
        self._uses: dict[Hashable, _Use] = {}
        self._shrink_above = self.maxsize
        self._ticks = count()
        self._lock = RLock()  # re-entrant: a key's __eq__ may use this mapping
        renew_in_child(self)

    def use(self, key: Hashable) -> CircuitBreaker:
        """Return the breaker for `key`, made if there is none. It is now the most recently used."""
        use = self._uses.get(key) or self._make_use(key)
        use.last = next(self._ticks)
        return use.breaker

    def _make(self, key: Hashable) -> CircuitBreaker:
        name = f"{self.name}[{_short(str(key))}]"
        if self._home is None:
            return CircuitBreaker(name, registry=None, **self._options)
        return self._home._create(name, self._options)

    def _drop(self, breaker: CircuitBreaker) -> None:
        if self._home is not None:
            self._home.discard(breaker)

    def _make_use(self, key: Hashable) -> _Use:
        with self._lock:
            use = self._uses.get(key)
            if use is not None:
                return use
            made = _Use(self._make(key), next(self._ticks))
            use = self._uses.setdefault(key, made)  # A signal handler in this thread may have made another.
            dropped = self._shrink() if use is made else [made.breaker]
        for breaker in dropped:  # without the lock, which a policy may be waiting for, inside its breaker's own lock
            self._drop(breaker)
        return use

    def _shrink(self) -> list[CircuitBreaker]:
        """Remove and return the breakers beyond `maxsize` that may be dropped; never the newest."""
        dropped: list[CircuitBreaker] = []
        if len(self._uses) <= self._shrink_above:
            return dropped
        for key in self._by_age()[:-1]:
            if len(self._uses) <= self.maxsize:
                break
            use = self._uses.get(key)
            # `None` if the key's hash or equality has changed, and then it stays; or if a signal handler removed it.
            if use is not None and use.may_be_dropped() and self._uses.pop(key, None) is not None:
                dropped.append(use.breaker)
        # If most are open, a scan is slow and drops little, so the next one waits until there are an eighth more.
        self._shrink_above = self.maxsize if len(self._uses) <= self.maxsize else len(self._uses) * 9 // 8
        return dropped

    def _by_age(self) -> list[Hashable]:
        """The keys, the least recently used first."""
        return [key for key, _ in sorted(self._uses.items(), key=lambda item: item[1].last)]

    def __getitem__(self, key: Hashable) -> CircuitBreaker:
        return self._uses[key].breaker

    def __iter__(self) -> Iterator[Hashable]:
        with self._lock:
            return iter(self._by_age())

    def __len__(self) -> int:
        return len(self._uses)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError(
            f"cannot pickle the breakers of {self.name!r} by key: another process could not know which are meant. Put "
            "what they guard into a module that both import"
        )

    def __repr__(self) -> str:
        return f"<KeyedBreakers, {len(self)} of at most {self.maxsize}>"

    def _renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child, make a new lock: a thread of the parent may have held the old one (E9)."""
        self._lock = RLock()


class _Use:
    """A breaker and the tick of its last use, which is noted without a lock."""

    __slots__ = ("breaker", "last")

    def __init__(self, breaker: CircuitBreaker, last: int) -> None:
        self.breaker = breaker
        self.last = last

    def may_be_dropped(self) -> bool:
        """Whether it is closed, or opened twice its wait ago and had no call since; and has no hold."""
        circuit = self.breaker._circuit
        period = circuit.engine.period
        if self.breaker.hold is not None or (isinstance(period, HalfOpen) and period.was_used):
            return False
        opened = opened_by(period)
        return opened is None or circuit.clock.monotonic() >= opened.until + opened.length


def _short(key: str) -> str:
    """`key` as a part of a name: whole, or if it is long or not printable, the beginning of it and a digest."""
    shown = one_line(key)
    if shown == key:
        return key
    from hashlib import blake2b  # Only such keys need it, and it is slow to import.

    return f"{shown}~{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
