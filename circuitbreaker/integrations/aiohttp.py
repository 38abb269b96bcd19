"""aiohttp: a circuit for each host, in a middleware of the session. aiohttp 3.12 and newer.

    aiohttp.ClientSession(middlewares=[CircuitBreakerMiddleware()])

Timeouts, redirects, cookies, tracing and authentication are the session's own, and work as without it.

aiohttp sends some requests a second time, when the connection of the first has broken. Both are one call here, as they
are to the caller: the verdict is that of the second.
"""

from __future__ import annotations

import asyncio
import sys
from traceback import walk_stack, walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiohttp
from aiohttp.client import IDEMPOTENT_METHODS
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict

from ..clients import FAILURE_STATUSES, ClientCall, ClientGuard, ClientOptions
from ..errors import CircuitOpenError
from ..keyed import KeyedBreakers

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["CircuitBreakerMiddleware", "CircuitOpenClientError", "judge", "origin"]


def origin(request: aiohttp.ClientRequest) -> str:
    """The usual key: scheme, host and port."""
    return str(request.url.origin())


def judge(end: aiohttp.ClientResponse | Exception) -> bool | None:
    """The usual judge: timeouts, broken connections, what is no HTTP, and `FAILURE_STATUSES` are failures.

    A pool that is full here, a session that is closed, a body to send that raises, an invalid URL, or the refusal of
    another circuit say nothing about the server.
    """
    if isinstance(end, aiohttp.ClientResponse):
        return end.status in FAILURE_STATUSES
    if isinstance(end, CircuitOpenError) or _is_of_this_side(end) or _came_of_waiting_in_the_pool(end):
        return None
    if isinstance(end, aiohttp.ClientResponseError):
        return True if isinstance(end.__cause__, HttpProcessingError) or end.status in FAILURE_STATUSES else None
    broken = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, asyncio.TimeoutError, OSError)
    return True if isinstance(end, broken) else None


class CircuitOpenClientError(CircuitOpenError, aiohttp.ClientConnectionError):
    """A request that was refused by an open circuit. It was not sent."""

    request: aiohttp.RequestInfo
    """What was refused: `url`, `method`, `headers` and `real_url`. The body is not kept."""


class CircuitBreakerMiddleware:
    """Guards what a session sends.

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
        """Send `request`, if its circuit lets it."""
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
        call.answered(response, response.status, response.headers)
        _follow(response, request, call)
        return response

    def _await_second_attempt(self, broken: _Broken) -> None:
        """Leave the verdict to the second attempt. If there is none, it falls with the task's next request, or end."""
        task = _task()
        if task not in self._broken:
            self._broken[task] = []
            task.add_done_callback(self._settle_all)
        self._broken[task].append(broken)

    def _first_attempt(self, request: aiohttp.ClientRequest) -> ClientCall | None:
        """The call of which `request` is the second attempt, if it is one."""
        task = _task()
        waiting = self._broken.get(task, [])
        first = next((each for each in waiting if _is_second_attempt(request, each.request)), None)
        # A request may go out between two attempts of another: for a token, say.
        over = [each for each in waiting if each is not first and not _may_be_sent_again(each.request, request)]
        for broken in over:
            broken.call.failed(broken.error)
        self._keep(task, [each for each in waiting if each is not first and each not in over])
        return None if first is None else first.call

    def _keep(self, task: asyncio.Task[Any], waiting: list[_Broken]) -> None:
        if waiting:
            self._broken[task] = waiting
        elif self._broken.pop(task, None) is not None:
            task.remove_done_callback(self._settle_all)

    def _settle_all(self, task: asyncio.Task[Any]) -> None:
        for broken in self._broken.pop(task):
            broken.call.failed(broken.error)


class _Broken(NamedTuple):
    """A first attempt whose connection has broken."""

    request: aiohttp.ClientRequest
    call: ClientCall
    error: BaseException


