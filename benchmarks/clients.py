"""What a guard adds to a request: each client on loopback, with its guard over without, in turns.

The server is another process. Requests on loopback are the cheapest, so elsewhere the share of a guard is smaller.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from . import table
from .loops import Loop
from .processes import ROOT
from .timing import best_of_many

__all__ = ["measure"]

Pair = tuple[Loop, Loop]
"""Requests without a guard, and with it."""
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def measure(seconds: float) -> None:
    """Print one line per client. Each takes `seconds`."""
    try:
        import circuitbreaker.integrations.aiohttp
        import circuitbreaker.integrations.grpc
        import circuitbreaker.integrations.httpx
        import circuitbreaker.integrations.httpx2
        import circuitbreaker.integrations.requests  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"benchmarks: clients needs the extra `test`: {error}") from error
    table.header("one request on loopback, best of many")
    for what, (protocol, make) in CLIENTS.items():
        with serving(protocol) as port, ExitStack() as stack:
            plain, guarded = make(port, stack)
            floor, ours = best_of_many(plain, guarded, 200, seconds)
        table.line(what, f"{floor * 1e6:.0f} us", f"{ours * 1e6:.0f} us", ours / floor, None, "x")


@contextmanager
def serving(protocol: str) -> Iterator[int]:
    """Run a server; yields its port."""
    command = [sys.executable, "-m", "benchmarks.site", protocol]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


def repeats(request: Callable[[], object]) -> Loop:
    def loop(number: int) -> None:
        for _ in range(number):
            request()

    return loop


def awaits(run: Run, request: Callable[[], Awaitable[object]]) -> Loop:
    async def many(number: int) -> None:
        for _ in range(number):
            await request()

    return lambda number: run(many(number))


def runner(stack: ExitStack) -> Run:
    """Returns a function that runs coroutines one after another in one loop."""
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    return loop.run_until_complete


def of_httpx(library: Any, ours: Any, port: int, stack: ExitStack) -> Pair:
    url = f"http://127.0.0.1:{port}/"
    plain = stack.enter_context(library.Client(transport=library.HTTPTransport()))
    guarded = stack.enter_context(library.Client(transport=ours.CircuitBreakerTransport()))
    return repeats(lambda: plain.get(url)), repeats(lambda: guarded.get(url))


def of_async_httpx(library: Any, ours: Any, port: int, stack: ExitStack) -> Pair:
    url, run = f"http://127.0.0.1:{port}/", runner(stack)
    plain = library.AsyncClient(transport=library.AsyncHTTPTransport())
    guarded = library.AsyncClient(transport=ours.AsyncCircuitBreakerTransport())
    for client in (plain, guarded):
        stack.callback(lambda client=client: run(client.aclose()))
    return awaits(run, lambda: plain.get(url)), awaits(run, lambda: guarded.get(url))


def httpx(port: int, stack: ExitStack) -> Pair:
    import httpx

    from circuitbreaker.integrations import httpx as ours

    return of_httpx(httpx, ours, port, stack)


def async_httpx(port: int, stack: ExitStack) -> Pair:
    import httpx

    from circuitbreaker.integrations import httpx as ours

    return of_async_httpx(httpx, ours, port, stack)


def httpx2(port: int, stack: ExitStack) -> Pair:
    import httpx2

    from circuitbreaker.integrations import httpx2 as ours

    return of_httpx(httpx2, ours, port, stack)


def async_httpx2(port: int, stack: ExitStack) -> Pair:
    import httpx2

    from circuitbreaker.integrations import httpx2 as ours

    return of_async_httpx(httpx2, ours, port, stack)


def requests(port: int, stack: ExitStack) -> Pair:
    import requests

    from circuitbreaker.integrations.requests import CircuitBreakerAdapter

    url = f"http://127.0.0.1:{port}/"
    plain, guarded = stack.enter_context(requests.Session()), stack.enter_context(requests.Session())
    guarded.mount("http://", CircuitBreakerAdapter())
    return repeats(lambda: plain.get(url)), repeats(lambda: guarded.get(url))


def aiohttp(port: int, stack: ExitStack) -> Pair:
    import aiohttp

    from circuitbreaker.integrations.aiohttp import CircuitBreakerMiddleware

    url, run = f"http://127.0.0.1:{port}/", runner(stack)

    async def session(*middlewares: Any) -> Any:
        return aiohttp.ClientSession(middlewares=middlewares)

    def get(client: Any) -> Loop:
        async def request() -> None:
            async with client.get(url) as response:
                await response.read()

        stack.callback(lambda: run(client.close()))
        return awaits(run, request)

    return get(run(session())), get(run(session(CircuitBreakerMiddleware())))


def grpc(port: int, stack: ExitStack) -> Pair:
    from circuitbreaker.integrations.grpc import CircuitBreakerInterceptor

    return of_grpc(port, stack, None, CircuitBreakerInterceptor("here"))


def grpc_over_an_interceptor(port: int, stack: ExitStack) -> Pair:
    import grpc

    from circuitbreaker.integrations.grpc import CircuitBreakerInterceptor

    class Nothing(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc, type-arg]
        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return continuation(client_call_details, request)

    return of_grpc(port, stack, Nothing(), CircuitBreakerInterceptor("here"))


def of_grpc(port: int, stack: ExitStack, *interceptors: Any) -> Pair:
    import grpc

    def say(interceptor: Any) -> Loop:
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
        if interceptor is not None:
            channel = grpc.intercept_channel(channel, interceptor)
        method: Any = channel.unary_unary("/echo/Say")
        return repeats(lambda: method(b"hello"))

    plain, guarded = map(say, interceptors)
    return plain, guarded


def async_grpc(port: int, stack: ExitStack) -> Pair:
    from circuitbreaker.integrations.grpc import AsyncCircuitBreakerInterceptor

    return of_async_grpc(port, stack, None, AsyncCircuitBreakerInterceptor("here"))


def async_grpc_over_an_interceptor(port: int, stack: ExitStack) -> Pair:
    import grpc.aio

    from circuitbreaker.integrations.grpc import AsyncCircuitBreakerInterceptor

    class Nothing(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc, type-arg]
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            return await continuation(client_call_details, request)

    return of_async_grpc(port, stack, [Nothing()], AsyncCircuitBreakerInterceptor("here"))


def of_async_grpc(port: int, stack: ExitStack, *interceptors: Any) -> Pair:
    import grpc.aio

    run = runner(stack)

    def say(interceptors: Any) -> Loop:
        async def channel() -> Any:
            return grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors)

        made = run(channel())
        stack.callback(lambda: run(made.close()))
        method = made.unary_unary("/echo/Say")
        return awaits(run, lambda: method(b"hello"))

    plain, guarded = map(say, interceptors)
    return plain, guarded


CLIENTS: dict[str, tuple[str, Callable[[int, ExitStack], Pair]]] = {
    "httpx": ("http", httpx),
    "httpx, async": ("http", async_httpx),
    "httpx2": ("http", httpx2),
    "httpx2, async": ("http", async_httpx2),
    "requests": ("http", requests),
    "aiohttp": ("http", aiohttp),
    "grpc, unary": ("grpc", grpc),
    "grpc, unary, over an empty interceptor": ("grpc", grpc_over_an_interceptor),
    "grpc.aio, unary": ("grpc", async_grpc),
    "grpc.aio, unary, over an empty interceptor": ("grpc", async_grpc_over_an_interceptor),
}
