"""How many of the package's own frames a call enters, how deep, and in how many files.

Only Python functions of `circuitbreaker` count: a call into C, into the standard library or into user code has no frame
here. It is exactly repeatable, so a test pins it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import circuitbreaker
from circuitbreaker import CircuitBreaker, CircuitState, ManualClock

__all__ = ["JOURNEYS", "Frames", "frames_of", "journeys", "measure"]

_PACKAGE = str(Path(str(circuitbreaker.__file__)).parent)


class Frames(NamedTuple):
    """The frames of one call."""

    entered: int
    depth: int
    files: int


def frames_of(work: Callable[[], object]) -> Frames:
    """The frames of the package that `work()` enters; what it raises is passed over."""
    entered: list[tuple[int, str]] = []
    open_frames: list[None] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE):
            return
        if event == "call":
            open_frames.append(None)
            entered.append((len(open_frames), file))
        elif event == "return":
            open_frames.pop()

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        with suppress(Exception):
            work()
    finally:
        sys.setprofile(before)
    depths = [depth for depth, _ in entered]
    return Frames(len(entered), max(depths, default=0), len({file for _, file in entered}))


def _service(fails: bool = False) -> None:
    if fails:
        raise ConnectionError


def _block(breaker: CircuitBreaker) -> Callable[..., None]:
    def block(fails: bool = False) -> None:
        with breaker:
            _service(fails)

    return block


_WAYS: dict[str, Callable[[CircuitBreaker], Callable[..., object]]] = {
    "decorated": lambda breaker: breaker(_service),
    "block": _block,
    "call": lambda breaker: lambda fails=False: breaker.call(_service, fails),
}
JOURNEYS = ("closed", "trip", "rejected", "recovery")
"""A successful call, one that opens the circuit, one that is refused, and a trial that closes it again."""


def journeys(way: str) -> dict[str, Frames]:
    """The frames of each journey, for calls that go in this way."""
    clock = ManualClock()
    breaker = CircuitBreaker(failure_threshold=5, reset_timeout=30, clock=clock)
    call = _WAYS[way](breaker)
    closed = frames_of(call)
    for _ in range(4):
        with suppress(ConnectionError):
            call(fails=True)
    trip = frames_of(lambda: call(fails=True))
    rejected = frames_of(call)
    clock.advance(30)
    recovery = frames_of(call)
    assert breaker.state is CircuitState.CLOSED
    return dict(zip(JOURNEYS, (closed, trip, rejected, recovery), strict=True))


def measure() -> None:
    """Print the table."""
    print(f"{'frames entered / depth / files':<34}" + "".join(f"{name:>16}" for name in JOURNEYS))
    for way in _WAYS:
        print(f"{way:<34}" + "".join(f"{' / '.join(map(str, each)):>16}" for each in journeys(way).values()))
