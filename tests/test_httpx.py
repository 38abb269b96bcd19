"""What is particular to httpx and httpx2: any transport inside, HTTP/2, proxies, hooks, authentication, full pools."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx
import httpx2
import hypercorn.asyncio
import pytest
from hypercorn.config import Config

from circuitbreaker import CircuitBreaker, CircuitState
from circuitbreaker.integrations import httpx as ours_for_httpx
from circuitbreaker.integrations import httpx2 as ours_for_httpx2

from .servers import free_port, until
from .websites import BODY, HOST, Request, Site, answer

Send = Any


@pytest.fixture(params=[(httpx, ours_for_httpx), (httpx2, ours_for_httpx2)], ids=["httpx", "httpx2"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The library, and our module for it."""
    found: tuple[Any, Any] = request.param
    return found


def only(transport: Any) -> CircuitBreaker:
    breaker: CircuitBreaker
    (breaker,) = transport.breakers.values()
    return breaker


def test_it_wraps_any_transport(pair: tuple[Any, Any]) -> None:
    """One that enters, sends and closes in its own way."""
    library, ours = pair
    done: list[str] = []

    class Own(library.BaseTransport):  # type: ignore[misc, name-defined]
        def __enter__(self) -> Any:
            done.append("enter")
            return self

        def __exit__(self, *exception: object) -> None:
            done.append("exit")

        def handle_request(self, request: Any) -> Any:
            done.append(str(request.url))
            return library.Response(200, content=b"mine")

        def close(self) -> None:
            done.append("close")

    transport = ours.CircuitBreakerTransport(Own())
    with library.Client(transport=transport) as client:
        assert client.get("http://somewhere/").content == b"mine"
    assert only(transport).metrics().total_successes == 1, "an answer that was read already has ended"
    library.Client(transport=ours.CircuitBreakerTransport(Own())).close()
    assert done == ["enter", "http://somewhere/", "exit", "close"]


