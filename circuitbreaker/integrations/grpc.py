"""grpc: a circuit for each target, or for each method, in an interceptor of the channel.

    grpc.intercept_channel(channel, CircuitBreakerInterceptor("payments:50051"))
    grpc.aio.insecure_channel("payments:50051", interceptors=AsyncCircuitBreakerInterceptor("payments:50051"))

The verdict falls when a call ends: a unary one by its response or error, a stream of responses by its last. A stream
that its consumer cancels or drops is a success if some of it came; otherwise its permit is given back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import ref

import grpc
import grpc.aio

from ..clients import ClientCall, ClientGuard, ClientOptions
from ..errors import CircuitBreakerError, CircuitOpenError
from ..keyed import KeyedBreakers

if TYPE_CHECKING:
    from typing_extensions import Unpack

    _Future = grpc.Future[Any]
else:
    _Future = grpc.Future  # generic in its stubs only

__all__ = [
    "FAILURE_CODES",
    "AsyncCircuitBreakerInterceptor",
    "CallDetails",
    "CircuitBreakerInterceptor",
    "CircuitOpenAioRpcError",
    "CircuitOpenRpcError",
    "FailedRpcError",
    "judge",
]

FAILURE_CODES: frozenset[grpc.StatusCode] = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""The status codes that count against a server: it fails, is overloaded, or too slow. Other codes are answers."""
_OWN_MISTAKES = ("Exception serializing request!", "Exception iterating requests!")
"""What grpc says when the caller's own code raises, with INTERNAL and UNKNOWN for codes."""
_PUSHBACK = "grpc-retry-pushback-ms"


@grpc.ClientCallDetails.register
class CallDetails(NamedTuple):
    """What `key` is asked about, and a refused call's `request`: a `grpc.ClientCallDetails` that can be pickled."""

    method: str
    """As in "/payments.Payments/Charge"."""
    timeout: float | None
    metadata: Any
    """As the caller gave it; in an error a tuple of pairs."""
    wait_for_ready: bool | None


class FailedRpcError(CircuitBreakerError, grpc.RpcError):
    """A call that ended with another status than OK: what `judge` is asked about, sync and async.

    It is never raised. If it is a failure, it is what a breaker and its listeners are told.
    """

    def __init__(self, code: grpc.StatusCode, details: str | None, trailing_metadata: Any) -> None:
        super().__init__(code, details, trailing_metadata)
        self._code = code
        self._details = details
        self._trailing_metadata: tuple[Any, ...] = tuple(trailing_metadata or ())
        self.retry_after: float | None = _pushback(self._trailing_metadata)
        """Seconds: the server's pushback (gRFC A6), if it is positive; `RetryAfter` reads it."""

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str | None:
        """The server's text."""
        return self._details

    def trailing_metadata(self) -> tuple[Any, ...]:
        """The metadata that came with the status: pairs of a name in lower case, and a text or bytes."""
        return self._trailing_metadata

    def __str__(self) -> str:
        return f"{self._code.name}: {self._details}" if self._details else self._code.name


def _pushback(metadata: tuple[Any, ...]) -> float | None:
    """In seconds. A negative or malformed one forbids a retry, and says nothing about when others may come."""
    with suppress(KeyError, ValueError):
        milliseconds = int(dict(metadata)[_PUSHBACK])
        return milliseconds / 1000 if milliseconds > 0 else None
    return None


def judge(end: FailedRpcError) -> bool | None:
    """The usual judge: `FAILURE_CODES` are failures.

    It is not asked about calls that ended well, that somebody cancelled, or that the caller's own code broke.
    """
    return end.code() in FAILURE_CODES


# A refused call


