"""httpx and httpx2, sync and async, as the contract uses them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import anyio.from_thread
import anyio.lowlevel
import httpx
import httpx2

from circuitbreaker import KeyedBreakers
from circuitbreaker.integrations import httpx as ours_for_httpx
from circuitbreaker.integrations import httpx2 as ours_for_httpx2

from .guarded import Answer, Client

CERTIFICATES = ssl.create_default_context()
"""Read once: a transport that reads them for itself takes 20 ms longer than the test that makes it."""


class _HttpxAnswer(Answer):
    def __init__(self, response: Any) -> None:
        self._response = response
        self.status = response.status_code

    def read_some(self) -> bytes:
        self._parts = self._response.iter_raw()
        part: bytes = next(self._parts)
        return part

    def read(self) -> bytes:
        whole: bytes = self._response.read()
        return whole

    def close(self) -> None:
        self._response.close()


class _Httpx(Client):
    library: Any
    ours: Any

    def __init__(self, **options: Any) -> None:
        self._transport = self.ours.CircuitBreakerTransport(self.library.HTTPTransport(verify=CERTIFICATES), **options)
        self.client = self.library.Client(transport=self._transport)

    @property
    def breakers(self) -> KeyedBreakers:
        breakers: KeyedBreakers = self._transport.breakers
        return breakers

    def begin(self, url: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 5.0) -> Answer:
        request = self.client.build_request(method, url, content=body, timeout=timeout)
        return _HttpxAnswer(self.client.send(request, stream=True))

    def get_plainly(self, url: str) -> tuple[int, bytes]:
        response = self.client.get(url, follow_redirects=True)
        return response.status_code, response.content

    def close(self) -> None:
        self.client.close()


class _AsyncHttpxAnswer(Answer):
    def __init__(self, response: Any, call: Callable[..., Any]) -> None:
        self._response = response
        self._call = call
        self.status = response.status_code

    def read_some(self) -> bytes:
        self._parts = self._response.aiter_raw()
        part: bytes = self._call(self._parts.__anext__)
        return part

    def read(self) -> bytes:
        whole: bytes = self._call(self._response.aread)
        return whole

    def close(self) -> None:
        self._call(self._response.aclose)


class _AsyncHttpx(Client):
    library: Any
    ours: Any
    backend = "asyncio"
    is_async = True

    def __init__(self, **options: Any) -> None:
        inner = self.library.AsyncHTTPTransport(verify=CERTIFICATES)
        self._transport = self.ours.AsyncCircuitBreakerTransport(inner, **options)
        self._manager = anyio.from_thread.start_blocking_portal(self.backend)
        self.portal = self._manager.__enter__()
        self.client = self.library.AsyncClient(transport=self._transport)

    @property
    def breakers(self) -> KeyedBreakers:
        breakers: KeyedBreakers = self._transport.breakers
        return breakers

    async def send(self, url: str, method: str = "GET", body: bytes | None = None, timeout: float = 5.0) -> Any:
        request = self.client.build_request(method, url, content=body, timeout=timeout)
        return await self.client.send(request, stream=True)

    def begin(self, url: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 5.0) -> Answer:
        return _AsyncHttpxAnswer(self.portal.call(self.send, url, method, body, timeout), self.portal.call)

    def cancel_when(self, url: str, due: Callable[[], object]) -> None:
        async def run() -> None:
            async with anyio.create_task_group() as tasks:

                async def get() -> None:
                    response = await self.send(url)
                    await response.aread()

                tasks.start_soon(get)
                while not due():
                    await anyio.lowlevel.checkpoint()
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

        self.portal.call(run)

    def get_plainly(self, url: str) -> tuple[int, bytes]:
        async def get() -> tuple[int, bytes]:
            response = await self.client.get(url, follow_redirects=True)
            return response.status_code, response.content

        return self.portal.call(get)

    def close(self) -> None:
        self.portal.call(self.client.aclose)
        self._manager.__exit__(None, None, None)


class Httpx(_Httpx):
    name, library, ours = "httpx", httpx, ours_for_httpx
    kind, refusal = httpx.TransportError, ours_for_httpx.CircuitOpenTransportError
    judge = staticmethod(ours_for_httpx.judge)


class AsyncHttpx(_AsyncHttpx):
    name, library, ours = "httpx", httpx, ours_for_httpx
    kind, refusal = httpx.TransportError, ours_for_httpx.CircuitOpenTransportError
    judge = staticmethod(ours_for_httpx.judge)


class TrioHttpx(AsyncHttpx):
    backend = "trio"


class Httpx2(_Httpx):
    name, library, ours = "httpx2", httpx2, ours_for_httpx2
    kind, refusal = httpx2.TransportError, ours_for_httpx2.CircuitOpenTransportError
    judge = staticmethod(ours_for_httpx2.judge)


class AsyncHttpx2(_AsyncHttpx):
    name, library, ours = "httpx2", httpx2, ours_for_httpx2
    kind, refusal = httpx2.TransportError, ours_for_httpx2.CircuitOpenTransportError
    judge = staticmethod(ours_for_httpx2.judge)
