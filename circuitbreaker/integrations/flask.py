"""Flask: an open circuit becomes 503, and the circuits of a registry a view.

    CircuitOpen(app)
    app.add_url_rule("/health/circuits", view_func=health(token="..."))

What Flask has in the place of a middleware for errors is a handler; the name is that of its siblings.
"""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType

from flask import Flask, Response, request

from ..errors import CircuitOpenError
from ..health import Critical, Health
from ..problems import Answer, boolean, problem
from ..registry import Registry

__all__ = ["CircuitOpen", "health"]


class CircuitOpen:
    """Answers 503 when a view lets a `CircuitOpenError` out; see `problems.problem`.

    It is an error handler, like those of the application: one of a blueprint's that takes every `Exception` comes
    before it. An error in the middle of a streamed body goes on to the server.

    Args:
        app: the application; or none, to be given to `init_app` later.
        details: whether the answer says which circuit refused, and why.
    """

    def __init__(self, app: Flask | None = None, *, details: bool = False) -> None:
        self._details = boolean("details", details)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Take care of `app`, too."""
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
) -> Callable[[], Response]:
    """The circuits of a registry, as a view; see `circuitbreaker.health.Health` for the arguments."""
    circuits = Health(registry, critical=critical, token=token, details=details)

    def circuits_health() -> Response:
        authorization = request.headers.get("Authorization")
        return _response(circuits.answer(method=request.method, authorization=authorization))

    circuits_health.provide_automatic_options = False  # type: ignore[attr-defined]  # Flask looks for it here
    return circuits_health


def _response(answer: Answer) -> Response:
    # A list, for of a string Flask takes the length, and to HEAD it is empty.
    return Response([answer.body], answer.status, answer.headers)