class _RefusedError(CircuitOpenError):
    request: CallDetails
    """The call that was refused."""

    def code(self) -> grpc.StatusCode:
        """UNAVAILABLE."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """The text of the refusal."""
        return str(self)

    def debug_error_string(self) -> str:
        """The same text."""
        return str(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


_R = TypeVar("_R", bound=_RefusedError)


class CircuitOpenRpcError(_RefusedError, grpc.RpcError, grpc.Call, _Future):
    """A call that was refused by an open circuit. It was not sent.

    Like grpc's own errors it is the call too, which has ended: `result()` and the first `next()` raise it.
    """

    def initial_metadata(self) -> tuple[()]:
        """None came."""
        return ()

    def trailing_metadata(self) -> tuple[()]:
        """None came."""
        return ()

    def is_active(self) -> bool:
        """It has ended."""
        return False

    def time_remaining(self) -> Any:
        """`None`: nobody waits for it."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """It has ended: `callback` will not be called."""
        return False

    def cancel(self) -> bool:
        """It has ended, and cannot be cancelled."""
        return False

    def cancelled(self) -> bool:
        """It was not cancelled."""
        return False

    def running(self) -> bool:
        """It has ended."""
        return False

    def done(self) -> bool:
        """It has ended."""
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Raise it."""
        raise self

    def exception(self, timeout: float | None = None) -> CircuitOpenRpcError:
        """The error itself."""
        return self

    def traceback(self, timeout: float | None = None) -> Any:
        """Where it was raised."""
        return self.__traceback__

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Call `fn` now."""
        fn(self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        raise self


class CircuitOpenAioRpcError(_RefusedError, grpc.aio.AioRpcError):
    """A call of `grpc.aio` that was refused by an open circuit. It was not sent."""

    def initial_metadata(self) -> grpc.aio.Metadata:
        """None came."""
        return grpc.aio.Metadata()

    def trailing_metadata(self) -> Any:
        """None came."""
        return grpc.aio.Metadata()


# The interceptors


class CircuitBreakerInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Guards the calls of a channel, of all four kinds.

    A refused call raises `CircuitOpenRpcError`, which is a `CircuitOpenError` and a `grpc.RpcError` with UNAVAILABLE,
    where grpc raises its own: a unary call when it is made, a future when its result is asked for, a stream of
    responses when it is iterated.

    Args:
        target: what the channel is connected to, which an interceptor is not told. It is the usual key.
        options: see `circuitbreaker.clients.ClientOptions`. `key` is asked about `CallDetails`, `judge` about
            `FailedRpcError`; `time_to` of "headers" is to a stream's first response.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: `target` is no string; an option is unknown, or of the wrong kind.
    """

    def __init__(self, target: str, **options: Unpack[ClientOptions]) -> None:
        self._guard = _guard(target, options)

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Send the call, if its circuit lets it."""
        return self._send(continuation, client_call_details, request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Send the call, if its circuit lets it."""
        return self._send(continuation, client_call_details, request, _Responses)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Send the call, if its circuit lets it."""
        return self._send(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Send the call, if its circuit lets it."""
        return self._send(continuation, client_call_details, request_iterator, _Responses)

    def _send(
        self, continuation: Any, details: Any, requests: Any, view: Callable[[Any, ClientCall], Any] | None = None
    ) -> Any:
        known = _known(details)
        try:
            guarded = self._guard.admit(known)
        except CircuitOpenError as refused:
            return _refusal(CircuitOpenRpcError, refused, known)  # raised here, grpc would call it INTERNAL
        try:
            call = continuation(details, requests)
        except BaseException as error:
            _failed(guarded, error)
            raise
        _watch(call, guarded)
        return call if view is None else view(call, guarded)


class AsyncCircuitBreakerInterceptor(Sequence[grpc.aio.ClientInterceptor]):
    """`CircuitBreakerInterceptor` for `grpc.aio`, whose channels want one interceptor for each kind of calls.

    It is a sequence of the four, which share their breakers: give it as it is, or unpacked beside others.
    """

    def __init__(self, target: str, **options: Unpack[ClientOptions]) -> None:
        self._guard = _guard(target, options)
        self._kinds: tuple[Any, ...] = (
            _UnaryUnary(self._guard),
            _UnaryStream(self._guard),
            _StreamUnary(self._guard),
            _StreamStream(self._guard),
        )

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    def __getitem__(self, index: Any) -> Any:
        return self._kinds[index]  # a slice is a tuple

    def __len__(self) -> int:
        return len(self._kinds)


class _Kind:
    def __init__(self, guard: ClientGuard) -> None:
        self._guard = guard

    async def _send(
        self,
        continuation: Callable[[Any, Any], Awaitable[Any]],
        details: Any,
        requests: Any,
        view: Callable[[Any, ClientCall], Any] | None = None,
    ) -> Any:
        known = _known(details)
        try:
            guarded = self._guard.admit(known)
        except CircuitOpenError as refused:
            raise _refusal(CircuitOpenAioRpcError, refused, known) from None
        try:
            call = await continuation(details, requests)
        except BaseException as error:
            _failed(guarded, error)
            raise
        _watch_async(call, guarded)
        return call if view is None else view(call, guarded)


