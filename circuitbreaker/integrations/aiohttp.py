"""aiohttp: a circuit per host, as a middleware of the session. Needs aiohttp 3.12 or newer.

    aiohttp.ClientSession(middlewares=[CircuitBreakerMiddleware()])

Timeouts, redirects, cookies, tracing and authentication are the session's own, and work as they do without it.

aiohttp sends some requests a second time if the connection of the first attempt breaks. Both attempts are one call
here, as they are for the caller, and the second decides the verdict.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from traceback import walk_stack, walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiohttp
from aiohttp.client import IDEMPOTENT_METHODS
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict

from ..clients import FAILURE_STATUSES, ClientCall, ClientGuard, ClientOptions
from ..errors import CircuitOpenError
from ..keyed import KeyedBreakers
from ..retries import refusal_cause

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["CircuitBreakerMiddleware", "CircuitOpenClientError", "judge", "origin"]


def origin(request: aiohttp.ClientRequest) -> str:
    """The default key: scheme, host and port."""
    return str(request.url.origin())


def judge(end: aiohttp.ClientResponse | Exception) -> bool | None:
    """The default judge: timeouts, broken connections, malformed HTTP and `FAILURE_STATUSES` are failures.

    What says nothing about the server is ignored: a full connection pool, a closed session, a request body that raises,
    an invalid URL, and another circuit's refusal.
    """
    if isinstance(end, aiohttp.ClientResponse):
        return end.status in FAILURE_STATUSES
    if refusal_cause(end) is not None or _is_local(end) or _waited_for_the_pool(end):
        return None
    if isinstance(end, aiohttp.ClientResponseError):
        return True if isinstance(end.__cause__, HttpProcessingError) or end.status in FAILURE_STATUSES else None
    broken = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, asyncio.TimeoutError, OSError)
    return True if isinstance(end, broken) else None


class CircuitOpenClientError(CircuitOpenError, aiohttp.ClientConnectionError):
    """An open circuit refused a request, which was not sent."""

    request: aiohttp.RequestInfo
    """The refused request's `url`, `method`, `headers` and `real_url`. Its body is not kept."""


class CircuitBreakerMiddleware:
    """Guards the requests of a session.

    A refused request raises `CircuitOpenClientError`, a `CircuitOpenError` and an `aiohttp.ClientConnectionError`.

    Args:
        options: see `circuitbreaker.clients.ClientOptions`.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or of the wrong kind.
    """

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        self._guard = ClientGuard("aiohttp", key=origin, judge=judge, options=options)
        self._broken: dict[asyncio.Task[Any], list[_Broken]] = {}

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send `request` if its circuit admits it, or raise `CircuitOpenClientError`."""
        first = self._first_attempt(request)
        call = _admitted(self._guard, request) if first is None else first
        try:
            response = await handler(request)
        except BaseException as error:
            if first is None and _is_sent_again(request, error):
                self._await_second_attempt(_Broken(request, call, error))
            else:
                call.failed(_end(request, error))
            raise
        call.responded(response, response.status, response.headers)
        _follow(response, request, call)
        return response

    def _await_second_attempt(self, broken: _Broken) -> None:
        """Leave the verdict to the second attempt. Without one, the call fails at the task's next request, or end."""
        task = _task()
        if task not in self._broken:
            self._broken[task] = []
            task.add_done_callback(self._settle_all)
        self._broken[task].append(broken)

    def _first_attempt(self, request: aiohttp.ClientRequest) -> ClientCall | None:
        """The call whose second attempt is `request`, or `None` if it is a first attempt."""
        task = _task()
        first: ClientCall | None = None
        kept: list[_Broken] = []
        for each in self._broken.get(task, ()):
            if first is None and _is_second_attempt(request, each.request):
                first = each.call
            elif _may_be_sent_again(each.request, request):
                kept.append(each)  # A request of another call, for a token say, may come between two attempts.
            else:
                each.call.failed(each.error)  # After any other, no second follows.
        self._keep(task, kept)
        return first

    def _keep(self, task: asyncio.Task[Any], waiting: list[_Broken]) -> None:
        if waiting:
            self._broken[task] = waiting
        elif self._broken.pop(task, None) is not None:
            task.remove_done_callback(self._settle_all)

    def _settle_all(self, task: asyncio.Task[Any]) -> None:
        for broken in self._broken.pop(task):
            broken.call.failed(broken.error)


class _Broken(NamedTuple):
    """A first attempt whose connection broke."""

    request: aiohttp.ClientRequest
    call: ClientCall
    error: BaseException


def _admitted(guard: ClientGuard, request: aiohttp.ClientRequest) -> ClientCall:
    try:
        return guard.admit(request)
    except CircuitOpenError as refused:
        error = CircuitOpenClientError.from_refusal(refused)
        headers: Any = CIMultiDict(request.headers)  # a copy: what is usually there is a view, and cannot be pickled
        error.request = request.request_info._replace(headers=headers)
        raise error from None


def _is_sent_again(request: aiohttp.ClientRequest, error: BaseException) -> bool:
    """Whether aiohttp will send `request` a second time after `error` (RFC 9112, 9.3.1)."""
    broken = isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)
    return broken and not isinstance(error, aiohttp.ClientConnectorError) and request.method in IDEMPOTENT_METHODS


