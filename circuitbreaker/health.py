"""Every circuit of a registry as one JSON document, and as the response to a probe's HTTP request.

`health.schema.json`, in the same folder, describes the document; `SCHEMA` is its text. Members may be added, but none
is removed or changes its meaning. Error texts are left out by default, since they may quote a secret.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from types import EllipsisType
from typing import TYPE_CHECKING, Any, cast

from ._callables import plain_callable
from ._log import log
from ._values import positive_count, quoted
from .clock import utc
from .events import CircuitState, Hold, LastFailure, Metrics
from .problems import Answer, answer, boolean, timestamp
from .registry import Registry, default_registry

if TYPE_CHECKING:
    from .breaker import CircuitBreaker

__all__ = ["DEFAULT_LIMIT", "SCHEMA", "Critical", "Health"]

DEFAULT_LIMIT = 1000
"""How many circuits the document lists by default."""

SCHEMA: str = files("circuitbreaker").joinpath("health.schema.json").read_text(encoding="utf-8")
"""The JSON Schema (2020-12) of the document."""

Critical = Iterable[str] | Callable[[str], bool]
"""Names of circuits, or a predicate on a name. If it raises, the error is logged and the circuit is not critical."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # b64token (RFC 6750, 2.1)


class Health:
    """The health of a registry's circuits, for people and for probes.

    Args:
        registry: whose circuits; if not given, those of the registry that is the default at the time of each request.
        critical: the circuits that this service cannot work without: while one of them refuses calls, the status is
            503. See `refuses`.
        token: if given, requests without `Authorization: Bearer <token>` get 401.
        details: whether the document contains the texts of errors.
        limit: how many circuits the document lists, at least 1. Critical circuits come first, then those that are not
            closed or have a hold. `omitted` is the number of those left out; the status covers them too.

    Raises:
        ValueError: the token is empty, or cannot be sent in a header; or the limit is less than 1.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        registry: Registry | EllipsisType = ...,
        *,
        critical: Critical = (),
        token: str | None = None,
        details: bool = False,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        if not (registry is ... or isinstance(cast("Any", registry), Registry)):
            raise TypeError(f"registry must be a Registry, got {registry!r}")
        self._registry = registry
        self._names, self._is_critical = _critical(critical)
        self._token = None if token is None else _token(token)
        self._details = boolean("details", details)
        self._limit = positive_count("limit", limit)

    def answer(self, *, method: str = "GET", authorization: str | None = None) -> Answer:
        """Return the response to a request: the document, with 200, or with 503 while a critical circuit refuses calls.

        Methods other than GET and HEAD get 405, requests without the token 401 (RFC 6750, 3). No response may be
        cached.

        Args:
            method: the request's method.
            authorization: the request's `Authorization` header.
        """
        if method not in ("GET", "HEAD"):
            return answer(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        if not self._admits(authorization):
            return answer(HTTPStatus.UNAUTHORIZED, method=method, headers={"WWW-Authenticate": "Bearer"})
        document = self.document()
        status = HTTPStatus.SERVICE_UNAVAILABLE if document["status"] == "fail" else HTTPStatus.OK
        return answer(status, json.dumps(document), "application/json", method=method)

    def document(self) -> dict[str, Any]:
        """Return the circuits, sorted by name, with an overall status.

        `status` is `"fail"` if a critical circuit refuses calls; otherwise `"warn"` if a circuit is not closed or has a
        hold, or if a critical one is missing; otherwise `"pass"` (the terms of draft-inadarei-api-health-check).

        A name in `critical` that no circuit has is listed in `missing`, but does not fail the service: a breaker may be
        made on first use, and a service that failed until then would never receive that first request.
        """
        registry = default_registry() if self._registry is ... else self._registry
        found = [(breaker, self._is_critical(breaker.name)) for breaker in registry]
        found.sort(key=_importance)
        listed, omitted = found[: self._limit], found[self._limit :]
        circuits = sorted((self._circuit(*each) for each in listed), key=lambda circuit: circuit["name"])
        missing = sorted(self._names - {breaker.name for breaker, _ in found})
        if any(each["critical"] and each["refuses"] for each in circuits) or any(map(_fails, omitted)):
            status = "fail"
        elif missing or any(each["state"] != "closed" or each["hold"] for each in circuits):
            status = "warn"
        else:
            status = "warn" if any(map(_warns, omitted)) else "pass"
        return {"status": status, "missing": missing, "omitted": len(omitted), "circuits": circuits}

    def _circuit(self, breaker: CircuitBreaker, critical: bool) -> dict[str, Any]:
        metrics = breaker.metrics()
        return {
            "name": metrics.name,
            "state": metrics.state.value,
            "hold": metrics.hold and metrics.hold.value,
            "critical": critical,
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
    """Whether the circuit refuses every call for now: it is forced open, or open with time left to wait.

    A circuit that is half-open, or whose next call would be a trial, needs calls to recover. A probe that took the
    service out of rotation then would keep it from ever closing.
    """
    if metrics.hold is not None:
        return metrics.hold is Hold.FORCED_OPEN
    if metrics.state is not CircuitState.OPEN or metrics.next_attempt_time is None:
        return False
    return metrics.next_attempt_time > utc(breaker._clock.time())


_Found = tuple["CircuitBreaker", bool]
"""A circuit, and whether it is critical."""


def _importance(found: _Found) -> tuple[bool, bool, str]:
    """What circuits are sorted by, the important ones first."""
    breaker, critical = found
    return not critical, not _warns(found), breaker.name


def _warns(found: _Found) -> bool:
    breaker, _ = found
    return breaker.state is not CircuitState.CLOSED or breaker.hold is not None


def _fails(found: _Found) -> bool:
    breaker, critical = found
    return critical and refuses(breaker, breaker.metrics())


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
            raise TypeError(f"critical must contain only names of circuits, got {name!r}")
    return frozenset(names)


def _ask(predicate: Callable[[str], bool], name: str) -> bool:
    try:
        return bool(predicate(name))
    except Exception as error:
        log(
            "error",
            "health: the predicate critical raised for %s; the circuit is not critical",
            quoted(name),
            error=error,
        )
        return False


def _token(token: Any) -> bytes:
    if not isinstance(token, str):
        raise TypeError(f"token must be a string, got {type(token).__name__}")  # not its value, which may be logged
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            "token must be letters, digits and any of -._~+/ with = at its end only, and not empty: RFC 6750"
        )
    return token.encode()
