"""Real applications on real servers: an open circuit becomes an answer, and the circuits of a registry another.

One contract for Starlette, FastAPI, Litestar, bare ASGI and Django on uvicorn, and for Flask and Django on waitress.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import inspect
import json
import socket
import sys
import types
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any, NamedTuple

import django
import flask
import litestar
import pytest
import uvicorn
import waitress
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test.utils import override_settings
from django.urls import path as django_path
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ManualClock,
    Registry,
    circuit,
    get_breaker,
)
from circuitbreaker.integrations import asgi, fastapi
from circuitbreaker.integrations import django as for_django
from circuitbreaker.integrations import flask as for_flask
from circuitbreaker.integrations import litestar as for_litestar

from .servers import HOST, until
from .support import Boom, collect_on_pypy, no_cyclic_collector, trip

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

# What frameworks leave to the collector: Django when a client is gone at once, and Starlette 0.40.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.SpooledTemporaryFile:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObjectReceiveStream:ResourceWarning"),
]

# The shop: what every application serves. It is one for the whole module, for Django's settings are.


class Shop:
    registry = Registry()
    clock = ManualClock(1000.0)
    breaker = registry.get_or_create("payments", clock=clock, reset_timeout=29.2, failure_threshold=1)

    @classmethod
    def pay(cls) -> str:
        with cls.breaker:
            return "paid"

    @classmethod
    def pay_by_group(cls) -> str:
        try:
            return cls.pay()
        except CircuitOpenError as error:
            raise ExceptionGroup("as a task group has it", [error, ExceptionGroup("", [error])]) from None

    @classmethod
    def pay_and_fail(cls) -> str:
        try:
            return cls.pay()
        except CircuitOpenError as error:
            raise ExceptionGroup("as a task group has it", [error, Boom("a fault")]) from None

    @classmethod
    def fail(cls) -> str:
        raise Boom("a fault")

    @classmethod
    def stream(cls) -> Iterator[bytes]:
        yield b"first part, "
        yield cls.pay().encode()

    @classmethod
    async def stream_async(cls) -> AsyncIterator[bytes]:
        for part in cls.stream():
            yield part


PAGES = {"/pay": Shop.pay, "/group": Shop.pay_by_group, "/mixed": Shop.pay_and_fail, "/fail": Shop.fail}
HEALTH: dict[str, dict[str, Any]] = {
    "/health": {},
    "/health/critical": {"critical": ["payments"]},
    "/health/token": {"token": "s3cret"},
    "/health/details": {"details": True},
}

# The applications.


def starlette_app(details: bool) -> Any:
    def page(path: str, work: Callable[[], str]) -> Route:
        async def endpoint(request: Any) -> PlainTextResponse:
            return PlainTextResponse(work())

        return Route(path, endpoint)

    async def stream(request: Any) -> StreamingResponse:
        return StreamingResponse(Shop.stream_async())

    routes = [page(path, work) for path, work in PAGES.items()]
    routes.append(Route("/stream", stream))
    routes += [Route(path, asgi.HealthEndpoint(Shop.registry, **options)) for path, options in HEALTH.items()]
    app = Starlette(routes=[*routes, Mount("/mounted", asgi.HealthEndpoint(Shop.registry))])
    app.add_middleware(asgi.CircuitOpenMiddleware, details=details)
    return app


def fastapi_app(details: bool) -> Any:
    app = FastAPI()
    for path, work in PAGES.items():
        app.api_route(path, methods=["GET", "HEAD"], response_class=PlainTextResponse)(work)

    @app.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(Shop.stream())

    for path, options in HEALTH.items():
        app.router.routes.append(Route(path, asgi.HealthEndpoint(Shop.registry, **options)))
    app.add_middleware(asgi.CircuitOpenMiddleware, details=details)
    return app


def litestar_app(details: bool) -> Any:
    def pages(path: str, work: Callable[[], str]) -> list[Any]:
        async def endpoint() -> str:
            return work()

        async def head() -> None:
            work()

        return [litestar.get(path, media_type="text/plain")(endpoint), litestar.head(path)(head)]

    @litestar.get("/stream")
    async def stream() -> litestar.response.Stream:
        return litestar.response.Stream(Shop.stream_async())

    handlers = [handler for path, work in PAGES.items() for handler in pages(path, work)]
    handlers += [
        litestar.asgi(path, copy_scope=True)(asgi.HealthEndpoint(Shop.registry, **options))
        for path, options in HEALTH.items()
    ]
    plugin = for_litestar.CircuitOpenPlugin(details=details)
    return litestar.Litestar([*handlers, stream], plugins=[plugin], openapi_config=None)


def bare_app(details: bool) -> Any:
    health = {path: asgi.HealthEndpoint(Shop.registry, **options) for path, options in HEALTH.items()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] in health:
            await health[scope["path"]](scope, receive, send)
        elif scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200})
            async for part in Shop.stream_async():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body"})
        else:
            body = PAGES[scope["path"]]().encode()
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": body})

    return asgi.CircuitOpenMiddleware(app, details=details)


def flask_app(details: bool) -> Any:
    app = flask.Flask(__name__)
    for path, work in PAGES.items():
        app.add_url_rule(path, path[1:], work)
    app.add_url_rule("/stream", view_func=lambda: flask.Response(Shop.stream()), endpoint="stream")
    for path, options in HEALTH.items():
        app.add_url_rule(path, path[1:], for_flask.health(Shop.registry, **options))
    for_flask.CircuitOpen(app, details=details)
    return app


def django_page(work: Callable[[], str], is_async: bool) -> Callable[..., Any]:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(work())

    async def async_view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(work())

    return async_view if is_async else view


def django_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(Shop.stream_async() if hasattr(request, "scope") else Shop.stream())


def set_django_up() -> None:
    urls: Any = types.ModuleType("urls")
    urls.urlpatterns = [
        django_path("stream", django_stream),
        *(django_path(name[1:], django_page(work, False)) for name, work in PAGES.items()),
        *(django_path(f"async{name}", django_page(work, True)) for name, work in PAGES.items()),
        *(django_path(name[1:], for_django.health(Shop.registry, **options)) for name, options in HEALTH.items()),
    ]
    settings.configure(
        ALLOWED_HOSTS=[HOST],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "circuitbreaker.integrations.django.CircuitOpenMiddleware",
        ],
        ROOT_URLCONF=urls,
        SECRET_KEY="of the test",
        USE_TZ=True,
    )
    django.setup()


set_django_up()


def django_wsgi_app(details: bool) -> Any:
    return get_wsgi_application()


def django_asgi_app(details: bool) -> Any:
    return get_asgi_application()


# The servers.


@contextmanager
def on_uvicorn(app: Any) -> Iterator[int]:
    """`app` on uvicorn, in a thread; yields the port."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        config = uvicorn.Config(app, log_config=None, ws="wsproto", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive(), "uvicorn has started")
            assert thread.is_alive()
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


