"""httpx: a circuit per host, as a transport around the one that sends the requests.

    httpx.Client(transport=CircuitBreakerTransport())
    httpx.AsyncClient(transport=AsyncCircuitBreakerTransport())

Timeouts, redirects, cookies, event hooks and authentication are the client's own, and work as they do without it.
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
from ..retries import refusal_cause

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
    """The default key: scheme, host and port."""
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"


def judge(end: httpx.Response | Exception) -> bool | None:
    """The default judge: timeouts, broken connections and `FAILURE_STATUSES` are failures.

    What says nothing about the server is ignored: a full connection pool, an unknown scheme, a request that violates
    the protocol, and another circuit's refusal.
    """
    if isinstance(end, httpx.Response):
        return end.status_code in FAILURE_STATUSES
    if _is_a_violation_by_the_server(end):
        return True
    if refusal_cause(end) is not None:
        return None
    if isinstance(end, httpx.PoolTimeout | httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return None
    return True if isinstance(end, httpx.TransportError) else None


class CircuitOpenTransportError(CircuitOpenError, httpx.TransportError):
    """An open circuit refused a request, which was not sent."""


class CircuitBreakerTransport(httpx.BaseTransport):
    """Guards the requests that `transport` sends.

    A refused request raises `CircuitOpenTransportError`, which is a `CircuitOpenError` and an `httpx.TransportError`.

    Args:
        transport: sends the requests; an `httpx.HTTPTransport()` if not given. To set its options (`verify`, `http2`,
            `proxy`, ...), give one that has them.
        options: see `circuitbreaker.clients.ClientOptions`.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or an argument of the wrong kind.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._guard = ClientGuard("httpx", key=origin, judge=judge, options=options)
        self._transport = httpx.HTTPTransport() if transport is None else transport
        if not isinstance(self._transport, httpx.BaseTransport):
            raise TypeError(f"transport must be an httpx.BaseTransport, got {transport!r}")

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` if its circuit admits it, or raise `CircuitOpenTransportError`."""
        with _sending(self._guard, request) as call:
            response = self._transport.handle_request(request)
            response.request = request  # The client sets it later, but the judge may need it.
            call.responded(response, response.status_code, response.headers, request.method)
        if response.is_closed:  # Some transports return responses that have been read already.
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
    """`CircuitBreakerTransport` for `httpx.AsyncClient`, with asyncio or trio. Takes the same arguments."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._guard = ClientGuard("httpx", key=origin, judge=judge, options=options)
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport
        if not isinstance(self._transport, httpx.AsyncBaseTransport):
            raise TypeError(f"transport must be an httpx.AsyncBaseTransport, got {transport!r}")

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` if its circuit admits it, or raise `CircuitOpenTransportError`."""
        with _sending(self._guard, request) as call:
            response = await self._transport.handle_async_request(request)
            response.request = request
            call.responded(response, response.status_code, response.headers, request.method)
        if response.is_closed:
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
    """Admit `request`, and report an error raised while it is sent, unless that belongs to another request."""
    try:
        call = guard.admit(request)
    except CircuitOpenError as refused:
        error = CircuitOpenTransportError.from_refusal(refused)
        error.request = request
        raise error from None
    try:
        yield call
    except BaseException as error:
        if isinstance(error, httpx.RequestError) and _request_of(error, request) is not request:
            call.closed()  # The body being sent is the response to that one, and broke off.
        else:
            call.failed(error)
        raise


def _request_of(error: httpx.RequestError, default: httpx.Request) -> httpx.Request:
    """The request that `error` belongs to. If it has none, it is given `default`."""
    try:
        return error.request
    except RuntimeError:
        error.request = default
        return default


def _is_a_violation_by_the_server(error: Exception) -> bool:
    """Whether the server violated HTTP/2. httpcore raises one error for both sides, or lets that of h2 through."""
    of_httpcore = error.__cause__ or error
    of_h2 = of_httpcore.__context__ if isinstance(error, httpx.LocalProtocolError) else error
    frames = () if of_h2 is None else (frame for frame, _ in walk_tb(of_h2.__traceback__))
    return any((f.f_globals.get("__name__"), f.f_code.co_name) == ("h2.connection", "receive_data") for f in frames)


class _Body(httpx.SyncByteStream):
    """The body of a response, which reports how it ends."""

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
    """The same for `httpx.AsyncClient`."""

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
