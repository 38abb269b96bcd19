"""What a call costs with a shared circuit, over one without a store."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from timeit import timeit
from typing import Any

from circuitbreaker import CircuitBreaker, CircuitOpenError
from circuitbreaker.stores.redis import RedisStore
from tests.servers import Server

from ..loops import Loop, calls, catches
from ..timing import best_of_many
from ..work import work
from .figures import figure, part

__all__ = ["measure"]

_GOAL = 1.1


def measure(server: Server, quick: bool) -> None:
    """Print the cost with a closed and an open circuit, and a server that works, is dead, or hangs."""
    seconds = 0.3 if quick else 2.0
    part("A call with a store over one without, best of many; the mean counts what the store's thread takes")
    for state, make, number in (("closed", _closed, 1_000), ("open", _open, 500)):
        for weather, harm, heal in _weathers(server):
            what = f"{state}, the server {weather}"
            store = RedisStore(server.url)
            alone, shared = make(what), make(what, store=store)
            if not store.sync():
                raise SystemExit("benchmarks: the store does not exchange")
            harm()
            try:
                one, other = best_of_many(alone, shared, number, seconds)
                figure(f"{what} ({one * 1e9:.0f} and {other * 1e9:.0f} ns)", other / one, "x", _GOAL)
                if harm is _nothing:
                    one, other = _means(alone, shared, seconds)
                    figure(f"{what}, mean ({one * 1e9:.0f} and {other * 1e9:.0f} ns)", other / one, "x")
            finally:
                heal()
                store.close()


def _weathers(server: Server) -> list[tuple[str, Callable[[], object], Callable[[], object]]]:
    return [
        ("well", _nothing, _nothing),
        ("dead", server.kill, server.restart),
        ("hung", server.pause, server.resume),
    ]


def _nothing() -> None:
    pass


def _closed(name: str, **options: Any) -> Loop:
    guarded = _breaker(name, **options)(work)
    guarded(1)
    return calls(guarded)


def _open(name: str, **options: Any) -> Loop:
    breaker = _breaker(name, **options)
    breaker.call(work, 1)
    breaker.open()
    return catches(breaker(work), CircuitOpenError)


def _breaker(name: str, **options: Any) -> CircuitBreaker:
    return CircuitBreaker(name, failure_threshold=5, reset_timeout=3600, registry=None, **options)


def _means(alone: Loop, shared: Loop, seconds: float) -> tuple[float, float]:
    """Seconds of processor time per operation of each, including other threads; in turns."""
    number, one, other = 0, 0.0, 0.0
    while one + other < seconds:
        one += timeit(lambda: alone(10_000), number=1, timer=process_time)
        other += timeit(lambda: shared(10_000), number=1, timer=process_time)
        number += 10_000
    return one / number, other / number
