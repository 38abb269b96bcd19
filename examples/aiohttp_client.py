"""One circuit per host with aiohttp: one host breaks off its answers, the other asks its clients to wait.

    python examples/aiohttp_client.py

It needs aiohttp. Both hosts are real servers on loopback. It takes less than a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

try:
    import aiohttp
    from aiohttp import web
except ImportError:
    raise SystemExit("This example needs aiohttp: pip install 'circuitbreaker-kit[aiohttp]'") from None

from circuitbreaker import CircuitOpenError
from circuitbreaker.integrations.aiohttp import CircuitBreakerMiddleware


async def answer(request: web.Request) -> web.StreamResponse:
    """`/prices` breaks off in the middle, `/stock` is busy and sends `Retry-After`, `/fruit` works."""
    if request.path == "/stock":
        return web.Response(status=503, headers={"Retry-After": "120"})
    if request.path == "/fruit":
        return web.Response(text="three apples, two pears")
    response = web.StreamResponse(headers={"Content-Length": "23"})
    await response.prepare(request)
    await response.write(b"three apples")
    if request.transport is not None:
        request.transport.close()
    return response


@asynccontextmanager
async def running() -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def attempt(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url) as response:
            return f"{response.status} {await response.text()}"
    except CircuitOpenError as error:
        return f"not sent: {error.reason}; next trial in {error.retry_after:.0f} s"
    except aiohttp.ClientError as error:
        return f"{type(error).__name__}"


async def main() -> None:
    guard = CircuitBreakerMiddleware(failure_threshold=2)
    async with running() as prices, running() as stock, aiohttp.ClientSession(middlewares=[guard]) as session:
        names = {prices: "prices", stock: "stock"}
        for url in [f"{prices}/fruit", *[f"{prices}/prices"] * 3, *[f"{stock}/stock"] * 3]:
            print(f"{names[url.rpartition('/')[0]]:>7}  {await attempt(session, url)}")
        print()
        for host, breaker in guard.breakers.items():
            now = breaker.metrics()
            print(f"{names[host]:>7}  {now.state}, {now.total_successes} succeeded, {now.total_failures} failed")


if __name__ == "__main__":
    asyncio.run(main())