@contextmanager
def on_waitress(app: Any) -> Iterator[int]:
    """`app` on waitress, in a thread; yields the port."""
    server: Any = waitress.create_server(app, host=HOST, port=0, threads=2)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        with suppress(OSError):  # A request that is ending has pulled it too, so that it is closed already.
            server.trigger.pull_trigger(server.close)
        server.task_dispatcher.shutdown()
        thread.join(10)
        assert not thread.is_alive()


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """An application on a server."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self.port = port

    def ask(self, path: str, method: str = "GET", **headers: str | bytes) -> Reply:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request(method, path, headers={"Connection": "close", **headers})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def ask_raw(self, request: bytes, enough: bytes = b"") -> bytes:
        """What the server sends back, until that is enough or it closes the connection."""
        with socket.create_connection((HOST, self.port), 10) as connection:
            connection.sendall(request)
            said = b""
            while (not enough or enough not in said) and (chunk := connection.recv(65536)):
                said += chunk
            return said


SITES: dict[str, tuple[Callable[[bool], Any], Callable[[Any], Any]]] = {
    "starlette": (starlette_app, on_uvicorn),
    "fastapi": (fastapi_app, on_uvicorn),
    "litestar": (litestar_app, on_uvicorn),
    "bare": (bare_app, on_uvicorn),
    "django-asgi": (django_asgi_app, on_uvicorn),
    "django-wsgi": (django_wsgi_app, on_waitress),
    "flask": (flask_app, on_waitress),
}


@contextmanager
def running(kind: str, details: bool = False) -> Iterator[Site]:
    make, serve = SITES[kind]
    with ExitStack() as parts:
        if kind.startswith("django"):
            parts.enter_context(override_settings(CIRCUITBREAKER_DETAILS=details))
        parts.callback(gc.collect)  # what would otherwise warn in another test
        yield Site(kind, parts.enter_context(serve(make(details))))


@pytest.fixture(scope="module", params=SITES)
def shared_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with running(request.param) as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The shop, with its circuit closed."""
    Shop.breaker.reset()
    yield shared_site
    Shop.breaker.reset()


# The contract.


def test_an_open_circuit_is_503_with_retry_after_and_problem_details(site: Site) -> None:
    assert site.ask("/pay")[::2] == (200, b"paid")
    Shop.breaker.open()
    reply = site.ask("/pay")
    assert reply.status == 503
    assert reply.headers.get_all("Retry-After") == ["30"]
    assert reply.headers.get_all("Content-Type") == ["application/problem+json"]
    assert reply.headers.get_all("Content-Length") == [str(len(reply.body))]
    assert reply.headers.get_all("Cache-Control") == ["no-store"]
    assert reply.headers["Vary"] == "Accept"
    assert reply.json == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "This needs a service that is not available at the moment. Try again in 30 seconds.",
    }
    assert b"payments" not in reply.body


