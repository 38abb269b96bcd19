"""One circuit per host with httpx: one host breaks off its answers, the other asks its clients to wait.

    python examples/httpx_client.py

It needs httpx. Both hosts are real servers on loopback. It takes about a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

try:
    import httpx
except ImportError:
    raise SystemExit("This example needs httpx: pip install 'circuitbreaker-kit[httpx]'") from None

from circuitbreaker import CircuitOpenError
from circuitbreaker.integrations.httpx import CircuitBreakerTransport


class Service(BaseHTTPRequestHandler):
    """`/prices` breaks off in the middle, `/stock` is busy and sends `Retry-After`, `/fruit` works."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer according to the path."""
        body = b"three apples, two pears"
        if self.path == "/stock":
            self.send_response(503)
            self.send_header("Retry-After", "120")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.path == "/fruit" else body[:12])
        self.close_connection = self.path != "/fruit"

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextmanager
def running() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def attempt(client: httpx.Client, url: str) -> str:
    try:
        response = client.get(url)
    except CircuitOpenError as error:
        return f"not sent: {error.reason}; next trial in {error.retry_after:.0f} s"
    except httpx.TransportError as error:
        return f"{type(error).__name__}"
    return f"{response.status_code} {response.text}"


def main() -> None:
    with running() as prices, running() as stock:
        transport = CircuitBreakerTransport(failure_threshold=2)
        names: dict[Any, str] = {prices: "prices", stock: "stock"}
        with httpx.Client(transport=transport) as client:
            for url in [f"{prices}/fruit", *[f"{prices}/prices"] * 3, *[f"{stock}/stock"] * 3]:
                print(f"{names[url.rpartition('/')[0]]:>7}  {attempt(client, url)}")
        print()
        for host, breaker in transport.breakers.items():
            now = breaker.metrics()
            print(f"{names[host]:>7}  {now.state}, {now.total_successes} succeeded, {now.total_failures} failed")


if __name__ == "__main__":
    main()
