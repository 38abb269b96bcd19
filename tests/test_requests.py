"""What is particular to requests: `response.raw` in all its uses, adapters of any kind, authentication, threads."""

from __future__ import annotations

import copy
import gzip
import io
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock, Metrics, Registry
from circuitbreaker.integrations.requests import CircuitBreakerAdapter, CircuitOpenConnectionError, judge, origin

from .support import in_threads
from .websites import ANSWERS, BODY, Hangup, Request, Site, answer, nobody

Send = Callable[[bytes], object]

LONG = json.dumps({str(number): number * number for number in range(20_000)}).encode()
PACKED = gzip.compress(LONG)
DAMAGED = PACKED[:-8] + b"\0" * 8  # the checksum, so all of it is decoded before it is seen


FUTURE = hasattr(urllib3, "AsyncHTTPResponse")
"""Whether urllib3-future is installed in the place of urllib3."""
READ1 = pytest.mark.skipif(not hasattr(urllib3.HTTPResponse, "read1"), reason="it came in the course of urllib3 2")


def packed(body: bytes) -> Callable[[Request, Send], None]:
    return lambda request, send: send(answer(200, body, **{"Content-Encoding": "gzip"})) and None


def door(request: Request, send: Send) -> None:
    if "authorization" in request.headers:
        send(answer(200, b"in"))
    else:
        send(answer(401, b"who?", **{"WWW-Authenticate": 'Digest realm="all", nonce="abc", qop="auth"'}))


def numbers(request: Request, send: Send) -> None:
    send(answer(200, b"[1, 2]"))


def two_lengths(request: Request, send: Send) -> None:
    send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nwhich?")
    raise Hangup


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    pages = {
        "/numbers": numbers,
        "/packed": packed(PACKED),
        "/damaged": packed(DAMAGED),
        "/door": door,
        "/two-lengths": two_lengths,
    }
    with Site(pages) as site:
        yield site


@pytest.fixture
def adapter() -> CircuitBreakerAdapter:
    return CircuitBreakerAdapter(failure_threshold=1000)


def session_of(adapter: BaseAdapter) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


@pytest.fixture
def session(adapter: CircuitBreakerAdapter) -> Iterator[requests.Session]:
    with session_of(adapter) as session:
        yield session


def only(adapter: CircuitBreakerAdapter) -> CircuitBreaker:
    (breaker,) = adapter.breakers.values()
    return breaker


def ends(adapter: CircuitBreakerAdapter) -> tuple[int, int, int]:
    """How many succeeded, failed, and said nothing."""
    metrics: Metrics = only(adapter).metrics()
    return metrics.total_successes, metrics.total_failures, metrics.total_ignored


# The body, by whatever way it is read


def into(raw: Any) -> bytes:
    """By readinto(), to the end."""
    whole, part = b"", bytearray(4)
    while size := raw.readinto(part):
        whole += bytes(part[:size])
    return whole


def copied(raw: Any, size: int = 4) -> bytes:
    target = io.BytesIO()
    shutil.copyfileobj(raw, target, size)
    return target.getvalue()


def one_by_one(raw: Any) -> bytes:
    lines = b""
    while line := next(raw, None):
        lines += line
    assert line is None
    return lines


def as_text(raw: Any) -> bytes:
    raw.auto_close = False  # as urllib3's manual says
    with io.TextIOWrapper(raw) as text:
        return text.read().encode()


