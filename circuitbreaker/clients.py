"""What all guards of clients share: a circuit per host, the verdict on each request, and the time of that verdict.

The life of a request: `ClientGuard.admit` finds its breaker, and acquires a permit or raises. When the response starts
it is judged, and a failure counts at once; so does a part of the body that `judge_part` finds to be one. Otherwise
the verdict falls when the body ends: a complete body is a success, a truncated one a failure. If the consumer closes
the body early, that is a success if any of it arrived; otherwise the permit is released.

The integrations are built on this, and so can a guard for another client be:

    guard = ClientGuard("ftp", key=host_of, judge=judge, options={"failure_threshold": 3})
    with guard.admit(request):
        answer = send(request)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from http import HTTPStatus
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from ._callables import plain_callable
from ._causes import is_cancellation
from ._log import log
from ._values import boolean
from .backoff import RetryAfter, as_strategy
from .errors import CircuitBreakerError, CircuitOpenError
from .keyed import DEFAULT_MAXSIZE, KeyedBreakers
from .options import NAMES_ELSEWHERE, Options, merged
from .permit import Permit
from .registry import Registry, resolve_registry

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "FAILURE_STATUSES",
    "ClientCall",
    "ClientGuard",
    "ClientOptions",
    "FailedBodyError",
    "FailedResponseError",
    "Judge",
    "PartJudge",
]

FAILURE_STATUSES: frozenset[int] = frozenset({429, 500, 502, 503, 504})
"""The status codes that count against a server: it fails or is overloaded. Any other status is a valid answer."""
_RETRY_AFTER_STATUSES = (429, 503)
"""The status codes whose `Retry-After` says when to send the next request (RFC 9110, 10.2.3; RFC 6585, 4)."""

Judge = Callable[[Any], bool | None]
"""Judges a response, or the exception raised instead of one: `True` is a failure, `False` a success, `None` ignored.

It must not read the response's body. If it raises, the error is logged and the client's default judge decides (E4). It
is not called for interrupts and cancellations, which are always ignored (E3).
"""

PartJudge = Callable[[Any], bool | None]
"""Judges a part of a response's body: bytes, or for gRPC a message. `True` is a failure, anything else says nothing."""


class ClientOptions(Options, total=False):
    """The options of a client's guard: those of its breakers, and these.

    `is_failure`, `ignore` and `is_failure_result` are excluded, because `judge` takes their place; so is `fallback`.
    """

    name: str
    """Prefix of the breakers' names; the key follows in brackets. Default: the client's name."""
    key: Callable[[Any], Hashable]
    """Returns the key of a request's circuit. Default: the request's scheme, host and port."""
    judge: Judge
    """What counts as a failure. Default: the client's `judge`."""
    judge_part: PartJudge
    """Whether a part of the body of a 2xx response makes the request a failure, at once. Default: none does.

    Called with each part as it arrives, decompressed; the parts may be cut anywhere. Nothing is kept, and the reader
    gets the same bytes. If it raises, the error is logged, and the rest of that body is not judged (E4).
    """
    timed_until: Literal["headers", "end"]
    """Whether a request's duration, for `SlowCallRate`, ends when the response starts, or ends. Default "headers"."""
    retry_after: bool
    """Whether a server's `Retry-After` lengthens the open period. Default `True`."""
    maxsize: int
    """How many breakers to keep, as in `KeyedBreakers`. Default 1024."""
    registry: Registry | EllipsisType | None
    """Where the breakers are found. Default: the default registry; `None` for none."""


class FailedResponseError(CircuitBreakerError):
    """A response that counts as a failure. Never raised: it is the `error` that breakers and listeners receive."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(status, retry_after)
        self.status: int = status
        """The response's status code."""
        self.retry_after: str | None = retry_after
        """The `Retry-After` header, if it has a meaning with this status; `RetryAfter` reads it."""

    def __str__(self) -> str:
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)