def test_forced_open_has_no_retry_after(site: Site) -> None:
    Shop.breaker.force_open()
    reply = site.ask("/pay")
    assert (reply.status, reply.headers["Retry-After"]) == (503, None)


def test_a_browser_gets_a_page(site: Site) -> None:
    Shop.breaker.open()
    reply = site.ask("/pay", Accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert reply.status == 503
    assert reply.headers.get_all("Content-Type") == ["text/html; charset=utf-8"]
    assert reply.headers.get_all("Content-Length") == [str(len(reply.body))]
    assert b"Try again in 30 seconds." in reply.body


@pytest.mark.parametrize(
    "accept", [b"image/png", b";,q", b'"', b"\xff\xfe", b"text/html;q=2", b'"\\"' * 5000, b"text/html;q=0.0," * 1000]
)
def test_an_accept_header_that_is_odd_gets_json(site: Site, accept: bytes) -> None:
    Shop.breaker.open()
    reply = site.ask("/pay", Accept=accept)
    assert (reply.status, reply.headers["Content-Type"]) == (503, "application/problem+json")


@pytest.mark.parametrize("path", ["/pay", "/health", "/health/token"])
def test_head_has_the_headers_and_no_body(site: Site, path: str) -> None:
    """RFC 9110, 9.3.2: seen on the wire, where a client would not notice."""
    Shop.breaker.open()
    get = site.ask(path)
    said = site.ask_raw(f"HEAD {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {get.status} ".encode())
    assert f"content-length: {len(get.body)}\r\n".encode() in head.lower() + b"\r\n"
    assert body == b""


def test_other_errors_are_not_touched(site: Site) -> None:
    reply = site.ask("/fail")
    assert reply.status == 500
    assert b"not available at the moment" not in reply.body


def test_a_group_of_refusals_is_a_refusal(site: Site) -> None:
    """As task groups raise them."""
    Shop.breaker.open()
    reply = site.ask("/group")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "30")


def test_a_group_with_another_error_is_a_fault(site: Site) -> None:
    """It must not pass for a service that is not available."""
    Shop.breaker.open()
    reply = site.ask("/mixed")
    assert reply.status == 500
    assert b"not available at the moment" not in reply.body


def test_what_is_not_found_is_answered_as_without_us(site: Site) -> None:
    if site.kind != "bare":
        assert site.ask("/nowhere").status == 404


def test_a_body_that_has_begun_is_cut_short(site: Site) -> None:
    """The status is sent: the client must not take what it got for all there is."""
    assert site.ask("/stream")[::2] == (200, b"first part, paid")
    Shop.breaker.open()
    with pytest.raises(http.client.IncompleteRead) as caught:
        site.ask("/stream")
    assert caught.value.partial in (b"first part, ", b"")


def test_the_health_of_the_circuits(site: Site) -> None:
    reply = site.ask("/health")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.headers.get_all("Cache-Control") == ["no-store"]
    assert reply.headers.get_all("Content-Length") == [str(len(reply.body))]
    assert (reply.json["status"], [each["name"] for each in reply.json["circuits"]]) == ("pass", ["payments"])
    Shop.breaker.open()
    reply = site.ask("/health")
    assert (reply.status, reply.json["status"]) == (200, "warn")
    assert reply.json["circuits"][0]["next_attempt_at"] == "1970-01-01T00:17:09.200Z"


def test_the_health_is_503_when_a_critical_circuit_is_open(site: Site) -> None:
    assert site.ask("/health/critical").status == 200
    Shop.breaker.open()
    reply = site.ask("/health/critical")
    assert (reply.status, reply.json["status"]) == (503, "fail")


def test_the_health_tells_texts_of_errors_only_if_told_to(site: Site) -> None:
    trip(Shop.breaker)
    assert b"out of order" not in site.ask("/health").body
    assert b"out of order" in site.ask("/health/details").body


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        (b"Bearer wrong", 401),
        (b"Bearer s\xc3\xa9cret", 401),
        (b"Basic s3cret", 401),
        (b"Bearer s3cret", 200),
    ],
)
def test_the_health_may_need_a_token(site: Site, authorization: bytes | None, status: int) -> None:
    reply = site.ask("/health/token", **({} if authorization is None else {"Authorization": authorization}))
    assert reply.status == status
    assert (b"payments" in reply.body) is (status == 200)
    assert reply.headers["WWW-Authenticate"] == (None if status == 200 else "Bearer")


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_the_health_is_for_get_and_head(site: Site, method: str) -> None:
    reply = site.ask("/health", method)
    assert reply.status == 405
    assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("kind", SITES)
def test_with_details_the_answer_names_the_circuit(kind: str) -> None:
    with running(kind, details=True) as site:
        Shop.breaker.force_open()
        try:
            reply = site.ask("/pay")
        finally:
            Shop.breaker.reset()
    assert (reply.status, reply.json["circuit"], reply.json["hold"]) == (503, "payments", "force_open")