WAYS: dict[str, Callable[[requests.Response], bytes]] = {
    "content": lambda r: r.content,
    "iter_content": lambda r: b"".join(r.iter_content(4)),
    "iter_lines": lambda r: b"".join(r.iter_lines(4)),
    "iteration": b"".join,
    "raw.read": lambda r: r.raw.read(),
    "raw.read(-1)": lambda r: r.raw.read(-1),
    "raw.read(4)": lambda r: b"".join(iter(lambda: r.raw.read(4), b"")),
    "raw.read(amt=4)": lambda r: b"".join(iter(lambda: r.raw.read(amt=4, decode_content=True), b"")),
    "raw.read1": lambda r: b"".join(iter(lambda: r.raw.read1(), b"")),
    "raw.read1(4)": lambda r: b"".join(iter(lambda: r.raw.read1(4), b"")),
    "raw.readinto": lambda r: into(r.raw),
    "raw.readline": lambda r: b"".join(iter(lambda: r.raw.readline(), b"")),
    "raw.readlines": lambda r: b"".join(r.raw.readlines()),
    "raw.stream": lambda r: b"".join(r.raw.stream(4)),
    "raw.data": lambda r: r.raw.data,
    "raw, iterated": lambda r: b"".join(r.raw),
    "raw, by next": lambda r: one_by_one(r.raw),
    "copyfileobj": lambda r: copied(r.raw),
    "BufferedReader": lambda r: io.BufferedReader(r.raw).read(),
    "TextIOWrapper": lambda r: as_text(r.raw),
    "drained on an error": lambda r: r.raw.read(decode_content=False),  # by a session's redirects
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, site: Site) -> str:
    """One of those that this urllib3 has."""
    with session_of(HTTPAdapter()) as plain, plain.get(f"{site.url}/ok", stream=True) as response:
        try:
            assert WAYS[request.param](response) == BODY
        except (AttributeError, RuntimeError):
            pytest.skip("read1() and read(-1) came in the course of urllib3 2")
    return str(request.param)


@pytest.mark.parametrize("framing", ANSWERS)
def test_a_body_that_came_whole_is_a_success(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site, way: str, framing: str
) -> None:
    """As soon as its end has been read, closed or not; and the connection is free for the next request."""
    url = f"{site.url}/cut/{framing}/{len(ANSWERS[framing])}"
    response = session.get(url, stream=True)
    assert ends(adapter) == (0, 0, 0)
    assert WAYS[way](response) == BODY
    assert ends(adapter) == (1, 0, 0)
    response.close()
    assert ends(adapter) == (1, 0, 0)


@pytest.mark.parametrize("framing", ANSWERS)
def test_a_body_is_judged_however_it_is_read(site: Site, way: str, framing: str) -> None:
    """Some ways read each line in smaller parts, none reads a byte that is not judged."""
    parts: list[bytes] = []
    with session_of(CircuitBreakerAdapter(judge_part=parts.append)) as session:
        response = session.get(f"{site.url}/cut/{framing}/{len(ANSWERS[framing])}", stream=True)
        assert WAYS[way](response) == BODY
    assert b"".join(parts) == BODY
    assert {type(part) for part in parts} == {bytes}


@pytest.mark.skipif(not hasattr(urllib3.HTTPResponse, "json"), reason="it came in the course of urllib3 2")
def test_a_body_that_is_read_as_json_is_judged_as_bytes(site: Site) -> None:
    parts: list[bytes] = []
    with session_of(CircuitBreakerAdapter(judge_part=parts.append)) as session:
        assert session.get(f"{site.url}/numbers", stream=True).raw.json() == [1, 2]
    assert parts == [b"[1, 2]"]


def test_a_body_ends_where_its_length_says_though_raw_stays_open(site: Site) -> None:
    """As with urllib3-future."""

    class Open(HTTPAdapter):
        def send(self, *args: Any, **options: Any) -> requests.Response:
            response = super().send(*args, **options)
            response.raw.isclosed = lambda: False
            return response

    adapter = CircuitBreakerAdapter(Open())
    with session_of(adapter) as session:
        response = session.get(f"{site.url}/ok", stream=True)
        assert response.raw.read(5) == BODY[:5]
        assert ends(adapter) == (0, 0, 0)
        assert response.raw.read(len(BODY) - 5) == BODY[5:]
        assert ends(adapter) == (1, 0, 0)


