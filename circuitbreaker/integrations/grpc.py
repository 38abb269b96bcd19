"""grpc: a circuit per target, or per method with a `key`, as an interceptor of the channel.

    grpc.intercept_channel(channel, CircuitBreakerInterceptor("payments:50051"))
    grpc.aio.insecure_channel("payments:50051", interceptors=AsyncCircuitBreakerInterceptor("payments:50051"))

The verdict falls when a call ends: for a unary call with its response or error, for a stream of responses with its
last one. A stream that its consumer cancels or drops is a success if any of it arrived; otherwise it is ignored. So is
one of `grpc.aio` whose task is cancelled while it waits for a response, by a timeout around it say.
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
"""The status codes that count against a server: it fails, is overloaded or too slow. Any other code is an answer."""
_CALLERS_MISTAKES = ("Exception serializing request!", "Exception iterating requests!")
"""The details that grpc gives when the caller's own code raises; the codes are INTERNAL and UNKNOWN."""
_PUSHBACK = "grpc-retry-pushback-ms"


@grpc.ClientCallDetails.register
class CallDetails(NamedTuple):
    """What `key` receives, and what a refusal has as its `request`: a `grpc.ClientCallDetails` that can be pickled."""

    method: str
    """Such as "/payments.Payments/Charge"."""
    timeout: float | None
    """In seconds; `None` if there is none."""
    metadata: Any
    """As the caller gave it; in a refusal, a tuple of pairs."""
    wait_for_ready: bool | None


class FailedRpcError(CircuitBreakerError, grpc.RpcError):
    """A call that ended with a status other than OK: what `judge` receives, sync and async.

    Never raised. If it is a failure, it is the `error` that breakers and listeners receive.
    """

    def __init__(self, code: grpc.StatusCode, details: str | None, trailing_metadata: Any) -> None:
        super().__init__(code, details, trailing_metadata)
        self._code = code
        self._details = details
        self._trailing_metadata: tuple[Any, ...] = tuple(trailing_metadata or ())
        self.retry_after: float | None = _pushback(self._trailing_metadata)
        """The server's pushback (gRFC A6), in seconds, if it is positive; `RetryAfter` reads it."""

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str | None:
        """The server's description of the error."""
        return self._details

    def trailing_metadata(self) -> tuple[Any, ...]:
        """The metadata sent with the status: pairs of a lower-case name, and a string or bytes."""
        return self._trailing_metadata

    def __str__(self) -> str:
        return f"{self._code.name}: {self._details}" if self._details else self._code.name


def _pushback(metadata: tuple[Any, ...]) -> float | None:
    """The pushback in seconds. A negative or malformed one forbids a retry, but gives no time for other calls."""
    with suppress(KeyError, ValueError):
        milliseconds = int(dict(metadata)[_PUSHBACK])
        return milliseconds / 1000 if milliseconds > 0 else None
    return None


def judge(end: FailedRpcError) -> bool | None:
    """The default judge: `FAILURE_CODES` are failures.

    It is not called for calls that succeeded, were cancelled, or failed in the caller's own code.
    """
    return end.code() in FAILURE_CODES


# A refused call


