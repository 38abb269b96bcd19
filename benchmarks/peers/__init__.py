"""The same operations through other libraries, each through its documented interface, in its own environment.

Each library has a module here that shows how it is used. All modules define the same names; a library that does not
offer something leaves its name out:

    breaker(failures)                  a breaker that opens for an hour after that many failures
    guarded(breaker, function)         a guarded function
    guarded_async(failures, function)  a guarded coroutine function
    in_blocks(breaker)                 a loop of guarded blocks
    of_last_calls(), of_last_seconds() a breaker by failure rate over the last 100 calls or the last 30 seconds
    idle(number)                       a breaker that is never called, if that takes more than breaker(5)
    Refused                            the error of a refused call

The docstring of a module is printed below the figures: what they do not show.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OURS", "PEERS", "Peer"]


class Peer(NamedTuple):
    """One library."""

    name: str
    """The name of its distribution; with `_` for `-`, that of its module here."""
    version: str
    package: str
    """The package to import."""
    python: tuple[int, int]
    """The oldest supported version."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """What is installed in its environment."""
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
