"""httpx: a circuit for each host, in a transport around the one that sends.

    httpx.Client(transport=CircuitBreakerTransport())
    httpx.AsyncClient(transport=AsyncCircuitBreakerTransport())

Timeouts, redirects, cookies, event hooks and authentication are the client's own, and work as without it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from traceback import walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, cast

import httpx

from ..clients import FAILURE_STATUSES, ClientCall, ClientGuard, ClientOptions
from ..errors import CircuitOpenError
from ..keyed import KeyedBreakers

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = [
    "AsyncCircuitBreakerTransport",
    "CircuitBreakerTransport",
    "CircuitOpenTransportError",
    "judge",
    "origin",
]


def origin(request: httpx.Request) -> str:
    """The usual key: scheme, host and port."""
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"


def judge(end: httpx.Response | Exception) -> bool | None:
    """The usual judge: timeouts, broken connections and `FAILURE_STATUSES` are failures.

    A pool that is full here, an unknown scheme, a request that breaks the protocol, or another circuit's refusal say
    nothing about the server.
    """
    if isinstance(end, httpx.Response):
        return end.status_code in FAILURE_STATUSES
    if _came_from_the_server(end):
        return True
    if isinstance(end, httpx.PoolTimeout | httpx.UnsupportedProtocol | httpx.LocalProtocolError | CircuitOpenError):
        return None
    return True if isinstance(end, httpx.TransportError) else None


class CircuitOpenTransportError(CircuitOpenError, httpx.TransportError):
    """A request that was refused by an open circuit. It was not sent."""


class CircuitBreakerTransport(httpx.BaseTransport):
    """Guards what `transport` sends.

    A refused request raises `CircuitOpenTransportError`, which is a `CircuitOpenError` and a `httpx.TransportError`.

    Args:
        transport: what sends; a `httpx.HTTPTransport()` if not given. For the options of that one (`verify`, `http2`,
            `proxy`, ...), give one that has them.
        options: see `circuitbreaker.clients.ClientOptions`.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or of the wrong kind.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._guard = ClientGuard("httpx", key=origin, judge=judge, options=options)
        self._transport = httpx.HTTPTransport() if transport is None else transport
        if not isinstance(self._transport, httpx.BaseTransport):
            raise TypeError(f"transport must be a httpx.BaseTransport, got {transport!r}")

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, if its circuit lets it."""
        with _sending(self._guard, request) as call:
            response = self._transport.handle_request(request)
            response.request = request  # The client sets it later; the judge may want it.
            call.answered(response, response.status_code, response.headers, request.method)
        if response.is_closed:  # some transports give answers that were read already
            call.ended()
        else:
            response.stream = _Body(cast("httpx.SyncByteStream", response.stream), call)
        return response

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __enter__(self) -> Self:
        self._transport.__enter__()  # pyright: ignore[reportUnknownMemberType]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._transport.__exit__(exc_type, exc_value, traceback)


class AsyncCircuitBreakerTransport(httpx.AsyncBaseTransport):
    """`CircuitBreakerTransport` for `httpx.AsyncClient`, with asyncio or trio."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._guard = ClientGuard("httpx", key=origin, judge=judge, options=options)
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport
        if not isinstance(self._transport, httpx.AsyncBaseTransport):
            raise TypeError(f"transport must be a httpx.AsyncBaseTransport, got {transport!r}")

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`, if its circuit lets it."""
        with _sending(self._guard, request) as call:
            response = await self._transport.handle_async_request(request)
            response.request = request
            call.answered(response, response.status_code, response.headers, request.method)
        if response.is_closed:  # some transports give answers that were read already
            call.ended()
        else:
            response.stream = _AsyncBody(cast("httpx.AsyncByteStream", response.stream), call)
        return response

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()  # pyright: ignore[reportUnknownMemberType]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(exc_type, exc_value, traceback)


@contextmanager
def _sending(guard: ClientGuard, request: httpx.Request) -> Generator[ClientCall]:
    """Admit `request`. What is raised while it is sent is its end, unless it is that of another request."""
    try:
        call = guard.admit(request)
    except CircuitOpenError as refused:
        error = CircuitOpenTransportError.like(refused)
        error.request = request
        raise error from None
    try:
        yield call
    except BaseException as error:
        if isinstance(error, httpx.RequestError) and _request_of(error, request) is not request:
            call.closed()  # What was to be sent is the answer to that one, and broke off.
        else:
            call.failed(error)
        raise


def _request_of(error: httpx.RequestError, usual: httpx.Request) -> httpx.Request:
    """The request that `error` is about: `usual`, and from now on, if it does not say."""
    try:
        return error.request
    except RuntimeError:
        error.request = usual
        return usual


def _came_from_the_server(error: Exception) -> bool:
    """Whether a breach of HTTP/2 was received: httpcore has one error for both sides, or lets that of h2 through."""
    of_httpcore = error.__cause__ or error
    of_h2 = of_httpcore.__context__ if isinstance(error, httpx.LocalProtocolError) else error
    frames = () if of_h2 is None else (frame for frame, _ in walk_tb(of_h2.__traceback__))
    return any((f.f_globals.get("__name__"), f.f_code.co_name) == ("h2.connection", "receive_data") for f in frames)


class _Body(httpx.SyncByteStream):
    """The body of a response. How it ends is how the request ended."""

    def __init__(self, stream: httpx.SyncByteStream, call: ClientCall) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        with self._call as call:
            for part in self._stream:
                call.received()
                yield part
            call.ended()

    def close(self) -> None:
        with self._call as call:
            self._stream.close()
            call.closed()


class _AsyncBody(httpx.AsyncByteStream):
    """Its like for `httpx.AsyncClient`."""

    def __init__(self, stream: httpx.AsyncByteStream, call: ClientCall) -> None:
        self._stream = stream
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._call as call:
            async for part in self._stream:
                call.received()
                yield part
            call.ended()

    async def aclose(self) -> None:
        with self._call as call:
            await self._stream.aclose()
            call.closed()
