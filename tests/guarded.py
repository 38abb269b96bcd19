"""A guarded client, as the contract in test_clients.py uses it: sync to the eye, whatever it is inside."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from circuitbreaker import CircuitOpenError, KeyedBreakers


class Answer(ABC):
    """An answer that has begun."""

    status: int

    @abstractmethod
    def read_some(self) -> bytes:
        """The first part of the body."""

    @abstractmethod
    def read(self) -> bytes:
        """The whole body."""

    @abstractmethod
    def close(self) -> None:
        """Give the rest up."""


class Client(ABC):
    """One client with one guard, made with the guard's options."""

    name: str
    """What the breakers are named after."""
    kind: type[Exception]
    """The client's own kind of error."""
    refusal: type[CircuitOpenError]
    judge: Callable[[Any], bool | None]
    is_async = False
    takes_cut_heads = False
    """Whether a head that was cut short is a whole one to the client: Python's http.client does not tell."""

    @property
    @abstractmethod
    def breakers(self) -> KeyedBreakers: ...

    @abstractmethod
    def begin(self, url: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 5.0) -> Answer:
        """Send a request, and return when its answer has begun."""

    def get(self, url: str, *, timeout: float = 5.0) -> tuple[int, bytes]:
        """The whole answer."""
        answer = self.begin(url, timeout=timeout)
        try:
            return answer.status, answer.read()
        finally:
            answer.close()

    def get_plainly(self, url: str) -> tuple[int, bytes]:
        """The whole answer by the client's usual way, redirects followed."""
        raise NotImplementedError

    def drop(self, url: str) -> None:
        """Begin, and forget the answer."""
        self.begin(url)
        gc.collect()

    @abstractmethod
    def close(self) -> None: ...


def url_of(request: Any) -> str:
    return str(request.url)
