"""Litestar: an open circuit becomes 503.

    Litestar([...], plugins=[CircuitBreakerPlugin()])

Litestar makes answers of exceptions before any middleware sees them, hence a plugin in the place of one. For the
circuits' health mount `circuitbreaker.integrations.asgi.HealthEndpoint`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from litestar import Request, Response
from litestar.plugins import InitPlugin

from ..errors import CircuitOpenError
from ..problems import boolean, problem

if TYPE_CHECKING:
    from litestar.config.app import AppConfig

__all__ = ["CircuitBreakerPlugin"]


class CircuitBreakerPlugin(InitPlugin):
    """Answers 503 when a handler lets a `CircuitOpenError` out; see `problems.problem`.

    A handler for that error which the application names itself comes first. Websockets are Litestar's own affair.

    Args:
        details: whether the answer says which circuit refused, and why.
    """

    def __init__(self, *, details: bool = False) -> None:
        self._details = boolean("details", details)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Have the application answer by us."""
        handlers = cast("Any", app_config.exception_handlers)  # pyright: ignore[reportUnknownMemberType]  # half typed
        app_config.exception_handlers = {CircuitOpenError: self._answer, **handlers}
        return app_config

    def _answer(self, request: Request[Any, Any, Any], error: CircuitOpenError) -> Response[bytes]:
        accept = ", ".join(request.headers.getall("accept", []))
        answer = problem(error, method=request.method, accept=accept, details=self._details)
        return Response(answer.body, status_code=answer.status, headers=answer.headers)
