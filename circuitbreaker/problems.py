"""A refused call as an HTTP response: 503, when to try again, and a body in the form that the client prefers.

Everything here is a value, which the server integrations pass to their frameworks. By default the body reveals nothing
internal: no circuit, no reason, no failure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from http import HTTPStatus
from typing import NamedTuple

from . import _causes
from ._values import boolean
from .errors import CircuitOpenError

__all__ = ["Answer", "answer", "boolean", "problem", "refusal_details", "refusal_in", "timestamp"]

_JSON = "application/problem+json"
_HTML = "text/html"
_LONGEST = 2**31
"""Seconds: recipients may treat anything longer as this (RFC 9111, 1.2.2)."""


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes
    """Empty for HEAD; `Content-Length` is then the length of the body for GET (RFC 9110, 8.6)."""


def problem(
    error: CircuitOpenError, *, method: str = "GET", accept: str | None = None, details: bool = False
) -> Answer:
    """Return the response to a request that failed because `error` refused a call.

    503 with `Retry-After` in whole seconds, rounded up and at least 1; without `Retry-After` while the circuit is
    forced open, since the wait is unknown. The body is problem details in JSON (RFC 9457), or an HTML page for clients
    that prefer HTML.

    Args:
        error: the refusal.
        method: the request's method; for HEAD the body is empty.
        accept: the request's `Accept` header (RFC 9110, 12.5.1), several of them joined by commas. If it is malformed,
            or accepts neither form, the body is JSON: a response matters more than its form (15.5.7).
        details: whether the body says which circuit refused and why, as `refusal_details` returns it. That may quote
            the text of the dependency's error.
    """
    wait = _whole_seconds(error.retry_after)
    again = "later" if wait is None else "in 1 second" if wait == 1 else f"in {wait} seconds"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    text = f"This needs a service that is not available at the moment. Try again {again}."
    shown = refusal_details(error) if details else {}
    if _prefers_html(accept):
        kind, body = f"{_HTML}; charset=utf-8", _page(status.phrase, text, shown)
    else:
        kind, body = _JSON, _problem_details(status, detail=text, **shown)
    headers = {"Vary": "Accept"} if wait is None else {"Vary": "Accept", "Retry-After": str(wait)}
    return answer(status, body, kind, method=method, headers=headers)


def answer(
    status: HTTPStatus,
    body: str | None = None,
    kind: str = _JSON,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return a response that must not be cached. Without `body`, it has problem details of the status alone.

    Their type is `about:blank`, and their title the status's own phrase (RFC 9457, 4.2.1).
    """
    content = (_problem_details(status) if body is None else body).encode("utf-8", "xmlcharrefreplace")
    always = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store"}
    return Answer(status.value, {**always, **(headers or {})}, b"" if method == "HEAD" else content)


def refusal_details(error: CircuitOpenError) -> dict[str, object]:
    """Return all facts of a refusal as JSON values: waits in seconds, times as `timestamp` writes them."""
    failure = error.last_failure
    return {
        "circuit": error.name,
        "state": error.state.value,
        "hold": error.hold and error.hold.value,
        "reason": error.reason,
        "opened_at": timestamp(error.opened_at),
        "retry_after": round(error.retry_after, 3) if error.retry_after < math.inf else None,
        "last_failure": failure and {"type": failure.type, "text": failure.text, "at": timestamp(failure.at)},
    }


def refusal_in(error: BaseException) -> CircuitOpenError | None:
    """Return the refusal that `error` is or was raised from, as SDKs do with the errors of their clients; or `None`.

    Of an exception group, return the longest refusal. A group with any other error in it gives `None`: a fault must not
    pass for an unavailable service.
    """
    return _causes.refusal_in(error)


def timestamp(moment: datetime | None) -> str | None:
    """Return `moment`, which is in UTC, in the format of RFC 3339: `2030-01-02T03:04:05.678Z`."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _whole_seconds(seconds: float) -> int | None:
    """The value of `Retry-After` (RFC 9110, 10.2.3); `None` if `seconds` is infinite."""
    return max(1, math.ceil(min(seconds, _LONGEST))) if seconds < math.inf else None


def _problem_details(status: HTTPStatus, **members: object) -> str:
    return json.dumps({"type": "about:blank", "title": status.phrase, "status": status.value, **members})


# Which of the two forms (RFC 9110, 12.5.1)

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"?', re.DOTALL)  # always matches at a quote, so the time is linear
_Q = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def _prefers_html(accept: str | None) -> bool:
    """Whether HTML is preferred to JSON."""
    qualities: dict[str, float] = {}
    for media_range, quality in _media_ranges(accept or ""):
        qualities[media_range] = max(quality, qualities.get(media_range, 0.0))
    json_quality = max(_quality(qualities, _JSON), _quality(qualities, "application/json"))
    return _quality(qualities, _HTML) > json_quality


def _media_ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Each media range with its weight. Other parameters are disregarded, and ranges with a malformed weight."""
    for element in _QUOTED.sub("", accept).lower().split(","):
        media_range, *parameters = (part.strip() for part in element.split(";"))
        weight = next((parameter for parameter in parameters if parameter.startswith("q=")), "q=1")
        if match := _Q.fullmatch(weight):
            yield media_range, float(match[1])


def _quality(qualities: Mapping[str, float], kind: str) -> float:
    """The weight of the most specific range that matches `kind`; 0 if none does."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((qualities[each] for each in ranges if each in qualities), 0.0)


# The page

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 1.1rem/1.6 system-ui, sans-serif }}
body {{ display: grid; min-height: 90vh; margin: 0 1.5rem; place-content: center }}
main {{ max-width: 32rem }}
h1 {{ font-size: 1.6rem; line-height: 1.2 }}
dl {{ font-size: 0.9rem; overflow-wrap: anywhere }}
dt {{ opacity: 0.7 }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
{list}</main>
</body>
</html>
"""


def _page(title: str, text: str, shown: Mapping[str, object]) -> str:
    items = [f"<dt>{escape(name)}</dt><dd>{escape(_shown(value))}</dd>\n" for name, value in shown.items() if value]
    return _PAGE.format(title=escape(title), text=escape(text), list=f"<dl>\n{''.join(items)}</dl>\n" if items else "")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
