"""What the guards of clients share: a circuit for each host, what the end of a request says, and when it is said.

A request's way: `ClientGuard.admit` finds the breaker for it, and takes a permit or raises. When the answer begins it
is judged, and a failure counts at once. Otherwise the verdict falls when the body ends: complete is a success, cut
short a failure. A body that its consumer closes early is a success if some of it came; of a response that nobody read,
the permit is given back.

The integrations are built of this. So can be a guard for another client:

    guard = ClientGuard("ftp", key=host_of, judge=judge, options={"failure_threshold": 3})
    with guard.admit(request) as call:
        answer = send(request)
    call.ended()
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from http import HTTPStatus
from logging import getLogger
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from ._callables import plain_callable
from .backoff import RetryAfter, as_strategy
from .errors import CircuitBreakerError
from .keyed import MAXSIZE, KeyedBreakers
from .options import NAMES_ELSEWHERE, Options, merged
from .permit import Permit
from .registry import Registry, resolve_registry

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FAILURE_STATUSES", "ClientCall", "ClientGuard", "ClientOptions", "FailedAnswerError", "Judge"]

_logger = getLogger("circuitbreaker")

FAILURE_STATUSES: frozenset[int] = frozenset({429, 500, 502, 503, 504})
"""The status codes that count against a server: it fails, or is overloaded. Other answers are answers."""
_PAUSES = (429, 503)
"""The status codes whose `Retry-After` says when to come again (RFC 9110, 10.2.3; RFC 6585, 4)."""

Judge = Callable[[Any], bool | None]
"""Judges an answer, or an exception in the place of one: `True` is a failure, `False` a success, `None` says nothing.

It must not read the answer's body. What it raises is logged, and the client's usual judge is asked (E4). It is not
asked about interrupts and cancellations, which say nothing (E3).
"""


class ClientOptions(Options, total=False):
    """The options of a client's guard: those of its breakers, and these.

    `is_failure`, `ignore` and `is_failure_result` are not among them, for `judge` decides that; nor is `fallback`.
    """

    name: str
    """What the breakers' names begin with; the key follows in brackets. Default: the client's name."""
    key: Callable[[Any], Hashable]
    """Which circuit a request belongs to. Default: that of its host, by scheme, host and port."""
    judge: Judge
    """What counts as a failure. Default: the client's `judge`."""
    time_to: Literal["headers", "end"]
    """What a request's duration is, for `SlowCallRate`: to the answer's beginning, or to its end. Default "headers"."""
    maxsize: int
    """How many breakers to keep, as `KeyedBreakers` says. Default 1024."""
    registry: Registry | EllipsisType | None
    """Where the breakers are found. Default: the default registry; `None` for nowhere."""


class FailedAnswerError(CircuitBreakerError):
    """An answer that counts as a failure. It is never raised: it is what a breaker and its listeners are told."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(status, retry_after)
        self.status: int = status
        self.retry_after: str | None = retry_after
        """The `Retry-After` header, if the status goes with one; `RetryAfter` reads it."""

    def __str__(self) -> str:
        known = {each.value: each.phrase for each in HTTPStatus}
        return f"{self.status} {known.get(self.status, '')}".rstrip()


class _Headers(Protocol):
    """Headers as all clients have them: names in any case."""

    def get(self, name: str, /) -> str | None: ...


class ClientGuard:
    """The circuits of one client.

    Args:
        name: the client's name.
        key: finds a request's circuit, unless the user's `key` does.
        judge: judges how a request ended, unless the user's `judge` does.
        options: what the user asks for. `reset_timeout`, whatever it is, gives way to a `Retry-After` of at most 600
            seconds; a `RetryAfter` of the user's sets that limit.

    Raises:
        ValueError: an option breaks its rule.
        TypeError: an option is unknown, or of the wrong kind.
    """

    def __init__(
        self, name: str, *, key: Callable[[Any], Hashable], judge: Judge, options: ClientOptions | None = None
    ) -> None:
        ours: dict[str, Any] = {**(options or {})}
        _check_names(ours)
        self._name: str = ours.pop("name", name)
        self._key = plain_callable("key", ours.pop("key", key))
        self._usual_judge = judge
        self._judge = plain_callable("judge", ours.pop("judge", judge))
        self.time_to: str = _one_of("time_to", ours.pop("time_to", "headers"), ("headers", "end"))
        maxsize, registry = ours.pop("maxsize", MAXSIZE), ours.pop("registry", ...)
        self.breakers: KeyedBreakers = KeyedBreakers(
            self._name,
            maxsize=maxsize,
            registry=registry,
            **_heeding_retry_after(ours, resolve_registry(registry, self._name)),
        )

    def admit(self, request: Any) -> ClientCall:
        """Let `request` go, or raise `CircuitOpenError`. What `key` raises is the caller's, and nothing is sent."""
        return ClientCall(self, self.breakers.use(self._key(request)).acquire())

    def judge(self, end: object) -> bool | None:
        """What `end`, an answer or an exception, says."""
        try:
            failed: bool | None = self._judge(end)
        except Exception:
            _logger.exception("%s: judge raised; the usual one is asked", self._name)
            return self._usual_judge(end)
        return failed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}, {len(self.breakers)} breakers>"