async def test_it_wraps_any_async_transport(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    done: list[str] = []

    class Own(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def __aenter__(self) -> Any:
            done.append("enter")
            return self

        async def __aexit__(self, *exception: object) -> None:
            done.append("exit")

        async def handle_async_request(self, request: Any) -> Any:
            return library.Response(200 if request.method == "GET" else 503, content=b"mine")

        async def aclose(self) -> None:
            done.append("close")

    transport = ours.AsyncCircuitBreakerTransport(Own(), failure_threshold=1)
    async with library.AsyncClient(transport=transport) as client:
        assert (await client.get("http://somewhere/")).content == b"mine"
        assert only(transport).metrics().total_successes == 1
        assert (await client.post("http://somewhere/")).status_code == 503
        with pytest.raises(ours.CircuitOpenTransportError):
            await client.get("http://somewhere/")
    await library.AsyncClient(transport=ours.AsyncCircuitBreakerTransport(Own())).aclose()
    assert done == ["enter", "exit", "close"]


async def test_without_a_transport_it_has_one_of_the_library(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    transport = ours.AsyncCircuitBreakerTransport()
    with Site() as site:
        async with library.AsyncClient(transport=transport) as client:
            assert (await client.get(f"{site.url}/ok")).status_code == 200
    assert only(transport).metrics().total_successes == 1


def test_an_error_that_is_not_httpx_own_says_nothing(pair: tuple[Any, Any]) -> None:
    """It is a mistake of the transport, or of the caller."""
    library, ours = pair

    def broken(request: Any) -> Any:
        raise LookupError

    transport = ours.CircuitBreakerTransport(library.MockTransport(broken))
    with library.Client(transport=transport) as client, pytest.raises(LookupError):
        client.get("http://somewhere/")
    assert only(transport).metrics().total_ignored == 1


def test_a_pool_that_is_full_says_nothing(pair: tuple[Any, Any]) -> None:
    """Nothing was sent."""
    library, ours = pair
    limits = library.Limits(max_connections=1)
    transport = ours.CircuitBreakerTransport(library.HTTPTransport(limits=limits), failure_threshold=1)
    with Site() as site, library.Client(transport=transport, timeout=library.Timeout(5, pool=0.01)) as client:
        with client.stream("GET", f"{site.url}/stream"), pytest.raises(library.PoolTimeout):
            client.get(f"{site.url}/ok")
        assert only(transport).state is CircuitState.CLOSED
        assert client.get(f"{site.url}/ok").status_code == 200


def test_proxies_work(pair: tuple[Any, Any]) -> None:
    """The circuit is that of the server behind the proxy."""
    library, ours = pair
    with Site() as site:
        transport = ours.CircuitBreakerTransport(library.HTTPTransport(proxy=site.url))
        with library.Client(transport=transport) as client:
            assert client.get("http://far.example/ok").content == BODY
    assert list(transport.breakers) == ["http://far.example"]


def test_hooks_and_authentication_work(pair: tuple[Any, Any]) -> None:
    """Digest authentication reads one response, and sends a second request."""
    library, ours = pair
    seen: list[Any] = []

    def page(request: Request, send: Send) -> None:
        if "authorization" in request.headers:
            send(answer(200, b"in"))
        else:
            challenge = 'Digest realm="all", nonce="abc", qop="auth", algorithm=SHA-256'
            send(answer(401, b"who?", **{"WWW-Authenticate": challenge}))

    transport = ours.CircuitBreakerTransport()
    hooks = {"request": [lambda request: seen.append("request")], "response": [lambda r: seen.append(r.status_code)]}
    with Site({"/door": page}) as site, library.Client(transport=transport, event_hooks=hooks) as client:
        response = client.get(f"{site.url}/door", auth=library.DigestAuth("me", "secret"))
    assert response.content == b"in"
    assert seen == ["request", 401, "request", 200]
    assert only(transport).metrics().total_successes == 2


def test_the_same_errors_come_through_as_without_us(pair: tuple[Any, Any]) -> None:
    """With the same type, text and request."""
    library, ours = pair

    def error(path: str, **options: Any) -> tuple[type, str, str]:
        with library.Client(**options, timeout=0.1) as client, pytest.raises(library.HTTPError) as caught:
            client.get(site.url + path)
        return type(caught.value), str(caught.value), str(caught.value.request.url)

    with Site() as site:
        for path in ("/hang", "/hang/5", "/garbage", "/reset", "/cut/length/70", "/cut/chunked/60"):
            transport = ours.CircuitBreakerTransport()
            assert error(path) == error(path, transport=transport)
            assert only(transport).metrics().total_failures == 1


def test_a_judge_sees_the_request_on_answers_and_on_errors(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    seen: list[str] = []

    def judge(end: Any) -> bool | None:
        seen.append(f"{type(end).__name__} {end.request.url.path}")
        return None

    with Site() as site, library.Client(transport=ours.CircuitBreakerTransport(judge=judge), timeout=0.1) as client:
        client.get(f"{site.url}/ok")
        with pytest.raises(library.ReadTimeout):
            client.get(f"{site.url}/hang")
    assert seen == ["Response /ok", "ReadTimeout /hang"]


async def test_a_judge_sees_the_request_async_and_with_any_transport(pair: tuple[Any, Any]) -> None:
    """An error of a transport need not have a request."""
    library, ours = pair
    seen: list[str] = []

    def page(request: Any) -> Any:
        if request.url.path == "/error":
            raise library.ReadError("it broke")
        return library.Response(200)

    def judge(end: Any) -> bool | None:
        seen.append(f"{type(end).__name__} {end.request.url.path}")
        return None

    transport = ours.AsyncCircuitBreakerTransport(library.MockTransport(page), judge=judge)
    async with library.AsyncClient(transport=transport) as client:
        await client.get("http://there/ok")
        with pytest.raises(library.ReadError):
            await client.get("http://there/error")
    assert seen == ["Response /ok", "ReadError /error"]


def test_an_answer_that_breaks_off_while_it_is_sent_on_says_nothing_about_the_receiver(pair: tuple[Any, Any]) -> None:
    """Every gateway does this."""
    library, ours = pair
    transport = ours.CircuitBreakerTransport()
    with Site() as one, Site() as other, library.Client(transport=transport) as client:
        with client.stream("GET", f"{one.url}/cut/length/70") as answer, pytest.raises(library.RemoteProtocolError):
            client.post(f"{other.url}/echo", content=answer.iter_bytes())
        ends = {key: (each.metrics().total_failures, each.metrics().total_ignored) for key, each in _items(transport)}
        assert ends == {one.url: (1, 0), other.url: (0, 1)}


def _items(transport: Any) -> list[tuple[Any, CircuitBreaker]]:
    return list(transport.breakers.items())


@pytest.mark.parametrize("transport", [5, httpx.HTTPTransport, httpx2.HTTPTransport])
def test_what_is_no_transport_is_refused(pair: tuple[Any, Any], transport: Any) -> None:
    _, ours = pair
    with pytest.raises(TypeError, match=r"transport must be an httpx2?\.BaseTransport, got "):
        ours.CircuitBreakerTransport(transport)
    with pytest.raises(TypeError, match=r"transport must be an httpx2?\.AsyncBaseTransport, got "):
        ours.AsyncCircuitBreakerTransport(transport)


def test_the_callers_own_breach_of_the_protocol_says_nothing(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    transport = ours.CircuitBreakerTransport()
    with Site() as site, library.Client(transport=transport) as client:
        with pytest.raises(library.LocalProtocolError):
            client.get(f"{site.url}/ok", headers={"X-Own": "two\nlines"})
        assert only(transport).metrics().total_ignored == 1


# HTTP/2


def shorter(connection: h2.connection.H2Connection, stream: int) -> Iterator[bytes]:
    connection.send_headers(stream, [(":status", "200"), ("content-length", "11")])
    connection.send_data(stream, b"all", end_stream=True)
    yield connection.data_to_send()


def nonsense(connection: h2.connection.H2Connection, stream: int) -> Iterator[bytes]:
    yield connection.data_to_send() + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"  # a window of nothing


@contextmanager
def breaking_http2(respond: Callable[[h2.connection.H2Connection, int], Iterator[bytes]]) -> Iterator[str]:
    """A server of HTTP/2 that answers one request, against the rules."""
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        with suppress(OSError), listener.accept()[0] as taken:
            config = h2.config.H2Configuration(client_side=False, validate_outbound_headers=False)
            connection = h2.connection.H2Connection(config)
            connection.initiate_connection()
            taken.sendall(connection.data_to_send())
            while data := taken.recv(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        assert event.stream_id is not None
                        for part in respond(connection, event.stream_id):
                            taken.sendall(part)
                taken.sendall(connection.data_to_send())

    thread = Thread(target=serve)
    thread.start()
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join(5)


@pytest.mark.parametrize("respond", [shorter, nonsense])
def test_a_server_that_breaks_the_rules_of_http2_is_a_failure(pair: tuple[Any, Any], respond: Any) -> None:
    """Even though httpcore reports it as a mistake of the caller."""
    library, ours = pair
    transport = ours.CircuitBreakerTransport(library.HTTPTransport(http1=False, http2=True))
    with breaking_http2(respond) as url, library.Client(transport=transport, timeout=2) as client:
        with pytest.raises(library.ProtocolError):
            client.get(url)
        assert only(transport).metrics().total_failures == 1


def test_a_server_that_breaks_the_rules_of_http2_within_a_body_is_a_failure(pair: tuple[Any, Any]) -> None:
    """Even though httpcore does not translate the error of h2."""
    library, ours = pair
    begun = Event()

    def late(connection: h2.connection.H2Connection, stream: int) -> Iterator[bytes]:
        connection.send_headers(stream, [(":status", "200"), ("content-length", "11")])
        yield connection.data_to_send()
        begun.wait(5)
        connection.send_data(stream, b"all", end_stream=True)
        yield connection.data_to_send()

    transport = ours.CircuitBreakerTransport(library.HTTPTransport(http1=False, http2=True))
    with breaking_http2(late) as url, library.Client(transport=transport, timeout=2) as client:
        with pytest.raises(h2.exceptions.ProtocolError), client.stream("GET", url) as response:
            begun.set()
            response.read()
        assert only(transport).metrics().total_failures == 1


def test_the_callers_own_breach_of_http2_says_nothing(pair: tuple[Any, Any]) -> None:
    """Even while an error of the server is being handled, and Python chains the two."""
    library, ours = pair

    def get(url: str, **headers: str) -> None:
        with library.Client(transport=library.HTTPTransport(http1=False, http2=True), timeout=2) as client:
            client.get(url, headers=headers)

    with breaking_http2(shorter) as url:
        try:
            get(url)
        except library.LocalProtocolError:
            with pytest.raises(library.LocalProtocolError) as caught:
                get(url, TE="what?")
            assert ours.judge(caught.value) is None
        else:
            pytest.fail("the server has kept to the rules")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """A service by ASGI: it answers, fails, and leaves off in the middle."""
    if scope["type"] != "http":
        return
    path = scope["path"]
    await send({"type": "http.response.start", "status": 503 if path == "/down" else 200, "headers": []})
    await send({"type": "http.response.body", "body": BODY, "more_body": True})
    if path == "/broken":
        raise ConnectionError("in the middle of the body")
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@contextmanager
def http2() -> Iterator[str]:
    """A server of HTTP/2, without TLS."""
    over, port = Event(), free_port()
    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.errorlog = None
    config.graceful_timeout = 0.1

    async def end() -> None:
        while not over.is_set():
            await asyncio.sleep(0.01)

    def run() -> None:
        asyncio.run(hypercorn.asyncio.serve(application, config, shutdown_trigger=end))  # type: ignore[arg-type]

    thread = Thread(target=run)
    thread.start()
    try:
        yield f"http://{HOST}:{port}"
    finally:
        over.set()
        thread.join(10)


def is_up(library: Any, url: str) -> bool:
    try:
        with library.Client(transport=library.HTTPTransport(http1=False, http2=True)) as client:
            return bool(client.get(url).status_code == 200)
    except library.TransportError:
        return False


def test_http2_works(pair: tuple[Any, Any]) -> None:
    """One connection: a stream that breaks off is a failure, and the others continue."""
    library, ours = pair
    with http2() as url:
        until(lambda: is_up(library, url), "the server is there")
        inner = library.HTTPTransport(http1=False, http2=True)
        transport = ours.CircuitBreakerTransport(inner, failure_threshold=3)
        with library.Client(transport=transport) as client:
            with client.stream("GET", f"{url}/ok") as slow:
                response = client.get(f"{url}/ok")
                assert (response.http_version, response.content) == ("HTTP/2", BODY)
                with pytest.raises(library.TransportError):
                    client.get(f"{url}/broken", timeout=0.2)
                assert slow.read() == BODY
            metrics = only(transport).metrics()
            assert (metrics.total_successes, metrics.total_failures) == (2, 1)
            for _ in range(3):
                assert client.get(f"{url}/down").status_code == 503
            with pytest.raises(ours.CircuitOpenTransportError):
                client.get(f"{url}/ok")


async def test_http2_works_async(pair: tuple[Any, Any]) -> None:
    """Many concurrent requests over one connection."""
    library, ours = pair
    with http2() as url:
        while not await asyncio.to_thread(is_up, library, url):
            pass
        inner = library.AsyncHTTPTransport(http1=False, http2=True)
        transport = ours.AsyncCircuitBreakerTransport(inner)

        async def many() -> AsyncIterator[int]:
            for response in await asyncio.gather(*(client.get(f"{url}/ok") for _ in range(20))):
                yield response.status_code

        async with library.AsyncClient(transport=transport) as client:
            assert [status async for status in many()] == [200] * 20
        metrics = only(transport).metrics()
        assert (metrics.total_successes, metrics.total_failures, metrics.total_ignored) == (20, 0, 0)