def _is_second_attempt(request: aiohttp.ClientRequest, first: aiohttp.ClientRequest) -> bool:
    """Whether both belong to one call of the session. A middleware that retries sends the same request object."""
    same_call = _timer(request) is _timer(first) is not None
    return same_call and request is not first and request.url.origin() == first.url.origin()


def _may_be_sent_again(first: aiohttp.ClientRequest, now: aiohttp.ClientRequest) -> bool:
    """Whether the session's call that sent `first` is waiting for `now`, a request of another call, to end."""
    callers = (frame for frame, _ in walk_stack(None) if frame.f_code.co_name == "_request")
    return first is not now and any(frame.f_locals.get("timer", ...) is _timer(first) for frame in callers)


def _follow(response: aiohttp.ClientResponse, request: aiohttp.ClientRequest, call: ClientCall) -> None:
    """Report how the body ends: all of it has arrived, or its connection was released or closed before."""
    content, connection = response.content, response.connection
    if call.judges_parts and not content.is_eof():
        response.content = cast("aiohttp.StreamReader", _Content(content, call))

    def ended() -> None:
        error = content.exception()
        if error is not None and not _is_local(error):
            call.failed(error)
        elif content.is_eof():
            for part in _unread(content) if call.judges_parts else ():
                call.received(part)
            call.ended()
        elif (late := _expired(request)) is not None:
            call.failed(late)
        elif isinstance(cancelled := sys.exc_info()[1], asyncio.CancelledError):
            call.failed(cancelled)  # the reader was cancelled, and closes the response on its way out
        else:
            if content.total_bytes:
                call.received()
            call.closed()

    content.on_eof(ended)
    if connection is None:
        ended()
    else:
        connection.add_callback(ended)


def _unread(content: aiohttp.StreamReader) -> Iterator[bytes]:
    """What has arrived of the body, and has not been read."""
    offset = getattr(content, "_buffer_offset", 0)  # aiohttp does not publish it
    for part in getattr(content, "_buffer", ()):
        yield part[offset:]
        offset = 0


class _Content:
    """The `content` of a response whose parts are judged: it reports what is read. Everything else is `content`'s own.

    What has not been read when the last of the body arrives is judged then.
    """

    def __init__(self, content: aiohttp.StreamReader, call: ClientCall) -> None:
        self._content = content
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    # All ways to read take what has arrived by one of these two, which aiohttp does not publish.

    def _read_nowait(self, n: int) -> bytes:
        return self._read(self._content._read_nowait(n))

    def _read_nowait_chunk(self, n: int) -> bytes:
        return self._read(self._content._read_nowait_chunk(n))

    def _read(self, part: bytes) -> bytes:
        if part:
            self._call.received(part)
        return part

    read: Any = aiohttp.StreamReader.read
    read_nowait: Any = aiohttp.StreamReader.read_nowait
    readany: Any = aiohttp.StreamReader.readany
    readchunk: Any = aiohttp.StreamReader.readchunk
    readexactly: Any = aiohttp.StreamReader.readexactly
    readline: Any = aiohttp.StreamReader.readline
    readuntil: Any = aiohttp.StreamReader.readuntil
    iter_any: Any = aiohttp.StreamReader.iter_any
    iter_chunked: Any = aiohttp.StreamReader.iter_chunked
    iter_chunks: Any = aiohttp.StreamReader.iter_chunks
    __aiter__: Any = aiohttp.StreamReader.__aiter__


def _is_local(error: BaseException) -> bool:
    """Whether something was closed here, or could not be sent. All other errors of connections are of subclasses."""
    return type(error) is aiohttp.ClientConnectionError


def _waited_for_the_pool(error: BaseException) -> bool:
    """Whether the time ran out while waiting for a free connection. aiohttp has no error of its own for that."""
    cause: BaseException | None = error
    while cause is not None:
        if any(frame.f_code.co_name == "_wait_for_available_connection" for frame, _ in walk_tb(cause.__traceback__)):
            return True
        # On Python 3.10 async_timeout sets no cause.
        cancelled = cause.__context__ if isinstance(cause.__context__, asyncio.CancelledError) else None
        cause = cause.__cause__ or cancelled
    return False


def _end(request: aiohttp.ClientRequest, error: BaseException) -> BaseException:
    """How `request` ended. At its total timeout aiohttp cancels the task, and raises the timeout error further out."""
    late = _expired(request) if isinstance(error, asyncio.CancelledError) else None
    if late is None:
        return error
    late.__cause__ = error
    return late


def _expired(request: aiohttp.ClientRequest) -> Exception | None:
    """The error for a total timeout that has expired, or `None` if it has not."""
    try:
        if (timer := _timer(request)) is not None:
            timer.assert_timeout()
    except asyncio.TimeoutError:
        return asyncio.TimeoutError("the total timeout has expired")
    return None


def _timer(request: aiohttp.ClientRequest) -> Any:
    """The timer of the total timeout, which all requests of one call of the session share."""
    return getattr(request, "_timer", None)  # aiohttp does not publish it


def _task() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())
