"""Litestar: 503 for a refused call.

    Litestar([...], plugins=[CircuitOpenPlugin()])

This is a plugin because Litestar turns exceptions into responses before any middleware sees them. For the health of
circuits, mount `circuitbreaker.integrations.asgi.HealthEndpoint`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from litestar import Request, Response
from litestar.plugins import InitPlugin

from ..errors import CircuitOpenError
from ..problems import boolean, problem

if TYPE_CHECKING:
    from litestar.config.app import AppConfig

__all__ = ["CircuitOpenPlugin"]


class CircuitOpenPlugin(InitPlugin):
    """Responds with 503 if a route handler raises a `CircuitOpenError`; see `problems.problem`.

    An exception handler for that error which the application has itself takes precedence. Websockets are left to
    Litestar.

    Args:
        details: whether the response says which circuit refused, and why.

    Raises:
        TypeError: `details` is neither `True` nor `False`.
    """

    def __init__(self, *, details: bool = False) -> None:
        self._details = boolean("details", details)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the exception handler to the application."""
        handlers = cast("Any", app_config.exception_handlers)  # pyright: ignore[reportUnknownMemberType]  # half typed
        app_config.exception_handlers = {CircuitOpenError: self._answer, **handlers}
        return app_config

    def _answer(self, request: Request[Any, Any, Any], error: CircuitOpenError) -> Response[bytes]:
        accept = ", ".join(request.headers.getall("accept", []))
        answer = problem(error, method=request.method, accept=accept, details=self._details)
        return Response(answer.body, status_code=answer.status, headers=answer.headers)
