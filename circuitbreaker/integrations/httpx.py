"""httpx: a circuit per host, as a transport around the one that sends the requests.

    httpx.Client(transport=CircuitBreakerTransport())
    httpx.AsyncClient(transport=AsyncCircuitBreakerTransport())
    guarded(httpx.Client(proxy="http://proxy.example:3128"))

Timeouts, redirects, cookies, event hooks and authentication are the client's own, and work as they do without it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from traceback import walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.request import getproxies

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
    "guarded",
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
    if isinstance(end, httpx.PoolTimeout | httpx.UnsupportedProtocol | httpx.LocalProtocolError | CircuitOpenError):
        return None
    return True if isinstance(end, httpx.TransportError) else None


class CircuitOpenTransportError(CircuitOpenError, httpx.TransportError):
    """An open circuit refused a request, which was not sent."""


class CircuitBreakerTransport(httpx.BaseTransport):
    """Guards the requests that `transport` sends.

    A refused request raises `CircuitOpenTransportError`, which is a `CircuitOpenError` and an `httpx.TransportError`.

    Args:
        transport: sends the requests. If not given, they are sent as by a client without options: by an
            `httpx.HTTPTransport()`, and through the proxies of the environment. To set options (`verify`, `http2`,
            `proxy`, ...), give a transport that has them, or use `guarded`: a client given `proxy` or `mounts` does not
            send through its `transport`.
        options: see `circuitbreaker.clients.ClientOptions`.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or an argument of the wrong kind.
    """

    def __init__(self, transport: httpx.BaseTransport | None = None, **options: Unpack[ClientOptions]) -> None:
        self._guard = ClientGuard("httpx", key=origin, judge=judge, options=options)
        self._transport = _default_transport() if transport is None else transport
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
            _read_already(response, call)
        else:
            response.stream = _Body(response, call)
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
        self._transport = _default_async_transport() if transport is None else transport
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
            _read_already(response, call)
        else:
            response.stream = _AsyncBody(response, call)
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


_C = TypeVar("_C", bound="httpx.Client | httpx.AsyncClient")


def guarded(client: _C, **options: Unpack[ClientOptions]) -> _C:
    """Guard all requests of `client`, by whichever of its transports they are sent, and return the client.

    So `proxy`, `mounts`, `verify`, `limits` and the proxies of the environment work as they do without a guard. The
    transports share their circuits, which are in the registry. Call this before the client's first request.

    Args:
        client: an `httpx.Client` or `httpx.AsyncClient`.
        options: see `circuitbreaker.clients.ClientOptions`.

    Raises:
        ValueError: the client is guarded already, in whole or in part; an option breaks its rule.
        TypeError: `client` is of another kind; an option is unknown, or of the wrong kind.
    """
    if not isinstance(client, httpx.Client | httpx.AsyncClient):
        raise TypeError(f"client must be an httpx.Client or httpx.AsyncClient, got {client!r}")
    each_client: Any = client  # Both kinds have the same attributes.
    kind = CircuitBreakerTransport if isinstance(client, httpx.Client) else AsyncCircuitBreakerTransport
    if any(isinstance(each, kind) for each in (each_client._transport, *each_client._mounts.values())):
        raise ValueError(f"the client is guarded already: {client!r}")
    first: Any = kind(each_client._transport, **options)
    each_client._mounts = {
        pattern: None if mounted is None else _another(first, mounted)
        for pattern, mounted in each_client._mounts.items()
    }
    each_client._transport = first
    return client


def _another(first: Any, transport: Any) -> Any:
    """A guard around `transport` that shares its circuits with `first`."""
    another = copy(first)
    another._transport = transport
    return another


# Sending, as a client without options does


def _default_transport() -> httpx.BaseTransport:
    return _Routes() if getproxies() else httpx.HTTPTransport()


def _default_async_transport() -> httpx.AsyncBaseTransport:
    return _AsyncRoutes() if getproxies() else httpx.AsyncHTTPTransport()


class _Routes(httpx.BaseTransport):
    """The transports of a client that is given none: one for each proxy of the environment, and one without."""

    def __init__(self) -> None:
        self._client = httpx.Client()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._client._transport_for_url(request.url).handle_request(request)

    def close(self) -> None:
        # Not the client, which can be closed only once: transports may be used again.
        for transport in (self._client._transport, *self._client._mounts.values()):
            if transport is not None:
                transport.close()


class _AsyncRoutes(httpx.AsyncBaseTransport):
    """The same for `httpx.AsyncClient`."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client._transport_for_url(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        for transport in (self._client._transport, *self._client._mounts.values()):
            if transport is not None:
                await transport.aclose()


