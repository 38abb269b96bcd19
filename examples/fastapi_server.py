"""A FastAPI service whose endpoints a circuit guards as a dependency, be they sync or async.

    python examples/fastapi_server.py

It needs FastAPI and uvicorn: `pip install fastapi uvicorn`.
"""

from __future__ import annotations

import http.client
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

try:
    import uvicorn
    from fastapi import Depends, FastAPI, HTTPException
    from starlette.routing import Route
except ImportError:
    sys.exit("This needs FastAPI and uvicorn: pip install fastapi uvicorn")

from circuitbreaker import CircuitBreaker
from circuitbreaker.integrations.asgi import CircuitOpenMiddleware, HealthEndpoint
from circuitbreaker.integrations.fastapi import guard

# The bank, which the service needs.


class Bank:
    """It answers, or it does not."""

    is_up = True
    calls = 0


def charge(card: int) -> str:
    Bank.calls += 1
    if not Bank.is_up:  # Your client goes here.
        raise HTTPException(502, "the bank does not answer")
    if card == 0:
        raise HTTPException(404, "there is no such card")
    return "paid"


# The service. One circuit for all that needs the bank; FastAPI finds it by name.

payments = CircuitBreaker("payments", failure_threshold=3, reset_timeout=2)
app = FastAPI()
app.add_middleware(CircuitOpenMiddleware)
app.router.routes.append(Route("/health/circuits", HealthEndpoint()))


@app.get("/pay/{card}", dependencies=[Depends(guard("payments"))])
def pay(card: int) -> str:
    return charge(card)


@app.get("/pay-async/{card}", dependencies=[Depends(guard("payments"))])
async def pay_async(card: int) -> str:
    return charge(card)


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """The service on uvicorn, in a thread; yields its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


# What happens.


def tell_story(port: int) -> None:
    print("The bank works. What is the caller's fault is not the bank's, and does not count against it.")
    ask(port, "/pay/1")
    for _ in range(2):
        ask(port, "/pay/0")
        ask(port, "/pay/nonsense")
    print(f"  The circuit is {payments.state}.")

    print("\nThe bank is down: three calls, sync or async, find that out.")
    Bank.is_up = False
    for path in ("/pay/1", "/pay-async/1", "/pay/1"):
        ask(port, path)
    before = Bank.calls
    for path in ("/pay/1", "/pay-async/1"):
        ask(port, path)
    print(f"  The circuit is {payments.state}: {Bank.calls - before} calls reached the bank since.")
    ask(port, "/health/circuits")

    print("\nThe bank is back. The caller comes again when it was told to.")
    Bank.is_up = True
    time.sleep(ask(port, "/pay-async/1"))
    ask(port, "/pay-async/1")
    deadline = time.monotonic() + 5
    while payments.state.value != "closed" and time.monotonic() < deadline:
        time.sleep(0.01)  # The block ends once the answer is sent, so the client may be faster.
    print(f"  The circuit is {payments.state}.")


def ask(port: int, path: str) -> int:
    """Send a request, show what came back, and return in how many seconds to come again."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
    wait = answer.getheader("Retry-After")
    print(f"  GET {path:<17} {answer.status}{f', Retry-After: {wait}' if wait else ''}  {body[:60]}")
    return int(wait or 0)


def main() -> None:
    with serving(app) as port:
        tell_story(port)


if __name__ == "__main__":
    main()