class FailedBodyError(CircuitBreakerError):
    """A body that counts as a failure, because `judge_part` says so of a part of it. The part is not kept.

    Never raised: it is the `error` that breakers and listeners receive.
    """

    def __str__(self) -> str:
        return "a part of the response's body says that the request failed"


class _Headers(Protocol):
    """Headers as all clients have them: names are case-insensitive."""

    def get(self, name: str, /) -> str | None: ...


class ClientGuard:
    """The circuits of one client, one for each key.

    Args:
        name: the client's name, unless `options` has another.
        key: returns the key of a request's circuit, unless `options` has another function.
        judge: judges how a request ended, unless `options` has another judge.
        options: the user's options. Whatever `reset_timeout` is, a server's `Retry-After` lengthens the open period, up
            to 600 seconds; give a `RetryAfter` to set another limit, or `retry_after=False` to leave it out.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or of the wrong kind.
    """

    def __init__(
        self, name: str, *, key: Callable[[Any], Hashable], judge: Judge, options: ClientOptions | None = None
    ) -> None:
        ours: dict[str, Any] = {**(options or {})}
        _check_names(ours)
        name = ours.pop("name", name)
        self._key = plain_callable("key", ours.pop("key", key))
        self._default_judge = judge
        self._judge = plain_callable("judge", ours.pop("judge", judge))
        part = ours.pop("judge_part", None)
        self.judge_part: PartJudge | None = part if part is None else plain_callable("judge_part", part)
        """The user's judge of the parts of a body, if there is one."""
        self.timed_until: str = _one_of("timed_until", ours.pop("timed_until", "headers"), ("headers", "end"))
        retry_after = boolean("retry_after", ours.pop("retry_after", True))
        maxsize, home = ours.pop("maxsize", DEFAULT_MAXSIZE), resolve_registry(ours.pop("registry", ...), name)
        self.breakers: KeyedBreakers = KeyedBreakers(
            name, maxsize=maxsize, registry=home, **_breaker_options(ours, home, retry_after)
        )
        """The breakers, by key."""

    def admit(self, request: Any) -> ClientCall:
        """Admit `request`, or raise `CircuitOpenError`. Never blocks. What `key` raises goes to the caller."""
        return ClientCall(self, self.breakers.use(self._key(request)).acquire())

    def judge(self, end: object) -> bool | None:
        """Judge `end`, a response or an exception. If the user's judge raises, the default one decides."""
        try:
            failed: bool | None = self._judge(end)
        except Exception as error:
            log("error", "%s: judge raised; the default judge decides", self.breakers.name, error=error)
            return self._default_judge(end)
        return failed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.breakers.name!r}, {len(self.breakers)} breakers>"


