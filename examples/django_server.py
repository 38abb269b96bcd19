"""A Django service whose bank is down: its callers are told when to come back, and a probe sees the circuit.

    python examples/django_server.py

It needs Django: `pip install django`.
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
from wsgiref.simple_server import WSGIRequestHandler, make_server

try:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path
except ImportError:
    sys.exit("This needs Django: pip install django")

from circuitbreaker import circuit
from circuitbreaker.integrations.django import health

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


def pay(request: HttpRequest) -> HttpResponse:
    try:
        return HttpResponse(charge(), content_type="text/plain")
    except ConnectionError as error:
        return HttpResponse(str(error), content_type="text/plain", status=502)


urlpatterns = [
    path("pay", pay),
    path("health/circuits", health(critical=["payments"], token="s3cret")),
]
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    LOGGING_CONFIG=None,
    MIDDLEWARE=["circuitbreaker.integrations.django.CircuitOpenMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for the example alone",
)


class Quiet(WSGIRequestHandler):
    """Handles requests, and does not write them down."""

    def log_message(self, *args: object) -> None:
        """Say nothing: the story is told below."""


@contextmanager
def serving() -> Iterator[int]:
    """The service on the standard library's server, in a thread; yields its port."""
    django.setup()
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # Django logs each answer from 400 on.
    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
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
    with serving() as port:
        tell_story(port)


if __name__ == "__main__":
    main()