@pytest.mark.parametrize("framing", ANSWERS)
def test_a_body_that_was_cut_is_a_failure(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site, way: str, framing: str
) -> None:
    """With the one reader that gets no error from urllib3, too: read1() of a body with a length."""
    response = session.get(f"{site.url}/cut/{framing}/{len(ANSWERS[framing]) - 8}", stream=True)
    if (way, framing) == ("raw.read1", "length") and not FUTURE:
        assert WAYS[way](response) == BODY[:-8]
    else:
        with pytest.raises((requests.RequestException, urllib3.exceptions.HTTPError)):
            WAYS[way](response)
    assert ends(adapter) == (0, 1, 0)
    response.close()
    assert ends(adapter) == (0, 1, 0)


def test_chunks_may_be_read_as_they_come(session: requests.Session, adapter: CircuitBreakerAdapter, site: Site) -> None:
    """By raw.read_chunked(). If the body is not chunked, that is a mistake of the caller."""
    with session.get(f"{site.url}/ok", stream=True) as response, pytest.raises(urllib3.exceptions.ResponseNotChunked):
        list(response.raw.read_chunked())
    assert ends(adapter) == (0, 0, 1)
    response = session.get(f"{site.url}/cut/chunked/{len(ANSWERS['chunked'])}", stream=True)
    assert list(response.raw.read_chunked()) == [b"all ", b"is well"]
    assert ends(adapter) == (1, 0, 1)


def test_who_reads_no_more_than_there_is_need_not_close(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site
) -> None:
    """A reader that knows the length, as pickle does, does not read the end."""
    response = session.get(f"{site.url}/ok", stream=True)
    assert response.raw.read(5) + response.raw.read(len(BODY) - 5) == BODY
    assert ends(adapter) == (1, 0, 0)


def test_nothing_read_and_nothing_asked_says_nothing(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site
) -> None:
    """H3"""
    with session.get(f"{site.url}/ok", stream=True) as response:
        assert response.raw.read(0) == b""
        assert ends(adapter) == (0, 0, 0)
    assert ends(adapter) == (0, 0, 1)


@pytest.mark.parametrize("close", [requests.Response.close, lambda r: r.raw.close(), lambda r: r.raw.__exit__()])
def test_a_reader_who_stops_has_seen_a_success(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site, close: Callable[[Any], object]
) -> None:
    """With or without `with`."""
    response = session.get(f"{site.url}/stream", stream=True)
    with response.raw as raw, closing(raw.stream(10)) as parts:
        assert len(next(parts)) == 10
        parts.close()
        assert ends(adapter) == (0, 0, 0)
        close(response)
        assert ends(adapter) == (1, 0, 0)


@pytest.mark.parametrize("way", ["content", "raw.read1", "raw.read(4)", "raw.stream"], indirect=True)
def test_a_body_that_stalls_is_a_failure(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site, way: str
) -> None:
    """A read timeout in the middle."""
    response = session.get(f"{site.url}/hang/10", stream=True, timeout=0.05)
    with pytest.raises((requests.ConnectionError, urllib3.exceptions.ReadTimeoutError)):
        WAYS[way](response)
    assert ends(adapter) == (0, 1, 0)


@pytest.mark.parametrize(
    "read",
    [
        lambda r: r.content,
        lambda r: b"".join(r.iter_content(1000)),
        lambda r: r.raw.read(decode_content=True),
        lambda r: b"".join(iter(lambda: r.raw.read(1000, decode_content=True), b"")),
        pytest.param(lambda r: b"".join(iter(lambda: r.raw.read1(1000, decode_content=True), b"")), marks=READ1),
        lambda r: b"".join(r.raw.stream(1000, decode_content=True)),
        lambda r: b"".join(r.raw),
        lambda r: (setattr(r.raw, "decode_content", True), copied(r.raw, 1000))[1],
    ],
)
def test_a_body_that_does_not_decode_is_a_failure(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site, read: Callable[[requests.Response], bytes]
) -> None:
    """Even when all of it has arrived, and the damage shows only at the end."""
    assert read(session.get(f"{site.url}/packed", stream=True)) == LONG
    assert ends(adapter) == (1, 0, 0)
    with pytest.raises((requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError)):
        read(session.get(f"{site.url}/damaged", stream=True))
    assert ends(adapter) == (1, 1, 0)


