"""Litestar: 503 for a refused call.

    Litestar([...], plugins=[CircuitOpenPlugin()])

This is a plugin because Litestar turns exceptions into responses before any middleware sees them. For the health of
circuits, mount `circuitbreaker.integrations.asgi.HealthEndpoint`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.exceptions import responses as _responses
from litestar.plugins import InitPlugin

from ..errors import CircuitOpenError
from ..problems import boolean, problem, refusal_in

if TYPE_CHECKING:
    from litestar.config.app import AppConfig

__all__ = ["CircuitOpenPlugin"]


class CircuitOpenPlugin(InitPlugin):
    """Responds with 503 if a route handler raises a `CircuitOpenError`, or a group of nothing else.

    See `problems.problem`. Exception handlers that are for the error take precedence, and so does one for every
    `Exception` that the application has itself; it then gets the groups. Websockets are left to Litestar.

    Args:
        details: whether the response says which circuit refused, and why.

    Raises:
        TypeError: `details` is neither `True` nor `False`.
    """

    def __init__(self, *, details: bool = False) -> None:
        self._details = boolean("details", details)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the exception handlers to the application."""
        handlers = cast("Any", app_config.exception_handlers)  # pyright: ignore[reportUnknownMemberType]  # half typed
        ours: dict[Any, Any] = {CircuitOpenError: self._answer, Exception: self._answer_any}
        app_config.exception_handlers = {**ours, **handlers}
        return app_config

    def _answer(self, request: Request[Any, Any, Any], error: CircuitOpenError) -> Response[bytes]:
        accept = ", ".join(request.headers.getall("accept", []))
        answer = problem(error, method=request.method, accept=accept, details=self._details)
        return Response(answer.body, status_code=answer.status, headers=answer.headers)

    def _answer_any(self, request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        """Litestar looks for a handler by the error's type, which may be any that has a refusal in it."""
        handlers = _handlers_of(request)
        refusal = refusal_in(error)
        if refusal is None:
            return _answer_otherwise(request, error, handlers)
        handler = next(handlers[each] for each in type(refusal).__mro__ if each in handlers)
        return cast("Response[Any]", handler(request, refusal))


def _handlers_of(request: Any) -> dict[Any, Any]:
    """By type or status, the exception handlers for `request`, of all layers."""
    route = request.scope.get("route_handler")
    handlers = request.app.exception_handlers if route is None else route.resolve_exception_handlers()
    return cast("dict[Any, Any]", handlers)


def _answer_otherwise(request: Any, error: Any, handlers: dict[Any, Any]) -> Response[Any]:
    """Respond to `error` as Litestar does when it finds no handler for its type."""
    responses: Any = _responses  # half typed
    is_http = isinstance(error, HTTPException)
    is_fault = not is_http or error.status_code == 500
    if not is_http and 500 in handlers:
        answer = handlers[500]
    elif is_fault and request.app.debug:
        answer = responses.create_debug_response
    else:
        answer = responses.create_exception_response
    return cast("Response[Any]", answer(request, error))