class _UnaryUnary(_Kind, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._send(continuation, client_call_details, request)


class _UnaryStream(_Kind, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self._send(continuation, client_call_details, request, _AsyncResponses)


class _StreamUnary(_Kind, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._send(continuation, client_call_details, request_iterator)


class _StreamStream(_Kind, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self._send(continuation, client_call_details, request_iterator, _AsyncResponses)


def _guard(target: str, options: ClientOptions) -> ClientGuard:
    if not isinstance(target, str):
        raise TypeError(f"target must be a string, got {target!r}")
    return ClientGuard("grpc", key=lambda request: target, judge=judge, options=options)


def _known(details: Any) -> CallDetails:
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    return CallDetails(method, details.timeout, details.metadata, details.wait_for_ready)


def _refusal(kind: type[_R], refused: CircuitOpenError, request: CallDetails) -> _R:
    error = kind.like(refused)
    error.request = request._replace(metadata=tuple(request.metadata or ()))
    return error


# How a call ended


def _failed(guarded: ClientCall, error: BaseException) -> None:
    """`error` ended the call. What is not grpc's own is the caller's: a closed channel, an interceptor that raises."""
    if isinstance(error, grpc.Call | grpc.aio.AioRpcError) and not isinstance(error, CircuitOpenError):
        _ended(guarded, error.code(), error.details(), error.trailing_metadata())
    else:
        guarded.closed()


def _ended(guarded: ClientCall, code: Any, details: Any, trailing_metadata: Any) -> None:
    """The call ended with a status. CANCELLED is the caller's, or that of a call in whose behalf it was made."""
    if code is grpc.StatusCode.OK:
        guarded.ended()
    elif code is grpc.StatusCode.CANCELLED or details in _OWN_MISTAKES:
        guarded.closed()
    else:
        guarded.failed(FailedRpcError(code, details, trailing_metadata))


def _watch(call: Any, guarded: ClientCall) -> None:
    """Settle when `call` ends. It is held weakly: one that everybody drops is cancelled by grpc."""
    if not (isinstance(call, grpc.Call) and isinstance(call, grpc.Future)):
        return  # another interceptor's own answer: of a stream its iteration says how it ends
    watched = ref(call)

    def ended() -> None:
        call = watched()
        if call is None:
            guarded.closed()
        else:
            _settle(call, guarded)

    if call.done() or not call.add_callback(ended):
        _settle(call, guarded)


def _settle(call: Any, guarded: ClientCall) -> None:
    try:
        error = call.exception()
    except grpc.FutureCancelledError:
        guarded.closed()
        return
    if error is None:
        guarded.ended()
    else:
        _failed(guarded, error)


def _watch_async(call: Any, guarded: ClientCall) -> None:
    async def settle() -> None:
        _ended(guarded, await call.code(), await call.details(), await call.trailing_metadata())

    def ended(call: Any) -> None:
        with suppress(StopIteration):
            settle().send(None)  # There is nothing left to wait for.

    if call.done():
        ended(call)
    else:
        call.add_done_callback(ended)


# A stream of responses, and whether some of it came


class _Stream:
    """A call, with an eye on its responses. All else is the call's own."""

    def __init__(self, call: Any, guarded: ClientCall) -> None:
        self._call = call
        self._guarded = guarded
        self._begun = False

    def _came(self) -> None:
        if not self._begun:
            self._begun = True
            self._guarded.began()
            self._guarded.received()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __repr__(self) -> str:
        return repr(self._call)


@grpc.Call.register
@grpc.Future.register
class _Responses(_Stream):
    def __init__(self, call: Any, guarded: ClientCall) -> None:
        super().__init__(call, guarded)
        self._responses = iter(call)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            response = next(self._responses)
        except StopIteration:
            self._guarded.ended()
            raise
        except BaseException as error:
            _failed(self._guarded, error)
            raise
        self._came()
        return response


@grpc.aio.UnaryStreamCall.register
@grpc.aio.StreamStreamCall.register
class _AsyncResponses(_Stream):
    def __aiter__(self) -> AsyncIterator[Any]:
        self._responses = self._call.__aiter__()
        return self

    async def __anext__(self) -> Any:
        response = await self._responses.__anext__()
        self._came()
        return response

    async def read(self) -> Any:
        response = await self._call.read()
        if response is not grpc.aio.EOF:
            self._came()
        return response