class ClientCall:
    """An admitted request, until its response has ended. Only the first verdict counts (E2).

    Each method reports what happened to the request. As a context manager around the sending, it reports as `failed`
    what is raised there. If nothing at all was reported when the block ends, the request has ended too, and is a
    success: to report its end later, call `responded` or `started` within the block.
    """

    __slots__ = ("_guard", "_judge_part", "_permit", "_received_any", "_reported")

    def __init__(self, guard: ClientGuard, permit: Permit) -> None:
        self._guard = guard
        self._permit = permit
        self._judge_part = guard.judge_part
        self._received_any = False
        self._reported = False

    def responded(self, response: object, status: int, headers: _Headers, method: str = "GET") -> None:
        """The response has started. The judge may settle it now, as a failure or as ignored; if not, its body decides.

        A response that cannot have a body (RFC 9110, 6.4.1), or has an empty one, has ended.

        Args:
            response: what the judge is asked about.
            status: its status code. Unless it is 2xx, the parts of its body are not judged.
            headers: its headers.
            method: the request's method.
        """
        self._reported = True
        failed = self._guard.judge(response)
        if failed is not False or not 200 <= status < 300:
            self._judge_part = None
        if failed is None:
            self._permit.release()
        elif failed:
            retry_after = headers.get("Retry-After") if status in _RETRY_AFTER_STATUSES else None
            self._permit.failure(FailedResponseError(status, retry_after))
        elif method == "HEAD" or status < 200 or status in (204, 304) or headers.get("Content-Length") == "0":
            self.ended()
        else:
            self.started()

    def started(self) -> None:
        """The response has started, and is no failure so far. With `timed_until="headers"` its duration ends here."""
        self._reported = True
        if self._guard.timed_until == "headers":
            self._permit.stop_timing()

    def received(self, part: object = None) -> None:
        """Some of the body arrived. If it is given as `part`, the user's `judge_part` may find it to be a failure."""
        self._reported = self._received_any = True
        if self._judge_part is not None and part is not None and self._is_failure(part, self._judge_part):
            self._permit.failure(FailedBodyError())

    @property
    def judges_parts(self) -> bool:
        """Whether `received` still has a use for the parts of the body."""
        return self._judge_part is not None

    def _is_failure(self, part: object, judge_part: PartJudge) -> bool:
        try:
            failed = bool(judge_part(part))
        except Exception as error:
            log("error", "%s: judge_part raised; it is not called for the rest", self._guard.breakers.name, error=error)
            self._judge_part = None
            return False
        if failed:
            self._judge_part = None
        return failed

    def ended(self) -> None:
        """All of the body arrived: a success."""
        self._reported = True
        self._judge_part = None
        self._permit.success()

    def closed(self) -> None:
        """The rest of the body is not wanted: a success if any of it arrived, otherwise ignored."""
        self._reported = True
        if self._received_any:
            self._permit.success()
        else:
            self._permit.release()

    def ignored(self) -> None:
        """The request ended in a way that says nothing about the server."""
        self._reported = True
        self._permit.release()

    def failed(self, error: BaseException) -> None:
        """The request ended with `error`, before or during its response. The judge decides what that means.

        A request that was given up, by a cancellation or an interrupt, is ignored, but may have been slow (E12).
        """
        self._reported = True
        if not isinstance(error, Exception) or is_cancellation(error):
            self._permit.settle(error)
            return
        failed = self._guard.judge(error)
        if failed is None:
            self._permit.release()
        elif failed:
            self._permit.failure(error)
        else:
            self._permit.success()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            if not self._reported:
                self.ended()
        elif not (self._reported and isinstance(error, GeneratorExit)):
            self.failed(error)
        # Otherwise the reader of the body has stopped. closed() follows, and decides what that means.


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return cast("str", value)


_EXCLUDED = {
    "is_failure": "judge decides what counts",
    "ignore": "judge decides what counts",
    "is_failure_result": "judge decides what counts",
    "fallback": "catch CircuitOpenError",
}


def _check_names(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _EXCLUDED:
            raise TypeError(f"there is no option {name!r} for a client: {_EXCLUDED[name]}")
        # Names from other libraries are left to Settings, whose error says what they are called here.
        if name not in ClientOptions.__annotations__ and name not in NAMES_ELSEWHERE:
            allowed = [each for each in ClientOptions.__annotations__ if each not in _EXCLUDED]
            raise TypeError(f"there is no option {name!r} for a client; the options are {', '.join(allowed)}")


def _breaker_options(options: Mapping[str, Any], home: Registry | None, retry_after: bool) -> Options:
    """The breakers' options: a server's `Retry-After` may lengthen `reset_timeout`, and only the judge judges."""
    given = cast("Options", options)
    strategy = (given if home is None else merged(home.defaults, given)).get("reset_timeout", 30.0)
    if not retry_after and isinstance(strategy, RetryAfter):
        raise ValueError(f"retry_after=False contradicts reset_timeout={strategy!r}: leave one of them out")
    if retry_after and not isinstance(strategy, RetryAfter):
        strategy = RetryAfter(as_strategy("reset_timeout", strategy))
    # The registry's filters must not apply, and a judge may count refusals.
    return {**given, "reset_timeout": strategy, "is_failure": (Exception, CircuitOpenError), "ignore": ()}