def test_json_of_raw_is_read(session: requests.Session, adapter: CircuitBreakerAdapter, site: Site) -> None:
    """By urllib3's own json(), and by json.load()."""
    for number, read in enumerate([lambda raw: raw.json(), json.load], 1):
        response = session.get(f"{site.url}/packed", stream=True)
        response.raw.decode_content = True
        assert read(response.raw)["3"] == 9
        response.close()
        assert ends(adapter) == (number, 0, 0)


def test_raw_is_what_it_was(session: requests.Session, site: Site) -> None:
    """It has everything that urllib3's response has."""
    response = session.get(f"{site.url}/ok", stream=True)
    raw = response.raw
    assert (raw.status, raw.version, raw.headers["Content-Length"]) == (200, 11, "11")
    assert raw.connection.sock.getpeername()[1] == site.port
    assert raw._original_response.msg["content-length"] == "11"
    assert (raw.geturl(), raw.readable(), raw.closed, raw.tell()) == ("/ok", True, False, 0)
    raw.own = "mine"
    assert raw.own == "mine"
    assert not hasattr(raw, "nothing")
    assert (raw.read(3), raw.tell()) == (b"all", 3)
    response.close()
    assert raw.closed


def test_what_another_adapter_gives_is_read_as_it_is(site: Site) -> None:
    """Any adapter: one that returns a file, nothing at all, or something that raises an error of its own."""

    class Own(BaseAdapter):
        def __init__(self, raw: Any) -> None:
            super().__init__()
            self.raw, self.closed = raw, 0

        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            if isinstance(self.raw, Exception):
                raise self.raw
            response = requests.Response()
            response.request, response.url, response.status_code = request, str(request.url), 200
            response.raw = self.raw
            return response

        def close(self) -> None:
            self.closed += 1

    for raw, content, end in [
        (io.BytesIO(BODY), BODY, (1, 0, 0)),
        (None, None, (1, 0, 0)),
        (LookupError(), None, (0, 0, 1)),
        (requests.exceptions.InvalidURL(), None, (0, 0, 1)),
        (OSError("no bundle of certificates"), None, (0, 0, 1)),
    ]:
        inner = Own(raw)
        guard = CircuitBreakerAdapter(inner)
        with session_of(guard) as session:
            if isinstance(raw, Exception):
                with pytest.raises(type(raw)):
                    session.get("http://there/")
            else:
                response = session.get("http://there/", stream=True)
                assert not hasattr(response.raw, "stream")
                assert response.content == content
        assert ends(guard) == end
        assert inner.closed == 2


def test_a_body_whose_closing_fails_gives_its_permit_back(site: Site) -> None:
    """H3"""

    class Stuck(io.BytesIO):
        def close(self) -> None:
            if not self.closed:  # once: it is closed again when it disappears
                super().close()
                raise LookupError

    class Own(HTTPAdapter):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            response = super().send(*args, **kwargs)
            response.close()
            response.raw = Stuck(BODY)
            return response

    guard = CircuitBreakerAdapter(Own())
    with session_of(guard) as session:
        response = session.get(f"{site.url}/ok", stream=True)
        with pytest.raises(LookupError):
            response.raw.close()
        assert ends(guard) == (0, 0, 1)


def test_a_copy_of_a_body_does_not_recurse(site: Site) -> None:
    with session_of(CircuitBreakerAdapter()) as session, session.get(f"{site.url}/ok", stream=True) as response:
        with suppress(TypeError):  # urllib3's cannot be copied, or can
            copy.copy(response.raw)
        with pytest.raises(AttributeError):
            _ = object.__new__(type(response.raw))._raw


@pytest.mark.parametrize("adapter", [3, HTTPAdapter])
def test_what_is_no_adapter_is_refused(adapter: Any) -> None:
    with pytest.raises(TypeError, match=r"adapter must be a requests\.adapters\.BaseAdapter, got "):
        CircuitBreakerAdapter(adapter)


