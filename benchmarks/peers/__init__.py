"""The same operations through other libraries, each by its documented interface, in an environment of its own.

A library's module here says how its users do what is measured. All have the same names; one that is missing is
something that the library does not offer:

    breaker(failures)                  opens for an hour after so many failures
    guarded(breaker, function)         a function, guarded
    guarded_async(failures, function)  a coroutine function, guarded
    in_blocks(breaker)                 a loop of guarded blocks
    of_last_calls(), of_last_seconds() a breaker by failure rate over the last 100 calls, the last 30 seconds
    idle(number)                       a breaker that nobody uses, if that is more than breaker(5)
    Refused                            what a refused call raises

Its docstring is what a reader of the figures has to know.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OURS", "PEERS", "Peer"]


class Peer(NamedTuple):
    """One library."""

    name: str
    """Of its distribution, and with `_` for `-` of its module here."""
    version: str
    package: str
    """What users import."""
    python: tuple[int, int]
    """The oldest that it runs on."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """What its environment holds."""
        return (f"{self.name}=={self.version}",) if self.version else ()


OURS = Peer("ours", "", "circuitbreaker", (3, 10))

PEERS = (
    Peer("pybreaker", "1.4.1", "pybreaker", (3, 9)),
    Peer("circuitbreaker", "2.1.3", "circuitbreaker", (3, 8)),
    Peer("aiobreaker", "1.2.0", "aiobreaker", (3, 6)),
    Peer("purgatory", "3.0.1", "purgatory", (3, 9)),
    Peer("interlock-cb", "2.8.2", "interlock", (3, 11)),
    Peer("nopanic", "0.3.0", "nopanic", (3, 10)),
)
