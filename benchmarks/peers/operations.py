"""What is compared: an operation of a library, through its module here, and its floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import floors
from ..loops import Loop, awaits, calls, catches, in_threads
from ..work import fail, work, work_async

__all__ = ["OPERATIONS", "Operation"]


class Operation(NamedTuple):
    """One row of the comparison."""

    what: str
    floor: Callable[[], Loop]
    through: Callable[[Any], Loop]
    """The operation through a library, given its module here."""
    needs: str = "guarded"
    """The name that the module must define."""
    number: int = 300
    counted: bool = True
    """Whether the cost is entirely in instructions."""


def _call(peer: Any) -> Loop:
    return calls(peer.guarded(peer.breaker(5), work))


def _await(peer: Any) -> Loop:
    return awaits(peer.guarded_async(5, work_async))


def _block(peer: Any) -> Loop:
    return peer.in_blocks(peer.breaker(5))


def _last_calls(peer: Any) -> Loop:
    return calls(peer.guarded(peer.of_last_calls(), work))


def _last_seconds(peer: Any) -> Loop:
    return calls(peer.guarded(peer.of_last_seconds(), work))


def _refused(peer: Any) -> Loop:
    breaker = peer.breaker(1)
    failing, working = peer.guarded(breaker, fail), peer.guarded(breaker, work)
    catches(failing, Exception)(1)  # On the call that opens the circuit, some raise another error than fail() does.
    return catches(working, peer.Refused)


def _failing(peer: Any) -> Loop:
    return catches(peer.guarded(peer.breaker(10**9), fail), ConnectionError)


def _threads(peer: Any) -> Loop:
    return in_threads(_call(peer))


OPERATIONS = {
    "call": Operation("a call, closed", floors.a_call, _call),
    "await": Operation("an await, closed", floors.an_await, _await, "guarded_async"),
    "block": Operation("a with block, closed", floors.a_block, _block, "in_blocks"),
    "last_calls": Operation("failure rate, the last 100 calls", floors.a_call, _last_calls, "of_last_calls"),
    "last_seconds": Operation("failure rate, the last 30 seconds", floors.a_call, _last_seconds, "of_last_seconds"),
    "refused": Operation("a rejected call", floors.a_refusal, _refused),
    "failing": Operation("a failing call, closed", floors.a_failure, _failing),
    "threads": Operation("8 threads through one breaker", floors.threads, _threads, number=80_000, counted=False),
}
