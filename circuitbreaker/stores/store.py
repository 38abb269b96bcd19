"""A store: what people hold to share circuits. Its `Courier` has the thread, its backend the records."""

from __future__ import annotations

import math

from .._circuit.circuit import Circuit
from .._circuit.rules import LocalRules
from .._values import at_least, positive_count, seconds
from ..fleet.link import Link
from ..fleet.quotas import quotas
from ..options import Settings
from .backend import Backend
from .courier import Courier

__all__ = ["Store"]


class Store:
    """Shares the circuits of this process with those of the same names in other processes.

        store = RedisStore("redis://localhost")
        breaker = CircuitBreaker("payments", store=store)

    Args:
        backend: where the records are.
        interval: seconds between exchanges while calls come. Failures are reported within a fifth of it, decisions at
            once.
        quorum: how many processes must have seen failures before a circuit opens for all of them.
        expire: seconds without any report after which a circuit's record is deleted.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of the wrong type.
    """

    def __init__(self, backend: Backend, *, interval: float = 0.1, quorum: int = 1, expire: float = 86400.0) -> None:
        self.backend: Backend = backend
        self.interval: float = seconds("interval", interval)
        self.quorum: int = positive_count("quorum", quorum)
        self.expire: int = math.ceil(at_least("expire", expire, 1))
        self._courier = Courier(backend, self.interval)

    @property
    def error(self) -> str | None:
        """Why the backend cannot be reached; `None` if it can, as far as is known."""
        return self._courier.error

    def attach(self, circuit: Circuit, rules: LocalRules, settings: Settings) -> Link:
        """Begin to share `circuit`: the option `store` calls this. Nothing is sent before the circuit's first call."""
        courier = self._courier
        terms = quotas(settings, self.quorum, self.expire)
        link = Link(circuit, rules, settings, terms, courier, courier.new_process())
        courier.add(link)
        return link

    def sync(self, timeout: float = 5.0) -> bool:
        """Wait until all that has happened in this process until now is exchanged.

        Returns whether it was, within `timeout` seconds. A closed store, and a listener that the store itself calls,
        would wait in vain: for them it is `False` at once.
        """
        return self._courier.sync(seconds("timeout", timeout))

    def close(self) -> None:
        """Report what is left, stop the thread and release the backend. The circuits go on alone.

        Waits for the exchange under way, at most a second. It is called at the end of the process.
        """
        self._courier.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self.error or 'connected'}>"