@pytest.mark.parametrize("make", [starlette_app, bare_app, litestar_app, flask_app, django_wsgi_app, django_asgi_app])
def test_details_are_switched_on_by_true_alone(make: Callable[[Any], Any]) -> None:
    """A text such as "false", from the environment, must not switch them on."""
    with (
        override_settings(CIRCUITBREAKER_DETAILS="false"),
        pytest.raises(TypeError, match=r"(details|CIRCUITBREAKER_DETAILS) must be True or False, got 'false'"),
    ):
        app = make("false")
        app.build_middleware_stack()


# ASGI.


def called(app: Any, scope: dict[str, Any], sent: list[Any]) -> None:
    """Run `app` as a server would for one scope; a client that says nothing."""

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))


def refusing(*first: dict[str, Any]) -> Any:
    """An application that sends these messages, and then meets an open circuit."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in first:
            await send(message)
        Shop.pay()

    return asgi.CircuitOpenMiddleware(app)


@pytest.fixture
def refused() -> Iterator[None]:
    Shop.breaker.open()
    yield
    Shop.breaker.reset()


WEBSOCKET: dict[str, Any] = {"type": "websocket", "headers": []}


@pytest.mark.usefixtures("refused")
def test_a_websocket_is_denied_by_the_same_answer_where_the_server_can() -> None:
    """ASGI: Websocket Denial Response."""
    sent: list[Any] = []
    called(refusing(), {**WEBSOCKET, "extensions": {"websocket.http.response": {}}}, sent)
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (sent[0]["status"], json.loads(sent[1]["body"])["status"]) == (503, 503)
    assert (b"retry-after", b"30") in sent[0]["headers"]


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("extensions", [{}, {"extensions": None}, {"extensions": {"tls": {}}}])
def test_a_websocket_is_closed_with_try_again_later_otherwise(extensions: dict[str, Any]) -> None:
    sent: list[Any] = []
    called(refusing(), {**WEBSOCKET, **extensions}, sent)
    assert sent == [{"type": "websocket.close", "code": 1013}]


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(
    ("scope", "first"),
    [
        (WEBSOCKET, "websocket.accept"),
        (WEBSOCKET, "websocket.close"),
        (WEBSOCKET, "websocket.http.response.start"),
        ({"type": "http", "method": "GET", "headers": []}, "http.response.start"),
    ],
)
def test_once_it_has_begun_the_error_goes_on_to_the_server(scope: dict[str, Any], first: str) -> None:
    sent: list[Any] = []
    with pytest.raises(CircuitOpenError):
        called(refusing({"type": first}), scope, sent)
    assert sent == [{"type": first}]


@pytest.mark.usefixtures("refused")
def test_hints_ahead_of_the_answer_do_not_begin_it() -> None:
    """ASGI: Early Hint."""
    sent: list[Any] = []
    hint = {"type": "http.response.early_hint", "links": []}
    called(refusing(hint), {"type": "http", "method": "GET", "headers": []}, sent)
    assert [message["type"] for message in sent] == [hint["type"], "http.response.start", "http.response.body"]


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("kind", ["lifespan", "something new"])
def test_other_scopes_pass(kind: str) -> None:
    with pytest.raises(CircuitOpenError):
        called(refusing(), {"type": kind}, [])


@pytest.mark.usefixtures("refused")
def test_several_accept_headers_are_one() -> None:
    sent: list[Any] = []
    headers = [(b"accept", b"image/png;q=0.1"), (b"Accept", b"text/html")]
    called(refusing(), {"type": "http", "method": "GET", "headers": headers}, sent)
    assert (b"content-type", b"text/html; charset=utf-8") in sent[0]["headers"]


def test_a_refusal_that_is_answered_keeps_nothing_alive() -> None:
    """O2"""
    errors: list[weakref.ref[CircuitOpenError]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            Shop.pay()
        except CircuitOpenError as error:
            errors.append(weakref.ref(error))
            raise

    async def nothing(*message: Any) -> Any:
        return None

    Shop.breaker.open()
    scope = {"type": "http", "method": "GET", "headers": []}
    with no_cyclic_collector(), pytest.raises(StopIteration):
        asgi.CircuitOpenMiddleware(app)(scope, nothing, nothing).send(None)
        collect_on_pypy()
    Shop.breaker.reset()
    assert errors[0]() is None


def test_the_health_is_for_http_alone() -> None:
    sent: list[Any] = []
    called(asgi.HealthEndpoint(), WEBSOCKET, sent)
    assert sent == [{"type": "websocket.close"}]
    with pytest.raises(ValueError, match="for HTTP requests, got a scope of type 'lifespan'"):
        called(asgi.HealthEndpoint(), {"type": "lifespan"}, [])


def test_the_health_can_be_mounted(site: Site) -> None:
    if site.kind == "starlette":
        assert site.ask("/mounted/").json["circuits"][0]["name"] == "payments"


@pytest.mark.usefixtures("refused")
def test_middleware_of_starlettes_kind_may_stand_between() -> None:
    """It runs what is inside in a task group, and gives the error on as it was."""

    async def pay(request: Any) -> PlainTextResponse:
        return PlainTextResponse(Shop.pay())

    app = Starlette(routes=[Route("/pay", pay)])
    app.add_middleware(PassOn)
    app.add_middleware(asgi.CircuitOpenMiddleware)
    app.add_middleware(PassOn)
    with on_uvicorn(app) as port:
        assert Site("between", port).ask("/pay").status == 503
    gc.collect()  # what would otherwise warn in another test


def test_a_real_websocket_is_denied() -> None:
    """uvicorn has the extension."""
    app = FastAPI()

    @app.websocket("/ws", dependencies=[Depends(fastapi.guard(Shop.breaker))])
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app.add_middleware(asgi.CircuitOpenMiddleware)
    lines = (
        *("GET /ws HTTP/1.1", f"Host: {HOST}", "Connection: Upgrade", "Upgrade: websocket"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""),
    )
    handshake = "\r\n".join(lines).encode()
    with on_uvicorn(app) as port:
        assert Site("ws", port).ask_raw(handshake, enough=b"\r\n").startswith(b"HTTP/1.1 101 ")
        Shop.breaker.open()
        try:
            said = Site("ws", port).ask_raw(handshake)
        finally:
            Shop.breaker.reset()
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 30\r\n" in said


# FastAPI's dependencies.


class Guarded:
    """An application whose endpoints a breaker guards, with what happened to the calls."""

    def __init__(self, breaker: CircuitBreaker | str, **depends: Any) -> None:
        self.app = FastAPI()
        self.guard = Depends(fastapi.guard(breaker), **depends)
        self.seen: list[Any] = []
        self.app.add_middleware(asgi.CircuitOpenMiddleware)
        for kind in ("sync", "async"):
            self.app.get(f"/{kind}/{{how}}", dependencies=[self.guard])(getattr(self, kind))

    def sync(self, how: str, number: int = 0) -> str:
        self.seen.append(how)
        if how.isdigit():
            raise HTTPException(int(how))
        if how in ("gone", "broken"):
            raise ClientDisconnect if how == "gone" else Boom
        return how

    async def async_(self, how: str, number: int = 0) -> str:
        return self.sync(how, number)


setattr(Guarded, "async", Guarded.async_)


def counts(breaker: CircuitBreaker) -> tuple[int, int, int, int]:
    metrics = breaker.metrics()
    return metrics.total_successes, metrics.total_failures, metrics.total_rejections, metrics.total_ignored


@pytest.fixture
def guarded() -> Iterator[tuple[Guarded, CircuitBreaker, Site]]:
    breaker = CircuitBreaker("orders", failure_threshold=3, reset_timeout=29.2)
    app = Guarded("orders")
    with on_uvicorn(app.app) as port:
        yield app, breaker, Site("guarded", port)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_guard_judges_what_the_endpoint_raises(guarded: tuple[Guarded, CircuitBreaker, Site], kind: str) -> None:
    """Mistakes of the client are neither successes nor failures, and do not trip the circuit."""
    app, breaker, site = guarded

    def then(path: str, status: int, expected: tuple[int, int, int, int]) -> None:
        assert site.ask(f"/{kind}/{path}").status == status
        until(lambda: sum(counts(breaker)) == sum(expected), f"{path} has ended")
        assert counts(breaker) == expected

    then("fine", 200, (1, 0, 0, 0))
    then("404", 404, (1, 0, 0, 1))
    then("451", 451, (1, 0, 0, 2))
    then("fine?number=x", 422, (1, 0, 0, 3))
    then("gone", 500, (1, 0, 0, 4))
    then("500", 500, (1, 1, 0, 4))
    then("503", 503, (1, 2, 0, 4))
    then("broken", 500, (1, 3, 0, 4))
    assert breaker.state is CircuitState.OPEN
    assert app.seen == ["fine", "404", "451", "gone", "500", "503", "broken"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_guard_refuses_before_the_endpoint_runs(guarded: tuple[Guarded, CircuitBreaker, Site], kind: str) -> None:
    """FastAPI lets the error through to the middleware."""
    app, breaker, site = guarded
    breaker.open()
    reply = site.ask(f"/{kind}/fine")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "30")
    assert app.seen == []


def test_a_guard_gives_the_breaker_that_has_the_name_at_the_time() -> None:
    """By name, made if need be and held; or itself."""
    app = FastAPI()
    right: list[bool] = []

    @app.get("/")
    async def endpoint(
        late: Annotated[CircuitBreaker, Depends(fastapi.guard("late"))],
        new: Annotated[CircuitBreaker, Depends(fastapi.guard("new"))],
        own: Annotated[CircuitBreaker, Depends(fastapi.guard(Shop.breaker))],
    ) -> None:
        right.append((late, new, own) == (made_after_the_guard, get_breaker("new"), Shop.breaker))

    made_after_the_guard = CircuitBreaker("late", failure_threshold=77)
    with on_uvicorn(app) as port:
        for number in (1, 2):
            assert Site("names", port).ask("/").status == 200
            until(lambda: get_breaker("new").metrics().total_successes == number, "the call has ended")  # noqa: B023
    assert right == [True, True]


def test_a_guard_may_end_when_the_endpoint_returns() -> None:
    """FastAPI 0.121's `scope="function"`: before the answer is sent, so it is counted when the client has it."""
    breaker = CircuitBreaker("orders")
    try:
        app = Guarded(breaker, scope="function")
    except TypeError:
        pytest.skip("this FastAPI has no scopes")
    with on_uvicorn(app.app) as port:
        for number in range(1, 20):
            assert Site("scope", port).ask("/sync/fine").status == 200
            assert counts(breaker) == (number, 0, 0, 0)


