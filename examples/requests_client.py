"""One circuit per host with requests: one host breaks off its downloads, the other asks its clients to wait.

    python examples/requests_client.py

It needs requests. Both hosts are real servers on loopback. It takes less than a second.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

try:
    import requests
    import urllib3
except ImportError:
    raise SystemExit("This example needs requests: pip install 'circuitbreaker-kit[requests]'") from None

from circuitbreaker import CircuitOpenError
from circuitbreaker.integrations.requests import CircuitBreakerAdapter

REPORT = b"three apples, two pears, and a melon\n" * 1000


class Service(BaseHTTPRequestHandler):
    """`/torn` breaks off in the middle, `/busy` sends `Retry-After`, everything else works."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        busy, torn = self.path == "/busy", self.path == "/torn"
        body = b"" if busy else REPORT
        self.send_response(503 if busy else 200)
        self.send_header("Content-Length", str(len(body)))
        if busy:
            self.send_header("Retry-After", "120")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if torn else body)
        self.close_connection = torn

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextmanager
def running() -> Iterator[str]:
    """Run a server; yields its URL. Each server is a host, so it has its own circuit."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        serving = Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def download(session: requests.Session, url: str) -> str:
    file = io.BytesIO()
    try:
        with session.get(url, stream=True, timeout=5) as response:
            if response.ok:
                shutil.copyfileobj(response.raw, file)
    except CircuitOpenError as error:
        return f"not sent: {error.reason}; next trial in {error.retry_after:.0f} s"
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:  # `raw` raises urllib3's errors
        return f"{type(error).__name__}, after {file.tell()} bytes"
    return f"{response.status_code}, {file.tell()} bytes"


def main() -> None:
    adapter = CircuitBreakerAdapter(failure_threshold=2)
    with running() as reports, running() as prices, requests.Session() as session:
        session.mount("http://", adapter)
        for url in [f"{reports}/whole", f"{reports}/torn", f"{reports}/torn", f"{reports}/whole"]:
            print(f"reports  {download(session, url)}")
        for url in [f"{prices}/busy", f"{prices}/busy", f"{prices}/whole"]:
            print(f"prices   {download(session, url)}")
        print()
        for name, url in [("reports", reports), ("prices", prices)]:
            metrics = adapter.breakers[url].metrics()
            print(f"{name:<8} {metrics.state}: {metrics.total_successes} succeeded, {metrics.total_failures} failed")


if __name__ == "__main__":
    main()