def _admitted(guard: ClientGuard, request: aiohttp.ClientRequest) -> ClientCall:
    try:
        return guard.admit(request)
    except CircuitOpenError as refused:
        error = CircuitOpenClientError.like(refused)
        headers: Any = CIMultiDict(request.headers)  # the view that is usually there cannot be pickled
        error.request = request.request_info._replace(headers=headers)
        raise error from None


def _is_sent_again(request: aiohttp.ClientRequest, error: BaseException) -> bool:
    """Whether aiohttp sends `request` a second time (RFC 9112, 9.3.1)."""
    broken = isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)
    return broken and not isinstance(error, aiohttp.ClientConnectorError) and request.method in IDEMPOTENT_METHODS


def _is_second_attempt(request: aiohttp.ClientRequest, first: aiohttp.ClientRequest) -> bool:
    """Whether they belong to one call of the session's. A middleware that sends again does so with the same request."""
    same_call = _timer(request) is _timer(first) is not None
    return same_call and request is not first and request.url.origin() == first.url.origin()


def _may_be_sent_again(first: aiohttp.ClientRequest, now: aiohttp.ClientRequest) -> bool:
    """Whether the session's call, for which `first` was sent, waits for `now`, a request of another call, to end."""
    callers = (frame for frame, _ in walk_stack(None) if frame.f_code.co_name == "_request")
    return first is not now and any(frame.f_locals.get("timer", ...) is _timer(first) for frame in callers)


def _follow(response: aiohttp.ClientResponse, request: aiohttp.ClientRequest, call: ClientCall) -> None:
    """Say how the body ends: all of it has come, or its connection is given back or closed before."""
    content, connection = response.content, response.connection

    def over() -> None:
        error = content.exception()
        if error is not None and not _is_of_this_side(error):
            call.failed(error)
        elif content.is_eof():
            call.ended()
        elif (late := _expired(request)) is not None:
            call.failed(late)
        elif isinstance(cancelled := sys.exc_info()[1], asyncio.CancelledError):
            call.failed(cancelled)  # whoever reads was cancelled, and closes the response on the way out
        else:
            if content.total_bytes:
                call.received()
            call.closed()

    content.on_eof(over)
    if connection is None:
        over()
    else:
        connection.add_callback(over)


def _is_of_this_side(error: BaseException) -> bool:
    """Whether it is aiohttp's error for what was closed here, or could not be sent: others have types of their own."""
    return type(error) is aiohttp.ClientConnectionError


def _came_of_waiting_in_the_pool(error: BaseException) -> bool:
    """Whether the time was up before there was a connection to try: aiohttp has no error of its own for that."""
    cause: BaseException | None = error
    while cause is not None:
        if any(frame.f_code.co_name == "_wait_for_available_connection" for frame, _ in walk_tb(cause.__traceback__)):
            return True
        # async_timeout, on Python 3.10, names no cause.
        cancelled = cause.__context__ if isinstance(cause.__context__, asyncio.CancelledError) else None
        cause = cause.__cause__ or cancelled
    return False


def _end(request: aiohttp.ClientRequest, error: BaseException) -> BaseException:
    """How `request` ended. When its total timeout is up, aiohttp cancels the task, and says so only further out."""
    late = _expired(request) if isinstance(error, asyncio.CancelledError) else None
    if late is None:
        return error
    late.__cause__ = error
    return late


def _expired(request: aiohttp.ClientRequest) -> Exception | None:
    """The error for a total timeout that is up."""
    try:
        if (timer := _timer(request)) is not None:
            timer.assert_timeout()
    except asyncio.TimeoutError:
        return asyncio.TimeoutError("the total timeout is up")
    return None


def _timer(request: aiohttp.ClientRequest) -> Any:
    """What counts the total timeout: one for all that is sent for one call of the session's."""
    return getattr(request, "_timer", None)  # there is no public way to it


def _task() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())
