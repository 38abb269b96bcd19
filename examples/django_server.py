"""A Django service whose bank fails: its clients learn when to try again, and a probe sees the circuit.

    python examples/django_server.py

It needs Django.
"""

from __future__ import annotations

import logging
from wsgiref.simple_server import WSGIRequestHandler, make_server

try:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path
except ImportError:
    raise SystemExit("This example needs Django: pip install 'circuitbreaker-kit[django]'") from None

from _story import bank, run_story, serving

from circuitbreaker import circuit
from circuitbreaker.integrations.django import health


@circuit(name="payments", failure_threshold=3, reset_timeout=2)
def charge() -> str:
    return bank.charge()


def pay(request: HttpRequest) -> HttpResponse:  # Refusals are left to the middleware.
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
    SECRET_KEY="only for this example",
)


class Handler(WSGIRequestHandler):
    """Handles requests without logging them."""

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def main() -> None:
    django.setup()
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # Django logs every answer from 400 up.
    with serving(make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Handler)) as port:
        run_story(port)


if __name__ == "__main__":
    main()
