"""aiohttp, as the contract in test_clients.py uses it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from warnings import catch_warnings, simplefilter

import aiohttp
import anyio
import anyio.from_thread
import anyio.lowlevel

from circuitbreaker import KeyedBreakers
from circuitbreaker.integrations import aiohttp as ours

from .guarded import Answer, Client


class _Answer(Answer):
    def __init__(self, response: aiohttp.ClientResponse, call: Callable[..., Any]) -> None:
        self._response = response
        self._call = call
        self.status = response.status

    def read_some(self) -> bytes:
        part: bytes = self._call(self._response.content.readany)
        return part

    def read(self) -> bytes:
        whole: bytes = self._call(self._response.read)
        return whole

    def close(self) -> None:
        self._call(_close, self._response)


class Aiohttp(Client):
    name = "aiohttp"
    kind, refusal = aiohttp.ClientError, ours.CircuitOpenClientError
    judge = staticmethod(ours.judge)
    is_async = True

    def __init__(self, **options: Any) -> None:
        self._middleware = ours.CircuitBreakerMiddleware(**options)
        self._manager = anyio.from_thread.start_blocking_portal()
        self.portal = self._manager.__enter__()
        self.session = self.portal.call(self._open)

    async def _open(self) -> aiohttp.ClientSession:
        jar = aiohttp.CookieJar(unsafe=True)  # it keeps the cookies of hosts that are numbers
        return aiohttp.ClientSession(middlewares=[self._middleware], cookie_jar=jar)

    @property
    def breakers(self) -> KeyedBreakers:
        return self._middleware.breakers

    async def send(
        self, url: str, method: str = "GET", body: bytes | None = None, timeout: float = 5.0
    ) -> aiohttp.ClientResponse:
        limits = aiohttp.ClientTimeout(total=30, sock_connect=timeout, sock_read=timeout)
        return await self.session.request(method, url, data=body, timeout=limits, allow_redirects=False)

    def begin(self, url: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 5.0) -> Answer:
        return _Answer(self.portal.call(self.send, url, method, body, timeout), self.portal.call)

    def cancel_when(self, url: str, due: Callable[[], object]) -> None:
        async def run() -> None:
            async with anyio.create_task_group() as tasks:

                async def get() -> None:
                    response = await self.send(url)
                    await response.read()

                tasks.start_soon(get)
                while not due():
                    await anyio.lowlevel.checkpoint()
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()

        self.portal.call(run)

    def drop(self, url: str) -> None:
        """Begin, and forget the answer. aiohttp itself holds it for as long as there is its connection."""

        async def drop() -> None:
            await self.send(url)
            await self.session.close()
            self.session = await self._open()
            await anyio.lowlevel.checkpoint()
            with catch_warnings():
                simplefilter("ignore", ResourceWarning)  # aiohttp's own, of the connection
                gc.collect()

        self.portal.call(drop)

    def get_plainly(self, url: str) -> tuple[int, bytes]:
        async def get() -> tuple[int, bytes]:
            async with self.session.get(url) as response:
                return response.status, await response.read()

        return self.portal.call(get)

    def close(self) -> None:
        self.portal.call(self.session.close)
        self._manager.__exit__(None, None, None)


async def _close(response: aiohttp.ClientResponse) -> None:
    response.close()
