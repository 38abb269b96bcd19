"""ASGI: an open circuit becomes 503, and the circuits of a registry an application. For Starlette, FastAPI and others.

    app.add_middleware(CircuitOpenMiddleware)
    app.router.routes.append(Route("/health/circuits", HealthEndpoint(token="...")))

Nothing is imported but this package. Litestar makes answers of exceptions before any middleware sees them: its own
module is `circuitbreaker.integrations.litestar`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from types import EllipsisType
from typing import Any

from ..health import Critical, Health
from ..problems import Answer, boolean, problem, refusal_in
from ..registry import Registry

__all__ = ["CircuitOpenMiddleware", "HealthEndpoint"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_DENIAL = "websocket.http.response"
_BEGINNINGS = {"http.response.start", "websocket.accept", "websocket.close", f"{_DENIAL}.start"}
_TRY_AGAIN_LATER = 1013  # IANA, WebSocket Close Code Number Registry


class CircuitOpenMiddleware:
    """Answers 503 when `app` lets a `CircuitOpenError` out, or a group of nothing else; see `problems.problem`.

    A websocket that is not accepted yet is denied by the same answer where the server can do that, and is closed with
    1013 otherwise. If the answer has begun, or the websocket is accepted, the error goes on to the server.

    Args:
        app: the application.
        details: whether the answer says which circuit refused, and why.
    """

    def __init__(self, app: App, *, details: bool = False) -> None:
        self._app = app
        self._details = boolean("details", details)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] in _BEGINNINGS
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:  # and not kept here, where it would keep itself
            answer = None if begun else self._answer_to(error, scope)
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
    """The circuits of a registry, as an ASGI application; see `circuitbreaker.health.Health` for the arguments."""

    def __init__(
        self,
        registry: Registry | EllipsisType = ...,
        *,
        critical: Critical = (),
        token: str | None = None,
        details: bool = False,
    ) -> None:
        self._health = Health(registry, critical=critical, token=token, details=details)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a websocket is closed."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            answer = self._health.answer(method=scope["method"], authorization=_header(scope, b"authorization"))
            await _answer(answer, scope, send)
        else:
            raise ValueError(f"the circuits' health is for HTTP requests, got a scope of type {scope['type']!r}")


def _header(scope: Scope, name: bytes) -> str | None:
    """All that the request has under `name`, as one; `None` if there is none."""
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
