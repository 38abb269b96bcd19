"""FastAPI: a dependency that puts a circuit around the call of an endpoint.

    @app.post("/orders", dependencies=[Depends(guard("payments"))])

The answer to a refused call comes from `circuitbreaker.integrations.asgi.CircuitOpenMiddleware`.
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
    """A dependency that lasts as long as the endpoint's call, and gives the breaker; for `Depends(guard("payments"))`.

    The endpoint may be sync or async. A refused call raises `CircuitOpenError`, and the endpoint does not run. What it
    raises is judged as the breaker's options say, but for what is the client's and says nothing about the dependency:
    an `HTTPException` below 500, a request that FastAPI found invalid, a client that is gone.

    The call ends when the answer has been sent; with `Depends(guard(...), scope="function")`, from FastAPI 0.121, when
    the endpoint returns.

    Args:
        breaker: a breaker; or the name of one, which is looked up in the default registry at each call. If there is
            none of that name then, one is made, with the registry's defaults, and held by the registry.

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
            if _says_nothing(error):
                permit.release()
            else:
                permit.settle(error)
            raise
        permit.success()

    return guarded


_THE_CLIENTS = (RequestValidationError, WebSocketRequestValidationError, ClientDisconnect, WebSocketDisconnect)


def _says_nothing(error: BaseException) -> bool:
    return isinstance(error, _THE_CLIENTS) or (isinstance(error, HTTPException) and error.status_code < 500)