class ClientCall:
    """A request that was let go, until its answer has ended. The first that is said of its end counts.

    As a context manager around the sending, it takes what is raised there for the end.
    """

    __slots__ = ("_came", "_guard", "_permit")

    def __init__(self, guard: ClientGuard, permit: Permit) -> None:
        self._guard = guard
        self._permit = permit
        self._came = False  # anything of the body

    def answered(self, answer: object, status: int, headers: _Headers, method: str = "GET") -> None:
        """The answer to `method` has begun: if its judge calls it a failure, it is one now. Otherwise its body decides.

        One that can have no body (RFC 9110, 6.4.1), or has an empty one, has ended.
        """
        failed = self._guard.judge(answer)
        if failed is None:
            self._permit.release()
        elif failed:
            self._permit.failure(FailedAnswerError(status, headers.get("Retry-After") if status in _PAUSES else None))
        elif method == "HEAD" or status < 200 or status in (204, 304) or headers.get("Content-Length") == "0":
            self.ended()
        else:
            self.began()

    def began(self) -> None:
        """The answer has begun, and is well so far."""
        if self._guard.time_to == "headers":
            self._permit.stop_timing()

    def received(self) -> None:
        """Some of the body came."""
        self._came = True

    def ended(self) -> None:
        """All of the body came."""
        self._permit.success()

    def closed(self) -> None:
        """Nobody wants the rest of the body."""
        if self._came:
            self._permit.success()
        else:
            self._permit.release()

    def failed(self, error: BaseException) -> None:
        """The request ended by `error`, before its answer or within it."""
        failed = self._guard.judge(error) if isinstance(error, Exception) else None
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
        # GeneratorExit: whoever reads the body by this generator has stopped. What that means, closed() says.
        if error is not None and not isinstance(error, GeneratorExit):
            self.failed(error)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return cast("str", value)


_DECIDED_BY = {
    "is_failure": "judge decides what counts",
    "ignore": "judge decides what counts",
    "is_failure_result": "judge decides what counts",
    "fallback": "catch CircuitOpenError",
}


def _check_names(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in _DECIDED_BY:
            raise TypeError(f"there is no option {name!r} for a client: {_DECIDED_BY[name]}")
        if (
            name not in ClientOptions.__annotations__ and name not in NAMES_ELSEWHERE
        ):  # Settings says what those are called here.
            allowed = [each for each in ClientOptions.__annotations__ if each not in _DECIDED_BY]
            raise TypeError(f"there is no option {name!r} for a client; the options are {', '.join(allowed)}")


def _heeding_retry_after(options: Mapping[str, Any], home: Registry | None) -> Options:
    """The options of the breakers: `reset_timeout` gives way to what the server asks for, and only the judge judges."""
    given = cast("Options", options)
    usual = (given if home is None else merged(home.defaults, given)).get("reset_timeout", 30.0)
    if not isinstance(usual, RetryAfter):
        usual = RetryAfter(as_strategy("reset_timeout", usual))
    return {**given, "reset_timeout": usual, "ignore": ()}  # A registry may have another one.
