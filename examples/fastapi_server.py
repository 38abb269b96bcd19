"""A FastAPI service that guards an endpoint with a circuit, as a dependency, while its bank fails.

    python examples/fastapi_server.py

It needs FastAPI and uvicorn.
"""

from __future__ import annotations

try:
    import uvicorn
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.responses import PlainTextResponse
    from starlette.routing import Route
except ImportError:
    raise SystemExit(
        "This example needs FastAPI and uvicorn: pip install 'circuitbreaker-kit[fastapi]' uvicorn"
    ) from None

from _story import ask, bank, run_story, serving_asgi

from circuitbreaker import CircuitBreaker
from circuitbreaker.integrations.asgi import CircuitOpenMiddleware, HealthEndpoint
from circuitbreaker.integrations.fastapi import guard

payments = CircuitBreaker("payments", failure_threshold=3, reset_timeout=2)
app = FastAPI()
app.add_middleware(CircuitOpenMiddleware)
app.router.routes.append(Route("/health/circuits", HealthEndpoint(critical=["payments"], token="s3cret")))


@app.get("/pay", dependencies=[Depends(guard("payments"))], response_class=PlainTextResponse)
async def pay(card: int = 1) -> str:  # `guard` works for sync endpoints, too.
    if card == 0:
        raise HTTPException(404, "there is no such card")
    try:
        return bank.charge()
    except ConnectionError as error:
        raise HTTPException(502, str(error)) from error


def main() -> None:
    with serving_asgi(uvicorn.Server(uvicorn.Config(app, log_level="warning"))) as port:
        print("Errors of the client are ignored: neither a success nor a failure of the bank.")
        for path in ("/pay?card=0", "/pay?card=0", "/pay?card=none", "/pay?card=none"):
            ask(port, path)
        print(f"  The circuit is {payments.state}, with {payments.metrics().total_ignored} calls ignored.\n")
        run_story(port)


if __name__ == "__main__":
    main()