@pytest.mark.parametrize("parts", [lambda r: r.iter_content(4), lambda r: r.raw.stream(4)], ids=["content", "raw"])
def test_an_answer_that_breaks_off_while_it_is_sent_on_says_nothing_about_the_receiver(
    site: Site, parts: Callable[[requests.Response], Iterator[bytes]]
) -> None:
    """Every gateway does this."""
    guard = CircuitBreakerAdapter()
    with Site() as other, session_of(guard) as session:
        with session.get(f"{site.url}/cut/length/70", stream=True) as answer, pytest.raises(requests.ConnectionError):
            session.post(f"{other.url}/echo", data=parts(answer))
        received = guard.breakers[other.url].metrics()
        assert (received.total_failures, received.total_ignored) == (0, 1)
        assert guard.breakers[site.url].metrics().total_failures == 1


# What counts


def wrapped(error: Exception, kind: type[Exception] = requests.ConnectionError) -> Exception:
    return kind(error)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (requests.ConnectionError("reset"), True),
        (requests.ConnectTimeout(), True),
        (requests.ReadTimeout(), True),
        (requests.exceptions.SSLError("expired"), True),
        (requests.exceptions.ProxyError("gone"), True),
        (requests.exceptions.ChunkedEncodingError(), True),
        (requests.exceptions.ContentDecodingError(), True),
        (requests.exceptions.RetryError(), True),
        (wrapped(urllib3.exceptions.ProtocolError("aborted", ConnectionResetError())), True),
        (urllib3.exceptions.ProtocolError("cut"), True),
        (urllib3.exceptions.SSLError("record"), True),
        (urllib3.exceptions.DecodeError("gzip"), True),
        (urllib3.exceptions.EmptyPoolError(None, "full"), None),  # type: ignore[arg-type]
        (wrapped(urllib3.exceptions.EmptyPoolError(None, "full")), None),  # type: ignore[arg-type]
        (wrapped(urllib3.exceptions.ClosedPoolError(None, "closed")), None),  # type: ignore[arg-type]
        (wrapped(urllib3.exceptions.FullPoolError(None, "full")), None),  # type: ignore[arg-type]
        (requests.exceptions.InvalidURL(), None),
        (requests.exceptions.InvalidSchema(), None),
        (requests.exceptions.MissingSchema(), None),
        (requests.exceptions.InvalidProxyURL(), None),
        (requests.exceptions.UnrewindableBodyError(), None),
        (requests.exceptions.StreamConsumedError(), None),
        (requests.TooManyRedirects(), None),
        (OSError("no such file"), None),
    ],
    ids=repr,
)
def test_errors_are_judged(error: Exception, verdict: bool | None) -> None:
    assert judge(error) is verdict


def test_an_answer_that_contradicts_itself_is_a_failure(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site
) -> None:
    """requests raises InvalidHeader, as it does for a mistake of the caller; but then nothing is sent."""
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(f"{site.url}/two-lengths")
    assert ends(adapter) == (0, 1, 0)
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get(f"{site.url}/ok", headers={"X": "a\nb"})
    assert ends(adapter) == (0, 1, 0)


