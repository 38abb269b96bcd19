"""What the server examples share: a bank, a client, and what the client sees while the bank fails and recovers.

Each of `asgi_server.py`, `django_server.py`, `fastapi_server.py`, `flask_server.py` and `litestar_server.py` builds the
same service with its framework. It charges cards at this bank through a circuit named "payments", which opens after 3
failures for 2 seconds. It serves two paths: `/pay`, and `/health/circuits` with the token "s3cret".
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from circuitbreaker import CircuitState, get_breaker

if TYPE_CHECKING:
    import uvicorn


class Bank:
    """The dependency: it answers, or it fails."""

    is_up = True

    def charge(self) -> str:
        """Charge a card. A real service would use a client here."""
        if not self.is_up:
            raise ConnectionError("the bank does not answer")
        return "paid"


bank = Bank()


def run_story(port: int) -> None:
    """Print what a client of the service on `port` is answered."""
    print("The bank works.")
    ask(port, "/pay")

    print("\nThe bank is down. After three failures the circuit is open, and requests no longer wait for the bank.")
    bank.is_up = False
    for _ in range(4):
        ask(port, "/pay")
    ask(port, "/pay", Accept="text/html,*/*;q=0.8")  # a browser

    print("\nThe health of the circuits requires the token. Its status is for load balancers, its body for people.")
    ask(port, "/health/circuits")
    ask(port, "/health/circuits", Authorization="Bearer s3cret")

    print("\nThe bank is back. The client waits for as long as Retry-After says; its next request closes the circuit.")
    bank.is_up = True
    time.sleep(ask(port, "/pay"))
    ask(port, "/pay")
    wait_until_closed()
    ask(port, "/health/circuits", Authorization="Bearer s3cret")


def ask(port: int, path: str, **headers: str) -> int:
    """Send a request, print the answer, and return its `Retry-After` in seconds."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
    wait = answer.getheader("Retry-After")
    print(f"  GET {path:<17} {answer.status}{f', Retry-After: {wait}' if wait else ''}  {summary(body):.90}")
    return int(wait or 0)


def summary(body: str) -> str:
    """The body in one line."""
    if not body.startswith("{"):
        return "an HTML page" if body.startswith("<") else body
    document: dict[str, Any] = json.loads(body)
    if "circuits" in document:
        return "; ".join(f"{one['name']} is {one['state']}: {one['reason'] or 'ok'}" for one in document["circuits"])
    return str(document["detail"] if "detail" in document else document["title"])


def wait_until_closed() -> None:
    """Wait until the trial has ended: some servers end it just after they have sent the answer."""
    deadline = time.monotonic() + 5
    while get_breaker("payments").state is not CircuitState.CLOSED and time.monotonic() < deadline:
        time.sleep(0.01)


@contextmanager
def serving(server: HTTPServer) -> Iterator[int]:
    """Run the server in a thread; yields its port."""
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving_asgi(server: uvicorn.Server) -> Iterator[int]:
    """Run uvicorn in a thread; yields its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
