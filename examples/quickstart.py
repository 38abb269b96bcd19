"""Three circuits for nine seconds, while the service behind them works, fails, and recovers.

    python examples/quickstart.py

It needs only this package. The service is a real HTTP server on loopback, and the requests are real.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from circuitbreaker import CircuitBreaker, CircuitOpenError, FailureRate, StateChange, circuit, get_breaker, registry

# Three ways to guard a request. `get`, below, raises an HTTPError when the service answers 503.


@circuit(name="prices", failure_threshold=5, reset_timeout=1.5)
def prices() -> bytes:
    return get("/prices")


search_breaker = CircuitBreaker("search", trip=FailureRate(0.5, calls=10), reset_timeout=1.5)


async def search() -> bytes:
    async with search_breaker:
        return await asyncio.to_thread(get, "/search")


registry.get_or_create("stock", failure_threshold=5, reset_timeout=1.5)


def stock() -> bytes:  # Two threads call this. They share the circuit, so it counts the failures of both.
    return get_breaker("stock").call(get, "/stock")


# The service and its users. Each user calls ten times a second, or less often if an answer takes longer.


class Service(BaseHTTPRequestHandler):
    """Answers 200 at once while it works, and 503 after 0.2 seconds while it fails."""

    status, port, started = 200, 0, 0.0

    def do_GET(self) -> None:
        """Answer one request."""
        status = Service.status
        if status == 503:
            time.sleep(0.2)
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing: the circuits print what matters here."""


direct = build_opener(ProxyHandler({}))  # The service is local, so proxy settings must not apply.
failed: dict[str, list[float]] = defaultdict(list)  # by circuit: milliseconds of each failed request
rejected: dict[str, list[float]] = defaultdict(list)  # by circuit: milliseconds of each rejected call
over = threading.Event()


def get(path: str) -> bytes:
    with direct.open(f"http://127.0.0.1:{Service.port}{path}", timeout=2) as answer:
        return bytes(answer.read())


def use(call: Callable[[], bytes]) -> None:
    while not over.wait(0.1):
        with measured(call.__name__):
            call()


async def use_search() -> None:
    while not over.is_set():
        with measured("search"):
            await search()
        await asyncio.sleep(0.1)


@contextmanager
def measured(name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    except CircuitOpenError as error:
        rejected[name].append(1000 * (time.perf_counter() - began))
        if len(rejected[name]) == 1:
            took = f"{rejected[name][0]:.2f} ms"
            say(name, f"rejects a call in {took} and sends nothing; next trial in {error.retry_after:.1f} s")
    except OSError as error:
        failed[name].append(1000 * (time.perf_counter() - began))
        if isinstance(error, HTTPError):
            error.close()


# The output.

COLOURS = {"closed": 32, "half_open": 33, "open": 31} if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else {}


def say(who: str, what: str) -> None:
    line = f"{time.monotonic() - Service.started:5.1f} s  {who:<6}  {what}"
    print(f"{line.rstrip()}\n", end="", flush=True)  # One write, so that lines of two threads do not mix.


def paint(state: str, text: str) -> str:
    return f"\033[{COLOURS[state]}m{text}\033[0m" if COLOURS else text


@registry.on("state_change")
def say_change(change: StateChange) -> None:
    state = change.new_state.value
    last = f"\n{'':17}last failure {change.last_failure}" if change.old_state.value == "closed" else ""
    say(change.name, f"{paint(state, state.upper())} because {change.reason}{last}")


def say_numbers() -> None:
    cells = []
    for now in (breaker.metrics() for breaker in registry):
        counts = f"{now.total_calls - now.total_rejections}/{now.total_failures}/{now.total_rejections}"
        cells.append(f"{now.name} {paint(now.state.value, f'{now.state.value:<9}')} {counts:<8}")
    say("", "  ".join(cells))


def say_savings() -> None:
    print("\nWhat the circuits saved:")
    for name, times in sorted(rejected.items()):
        failure, rejection = sum(failed[name]) / max(1, len(failed[name])), sum(times) / len(times)
        print(
            f"  {name:<6}  {len(times)} requests not sent, {len(times) * failure / 1000:.1f} s of waiting avoided",
            end=" ",
        )
        print(f"(a failed request took {failure:.0f} ms, a rejected call {rejection:.2f} ms)")


async def run_story() -> None:
    threads = [asyncio.to_thread(use, prices), asyncio.to_thread(use, stock), asyncio.to_thread(use, stock)]
    users = asyncio.gather(use_search(), *threads)
    changes = {0: (200, "works"), 2: (503, "fails: it answers 503, after 0.2 s"), 6: (200, "works again")}
    try:
        for second in range(10):
            await asyncio.sleep(Service.started + second - time.monotonic())
            if second:
                say_numbers()
            if second in changes:
                Service.status, what = changes[second]
                say("server", what)
    finally:
        over.set()
        await users


def main() -> None:
    try:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    except OSError as error:
        sys.exit(f"This example needs a free port on 127.0.0.1: {error}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Service.port, Service.started = server.server_port, time.monotonic()
    print(f"Three circuits guard requests to http://127.0.0.1:{Service.port}. Counts are sent/failed/rejected.\n")
    try:
        asyncio.run(run_story())
    except KeyboardInterrupt:
        sys.exit("interrupted")
    say_savings()


if __name__ == "__main__":
    main()
