"""Places where stores meet, for tests: each test of the contract runs in all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from circuitbreaker import CircuitBreaker, CircuitState, ManualClock
from circuitbreaker.stores import Store
from circuitbreaker.stores.memory import MemoryServer, MemoryStore
from circuitbreaker.stores.redis import RedisStore

from .servers import Server
from .support import attempt


class Member:
    """One process's share in a fleet: a store and a breaker of its own."""

    def __init__(self, store: Store, name: str = "shop", **options: Any) -> None:
        self.store = store
        self.clock: ManualClock | None = options.get("clock")
        self.breaker = CircuitBreaker(name, registry=None, store=store, **options)
        self.changes: list[str] = []
        self.origins: list[str] = []
        self.breaker.on("state_change", self._hear)

    def _hear(self, change: Any) -> None:
        self.changes.append(str(change.new_state))
        self.origins.append(change.origin)

    @property
    def state(self) -> CircuitState:
        return self.breaker.state

    def call(self, function: Callable[..., Any] | None = None, times: int = 1) -> list[str]:
        """So many calls, and how they ended."""
        return [attempt(self.breaker, function) if function else attempt(self.breaker) for _ in range(times)]


class Fleet:
    """Several members that meet in one place."""

    def __init__(self, make_store: Callable[..., Store]) -> None:
        self._make_store = make_store
        self.members: list[Member] = []

    def add(self, name: str = "shop", **options: Any) -> Member:
        """Another process."""
        ours = {each: options.pop(each) for each in ("interval", "quorum", "expire") if each in options}
        member = Member(self._make_store(**{"interval": 0.02, **ours}), name, **options)
        self.members.append(member)
        return member

    def grow(self, many: int, **options: Any) -> list[Member]:
        """So many more processes, which have been used."""
        members = [self.add(**options) for _ in range(many)]
        for member in members:
            member.call()
        self.sync()
        return members

    def sync(self) -> None:
        """Have everybody know everything: what one tells in the first round, the others learn in the second."""
        for _ in range(2):
            for member in self.members:
                assert member.store.sync(), member.store

    def states(self) -> list[str]:
        return [str(member.state) for member in self.members]

    def close(self) -> None:
        for member in self.members:
            member.store.close()


@contextmanager
def in_memory() -> Iterator[Callable[..., Store]]:
    server = MemoryServer()
    yield lambda **options: MemoryStore(server, **options)


@contextmanager
def in_a_server() -> Iterator[Callable[..., Store]]:
    with Server() as server:
        yield lambda **options: RedisStore(server.client(), **options)


PLACES = {"memory": in_memory, "server": in_a_server}
