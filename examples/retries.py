"""How many requests a failing service receives when retries are outside a breaker, inside it, or without one.

    python examples/retries.py

It needs tenacity and stamina. The service is a real HTTP server on loopback. The comparison advances a `ManualClock`;
the last call waits in real time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread, Timer

try:
    import stamina
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed
except ImportError:
    raise SystemExit(
        "This example needs tenacity and stamina: pip install 'circuitbreaker-kit[tenacity,stamina]'"
    ) from None

from circuitbreaker import CircuitBreaker, CircuitOpenError, ManualClock
from circuitbreaker.integrations.stamina import unless_open
from circuitbreaker.integrations.tenacity import retry_unless_open, wait_for_circuit

Call = Callable[[], int]
PAUSE = 0.002  # seconds between two attempts


class Service(BaseHTTPRequestHandler):
    """Answers with `status` and counts requests."""

    status, port, requests = 503, 0, 0

    def do_GET(self) -> None:
        """Answer one request."""
        Service.requests += 1
        self.send_response(Service.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def ask() -> int:
    """Send one request."""
    connection = HTTPConnection("127.0.0.1", Service.port, timeout=5)
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    finally:
        connection.close()
    if status == 503:
        raise ConnectionError("the service answers 503")
    return status


plain = Retrying(retry=retry_if_exception_type(), wait=wait_fixed(PAUSE), stop=stop_after_attempt(4), reraise=True)
aware = plain.copy(retry=retry_unless_open())
with_stamina = stamina.retry(on=unless_open(ConnectionError), attempts=4, wait_initial=PAUSE, wait_jitter=0)

VARIANTS: dict[str, Callable[[CircuitBreaker], Call]] = {
    "no breaker": lambda breaker: lambda: plain(ask),
    "retry inside": lambda breaker: lambda: breaker.call(plain, ask),
    "retry outside": lambda breaker: lambda: plain(breaker(ask)),
    "  retry_unless_open()": lambda breaker: lambda: aware(breaker(ask)),
    "  stamina, unless_open()": lambda breaker: with_stamina(breaker(ask)),
}


def count_requests(call: Call, times: int) -> int:
    before = Service.requests
    for _ in range(times):
        with suppress(ConnectionError, CircuitOpenError):
            call()
    return Service.requests - before


def compare() -> None:
    print("The service is down. Ten calls with up to four attempts each; the circuit opens after five failures.\n")
    print(f"{'':<24} {'requests':>8} {'refused':>8} {'one more call, when a trial is due':>36}")
    for name, make in VARIANTS.items():
        clock = ManualClock()
        breaker = CircuitBreaker(failure_threshold=5, reset_timeout=30, clock=clock)
        call = make(breaker)
        requests = count_requests(call, 10)
        refused = breaker.metrics().total_rejections
        clock.advance(30)
        print(f"{name:<24} {requests:>8} {refused:>8} {count_requests(call, 1):>27} requests")


def wait_for_recovery() -> None:
    print("\nA call that waits for the circuit; the service recovers after 0.2 s:\n")
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=0.3)
    count_requests(breaker(ask), 1)
    waiting = Retrying(
        retry=retry_unless_open(longer_than=5),
        wait=wait_fixed(PAUSE) + wait_for_circuit(jitter=0.1),
        stop=stop_after_attempt(4),
    )
    recovery = Timer(0.2, setattr, (Service, "status", 200))
    recovery.start()
    before, began = Service.requests, time.monotonic()
    status = waiting(breaker(ask))
    took, requests = time.monotonic() - began, Service.requests - before
    recovery.join()
    print(f"{status} after {took:.2f} s and {waiting.statistics['attempt_number']} attempts, of which", end=" ")
    print(f"{requests} reached the service; the circuit is {breaker.state}")


def main() -> None:
    stamina.instrumentation.set_on_retry_hooks([])  # By default stamina logs each retry.
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Service.port = server.server_port
        serving = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        compare()
        wait_for_recovery()
        server.shutdown()
        serving.join()


if __name__ == "__main__":
    main()
