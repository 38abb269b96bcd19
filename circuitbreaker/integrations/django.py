"""Django: 503 for a refused call, and the health of a registry's circuits.

    MIDDLEWARE = [..., "circuitbreaker.integrations.django.CircuitOpenMiddleware"]
    urlpatterns = [path("health/circuits", health(token="...")), ...]

If the setting `CIRCUITBREAKER_DETAILS` is true, the 503 response says which circuit refused, and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import EllipsisType
from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ..health import DEFAULT_LIMIT, Critical, Health
from ..problems import Answer, boolean, problem, refusal_in
from ..registry import Registry

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

__all__ = ["CircuitOpenMiddleware", "health"]


class CircuitOpenMiddleware:
    """Responds with 503 if a view raises a `CircuitOpenError`, or a group of nothing else; see `problems.problem`.

    An error in the middle of a streamed body goes on to the server. Errors of other middleware are not caught.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self._get_response = get_response
        self._details = boolean("CIRCUITBREAKER_DETAILS", getattr(settings, "CIRCUITBREAKER_DETAILS", False))
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the response if `exception` is a refusal, otherwise `None`."""
        refusal = refusal_in(exception)
        if refusal is None:
            return None
        accept = request.headers.get("Accept")
        return _response(problem(refusal, method=request.method or "GET", accept=accept, details=self._details))


def health(
    registry: Registry | EllipsisType = ...,
    *,
    critical: Critical = (),
    token: str | None = None,
    details: bool = False,
    limit: int = DEFAULT_LIMIT,
) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view of the health of a registry's circuits. Takes the arguments of `circuitbreaker.health.Health`."""
    circuits = Health(registry, critical=critical, token=token, details=details, limit=limit)

    @csrf_exempt
    def circuits_health(request: HttpRequest) -> HttpResponse:
        authorization = request.headers.get("Authorization")
        return _response(circuits.answer(method=request.method or "GET", authorization=authorization))

    return circuits_health


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)
