"""A Starlette service whose bank fails: its clients learn when to try again, and a probe sees the circuit.

    python examples/asgi_server.py

It needs Starlette and uvicorn. The same middleware and endpoint work in any ASGI application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
except ImportError:
    raise SystemExit("This example needs Starlette and uvicorn: pip install starlette uvicorn") from None

from _story import bank, run_story, serving_asgi

from circuitbreaker import circuit
from circuitbreaker.integrations.asgi import CircuitOpenMiddleware, HealthEndpoint

if TYPE_CHECKING:
    from starlette.requests import Request


@circuit(name="payments", failure_threshold=3, reset_timeout=2)
def charge() -> str:
    return bank.charge()


async def pay(request: Request) -> Response:  # Refusals are left to the middleware.
    return PlainTextResponse(charge())


async def bad_gateway(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), status_code=502)


app = Starlette(
    routes=[
        Route("/pay", pay),
        Route("/health/circuits", HealthEndpoint(critical=["payments"], token="s3cret")),
    ],
    middleware=[Middleware(CircuitOpenMiddleware)],
    exception_handlers={ConnectionError: bad_gateway},
)


def main() -> None:
    with serving_asgi(uvicorn.Server(uvicorn.Config(app, log_level="warning"))) as port:
        run_story(port)


if __name__ == "__main__":
    main()
