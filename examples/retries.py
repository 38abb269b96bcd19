"""A retry outside a breaker and inside it: how many requests a failing service gets.

    python examples/retries.py

It needs tenacity and stamina. The service is a real HTTP server on this machine. The clock of the first circuits is
moved by hand; the last one's is the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread, Timer

import stamina
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from circuitbreaker import CircuitBreaker, CircuitOpenError, ManualClock
from circuitbreaker.integrations.stamina import unless_open
from circuitbreaker.integrations.tenacity import retry_unless_open, wait_for_circuit

Call = Callable[[], int]
PAUSE = 0.002  # seconds between two attempts


class Service(BaseHTTPRequestHandler):
    """Answers with `status`, and counts."""

    status, port, requests = 503, 0, 0

    def do_GET(self) -> None:
        """Answer one request."""
        Service.requests += 1
        self.send_response(Service.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def ask() -> int:
    """One request."""
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
knowing = plain.copy(retry=retry_unless_open())
by_stamina = stamina.retry(on=unless_open(ConnectionError), attempts=4, wait_initial=PAUSE, wait_jitter=0)

WAYS: dict[str, Callable[[CircuitBreaker], Call]] = {
    "no breaker": lambda breaker: lambda: plain(ask),
    "retry inside": lambda breaker: lambda: breaker.call(plain, ask),
    "retry outside": lambda breaker: lambda: plain(breaker(ask)),
    "  retry_unless_open()": lambda breaker: lambda: knowing(breaker(ask)),
    "  stamina, unless_open()": lambda breaker: by_stamina(breaker(ask)),
}


def requests_of(call: Call, times: int) -> int:
    before = Service.requests
    for _ in range(times):
        with suppress(ConnectionError, CircuitOpenError):
            call()
    return Service.requests - before


def compare() -> None:
    print("The service is down. Ten calls of up to four attempts; the circuit opens after five failures.\n")
    print(f"{'':<24} {'requests':>8} {'refused':>8} {'one call later, when a trial is due':>36}")
    for name, make in WAYS.items():
        clock = ManualClock()
        breaker = CircuitBreaker(failure_threshold=5, reset_timeout=30, clock=clock)
        call = make(breaker)
        requests = requests_of(call, 10)
        refused = breaker.metrics().total_rejections
        clock.advance(30)
        print(f"{name:<24} {requests:>8} {refused:>8} {requests_of(call, 1):>27} requests")


def wait_for_it() -> None:
    print("\nAnd a call that waits for the circuit, when the service comes back after 0.2 s:\n")
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=0.3)
    requests_of(breaker(ask), 1)
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
    stamina.instrumentation.set_on_retry_hooks([])  # It would log each retry.
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Service.port = server.server_port
        serving = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        compare()
        wait_for_it()
        server.shutdown()
        serving.join()


if __name__ == "__main__":
    main()
