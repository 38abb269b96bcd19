"""Django: an open circuit becomes 503, and the circuits of a registry a view.

    MIDDLEWARE = [..., "circuitbreaker.integrations.django.CircuitOpenMiddleware"]
    urlpatterns = [path("health/circuits", health(token="...")), ...]

The setting `CIRCUITBREAKER_DETAILS`, by default false, says whether the answer tells which circuit refused, and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import EllipsisType
from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ..health import Critical, Health
from ..problems import Answer, boolean, problem, refusal_in
from ..registry import Registry

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

__all__ = ["CircuitOpenMiddleware", "health"]


class CircuitOpenMiddleware:
    """Answers 503 when a view lets a `CircuitOpenError` out, or a group of nothing else; see `problems.problem`.

    An error in the middle of a streamed body goes on to the server, and one of another middleware's is not seen.
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
        """The answer, if `exception` is a refusal."""
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
) -> Callable[[HttpRequest], HttpResponse]:
    """The circuits of a registry, as a view; see `circuitbreaker.health.Health` for the arguments."""
    circuits = Health(registry, critical=critical, token=token, details=details)

    @csrf_exempt
    def circuits_health(request: HttpRequest) -> HttpResponse:
        authorization = request.headers.get("Authorization")
        return _response(circuits.answer(method=request.method or "GET", authorization=authorization))

    return circuits_health


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=answer.headers)
