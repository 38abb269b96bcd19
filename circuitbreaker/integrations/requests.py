"""requests: a circuit per host, as an adapter around the one that sends the requests.

    session = requests.Session()
    session.mount("https://", CircuitBreakerAdapter())

The body is watched at `response.raw`, where it arrives, so it does not matter how it is read. Redirects, cookies,
hooks, authentication and the connection pool are the session's own, and work as they do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from ..clients import FAILURE_STATUSES, ClientCall, ClientGuard, ClientOptions
from ..errors import CircuitOpenError
from ..keyed import KeyedBreakers
from ..retries import refusal_cause

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["CircuitBreakerAdapter", "CircuitOpenConnectionError", "judge", "origin"]

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def origin(request: requests.PreparedRequest) -> str:
    """The default key: scheme, host and port."""
    url = urlsplit(cast("str", request.url))
    host = url.netloc.rpartition("@")[2].lower()
    return f"{url.scheme}://{host.removesuffix(_DEFAULT_PORTS.get(url.scheme, ''))}"


_IGNORED = (
    CircuitOpenError,
    urllib3.exceptions.EmptyPoolError,
    urllib3.exceptions.FullPoolError,
    urllib3.exceptions.ClosedPoolError,
    urllib3.exceptions.ResponseNotChunked,
)
_FAILURES = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.InvalidHeader,  # of a response: a request's headers are checked before the adapter
    requests.exceptions.RetryError,
    urllib3.exceptions.DecodeError,  # This and the next ones come from reading `response.raw`.
    urllib3.exceptions.IncompleteRead,
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.SSLError,
    urllib3.exceptions.TimeoutError,
)


def judge(end: requests.Response | Exception) -> bool | None:
    """The default judge: timeouts, broken connections, broken bodies and `FAILURE_STATUSES` are failures.

    What says nothing about the server is ignored: a full or closed connection pool, an invalid URL or another mistake
    of the caller, and another circuit's refusal.
    """
    if isinstance(end, requests.Response):
        return end.status_code in FAILURE_STATUSES
    if refusal_cause(end) is not None:
        return None
    if any(isinstance(each, _IGNORED) for each in (end, *end.args)):  # requests wraps urllib3's errors in its own
        return None
    if isinstance(end, requests.ConnectionError) and _is_of_a_forwarded_response(end):
        return None
    return True if isinstance(end, _FAILURES) else None


def _is_of_a_forwarded_response(error: requests.ConnectionError) -> bool:
    """Whether the body being sent is another response, and broke off. urllib3 and requests wrap its error."""
    inside = [each for outer in error.args for each in (outer, *getattr(outer, "args", ()))]
    return any(isinstance(each, requests.RequestException | urllib3.exceptions.IncompleteRead) for each in inside)


class CircuitOpenConnectionError(CircuitOpenError, requests.ConnectionError):
    """An open circuit refused a request, which was not sent. So `response` is `None`."""

    response: requests.Response | None = None


class CircuitBreakerAdapter(BaseAdapter):
    """Guards the requests that `adapter` sends. It may be mounted at several prefixes, and used by many threads.

    A refused request raises `CircuitOpenConnectionError`, which is a `CircuitOpenError` and a
    `requests.ConnectionError`. If it is pickled, alone or in a session, the copy has the same options, and its circuits
    start closed.

    Args:
        adapter: sends the requests; a `requests.adapters.HTTPAdapter()` if not given. To set its options
            (`max_retries`, `pool_maxsize`, ...), give one that has them.
        options: see `circuitbreaker.clients.ClientOptions`.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or an argument of the wrong kind.
    """

    def __init__(self, adapter: BaseAdapter | None = None, **options: Unpack[ClientOptions]) -> None:
        super().__init__()
        self._guard = ClientGuard("requests", key=origin, judge=judge, options=options)
        self._options = options
        self._adapter = HTTPAdapter() if adapter is None else adapter
        if not isinstance(self._adapter, BaseAdapter):
            raise TypeError(f"adapter must be a requests.adapters.BaseAdapter, got {adapter!r}")

    @property
    def breakers(self) -> KeyedBreakers:
        """The breakers, by key."""
        return self._guard.breakers

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send `request` if its circuit admits it, or raise `CircuitOpenConnectionError`."""
        with self._admitted(request) as call:
            response = self._adapter.send(request, *args, **kwargs)
            call.responded(response, response.status_code, response.headers, request.method or "GET")
        # Authentication sends its response to a challenge through this.
        response.connection = cast("HTTPAdapter", self)
        if response.raw is None:
            call.ended()
        else:
            response.raw = _Body(response.raw, call)
        return response

    def _admitted(self, request: requests.PreparedRequest) -> ClientCall:
        try:
            return self._guard.admit(request)
        except CircuitOpenError as refused:
            error = CircuitOpenConnectionError.from_refusal(refused)
            error.request = request
            raise error from None

    def close(self) -> None:
        """Close the adapter."""
        self._adapter.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._options), (self._adapter,)


