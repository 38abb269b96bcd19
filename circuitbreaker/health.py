"""Every circuit of a registry as one JSON document, and as an answer to the HTTP request of a probe.

`health.schema.json`, beside this file, describes the document: `SCHEMA` is its text. Members may be added to it; none
goes away or changes its meaning. The texts of errors are left out unless told otherwise, for they may quote a secret.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from logging import getLogger
from types import EllipsisType
from typing import TYPE_CHECKING, Any, cast

from ._callables import plain_callable
from .clock import utc
from .events import CircuitState, Hold, LastFailure, Metrics
from .problems import Answer, answer, boolean, timestamp
from .registry import Registry, default_registry

if TYPE_CHECKING:
    from .breaker import CircuitBreaker

__all__ = ["SCHEMA", "Critical", "Health"]

SCHEMA: str = files("circuitbreaker").joinpath("health.schema.json").read_text(encoding="utf-8")
"""The JSON Schema (2020-12) of the document."""

Critical = Iterable[str] | Callable[[str], bool]
"""Names of circuits, or a predicate on them. One that raises is logged, and says no."""

_logger = getLogger("circuitbreaker")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # what a header can carry (RFC 6750, 2.1)


class Health:
    """How the circuits of a registry are, for people and for probes.

    Args:
        registry: whose circuits; if not given, those of the default registry at the time of asking.
        critical: the circuits without which this service is of no use: when one of them refuses calls, the status is
            503. See `refuses`.
        token: if given, only requests with `Authorization: Bearer <token>` are answered, the others with 401.
        details: whether the document quotes the texts of errors.

    Raises:
        ValueError: the token is empty, or no header can carry it.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        registry: Registry | EllipsisType = ...,
        *,
        critical: Critical = (),
        token: str | None = None,
        details: bool = False,
    ) -> None:
        if not (registry is ... or isinstance(cast("Any", registry), Registry)):
            raise TypeError(f"registry must be a Registry, got {registry!r}")
        self._registry = registry
        self._names, self._is_critical = _critical(critical)
        self._token = None if token is None else _token(token)
        self._details = boolean("details", details)

    def answer(self, *, method: str = "GET", authorization: str | None = None) -> Answer:
        """The answer to a request: 200, or 503 when a critical circuit refuses calls, with the document.

        405 to other methods than GET and HEAD; 401 without the token (RFC 6750, 3). Nobody may keep any of them.

        Args:
            method: the request's.
            authorization: its `Authorization` header.
        """
        if method not in ("GET", "HEAD"):
            return answer(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        if not self._admits(authorization):
            return answer(HTTPStatus.UNAUTHORIZED, method=method, headers={"WWW-Authenticate": "Bearer"})
        document = self.document()
        status = HTTPStatus.SERVICE_UNAVAILABLE if document["status"] == "fail" else HTTPStatus.OK
        return answer(status, json.dumps(document), "application/json", method=method)

    def document(self) -> dict[str, Any]:
        """The circuits, sorted by name, and what they come to.

        `status` is `"fail"` when a critical circuit refuses calls; otherwise `"warn"` when one is not closed or is
        held, or when a critical one is missing; otherwise `"pass"`. (The words of draft-inadarei-api-health-check.)

        A name in `critical` that no circuit has is listed in `missing`, and fails nothing: a breaker may be made on its
        first use, and a service that fails until then would never get there.
        """
        registry = default_registry() if self._registry is ... else self._registry
        breakers = sorted(registry, key=lambda breaker: breaker.name)
        circuits = [self._circuit(breaker) for breaker in breakers]
        missing = sorted(self._names - {breaker.name for breaker in breakers})
        if any(each["critical"] and each["refuses"] for each in circuits):
            status = "fail"
        elif missing or any(each["state"] != "closed" or each["hold"] for each in circuits):
            status = "warn"
        else:
            status = "pass"
        return {"status": status, "missing": missing, "circuits": circuits}

    def _circuit(self, breaker: CircuitBreaker) -> dict[str, Any]:
        metrics = breaker.metrics()
        return {
            "name": metrics.name,
            "state": metrics.state.value,
            "hold": metrics.hold and metrics.hold.value,
            "critical": self._is_critical(metrics.name),
            "refuses": refuses(breaker, metrics),
            "reason": metrics.reason if self._details else metrics.reason.partition(": ")[0],
            "opened_at": timestamp(metrics.opened_at),
            "next_attempt_at": timestamp(metrics.next_attempt_time),
            "last_success_at": timestamp(metrics.last_success_time),
            "last_failure": metrics.last_failure and self._failure(metrics.last_failure),
            "counts": {name: getattr(metrics, name) for name in _COUNTS},
            "store": metrics.store if self._details else metrics.store and metrics.store.partition(": ")[0],
        }

    def _failure(self, failure: LastFailure) -> dict[str, Any]:
        text = {"text": failure.text} if self._details else {}
        return {"type": failure.type, "at": timestamp(failure.at), **text}

    def _admits(self, authorization: str | None) -> bool:
        if self._token is None:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        same = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogatepass"), self._token)
        return same and scheme.lower() == "bearer"


_COUNTS = (
    "failure_count",
    "success_count",
    "total_calls",
    "total_successes",
    "total_failures",
    "total_rejections",
    "total_ignored",
    "shadow_rejections",
)


def refuses(breaker: CircuitBreaker, metrics: Metrics) -> bool:
    """Whether the circuit refuses every call for now: forced open, or open and its wait not over.

    A circuit that is half-open, or whose next call would be a trial, needs calls to recover: a probe that kept them
    away would keep it open for ever.
    """
    if metrics.hold is not None:
        return metrics.hold is Hold.FORCED_OPEN
    if metrics.state is not CircuitState.OPEN or metrics.next_attempt_time is None:
        return False
    return metrics.next_attempt_time > utc(breaker._clock.time())


def _critical(critical: Any) -> tuple[frozenset[str], Callable[[str], bool]]:
    """The names, and a predicate that does not raise."""
    if callable(critical):
        return frozenset(), partial(_ask, plain_callable("critical", critical))
    if isinstance(critical, str) or not hasattr(critical, "__iter__"):
        raise TypeError(f"critical must be names of circuits or a predicate, got {critical!r}")
    names = _names(critical)
    return names, names.__contains__


def _names(critical: Iterable[Any]) -> frozenset[str]:
    names = list(critical)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"critical must hold names of circuits, got {name!r} in it")
    return frozenset(names)


def _ask(predicate: Callable[[str], bool], name: str) -> bool:
    try:
        return bool(predicate(name))
    except Exception:
        _logger.exception("critical of the health of circuits raised for %r", name)
        return False


def _token(token: Any) -> bytes:
    if not isinstance(token, str):
        raise TypeError(f"token must be a string, got {type(token).__name__}")  # and not what it is: it may be logged
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            "token must be letters, digits and any of -._~+/ with = at its end only, and not empty: RFC 6750"
        )
    return token.encode()