class Impatient(HTTPAdapter):
    """Waits a moment only for a connection of a full pool; requests itself would wait for ever."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        usual = type(pool).urlopen
        pool.urlopen = lambda *a, **k: usual(pool, *a, pool_timeout=0.01, **k)  # type: ignore[method-assign]
        return pool


def test_a_pool_that_is_full_or_closed_says_nothing(site: Site) -> None:
    """Nothing was sent."""
    guard = CircuitBreakerAdapter(Impatient(pool_maxsize=1, pool_block=True), failure_threshold=1)
    with session_of(guard) as session:
        with session.get(f"{site.url}/stream", stream=True), pytest.raises(urllib3.exceptions.EmptyPoolError):
            session.get(f"{site.url}/ok")
        assert ends(guard) == (0, 0, 2)
        assert session.get(f"{site.url}/ok").content == BODY
    assert ends(guard) == (1, 0, 2)


def test_retries_inside_are_one_call(site: Site) -> None:
    """The failure counts when urllib3 has given up: without a response, or with the last one."""
    for raising, status in [(True, None), (False, 503)]:
        retry = urllib3.Retry(2, status_forcelist=[503], backoff_factor=0, raise_on_status=raising)
        guard, before = CircuitBreakerAdapter(HTTPAdapter(max_retries=retry), failure_threshold=1), len(site.requests)
        with session_of(guard) as session:
            if raising:
                with pytest.raises(requests.exceptions.RetryError):
                    session.get(f"{site.url}/status/503")
            else:
                assert session.get(f"{site.url}/status/503").status_code == status
            assert len(site.requests) - before == 3
            assert ends(guard) == (0, 1, 0)
            with pytest.raises(CircuitOpenConnectionError):
                session.get(f"{site.url}/ok")
        assert len(site.requests) - before == 3


def test_a_proxy_that_is_not_there_is_a_failure_of_the_way_to_the_server(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site
) -> None:
    """And a proxy that is there is not seen at all."""
    assert session.get("http://far.example/ok", proxies={"http": site.url}).content == BODY
    with pytest.raises(requests.exceptions.ProxyError):
        session.get("https://far.example/ok", proxies={"https": nobody()})
    assert {key: str(each.metrics().last_failure) for key, each in adapter.breakers.items()} == {
        "http://far.example": "None",
        "https://far.example": str(adapter.breakers["https://far.example"].metrics().last_failure),
    }
    assert adapter.breakers["https://far.example"].metrics().total_failures == 1


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://there/a?b", "http://there"),
        ("http://There:80/", "http://there"),
        ("https://there:443/", "https://there"),
        ("https://there:80/", "https://there:80"),
        ("http://me:secret@there:8080/", "http://there:8080"),
        ("http://[::80]:80/", "http://[::80]"),
        ("http://[::80]/", "http://[::80]"),
        ("http+unix://%2Frun%2Fdocker.sock/info", "http+unix://%2frun%2fdocker.sock"),
        ("http://bücher.example/", "http://xn--bcher-kva.example"),
    ],
)
def test_the_usual_key_is_scheme_host_and_port(url: str, key: str) -> None:
    """And never a password."""
    assert origin(requests.Request("GET", url).prepare()) == key


# Errors


def test_a_refusal_has_what_requests_errors_have(site: Site) -> None:
    with session_of(CircuitBreakerAdapter(failure_threshold=1)) as session:
        session.get(f"{site.url}/status/503")
        with pytest.raises(requests.exceptions.RequestException) as caught:
            session.post(f"{site.url}/ok", data={"a": "b"})
    error = caught.value
    assert isinstance(error, CircuitOpenError)
    assert isinstance(error, OSError)
    assert error.response is None
    assert error.__suppress_context__
    assert isinstance(error.request, requests.PreparedRequest)
    assert error.request.body == "a=b"
    again = pickle.loads(pickle.dumps(error))
    assert again.request.url == f"{site.url}/ok"
    assert again.args == error.args
    assert error.args[:3] == (error.name, error.state, error.retry_after)


# The session works as without it


@pytest.mark.parametrize("stream", [False, True])
def test_digest_authentication_is_guarded_twice(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site, stream: bool
) -> None:
    """It sends its second request through the first response's `connection`, which is the guard."""
    response = session.get(f"{site.url}/door", auth=HTTPDigestAuth("me", "secret"), stream=stream)
    assert response.content == b"in"
    assert [each.status_code for each in response.history] == [401]
    assert response.connection is adapter
    assert ends(adapter) == (2, 0, 0)