@pytest.fixture
def half_open(clock: ManualClock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock=clock, failure_threshold=1, half_open_max_attempts=1)
    trip(breaker)
    clock.advance(30)
    return breaker


def streaming(breaker: CircuitBreaker, kind: str, over: Event, **depends: Any) -> FastAPI:
    """An application that sends one part, and the rest when it is over."""
    app = FastAPI()

    def sync_parts() -> Iterator[bytes]:
        yield b"first part, "
        while not over.wait(0.01):
            yield b"more, "
        yield b"the rest"

    async def async_parts() -> AsyncIterator[bytes]:
        yield b"first part, "
        while not over.is_set():
            await asyncio.sleep(0.01)  # nothing is sent meanwhile
        yield b"the rest"

    @app.get("/", dependencies=[Depends(fastapi.guard(breaker), **depends)])
    def endpoint() -> StreamingResponse:
        return StreamingResponse(sync_parts() if kind == "sync" else async_parts())

    return app


class PassOn(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


needs_scopes = pytest.mark.skipif(
    "scope" not in inspect.signature(Depends).parameters, reason="this FastAPI runs nothing before it sends"
)


@needs_scopes
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("middlewares", [[], [asgi.CircuitOpenMiddleware, PassOn]])
def test_a_client_that_leaves_a_streamed_answer_says_nothing(
    half_open: CircuitBreaker, kind: str, middlewares: list[Any]
) -> None:
    """H3: it does not close a half-open circuit."""
    over = Event()
    app = streaming(half_open, kind, over)
    for middleware in middlewares:
        app.add_middleware(middleware)
    with on_uvicorn(app) as port:
        request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        Site("left", port).ask_raw(request, enough=b"first part")
        until(lambda: counts(half_open) == (0, 1, 0, 1), "the call has ended")
        assert half_open.state is CircuitState.HALF_OPEN
        over.set()
        assert Site("stays", port).ask("/").body == b"first part, the rest"
        until(lambda: counts(half_open) == (1, 1, 0, 1), "the call has ended")
    assert half_open.state is CircuitState.CLOSED
    gc.collect()  # what would otherwise warn in another test


@needs_scopes
def test_a_guard_of_an_endpoint_alone_does_not_see_who_leaves_its_streamed_answer(half_open: CircuitBreaker) -> None:
    """`scope="function"`: the call ends before the answer begins."""
    app = streaming(half_open, "async", Event(), scope="function")
    with on_uvicorn(app) as port:
        Site("left", port).ask_raw(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(), enough=b"first part")
    assert half_open.state is CircuitState.CLOSED


def test_a_guard_wants_a_breaker_or_a_name() -> None:
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker or the name of one, got None"):
        fastapi.guard(None)  # type: ignore[arg-type]


def test_a_request_that_is_cancelled_gives_its_trial_back(clock: ManualClock) -> None:
    """H3"""
    breaker = CircuitBreaker(clock=clock, failure_threshold=1, half_open_max_attempts=1)
    trip(breaker)
    clock.advance(30)

    async def main() -> None:
        dependency: Any = fastapi.guard(breaker)()
        assert await anext(dependency) is breaker
        assert breaker.metrics().next_attempt_time is not None  # the trial is out
        with pytest.raises(asyncio.CancelledError):
            await dependency.athrow(asyncio.CancelledError())
        dependency = fastapi.guard(breaker)()
        await anext(dependency)
        await dependency.aclose()

    asyncio.run(main())
    assert counts(breaker) == (0, 1, 0, 2)
    assert breaker.call(lambda: 1) == 1
    assert breaker.state is CircuitState.CLOSED


def test_dependencies_of_ones_own_may_hold_a_block_open() -> None:
    """W4: a sync generator runs in a pool, and leaves its block in another thread."""
    app = FastAPI()
    breaker = CircuitBreaker("orders", failure_threshold=3)

    def in_a_pool() -> Iterator[None]:
        with breaker:
            yield

    async def in_the_loop() -> AsyncIterator[None]:
        async with breaker:
            yield

    @circuit(name="plain")
    def plain() -> str:
        return "plain"

    @circuit(name="coroutine")
    async def coroutine() -> str:
        return "coroutine"

    @app.get("/fine", dependencies=[Depends(in_a_pool), Depends(in_the_loop)])
    def fine(first: str = Depends(plain), second: str = Depends(coroutine)) -> list[str]:
        return [first, second]

    @app.get("/broken/{name}", dependencies=[Depends(in_a_pool), Depends(in_the_loop)])
    def broken(name: str) -> None:
        raise Boom

    def ask(path: str) -> None:
        replies.append(Site("own", port).ask(path).status)

    replies: list[int] = []
    with on_uvicorn(app) as port:
        threads = [Thread(target=ask, args=("/fine",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert replies == [200] * 20
        until(lambda: counts(breaker) == (40, 0, 0, 0), "all blocks are left")
        ask("/broken/1")
        ask("/broken/2")
        until(lambda: counts(breaker)[1] >= 3, "the failures are seen")
    assert breaker.state is CircuitState.OPEN
    assert get_breaker("plain").metrics().total_successes == get_breaker("coroutine").metrics().total_successes == 20


# Flask.


@pytest.mark.parametrize("setting", ["DEBUG", "TESTING", "PROPAGATE_EXCEPTIONS", "TRAP_HTTP_EXCEPTIONS"])
@pytest.mark.usefixtures("refused")
def test_flask_answers_in_every_mode(setting: str) -> None:
    """Where other errors go on to the debugger or the test."""
    app = flask_app(details=False)
    app.config[setting] = True
    assert app.test_client().get("/pay").status_code == 503
    if setting == "PROPAGATE_EXCEPTIONS":
        with pytest.raises(Boom):
            app.test_client().get("/fail")


def counted(steps: list[str], broken: BaseException | None = None) -> Iterator[bytes]:
    try:
        steps.append("first")
        if broken is not None:
            raise broken
        yield b"1"
        yield Shop.pay().encode()
    finally:
        steps.append("over")


def refused_at_once() -> Iterator[bytes]:
    with Shop.breaker:
        yield b"1"


class Pages:
    """A Flask application with one page, served by waitress."""

    def __init__(self, view: Callable[[], Any]) -> None:
        self.app = flask.Flask(__name__)
        self.app.add_url_rule("/", view_func=view, endpoint="page")
        for_flask.CircuitOpen(self.app)

    def ask(self, method: str = "GET") -> Reply:
        with on_waitress(self.app) as port:
            return Site("flask", port).ask("/", method)


@pytest.mark.parametrize("wrap", [flask.Response, flask.stream_with_context, lambda parts: map(bytes, parts)])
@pytest.mark.usefixtures("refused")
def test_a_streamed_answer_that_is_refused_at_its_first_step_is_503(wrap: Any) -> None:
    pages = Pages(lambda: wrap(refused_at_once()))
    assert pages.ask().status == 503
    assert pages.app.test_client().get("/").status_code == 503


def test_a_streamed_answer_comes_as_it_is_made() -> None:
    """Its first step is made before the response begins, and once; it is closed when it is over."""
    steps: list[str] = []
    pages = Pages(lambda: flask.Response(counted(steps)))
    assert pages.ask().body == b"1paid"
    assert steps == ["first", "over"]
    steps.clear()
    with pages.app.test_client().get("/", buffered=False) as response:
        assert steps == ["first"]
        assert next(response.iter_encoded()) == b"1"
    assert steps == ["first", "over"], "the client has left"


@pytest.mark.usefixtures("refused")
def test_a_streamed_answer_that_is_refused_is_closed() -> None:
    steps: list[str] = []

    def page() -> flask.Response:
        response = flask.Response(refused_at_once())
        response.call_on_close(lambda: steps.append("closed"))
        return response

    assert Pages(page).ask().status == 503
    assert steps == ["closed"]


def test_other_errors_of_a_streamed_answers_first_step_go_on_to_the_server() -> None:
    steps: list[str] = []
    pages = Pages(lambda: flask.Response(counted(steps, Boom("a fault"))))
    assert pages.ask().status == 500
    with pytest.raises(Boom):
        pages.app.test_client().get("/", buffered=True)


@pytest.mark.parametrize("body", [[], (), iter(())])
def test_an_empty_answer_is_empty(body: Any) -> None:
    reply = Pages(lambda: flask.Response(body)).ask()
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_no_step_is_made_of_an_answer_that_has_no_body(method: str, status: int) -> None:
    steps: list[str] = []
    assert Pages(lambda: flask.Response(counted(steps), status)).ask(method).status == status
    assert steps == []


def test_a_file_is_passed_through(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"its bytes")
    assert Pages(lambda: flask.send_file(path)).ask().body == b"its bytes"


def teapot_of_flask(error: Any) -> tuple[str, int]:
    return "our own", 418


def refused_handler(error: Any) -> str:
    return Shop.pay()


@pytest.mark.parametrize(
    ("kind", "handler", "status"),
    [
        (CircuitOpenError, teapot_of_flask, 418),
        (ExceptionGroup, teapot_of_flask, 418),
        (Exception, teapot_of_flask, 418),
        (500, teapot_of_flask, 503),
        (ExceptionGroup, refused_handler, 500),
    ],
)
@pytest.mark.usefixtures("refused")
def test_flask_prefers_handlers_of_the_applications_own(kind: Any, handler: Any, status: int) -> None:
    """For a refusal in a group, too. What a handler raises is not a refusal of the view."""
    app = Pages(Shop.pay_by_group).app
    app.register_error_handler(kind, handler)
    assert app.test_client().get("/").status_code == status


@pytest.mark.usefixtures("refused")
def test_flask_takes_async_views_blueprints_and_a_late_application() -> None:
    pages = flask.Blueprint("pages", __name__)

    @pages.get("/async")
    async def pay() -> str:
        async with Shop.breaker:
            return "paid"

    middleware, apps = for_flask.CircuitOpen(), [flask.Flask("one"), flask.Flask("two")]
    for app in apps:
        app.register_blueprint(pages)
        middleware.init_app(app)
        assert app.test_client().get("/async").status_code == 503


# Django.


@pytest.mark.parametrize("kind", ["django-asgi", "django-wsgi"])
def test_django_takes_async_views(kind: str) -> None:
    with running(kind) as site:
        assert site.ask("/async/pay").body == b"paid"
        Shop.breaker.open()
        try:
            assert site.ask("/async/pay").status == site.ask("/async/group").status == 503
        finally:
            Shop.breaker.reset()
        assert site.ask("/async/fail").status == 500


# Litestar.


@pytest.mark.usefixtures("refused")
def test_litestar_prefers_a_handler_of_the_applications_own() -> None:
    def own(request: Any, error: CircuitOpenError) -> litestar.Response[str]:
        return litestar.Response("our own", status_code=418)

    @litestar.get("/pay")
    async def pay() -> str:
        return Shop.pay()

    @litestar.get("/group")
    async def group() -> str:
        return Shop.pay_by_group()

    handlers = {CircuitOpenError: own}
    app = litestar.Litestar(
        [pay, group], exception_handlers=handlers, plugins=[for_litestar.CircuitOpenPlugin()], openapi_config=None
    )
    with on_uvicorn(app) as port:
        assert Site("own", port).ask("/pay")[::2] == (418, b"our own")
        assert Site("own", port).ask("/group")[::2] == (418, b"our own")
    assert list(handlers) == [CircuitOpenError]


def litestar_status(path: str, work: Callable[[], str], **options: Any) -> int:
    """What a page of a Litestar application is answered with."""

    @litestar.get("/page", media_type="text/plain")
    async def page() -> str:
        return work()

    app = litestar.Litestar([page], plugins=[for_litestar.CircuitOpenPlugin()], openapi_config=None, **options)
    with on_uvicorn(app) as port:
        return Site("litestar", port).ask(path).status


def teapot(request: Any, error: Exception) -> litestar.Response[str]:
    return litestar.Response("our own", status_code=418)


def unauthorized() -> str:
    raise litestar.exceptions.NotAuthorizedException


def broken_as_http() -> str:
    raise litestar.exceptions.InternalServerException


@pytest.mark.parametrize("debug", [False, True])
def test_litestar_answers_other_errors_as_without_us(debug: bool) -> None:
    """By status, by type, or by itself."""
    for path, work, status in (
        ("/nowhere", Shop.fail, 404),
        ("/page", unauthorized, 401),
        ("/page", Shop.fail, 500),
        ("/page", broken_as_http, 500),
    ):
        assert litestar_status(path, work, debug=debug) == status
    for key, work, status in (
        (500, Shop.fail, 418),
        (500, broken_as_http, 418),
        (500, unauthorized, 401),
        (401, unauthorized, 418),
        (Exception, Shop.fail, 418),
        (Boom, Shop.fail, 418),
    ):
        assert litestar_status("/page", work, debug=debug, exception_handlers={key: teapot}) == status


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(("key", "status"), [(500, 503), (Exception, 418), (CircuitOpenError, 418)])
def test_litestar_finds_refusals_in_groups_unless_the_application_handles_all(key: Any, status: int) -> None:
    assert litestar_status("/page", Shop.pay_by_group, exception_handlers={key: teapot}) == status