class _RefusedError(CircuitOpenError):
    request: CallDetails
    """The refused call."""

    def code(self) -> grpc.StatusCode:
        """Return UNAVAILABLE."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """The text of the refusal."""
        return str(self)

    def debug_error_string(self) -> str:
        """The text of the refusal, as in `details()`."""
        return str(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


_R = TypeVar("_R", bound=_RefusedError)


class CircuitOpenRpcError(_RefusedError, grpc.RpcError, grpc.Call, _Future):
    """An open circuit refused a call, which was not sent.

    Like grpc's own errors it is also the call, which has ended: `result()` and the first `next()` raise it.
    """

    def initial_metadata(self) -> tuple[()]:
        """Return an empty tuple: nothing was received."""
        return ()

    def trailing_metadata(self) -> tuple[()]:
        """Return an empty tuple: nothing was received."""
        return ()

    def is_active(self) -> bool:
        """Return `False`: the call has ended."""
        return False

    def time_remaining(self) -> Any:
        """Return `None`: the call has ended."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Return `False`: the call has ended, and `callback` will not be called."""
        return False

    def cancel(self) -> bool:
        """Return `False`: the call has ended, and cannot be cancelled."""
        return False

    def cancelled(self) -> bool:
        """Return `False`: the call was refused, not cancelled."""
        return False

    def running(self) -> bool:
        """Return `False`: the call has ended."""
        return False

    def done(self) -> bool:
        """Return `True`: the call has ended."""
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Raise this error."""
        raise self

    def exception(self, timeout: float | None = None) -> CircuitOpenRpcError:
        """Return this error."""
        return self

    def traceback(self, timeout: float | None = None) -> Any:
        """Return the traceback of this error."""
        return self.__traceback__

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Call `fn` with this call at once: it has ended."""
        fn(self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        raise self


class CircuitOpenAioRpcError(_RefusedError, grpc.aio.AioRpcError):
    """An open circuit refused a call of `grpc.aio`, which was not sent."""

    def initial_metadata(self) -> grpc.aio.Metadata:
        """Return empty metadata: nothing was received."""
        return grpc.aio.Metadata()

    def trailing_metadata(self) -> Any:
        """Return empty metadata: nothing was received."""
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
    where grpc raises its own errors: a unary call when it is made, a future when its result is requested, a stream of
    responses when it is iterated.

    Args:
        target: what the channel is connected to, which grpc does not pass to interceptors. It is the default key.
        options: see `circuitbreaker.clients.ClientOptions`. `key` receives `CallDetails`, and `judge` a
            `FailedRpcError`; `judge_part` receives each response message as it arrives. With `timed_until="headers"`,
            a stream's duration ends at its first response.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: `target` is not a string; an option is unknown, or of the wrong kind.
    """

    def __init__(self, target: str, **options: Unpack[ClientOptions]) -> None:
        self._guard = _guard(target, options)

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Send the call if its circuit admits it; otherwise return the error as the call."""
        return self._send(continuation, client_call_details, request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Send the call if its circuit admits it; otherwise return the error as the call."""
        return self._send(continuation, client_call_details, request, _Responses)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Send the call if its circuit admits it; otherwise return the error as the call."""
        return self._send(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """Send the call if its circuit admits it; otherwise return the error as the call."""
        return self._send(continuation, client_call_details, request_iterator, _Responses)

    def _send(
        self, continuation: Any, details: Any, requests: Any, wrap: Callable[[Any, ClientCall], Any] | None = None
    ) -> Any:
        request = _request(details)
        try:
            guarded = self._guard.admit(request)
        except CircuitOpenError as refused:
            return _refusal(CircuitOpenRpcError, refused, request)  # If it were raised, grpc would make it INTERNAL.
        try:
            call = continuation(details, requests)
        except BaseException as error:
            _failed(guarded, error)
            raise
        _watch(call, guarded, is_unary=wrap is None)
        return call if wrap is None else wrap(call, guarded)


class AsyncCircuitBreakerInterceptor(Sequence[grpc.aio.ClientInterceptor]):
    """`CircuitBreakerInterceptor` for `grpc.aio`, whose channels need one interceptor for each kind of call.

    It is a sequence of those four, which share their breakers: give it as `interceptors`, or unpack it among others.
    Takes the same arguments. A refused call raises `CircuitOpenAioRpcError`, where grpc raises its own errors.
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
        wrap: Callable[[Any, ClientCall], Any] | None = None,
    ) -> Any:
        request = _request(details)
        try:
            guarded = self._guard.admit(request)
        except CircuitOpenError as refused:
            raise _refusal(CircuitOpenAioRpcError, refused, request) from None
        try:
            call = await continuation(details, requests)
            if wrap is None and guarded.judges_parts:
                with suppress(grpc.RpcError):  # the caller gets it too
                    guarded.received(await call)
        except BaseException as error:
            _failed(guarded, error)
            raise
        _watch_async(call, guarded, is_unary=wrap is None)
        return call if wrap is None else wrap(call, guarded)


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


def _request(details: Any) -> CallDetails:
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    return CallDetails(method, details.timeout, details.metadata, details.wait_for_ready)


def _refusal(kind: type[_R], refused: CircuitOpenError, request: CallDetails) -> _R:
    error = kind.from_refusal(refused)
    error.request = request._replace(metadata=tuple(request.metadata or ()))
    return error


# How a call ended


def _failed(guarded: ClientCall, error: BaseException) -> None:
    """Report that `error` ended the call. Errors that are not grpc's own come from the caller's side.

    A closed channel raises such an error, or another interceptor.
    """
    if isinstance(error, grpc.Call | grpc.aio.AioRpcError) and not isinstance(error, CircuitOpenError):
        _ended(guarded, error.code(), error.details(), error.trailing_metadata())
    else:
        guarded.closed()


def _ended(guarded: ClientCall, code: Any, details: Any, trailing_metadata: Any) -> None:
    """Report the status with which the call ended. CANCELLED comes from the caller, or from the call it serves."""
    if code is grpc.StatusCode.OK:
        guarded.ended()
    elif code is grpc.StatusCode.CANCELLED or details in _CALLERS_MISTAKES:
        guarded.closed()
    else:
        guarded.failed(FailedRpcError(code, details, trailing_metadata))


def _watch(call: Any, guarded: ClientCall, *, is_unary: bool) -> None:
    """Settle when `call` ends. It is referred to weakly, because grpc cancels a call that is garbage-collected."""
    if not (isinstance(call, grpc.Call) and isinstance(call, grpc.Future)):
        return  # another interceptor's own response; for a stream, its iteration reports how it ends
    watched = ref(call)

    def ended() -> None:
        call = watched()
        if call is None:
            guarded.closed()
        else:
            _settle(call, guarded, is_unary)

    if call.done() or not call.add_callback(ended):
        _settle(call, guarded, is_unary)


def _settle(call: Any, guarded: ClientCall, is_unary: bool) -> None:
    try:
        error = call.exception()
    except grpc.FutureCancelledError:
        guarded.closed()
        return
    if error is not None:
        _failed(guarded, error)
    elif is_unary:
        guarded.received(call.result())
        guarded.ended()
    elif not guarded.judges_parts:  # otherwise its consumer, who has yet to read some, comes to the end
        guarded.ended()


def _watch_async(call: Any, guarded: ClientCall, *, is_unary: bool) -> None:
    async def settle() -> None:
        code = await call.code()
        if code is grpc.StatusCode.CANCELLED:  # not by cancel(), which has settled the call
            guarded.ignored()
        elif is_unary or code is not grpc.StatusCode.OK or not guarded.judges_parts:
            _ended(guarded, code, await call.details(), await call.trailing_metadata())

    def ended(call: Any) -> None:
        with suppress(StopIteration):
            settle().send(None)  # The call has ended, so this does not wait.

    if call.done():
        ended(call)
    else:
        call.add_done_callback(ended)


# A stream of responses, and whether any of it arrived


class _Stream:
    """A call that reports its responses. Everything else is the call's own."""

    def __init__(self, call: Any, guarded: ClientCall) -> None:
        self._call = call
        self._guarded = guarded
        self._started = False

    def _received(self, response: object) -> None:
        if not self._started:
            self._started = True
            self._guarded.started()
        self._guarded.received(response)

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
        self._received(response)
        return response


@grpc.aio.UnaryStreamCall.register
@grpc.aio.StreamStreamCall.register
class _AsyncResponses(_Stream):
    def __aiter__(self) -> AsyncIterator[Any]:
        self._responses = self._call.__aiter__()
        return self

    async def __anext__(self) -> Any:
        try:
            response = await self._responses.__anext__()
        except StopAsyncIteration:
            self._guarded.ended()
            raise
        self._received(response)
        return response

    def cancel(self) -> Any:
        if not self._call.done():
            self._guarded.closed()
        return self._call.cancel()

    async def read(self) -> Any:
        response = await self._call.read()
        if response is grpc.aio.EOF:
            self._guarded.ended()
        else:
            self._received(response)
        return response
