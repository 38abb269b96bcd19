"""Flask: 503 for a refused call, and the health of a registry's circuits.

CircuitOpen(app)
app.add_url_rule("/health/circuits", view_func=health(token="..."))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import EllipsisType
from typing import Any

from flask import Flask, Response, request

from ..errors import CircuitOpenError
from ..health import DEFAULT_LIMIT, Critical, Health
from ..problems import Answer, boolean, problem, refusal_in
from ..registry import Registry

__all__ = ["CircuitOpen", "health"]


class CircuitOpen:
    """Responds with 503 if a view raises a `CircuitOpenError`, or a group of nothing else; see `problems.problem`.

    Error handlers of the application and its blueprints that are for the error, or for every `Exception`, take
    precedence. If the body is streamed, its first step is made before the response begins, so that it can be refused
    with 503, too; a later error goes on to the server.

    Args:
        app: the application; if not given, call `init_app` later.
        details: whether the response says which circuit refused, and why.

    Raises:
        TypeError: `details` is neither `True` nor `False`.
    """

    def __init__(self, app: Flask | None = None, *, details: bool = False) -> None:
        self._details = boolean("details", details)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register with `app`. Any number of applications may share one."""
        app.register_error_handler(CircuitOpenError, self._answer)
        app.after_request(self._begin)
        handle_user_exception: Any = app.handle_user_exception  # Its arguments differ between versions.

        def handle(*args: Any) -> Any:
            # Flask looks for a handler by the error's type, which may be any that has a refusal in it.
            try:
                return handle_user_exception(*args)
            except Exception as error:
                refusal = refusal_in(error) if error is args[-1] else None
                if refusal is None:
                    raise
            return handle_user_exception(*args[:-1], refusal)

        app.handle_user_exception = handle  # type: ignore[assignment,method-assign]

    def _answer(self, error: CircuitOpenError) -> Response:
        accept = request.headers.get("Accept")
        return _response(problem(error, method=request.method, accept=accept, details=self._details))

    def _begin(self, response: Response) -> Response:
        """Make the first step of a streamed body. Servers send the headers after it, so it may still be refused."""
        if not response.is_streamed or response.direct_passthrough or _has_no_body(response):
            return response
        body = _Begun(response.response)
        refusal = None if body.error is None else refusal_in(body.error)
        if refusal is None:
            response.response = body
            return response
        response.close()
        return self._answer(refusal)


def _has_no_body(response: Response) -> bool:
    """Whether the server will not ask for the body."""
    return request.method == "HEAD" or response.status_code < 200 or response.status_code in (204, 304)


class _Begun:
    """A body whose first step has been made. What came of it, a part or an error, is the first to come."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._first: list[Any] = []
        self.error: Exception | None = None
        try:
            self._parts = iter(body)
            self._first = [next(self._parts)]
        except Exception as error:  # perhaps StopIteration: then it is empty
            self.error = error

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self._first.pop() if self._first else next(self._parts)

    def close(self) -> None:
        if hasattr(self._body, "close"):
            self._body.close()


def health(
    registry: Registry | EllipsisType = ...,
    *,
    critical: Critical = (),
    token: str | None = None,
    details: bool = False,
    limit: int = DEFAULT_LIMIT,
) -> Callable[[], Response]:
    """Return a view of the health of a registry's circuits. Takes the arguments of `circuitbreaker.health.Health`."""
    circuits = Health(registry, critical=critical, token=token, details=details, limit=limit)

    def circuits_health() -> Response:
        authorization = request.headers.get("Authorization")
        return _response(circuits.answer(method=request.method, authorization=authorization))

    circuits_health.provide_automatic_options = False  # type: ignore[attr-defined]  # Flask looks for it here
    return circuits_health


def _response(answer: Answer) -> Response:
    # A list: from bytes Flask would set the Content-Length, and for HEAD they are empty.
    return Response([answer.body], answer.status, answer.headers)
