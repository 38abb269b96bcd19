"""A Litestar service whose bank fails: its clients learn when to try again, and a probe sees the circuit.

    python examples/litestar_server.py

It needs Litestar and uvicorn. In Litestar a plugin takes the place of the middleware.
"""

from __future__ import annotations

try:
    import uvicorn
    from litestar import Litestar, MediaType, Request, Response, asgi, get
except ImportError:
    raise SystemExit(
        "This example needs Litestar and uvicorn: pip install 'circuitbreaker-kit[litestar]' uvicorn"
    ) from None

from _story import bank, run_story, serving_asgi

from circuitbreaker import circuit
from circuitbreaker.integrations.asgi import HealthEndpoint
from circuitbreaker.integrations.litestar import CircuitOpenPlugin


@circuit(name="payments", failure_threshold=3, reset_timeout=2)
def charge() -> str:
    return bank.charge()


@get("/pay", media_type=MediaType.TEXT)
async def pay() -> str:  # Refusals are left to the plugin.
    return charge()


def bad_gateway(request: Request, error: ConnectionError) -> Response:
    return Response(str(error), status_code=502, media_type=MediaType.TEXT)


health = asgi("/health/circuits", copy_scope=True)(HealthEndpoint(critical=["payments"], token="s3cret"))
app = Litestar(
    [pay, health],
    plugins=[CircuitOpenPlugin()],
    exception_handlers={ConnectionError: bad_gateway},
    logging_config=None,
)


def main() -> None:
    with serving_asgi(uvicorn.Server(uvicorn.Config(app, log_level="warning"))) as port:
        run_story(port)


if __name__ == "__main__":
    main()
