"""FastAPI: a dependency that guards the call of an endpoint.

    @app.post("/orders", dependencies=[Depends(guard("payments"))])

The response to a refused call comes from `circuitbreaker.integrations.asgi.CircuitOpenMiddleware`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from ..breaker import CircuitBreaker
from ..registry import default_registry, get_breaker

__all__ = ["guard"]


def guard(breaker: str | CircuitBreaker) -> Callable[[], AsyncIterator[CircuitBreaker]]:
    """Return a dependency that guards the endpoint's call and yields the breaker: `Depends(guard("payments"))`.

    The endpoint may be sync or async. A refused call raises `CircuitOpenError`, and the endpoint does not run. Errors
    are judged by the breaker's options, except for the client's own, which say nothing about the dependency and are
    ignored: an `HTTPException` below 500, a request that FastAPI finds invalid, a client that has disconnected.

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

    async def guarded() -> AsyncIterator[CircuitBreaker]:
        found = find()
        permit = found.acquire()
        try:
            yield found
        except BaseException as error:
            if _is_the_clients(error):
                permit.release()
            else:
                permit.settle(error)
            raise
        permit.success()

    return guarded


_CLIENT_ERRORS = (RequestValidationError, WebSocketRequestValidationError, ClientDisconnect, WebSocketDisconnect)


def _is_the_clients(error: BaseException) -> bool:
    return isinstance(error, _CLIENT_ERRORS) or (isinstance(error, HTTPException) and error.status_code < 500)
