"""ASGI: 503 for a refused call, and the health of a registry's circuits. For Starlette, FastAPI and others.

    app.add_middleware(CircuitOpenMiddleware)
    app.router.routes.append(Route("/health/circuits", HealthEndpoint(token="...")))

Only this package and the standard library are imported. Litestar turns exceptions into responses before any middleware
sees them, and has a module of its own: `circuitbreaker.integrations.litestar`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from types import EllipsisType
from typing import Any

from ..health import DEFAULT_LIMIT, Critical, Health
from ..problems import Answer, boolean, problem, refusal_in
from ..registry import Registry

__all__ = ["CircuitOpenMiddleware", "HealthEndpoint"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DENIAL = "websocket.http.response"
_STARTS = {"http.response.start", "websocket.accept", "websocket.close", f"{_DENIAL}.start"}
_TRY_AGAIN_LATER = 1013  # IANA, WebSocket Close Code Number Registry


class CircuitOpenMiddleware:
    """Responds with 503 if `app` raises a `CircuitOpenError`, or a group of nothing else; see `problems.problem`.

    A websocket that is not yet accepted is denied with the same response if the server supports that, and closed with
    1013 otherwise. Once the response has started, or the websocket is accepted, the error goes on to the server.

    Args:
        app: the application.
        details: whether the response says which circuit refused, and why.

    Raises:
        TypeError: `details` is neither `True` nor `False`.
    """

    def __init__(self, app: App, *, details: bool = False) -> None:
        self._app = app
        self._details = boolean("details", details)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] in _STARTS
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:  # not stored: its traceback refers to this frame, which would make a cycle
            answer = None if started else self._answer_to(error, scope)
            if answer is None:
                raise
        else:
            return
        await _answer(answer, scope, send)

    def _answer_to(self, error: Exception, scope: Scope) -> Answer | None:
        refusal = refusal_in(error)
        if refusal is None or scope["type"] not in ("http", "websocket"):
            return None
        accept = _header(scope, b"accept")
        return problem(refusal, method=scope.get("method", "GET"), accept=accept, details=self._details)


class HealthEndpoint:
    """The health of a registry's circuits, as an ASGI application. Takes the arguments of `health.Health`."""

    def __init__(
        self,
        registry: Registry | EllipsisType = ...,
        *,
        critical: Critical = (),
        token: str | None = None,
        details: bool = False,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self._health = Health(registry, critical=critical, token=token, details=details, limit=limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request; close a websocket.

        Raises:
            ValueError: the scope is of another type.
        """
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            answer = self._health.answer(method=scope["method"], authorization=_header(scope, b"authorization"))
            await _answer(answer, scope, send)
        else:
            raise ValueError(f"HealthEndpoint is for HTTP requests, got a scope of type {scope['type']!r}")


def _header(scope: Scope, name: bytes) -> str | None:
    """All of the request's headers called `name`, joined by commas; `None` if there is none."""
    values = [bytes(value).decode("latin-1") for each, value in scope["headers"] if each.lower() == name]
    return ", ".join(values) if values else None


async def _answer(answer: Answer, scope: Scope, send: Send) -> None:
    if scope["type"] == "http":
        kind = "http.response"
    elif _DENIAL in (scope.get("extensions") or {}):
        kind = _DENIAL
    else:
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        return
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": f"{kind}.start", "status": answer.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": answer.body})
