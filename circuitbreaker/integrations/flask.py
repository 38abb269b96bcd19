"""Flask: 503 for a refused call, and the health of a registry's circuits.

CircuitOpen(app)
app.add_url_rule("/health/circuits", view_func=health(token="..."))
"""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType

from flask import Flask, Response, request

from ..errors import CircuitOpenError
from ..health import DEFAULT_LIMIT, Critical, Health
from ..problems import Answer, boolean, problem
from ..registry import Registry

__all__ = ["CircuitOpen", "health"]


class CircuitOpen:
    """Responds with 503 if a view raises a `CircuitOpenError`; see `problems.problem`.

    It is an error handler of the application, so a blueprint's handler for every `Exception` takes precedence. An error
    in the middle of a streamed body goes on to the server.

    Args:
        app: the application; if not given, call `init_app` later.
        details: whether the response says which circuit refused, and why.

    Raises:
        TypeError: `details` is neither `True` nor `False`.
    """

    def __init__(self, app: Flask | None = None, *, details: bool = False) -> None:
        self._details = boolean("details", details)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the error handler with `app`. Any number of applications may share one."""
        app.register_error_handler(CircuitOpenError, self._answer)

    def _answer(self, error: CircuitOpenError) -> Response:
        accept = request.headers.get("Accept")
        return _response(problem(error, method=request.method, accept=accept, details=self._details))


def health(
    registry: Registry | EllipsisType = ...,
    *,
    critical: Critical = (),
    token: str | None = None,
    details: bool = False,
    limit: int = DEFAULT_LIMIT,
) -> Callable[[], Response]:
    """Return a view of the health of a registry's circuits. Takes the arguments of `circuitbreaker.health.Health`."""
    circuits = Health(registry, critical=critical, token=token, details=details, limit=limit)

    def circuits_health() -> Response:
        authorization = request.headers.get("Authorization")
        return _response(circuits.answer(method=request.method, authorization=authorization))

    circuits_health.provide_automatic_options = False  # type: ignore[attr-defined]  # Flask looks for it here
    return circuits_health


def _response(answer: Answer) -> Response:
    # A list: from bytes Flask would set the Content-Length, and for HEAD they are empty.
    return Response([answer.body], answer.status, answer.headers)