_READS: dict[str, Callable[[Any, Any, tuple[Any, ...]], Any]] = {
    "json": lambda result, raw, args: raw.data,
    "read1": lambda result, raw, args: result,
    "readinto": lambda result, raw, args: bytes(memoryview(args[0])[:result]),
    "readline": lambda result, raw, args: result,
    "readlines": lambda result, raw, args: b"".join(result),
}
"""By method, the bytes that it has read: from its result, `raw` and its arguments."""
_STREAMS = frozenset({"read_chunked", "stream"})


class _Body:
    """The `raw` of a response, which reports how it ends. It has the attributes of `raw`, and no others."""

    _raw: Any
    _call: ClientCall

    def __init__(self, raw: Any, call: ClientCall) -> None:
        vars(self).update(_raw=raw, _call=call)

    def __getattr__(self, name: str) -> Any:
        if name in ("_raw", "_call"):  # in a copy that is not complete yet
            raise AttributeError(name)
        found = getattr(self._raw, name)
        if name in _READS:
            return partial(self._read, found, _READS[name])
        if name in _STREAMS:
            return partial(self._parts, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._raw, name, value)

    @property
    def data(self) -> Any:
        with self._call:
            part = self._raw.data
            self._arrived(part, part)
        return part

    def read(self, amt: int | None = None, *args: Any, **kwargs: Any) -> Any:
        part = self._read(self._raw.read, _READS["read1"], amt, *args, **kwargs)
        if amt is None or amt < 0:
            self._call.ended()
        return part

    def close(self) -> None:
        with self._call as call:
            self._raw.close()
            call.closed()

    def __iter__(self) -> Iterator[Any]:
        return self._parts(iter, self._raw)

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _parts(self, stream: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._call as call:
            for part in stream(*args, **kwargs):
                call.received(part)
                yield part
            self._arrived(None)

    def _read(
        self, read: Callable[..., Any], part_of: Callable[[Any, Any, tuple[Any, ...]], Any], *args: Any, **kwargs: Any
    ) -> Any:
        with self._call as call:
            result = read(*args, **kwargs)
            self._arrived(result, part_of(result, self._raw, args) if result and call.judges_parts else None)
        return result

    def _arrived(self, result: Any, part: Any = None) -> None:
        """Report what a read returned, which part of the body that is, and whether it was the last."""
        if result:
            self._call.received(part)
        missing = getattr(self._raw, "length_remaining", None)
        # urllib3-future does not close a body that has been read exactly to its end.
        if not (self._raw.isclosed() if hasattr(self._raw, "isclosed") else not result) and missing != 0:
            return
        if result and "Content-Encoding" in self._raw.headers:
            return  # All of the body has arrived, but its decoder may still hold some of it, or raise.
        if missing:  # read1() does not notice a truncated body.
            self._call.failed(urllib3.exceptions.IncompleteRead(self._raw.tell(), missing))
        else:
            self._call.ended()
