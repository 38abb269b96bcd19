"""How many commands the server gets, by its own count."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any, NamedTuple

from tests.servers import Server

from ..work import work
from .crew import Worker, all_do, crew
from .figures import figure, part
from .shared import Shared, rejects

__all__ = ["measure"]

_WITHIN = ("time", "get", "set", "publish", "zremrangebyscore", "zadd", "ttl", "expire")
"""What the scripts call, and no client sends."""
_RATE = 1_000
_PROCESSES = 8


class _Member:
    """One process that calls."""

    def __init__(self, url: str) -> None:
        self._shared = Shared(url, reset_timeout=3600)
        self.join, self.when = self._shared.join, self._shared.when

    def open(self) -> None:
        """Open the circuit, for all."""
        self._shared.breaker.open()
        self._shared.sync()

    def call(self, number: int, per_second: float) -> None:
        """Make so many calls, so many a second, and tell all."""
        guarded, start = self._shared.breaker(work), monotonic()
        rejected = rejects(self._shared.breaker)
        for made in range(number):
            if rejected:
                rejects(self._shared.breaker)
            else:
                guarded(1)
            if made % 10 == 9:
                sleep(max(0.0, start + made / per_second - monotonic()))
        self._shared.sync()


class _Used(NamedTuple):
    """What the server did."""

    sent: int
    """Commands that clients sent."""
    scripts: int
    """Runs of the script."""
    microseconds: float
    """How long they took."""


class _Counter:
    def __init__(self, server: Server) -> None:
        self._client = server.client()

    def start(self) -> None:
        self._client.config_resetstat()

    def stop(self) -> _Used:
        stats: dict[str, Any] = self._client.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
        own = [name for name in calls if name in ("info", "config|resetstat")]
        script = stats.get("cmdstat_evalsha", {"calls": 0, "usec": 0})
        sent = sum(many for name, many in calls.items() if name not in (*_WITHIN, *own))
        return _Used(sent, script["calls"], float(script["usec"]))


def measure(server: Server, quick: bool) -> None:
    """Commands per 10,000 calls, and of an idle fleet."""
    counter, seconds = _Counter(server), 1 if quick else 5
    with crew(_PROCESSES, _Member, server.url) as members:
        all_do(members, "join")
        _while(counter, members, "closed", seconds)
        members[0].ask("open")
        all_do(members, "when", "open")
        _while(counter, members, "open", seconds)


def _while(counter: _Counter, members: Sequence[Worker], state: str, seconds: int) -> None:
    what = "closed" if state == "closed" else "rejected"
    part(f"Commands that the server gets while the circuit is {state}")
    for acting in (members[:1], members):
        many = "one process" if len(acting) == 1 else f"each of {len(acting)} processes"
        used = _calls(counter, acting, 10_000, 1e9)
        figure(f"per 10,000 {what} calls, as fast as {many} makes them", used.sent / len(acting))
        used = _calls(counter, acting, _RATE * seconds, _RATE)
        figure(
            f"per 10,000 {what} calls, {_RATE:,} a second by {many}",
            used.sent / len(acting) * 10_000 / (_RATE * seconds),
        )
    figure("the script's time in the server, each", used.microseconds / max(1, used.scripts), "us")
    counter.start()
    sleep(seconds)
    figure(f"per second, {len(members)} processes that make no calls", counter.stop().sent / seconds)


def _calls(counter: _Counter, acting: Sequence[Worker], number: int, per_second: float) -> _Used:
    counter.start()
    all_do(acting, "call", number, per_second)
    return counter.stop()
