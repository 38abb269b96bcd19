"""A Flask service whose bank is down: its callers are told when to come back, and a probe sees the circuit.

    python examples/flask_server.py

It needs Flask: `pip install flask`.
"""

from __future__ import annotations

import http.client
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

try:
    from flask import Flask
    from werkzeug.serving import make_server
except ImportError:
    sys.exit("This needs Flask: pip install flask")

from circuitbreaker import circuit
from circuitbreaker.integrations.flask import CircuitOpen, health

# The bank, which the service needs.


class Bank:
    """It answers, or it does not."""

    is_up = True


@circuit(name="payments", failure_threshold=3, reset_timeout=2)
def charge() -> str:
    if not Bank.is_up:  # Your client goes here.
        raise ConnectionError("the bank does not answer")
    return "paid"


# The service. Nothing in it speaks of open circuits, but the middleware.

app = Flask(__name__)
CircuitOpen(app)
app.add_url_rule("/health/circuits", view_func=health(critical=["payments"], token="s3cret"))


@app.get("/pay")
def pay() -> str:
    return charge()


@app.errorhandler(ConnectionError)
def bad_gateway(error: ConnectionError) -> tuple[str, int]:
    return str(error), 502


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """The service on the server that Flask develops with, in a thread; yields its port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