# How a request ends


@contextmanager
def _sending(guard: ClientGuard, request: httpx.Request) -> Generator[ClientCall]:
    """Admit `request`, and report an error raised while it is sent, unless the request's own body raised one."""
    if not isinstance(request, httpx.Request):
        library = type(request).__module__.partition(".")[0]
        raise TypeError(f"this guard is for httpx; for {library}, take it from circuitbreaker.integrations.{library}")
    try:
        call = guard.admit(request)
    except CircuitOpenError as refused:
        error = CircuitOpenTransportError.from_refusal(refused)
        error.request = request
        raise error from None
    upload = None if isinstance(request.stream, httpx.ByteStream) else _Upload(request)
    try:
        yield call
    except BaseException as error:
        if upload is not None and upload.broke_off:
            call.ignored()  # It may be the response to another request.
        else:
            _give_request(error, request)
            call.failed(error)
        raise
    finally:
        if upload is not None:
            upload.detach()


def _give_request(error: BaseException, request: httpx.Request) -> None:
    """Set the error's `request`, which the judge may need, unless it has one. The client does so later."""
    if isinstance(error, httpx.RequestError):
        try:
            _ = error.request
        except RuntimeError:
            error.request = request


class _Upload(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request while it is sent, which notes whether it raised an error of its own."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._stream: Any = request.stream
        self._parts: Any = None
        self.broke_off = False
        request.stream = self

    def detach(self) -> None:
        """Give the request its body back, unless the transport has given it another."""
        if self._request.stream is self:
            self._request.stream = self._stream

    # Iterators rather than generators: httpcore leaves those of a broken request to the garbage collector.

    def __iter__(self) -> Iterator[bytes]:
        self._parts = iter(self._stream)
        return self

    def __next__(self) -> bytes:
        try:
            part: bytes = next(self._parts)
        except Exception as error:
            self.broke_off = not isinstance(error, StopIteration)
            raise
        return part

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = self._stream.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        try:
            part: bytes = await self._parts.__anext__()
        except Exception as error:
            self.broke_off = not isinstance(error, StopAsyncIteration)
            raise
        return part


def _is_a_violation_by_the_server(error: Exception) -> bool:
    """Whether the server violated HTTP/2. httpcore raises one error for both sides, or lets that of h2 through."""
    of_httpcore = error.__cause__ or error
    of_h2 = of_httpcore.__context__ if isinstance(error, httpx.LocalProtocolError) else error
    frames = () if of_h2 is None else (frame for frame, _ in walk_tb(of_h2.__traceback__))
    return any((f.f_globals.get("__name__"), f.f_code.co_name) == ("h2.connection", "receive_data") for f in frames)


def _read_already(response: httpx.Response, call: ClientCall) -> None:
    if call.judges_parts:
        call.received(response.content)
    call.ended()


def _receiver(response: httpx.Response, call: ClientCall) -> Callable[[bytes], None]:
    """What each part of the body is passed to. If parts are judged, they are decompressed first, as httpx does it."""
    if not (call.judges_parts and "Content-Encoding" in response.headers):
        return call.received
    decode: Any = httpx.Response(200, headers=response.headers)._get_content_decoder().decode

    def received(part: bytes) -> None:
        call.received()
        if call.judges_parts:
            with suppress(httpx.DecodingError):  # The reader gets the same error.
                decoded = decode(part)
                for each in [decoded] if isinstance(decoded, bytes) else decoded:
                    call.received(each)

    return received


class _Body(httpx.SyncByteStream):
    """The body of a response, which reports how it ends."""

    def __init__(self, response: httpx.Response, call: ClientCall) -> None:
        self._stream = cast("httpx.SyncByteStream", response.stream)
        self._call = call
        self._received = _receiver(response, call)

    def __iter__(self) -> Iterator[bytes]:
        with self._call as call:
            for part in self._stream:
                self._received(part)
                yield part
            call.ended()

    def close(self) -> None:
        with self._call as call:
            self._stream.close()
            call.closed()


class _AsyncBody(httpx.AsyncByteStream):
    """The same for `httpx.AsyncClient`."""

    def __init__(self, response: httpx.Response, call: ClientCall) -> None:
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._call = call
        self._received = _receiver(response, call)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._call as call:
            async for part in self._stream:
                self._received(part)
                yield part
            call.ended()

    async def aclose(self) -> None:
        with self._call as call:
            await self._stream.aclose()
            call.closed()
