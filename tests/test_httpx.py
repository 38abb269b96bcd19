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
import requests
from hypercorn.config import Config

from circuitbreaker import CircuitBreaker, CircuitState, Registry
from circuitbreaker.integrations import httpx as ours_for_httpx
from circuitbreaker.integrations import httpx2 as ours_for_httpx2

from .servers import free_port, until
from .websites import BODY, HOST, Request, Site, answer, nobody

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


ROUTES = [
    ("http://127.0.0.1:1/", None),
    ("http://127.0.0.1:1/", "127.0.0.1"),
    ("http://inside.example/", ".example"),
    ("http://inside.example/", "side.example"),
    ("http://outside.test/", "example,localhost"),
    ("http://inside.example/", "*"),
]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The proxy of the environment."""
    with Site() as site:
        for name in ("HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv("http_proxy", site.url)
        yield site


@pytest.mark.parametrize(("url", "no_proxy"), ROUTES)
def test_without_a_transport_requests_are_sent_where_a_client_sends_them(
    pair: tuple[Any, Any], proxy: Site, monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str | None
) -> None:
    """By the proxy of the environment, or past it."""
    library, ours = pair
    if no_proxy is not None:
        monkeypatch.setenv("no_proxy", no_proxy)

    def by_the_proxy(**options: Any) -> bool:
        before = len(proxy.requests)
        with library.Client(**options, timeout=5) as client, suppress(library.ConnectError):
            client.get(url)
        return len(proxy.requests) > before

    transport = ours.CircuitBreakerTransport()
    assert by_the_proxy(transport=transport) is by_the_proxy()
    assert only(transport).metrics().total_calls == 1


async def test_without_a_transport_the_proxies_of_the_environment_work_async(
    pair: tuple[Any, Any], proxy: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, ours = pair
    monkeypatch.setenv("no_proxy", HOST)
    transport = ours.AsyncCircuitBreakerTransport()
    async with library.AsyncClient(transport=transport) as client:
        assert (await client.get("http://far.example/ok")).content == BODY
        with Site() as site:
            assert (await client.get(f"{site.url}/ok")).content == BODY
            assert len(site.requests) == 1
    assert len(proxy.requests) == 1
    assert len(transport.breakers) == 2


def test_a_transport_that_was_closed_may_be_used_again_behind_a_proxy(pair: tuple[Any, Any], proxy: Site) -> None:
    """As without one: several clients may share it."""
    library, ours = pair
    transport = ours.CircuitBreakerTransport()
    for _ in range(2):
        with library.Client(transport=transport) as client:
            assert client.get("http://far.example/ok").content == BODY
        until(lambda: not proxy.serving, "its connections are closed")
    assert only(transport).metrics().total_successes == 2


# A client that is guarded as it is


def test_a_client_with_a_proxy_is_guarded(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    registry = Registry()
    with Site() as site:
        plain = library.Client(proxy=site.url)
        with ours.guarded(plain, failure_threshold=1, registry=registry) as client:
            assert client is plain
            assert client.get("http://far.example/status/503").status_code == 503
            with pytest.raises(ours.CircuitOpenTransportError):
                client.get("http://far.example/ok")
        assert site.paths == ["/status/503"]
    assert [breaker.state for breaker in registry] == [CircuitState.OPEN]


async def test_an_async_client_with_a_proxy_is_guarded(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    with Site() as site:
        async with ours.guarded(library.AsyncClient(proxy=site.url), failure_threshold=1) as client:
            assert (await client.get("http://far.example/status/503")).status_code == 503
            with pytest.raises(ours.CircuitOpenTransportError):
                await client.get("http://far.example/ok")


def test_all_transports_of_a_guarded_client_share_its_circuits(pair: tuple[Any, Any]) -> None:
    library, ours = pair

    def of(status: int) -> Any:
        return library.MockTransport(lambda request: library.Response(status))

    mounts = {"http://there/": of(500), "http://here/": None}
    registry = Registry()
    client = ours.guarded(
        library.Client(transport=of(200), mounts=mounts), key=lambda request: "all", registry=registry
    )
    assert [client.get(f"http://{host}/").status_code for host in ("there", "here", "elsewhere")] == [500, 200, 200]
    (breaker,) = registry
    assert (breaker.metrics().total_successes, breaker.metrics().total_failures) == (2, 1)


def test_a_client_is_guarded_once(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    mounts = {"http://there/": ours.CircuitBreakerTransport()}
    for client in (library.Client(transport=ours.CircuitBreakerTransport()), library.Client(mounts=mounts)):
        with pytest.raises(ValueError, match="the client is guarded already"):
            ours.guarded(client)
    with pytest.raises(ValueError, match="the client is guarded already"):
        ours.guarded(ours.guarded(library.AsyncClient()))


@pytest.mark.parametrize("client", [5, httpx.Client, requests.Session()])
def test_what_is_no_client_is_not_guarded(pair: tuple[Any, Any], client: Any) -> None:
    _, ours = pair
    with pytest.raises(TypeError, match=r"client must be an httpx2?\.Client or httpx2?\.AsyncClient, got "):
        ours.guarded(client)
    with pytest.raises(TypeError, match="there is no option 'proxy' for a client"):
        ours.guarded(pair[0].Client(), proxy="http://there")


async def test_the_guard_of_the_other_library_says_so(pair: tuple[Any, Any]) -> None:
    """And sends nothing."""
    library, _ = pair
    other, other_name = (ours_for_httpx2, "httpx2") if library is httpx else (ours_for_httpx, "httpx")
    name = library.__name__
    message = f"this guard is for {other_name}; for {name}, take it from circuitbreaker.integrations.{name}"
    transport = other.CircuitBreakerTransport()
    with library.Client(transport=transport) as client, pytest.raises(TypeError, match=f"^{message}$"):
        client.get("http://there/")
    async_transport = other.AsyncCircuitBreakerTransport()
    async with library.AsyncClient(transport=async_transport) as async_client:
        with pytest.raises(TypeError, match=f"^{message}$"):
            await async_client.get("http://there/")
    assert not transport.breakers
    assert not async_transport.breakers
    with pytest.raises(TypeError, match="client must be an"):
        other.guarded(client)


# The body's parts


def test_a_response_that_was_read_already_is_judged_as_a_whole(pair: tuple[Any, Any]) -> None:
    library, ours = pair
    inner = library.MockTransport(lambda request: library.Response(200, content=b'{"error": 1}'))
    transport = ours.CircuitBreakerTransport(inner, judge_part=lambda part: b"error" in part)
    with library.Client(transport=transport) as client:
        assert client.get("http://there/").content == b'{"error": 1}'
    assert only(transport).metrics().total_failures == 1


@pytest.mark.parametrize("encoding", ["gzip", "gzip, deflate"])
def test_a_body_that_cannot_be_decompressed_is_judged_as_far_as_it_can(pair: tuple[Any, Any], encoding: str) -> None:
    library, ours = pair
    parts: list[bytes] = []
    transport = ours.CircuitBreakerTransport(judge_part=parts.append)
    page = answer(200, b"no gzip at all", **{"Content-Encoding": encoding})
    with (
        Site({"/damaged": lambda request, send: send(page)}) as site,
        library.Client(transport=transport) as client,
        pytest.raises(library.DecodingError),
    ):
        client.get(f"{site.url}/damaged")
    assert parts == []
    metrics = only(transport).metrics()
    assert (metrics.total_failures, metrics.total_calls) == (0, 1)


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


@pytest.mark.parametrize("foreign", [True, False], ids=["of another request", "of this one"])
def test_an_error_of_the_transport_counts_whichever_request_it_names(pair: tuple[Any, Any], foreign: bool) -> None:
    """Mocks, and transports that send by a client of their own, raise errors with requests of their own."""
    library, ours = pair

    def broken(request: Any) -> Any:
        raise library.ConnectError("gone", request=library.Request("GET", "http://there/") if foreign else request)

    transport = ours.CircuitBreakerTransport(library.MockTransport(broken))
    with library.Client(transport=transport) as client, pytest.raises(library.ConnectError):
        client.post("http://there/", content=iter([b"a body"]))
    assert only(transport).metrics().total_failures == 1


def test_a_transport_that_sends_by_a_client_of_its_own_is_guarded(pair: tuple[Any, Any]) -> None:
    library, ours = pair

    class Relay(library.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            return relay.post(nobody())

    transport = ours.CircuitBreakerTransport(Relay(), failure_threshold=1)
    with library.Client() as relay, library.Client(transport=transport) as client:
        with pytest.raises(library.ConnectError):
            client.get("http://there/")
        with pytest.raises(ours.CircuitOpenTransportError):
            client.get("http://there/")


@pytest.mark.parametrize("error", ["ReadError", "LookupError"])
def test_a_body_to_send_that_raises_says_nothing(pair: tuple[Any, Any], error: str) -> None:
    """Whatever it raises, an error of the library included."""
    library, ours = pair
    kind: Any = getattr(library, error, LookupError)

    def body() -> Iterator[bytes]:
        yield b"a part"
        raise kind("no more")

    transport = ours.CircuitBreakerTransport()
    with Site() as site, library.Client(transport=transport) as client:
        with pytest.raises(kind):
            client.post(f"{site.url}/echo", content=body())
        metrics = only(transport).metrics()
        assert (metrics.total_failures, metrics.total_ignored) == (0, 1)
        request = client.build_request("POST", f"{site.url}/echo", content=iter([b"one, ", b"two"]))
        stream = request.stream
        assert client.send(request).content == b"one, two"
        assert request.stream is stream, "the request is as it was"
    assert only(transport).metrics().total_successes == 1


async def test_a_body_to_send_that_raises_says_nothing_async(pair: tuple[Any, Any]) -> None:
    library, ours = pair

    async def body(broken: bool) -> AsyncIterator[bytes]:
        yield b"a part"
        if broken:
            raise library.ReadError("no more")

    transport = ours.AsyncCircuitBreakerTransport()
    with Site() as site:
        async with library.AsyncClient(transport=transport) as client:
            with pytest.raises(library.ReadError):
                await client.post(f"{site.url}/echo", content=body(broken=True))
            assert (await client.post(f"{site.url}/echo", content=body(broken=False))).content == b"a part"
    metrics = only(transport).metrics()
    assert (metrics.total_successes, metrics.total_failures, metrics.total_ignored) == (1, 0, 1)


def test_a_transport_that_reads_the_body_to_send_leaves_the_request_with_what_it_read(pair: tuple[Any, Any]) -> None:
    """So that it can be sent again."""
    library, ours = pair
    transport = ours.CircuitBreakerTransport(library.MockTransport(lambda request: library.Response(200)))
    with library.Client(transport=transport) as client:
        request = client.build_request("POST", "http://there/", content=iter([b"one, ", b"two"]))
        client.send(request)
    assert request.read() == b"".join(request.stream) == b"one, two"


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
