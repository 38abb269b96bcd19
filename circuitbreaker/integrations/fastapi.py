"""FastAPI: a dependency that guards the call of an endpoint.

    @app.post("/orders", dependencies=[Depends(guard("payments"))])

The response to a refused call comes from `circuitbreaker.integrations.asgi.CircuitOpenMiddleware`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from traceback import walk_stack
from typing import Any

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from ..breaker import CircuitBreaker
from ..registry import default_registry, get_breaker

__all__ = ["guard"]

_NONE: Any = None  # FastAPI finds no connection to pass if its annotation is a union.


def guard(breaker: str | CircuitBreaker) -> Callable[[], AsyncIterator[CircuitBreaker]]:
    """Return a dependency that guards the endpoint's call and yields the breaker: `Depends(guard("payments"))`.

    The endpoint may be sync or async. A refused call raises `CircuitOpenError`, and the endpoint does not run. Errors
    are judged by the breaker's options, except for the client's own, which say nothing about the dependency and are
    ignored: an `HTTPException` below 500, a request that FastAPI finds invalid, a client that has disconnected, also in
    the middle of a streamed response (from FastAPI 0.121).

    The call ends when the response has been sent; with `Depends(guard(...), scope="function")`, from FastAPI 0.121,
    when the endpoint returns.

    Args:
        breaker: a breaker; or a name, which is looked up in the default registry at each call. If there is no breaker
            of that name, the registry makes one with its defaults, and keeps a reference to it.

    Raises:
        TypeError: `breaker` is neither.
    """
    if not isinstance(breaker, str | CircuitBreaker):
        raise TypeError(f"breaker must be a CircuitBreaker or the name of one, got {breaker!r}")

    def find() -> CircuitBreaker:
        if isinstance(breaker, CircuitBreaker):
            return breaker
        try:
            return get_breaker(breaker)
        except KeyError:
            return default_registry().get_or_create(breaker)

    async def guarded(connection: HTTPConnection = _NONE) -> AsyncIterator[CircuitBreaker]:
        found = find()
        permit = found.acquire()
        stream = _Stream(connection)
        try:
            yield found
        except BaseException as error:
            if _is_the_clients(error):
                permit.release()
            else:
                permit.settle(error)
            raise
        if stream.is_unfinished:
            permit.release()
        else:
            permit.success()

    return guarded


class _Stream:
    """The body of a streamed response, which notes whether it came to its end.

    When the client leaves, Starlette stops the body and raises nothing. A dependency is not passed the response, so it
    is found in the frame that sends it.
    """

    def __init__(self, connection: HTTPConnection | None) -> None:
        self._parts: Any = None
        self._ended = False
        stack = None if connection is None else connection.scope.get("fastapi_function_astack")
        if isinstance(stack, AsyncExitStack):
            stack.callback(self._watch)  # It is called when the endpoint has returned, and nothing has been sent.

    @property
    def is_unfinished(self) -> bool:
        return self._parts is not None and not self._ended

    def _watch(self) -> None:
        for frame, _ in walk_stack(None):
            found = frame.f_locals.get("response")
            if isinstance(found, Response):
                response: Any = found
                if hasattr(response, "body_iterator"):
                    self._parts = aiter(response.body_iterator)
                    response.body_iterator = self
                return

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._parts.__anext__()
        except StopAsyncIteration:
            self._ended = True
            raise


_CLIENT_ERRORS = (RequestValidationError, WebSocketRequestValidationError, ClientDisconnect, WebSocketDisconnect)


def _is_the_clients(error: BaseException) -> bool:
    return isinstance(error, _CLIENT_ERRORS) or (isinstance(error, HTTPException) and error.status_code < 500)
