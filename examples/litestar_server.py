"""A Litestar service whose bank is down: its callers are told when to come back, and a probe sees the circuit.

    python examples/litestar_server.py

It needs Litestar and uvicorn: `pip install litestar uvicorn`. A plugin stands in the place of the middleware.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

try:
    import uvicorn
    from litestar import Litestar, MediaType, Request, Response, asgi, get
except ImportError:
    sys.exit("This needs Litestar and uvicorn: pip install litestar uvicorn")

from circuitbreaker import circuit
from circuitbreaker.integrations.asgi import HealthEndpoint
from circuitbreaker.integrations.litestar import CircuitOpenPlugin

# The bank, which the service needs.


class Bank:
    """It answers, or it does not."""

    is_up = True


@circuit(name="payments", failure_threshold=3, reset_timeout=2)
def charge() -> str:
    if not Bank.is_up:  # Your client goes here.
        raise ConnectionError("the bank does not answer")
    return "paid"


# The service. Nothing in it speaks of open circuits, but the plugin.


@get("/pay", media_type=MediaType.TEXT)
async def pay() -> str:
    return charge()


def bad_gateway(request: Request, error: ConnectionError) -> Response:
    return Response(str(error), status_code=502, media_type=MediaType.TEXT)


health = asgi("/health/circuits", copy_scope=True)(HealthEndpoint(critical=["payments"], token="s3cret"))
app = Litestar(
    [pay, health],
    plugins=[CircuitOpenPlugin()],
    exception_handlers={ConnectionError: bad_gateway},
    logging_config=None,
)


@contextmanager
def serving(app: Litestar) -> Iterator[int]:
    """The service on uvicorn, in a thread; yields its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


# What happens.


def tell_story(port: int) -> None:
    print("The bank works.")
    ask(port, "/pay")

    print("\nThe bank is down. Three requests find that out; then the circuit is open, and nobody waits for the bank.")
    Bank.is_up = False
    for _ in range(4):
        ask(port, "/pay")
    ask(port, "/pay", Accept="text/html,*/*;q=0.8")  # a browser

    print("\nWho knows the token may ask how the circuits are. A balancer goes by the status.")
    ask(port, "/health/circuits")
    ask(port, "/health/circuits", Authorization="Bearer s3cret")

    print("\nThe bank is back. The caller comes again when it was told to.")
    Bank.is_up = True
    time.sleep(ask(port, "/pay"))
    ask(port, "/pay")
    ask(port, "/health/circuits", Authorization="Bearer s3cret")


def ask(port: int, path: str, **headers: str) -> int:
    """Send a request, show what came back, and return in how many seconds to come again."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
    wait = answer.getheader("Retry-After")
    print(f"  GET {path:<17} {answer.status}{f', Retry-After: {wait}' if wait else ''}  {short(body)}")
    return int(wait or 0)


def short(body: str) -> str:
    if not body.startswith("{"):
        return "a page" if body.startswith("<") else body
    said = json.loads(body)
    circuits = [
        f"{each['name']} is {each['state']}: {each['reason'] or 'all is well'}" for each in said.get("circuits", ())
    ]
    return "; ".join(circuits) or said.get("detail", said["title"])


def main() -> None:
    with serving(app) as port:
        tell_story(port)


if __name__ == "__main__":
    main()
