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
from typing import Any, NamedTuple

import circuitbreaker
from circuitbreaker import CircuitBreaker, CircuitState, ManualClock
from circuitbreaker._circuit.circuit import Circuit
from circuitbreaker._circuit.rules import LocalRules
from circuitbreaker.fleet.link import Link
from circuitbreaker.fleet.messages import Snapshot
from circuitbreaker.fleet.quotas import quotas
from circuitbreaker.fleet.record import Record, apply_report
from circuitbreaker.options import Settings

__all__ = ["JOURNEYS", "Frames", "frames_of", "journeys", "measure", "spread"]

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


class _ByHand:
    """Shares circuits without a thread: a `Sharing` whose reports are carried by hand."""

    interval = 0.1
    error = None

    def __init__(self) -> None:
        self.links: list[Link] = []

    def attach(self, circuit: Circuit, rules: LocalRules, settings: Settings) -> Link:
        asked = quotas(settings, quorum=1, expire=60)
        self.links.append(Link(circuit, rules, settings, asked, self, f"process {len(self.links)}"))
        return self.links[-1]

    def report_within(self, link: Link, seconds: float) -> None:
        pass


def spread() -> Frames:
    """A failure that opens another process's circuit: the call, its report, the record, the answer and the news."""
    store, clock, record = _ByHand(), ManualClock(), Record()
    options: dict[str, Any] = {"registry": None, "failure_threshold": 1, "clock": clock, "store": store}
    one, other = (CircuitBreaker("shop", **options)(_service) for _ in range(2))
    for guarded, link in zip((one, other), store.links, strict=True):
        guarded()
        _exchange(link, record)

    def travel() -> None:
        with suppress(ConnectionError):
            one(fails=True)
        store.links[1].apply_news(_exchange(store.links[0], record))

    frames = frames_of(travel)
    assert other.breaker.state is CircuitState.OPEN
    return frames


def _exchange(link: Link, record: Record) -> Snapshot:
    report = link.report()
    assert report is not None
    snapshot, _ = apply_report(record, report, report.number - 1, 0.0)
    link.apply_answer(snapshot)
    return snapshot


def measure() -> None:
    """Print the table."""
    print(f"{'frames entered / depth / files':<34}" + "".join(f"{name:>16}" for name in JOURNEYS))
    for way in _WAYS:
        print(f"{way:<34}" + "".join(f"{' / '.join(map(str, each)):>16}" for each in journeys(way).values()))
    print(f"{'a failure opens another process: ':<34}{' / '.join(map(str, spread()))}")