def test_hooks_see_the_answer_and_may_read_it(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site
) -> None:
    seen: list[bytes] = []
    session.hooks["response"].append(lambda response, **_: seen.append(response.content))
    assert session.get(f"{site.url}/redirect", stream=True).content == BODY
    assert seen == [b"", BODY]
    assert ends(adapter) == (2, 0, 0)


@pytest.mark.skipif(FUTURE, reason="urllib3-future does it in another way")
def test_a_body_can_be_passed_on(session: requests.Session, adapter: CircuitBreakerAdapter, site: Site) -> None:
    """The `raw` of one response is the body of another request."""
    with session.get(f"{site.url}/packed", stream=True) as response:
        assert session.post(f"{site.url}/echo", data=response.raw).content == PACKED
    assert ends(adapter) == (2, 0, 0)


def test_a_response_can_be_pickled_and_copied(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site
) -> None:
    """Which reads it."""
    response = session.get(f"{site.url}/ok", stream=True)
    assert pickle.loads(pickle.dumps(response)).content == BODY
    assert ends(adapter) == (1, 0, 0)
    assert copy.copy(response).content == BODY


class Polite(HTTPAdapter):
    """Says please."""

    def add_headers(self, request: requests.PreparedRequest, **kwargs: Any) -> None:
        request.headers["X-Please"] = "yes"


def test_a_session_can_be_pickled(site: Site) -> None:
    """With its inner adapter and options, but without its circuits."""
    with session_of(CircuitBreakerAdapter(Polite(), failure_threshold=1, name="shop")) as session:
        session.get(f"{site.url}/status/503")
        written = pickle.dumps(session)
    with pickle.loads(written) as again:
        assert again.get(f"{site.url}/status/503").status_code == 503
        assert site.requests[-1].headers["x-please"] == "yes"
        with pytest.raises(CircuitOpenError, match=r"circuit 'shop\[.*' is open"):
            again.get(f"{site.url}/ok")


def test_a_session_can_be_closed_and_go_on(site: Site) -> None:
    """The pool is closed, and is created again when needed."""
    guard = CircuitBreakerAdapter()
    session, before = session_of(guard), site.connections
    for _ in range(2):
        assert session.get(f"{site.url}/ok").content == BODY
        session.close()
    assert site.connections - before == 2


def test_totals_are_exact_with_many_threads(site: Site) -> None:
    """E6: one session, each response of its own kind."""
    guard = CircuitBreakerAdapter(HTTPAdapter(pool_maxsize=8), failure_threshold=10_000)

    def work() -> None:
        for _ in range(5):
            assert session.get(f"{site.url}/ok").content == BODY
            assert session.get(f"{site.url}/status/500").status_code == 500
            session.get(f"{site.url}/ok", stream=True).close()
            with pytest.raises(requests.RequestException):
                session.get(f"{site.url}/cut/length/70")

    with session_of(guard) as session:
        in_threads(8, work)
    assert ends(guard) == (40, 80, 40)
    assert only(guard).metrics().total_calls == 160


def test_a_trial_is_one_request_among_many_threads(site: Site, clock: ManualClock) -> None:
    """H1: a response that is read slowly keeps its trial."""
    guard = CircuitBreakerAdapter(failure_threshold=1, half_open_max_attempts=1, clock=clock, registry=Registry())
    with session_of(guard) as session:
        session.get(f"{site.url}/status/500")
        clock.advance(30)
        trial = session.get(f"{site.url}/ok", stream=True)
        with pytest.raises(CircuitOpenConnectionError, match="half-open with all its attempts taken"):
            session.get(f"{site.url}/ok")
        assert trial.content == BODY
        assert only(guard).state is CircuitState.CLOSED


@pytest.mark.skipif(FUTURE, reason="urllib3-future does it in another way")
def test_a_head_that_was_cut_is_what_python_takes_it_for(
    session: requests.Session, adapter: CircuitBreakerAdapter, site: Site
) -> None:
    """The caller gets an empty response, and so does the guard: http.client raises no error."""
    assert session.get(f"{site.url}/cut/length/30").content == b""
    assert ends(adapter) == (1, 0, 0)
