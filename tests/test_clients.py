"""The contract of every client's guard: real clients, a real server on a socket, and what went wrong in between."""

from __future__ import annotations

import gzip
import pickle
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ManualClock,
    Metrics,
    Registry,
    RetryAfter,
    SlowCallRate,
)

from .guarded import Client, url_of
from .guarded_clients import CLIENTS
from .servers import until
from .websites import ANSWERS, BODY, Request, Site, answer, deaf, nobody

Make = Callable[..., Client]

HEAD = len(ANSWERS["length"]) - len(BODY)

# httpx leaves its generators to the garbage collector when a body is given up early, which trio warns of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"),
]


ERROR = b'{"error": {"message": "overloaded"}}'


def in_parts(request: Request, send: Callable[[bytes], object]) -> None:
    """An answer whose second part says that it is none."""
    send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in (b"data: 1\n\n", b"data: " + ERROR + b"\n\n", b"data: 2\n\n"):
        send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    send(b"0\r\n\r\n")


def in_compressed_parts(request: Request, send: Callable[[bytes], object]) -> None:
    send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n")
    packer = zlib.compressobj(wbits=31)
    for part in (packer.compress(b"one, ") + packer.flush(zlib.Z_SYNC_FLUSH), packer.compress(b"two") + packer.flush()):
        send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    send(b"0\r\n\r\n")


def compressed(encoding: str, body: bytes) -> Callable[[Request, Callable[[bytes], object]], None]:
    return lambda request, send: send(answer(200, body, **{"Content-Encoding": encoding})) and None


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    pages = {
        "/parts": in_parts,
        "/gzip-parts": in_compressed_parts,
        "/gzip": compressed("gzip", gzip.compress(ERROR)),
        "/deflate": compressed("deflate", zlib.compress(ERROR)),
        "/unknown": compressed("unknown", ERROR),
    }
    with Site(pages) as site:
        yield site


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> type[Client]:
    return CLIENTS[request.param]


@pytest.fixture
def make(kind: type[Client], clock: ManualClock) -> Iterator[Make]:
    """Make a client; its breakers have the test's clock, and open after one failure."""
    made: list[Client] = []

    def make(**options: Any) -> Client:
        made.append(kind(**{"clock": clock, "failure_threshold": 1, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


def get(client: Client, url: str, **options: Any) -> str:
    """How a request ended: its status, or the name of its error."""
    try:
        status, _ = client.get(url, **options)
    except client.refusal as error:
        return type(error).__name__
    except Exception:
        return "error"
    return str(status)


def only(client: Client) -> CircuitBreaker:
    (breaker,) = client.breakers.values()
    return breaker


def metrics(client: Client) -> Metrics:
    return only(client).metrics()


# Which circuit


def test_each_host_has_a_circuit_of_its_own(make: Make, site: Site) -> None:
    """By scheme, host and port."""
    client, elsewhere = make(), f"http://localhost:{site.port}"
    assert get(client, f"{site.url}/status/503") == "503"
    assert get(client, f"{elsewhere}/ok") == "200"
    assert get(client, f"{site.url}/ok") == client.refusal.__name__
    assert {key: str(breaker.state) for key, breaker in client.breakers.items()} == {
        site.url: "open",
        elsewhere: "closed",
    }
    assert [breaker.name for breaker in client.breakers.values()] == [
        f"{client.name}[{elsewhere}]",
        f"{client.name}[{site.url}]",
    ]


def test_a_key_of_the_users_chooses_the_circuit(make: Make, site: Site) -> None:
    client = make(key=lambda request: url_of(request).rpartition("/")[2], name="shop", registry=Registry())
    assert get(client, f"{site.url}/ok") == "200"
    assert get(client, f"{site.url}/status/500") == "500"
    assert {key: breaker.name for key, breaker in client.breakers.items()} == {"ok": "shop[ok]", "500": "shop[500]"}


def test_what_the_key_raises_is_the_callers_and_nothing_is_sent(make: Make, site: Site) -> None:
    client, before = make(key=lambda request: 1 // 0), len(site.requests)
    with pytest.raises(ZeroDivisionError):
        client.get(f"{site.url}/ok")
    assert len(site.requests) == before
    assert not client.breakers


def test_circuits_of_many_hosts_are_bounded(make: Make, site: Site) -> None:
    """E7"""
    client = make(key=url_of, maxsize=3)
    for number in range(10):
        client.get(f"{site.url}/ok?{number}")
    assert len(client.breakers) == 3


# What counts


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_what_a_failing_or_overloaded_server_answers_is_a_failure(make: Make, site: Site, status: int) -> None:
    """And the caller gets the response."""
    client = make()
    assert client.get(f"{site.url}/status/{status}") == (status, BODY)
    assert metrics(client).state is CircuitState.OPEN
    assert str(metrics(client).last_failure).startswith(f"FailedResponseError: {status} ")


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 401, 403, 404, 422, 501])
def test_other_answers_are_answers(make: Make, site: Site, status: int) -> None:
    client = make()
    assert get(client, f"{site.url}/status/{status}") == str(status)
    assert metrics(client).total_successes == 1


@pytest.mark.parametrize("path", ["/reset", "/garbage", "/hang", "/hang/0", "/hang/10"])
def test_a_broken_or_silent_connection_is_a_failure(make: Make, site: Site, path: str) -> None:
    """Before the response and within it."""
    client = make()
    with pytest.raises(client.kind):
        client.get(f"{site.url}{path}", timeout=0.1)
    assert metrics(client).state is CircuitState.OPEN


def test_a_server_that_is_not_there_is_a_failure(make: Make) -> None:
    client, url = make(), nobody()
    with pytest.raises(client.kind) as caught:
        client.get(url)
    assert not isinstance(caught.value, CircuitOpenError)
    assert metrics(client).state is CircuitState.OPEN


def test_a_server_that_takes_no_connection_is_a_failure(make: Make) -> None:
    client = make()
    with deaf() as url, pytest.raises(client.kind):
        client.get(url, timeout=0.1)
    assert metrics(client).state is CircuitState.OPEN


@pytest.mark.parametrize("url", ["nowhere://there/ok", "http://", "/ok"])
def test_the_callers_own_mistakes_say_nothing(make: Make, url: str) -> None:
    client = make()
    assert get(client, url) == "error"
    assert all(breaker.metrics().total_failures == 0 for breaker in client.breakers.values())


def test_the_refusal_of_another_circuit_says_nothing(kind: type[Client]) -> None:
    """The refusal of a guard inside this one."""
    assert kind.judge(kind.refusal("inside", CircuitState.OPEN, 30.0)) is None


def test_a_judge_of_the_users_decides(make: Make, site: Site) -> None:
    verdicts: dict[str, bool | None] = {"404": True, "500": False, "403": None}

    def judge(end: Any) -> bool | None:
        status = str(getattr(end, "status_code", getattr(end, "status", "")))
        return verdicts.get(status, client.judge(end))

    client = make(judge=judge, key=url_of)
    for path in ("/status/404", "/status/500", "/status/403", "/status/502", "/ok"):
        get(client, site.url + path)
    ends = [(each.metrics().total_failures, each.metrics().total_successes) for each in client.breakers.values()]
    assert ends == [(1, 0), (0, 1), (0, 0), (1, 0), (0, 1)]


def test_a_judge_that_raises_is_logged_and_the_usual_one_asked(
    make: Make, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """E4"""
    client = make(judge=lambda end: 1 // 0, failure_threshold=9)
    assert [get(client, f"{site.url}/ok"), get(client, f"{site.url}/status/500")] == ["200", "500"]
    assert (metrics(client).total_successes, metrics(client).total_failures) == (1, 1)
    assert "judge raised" in caplog.text


# What the body says


def says_error(part: bytes) -> bool:
    return b'"error"' in part


def test_a_part_of_the_body_may_say_that_the_request_failed(make: Make, site: Site) -> None:
    """The caller gets the same bytes, and of the part nothing is kept."""
    client, plain = make(judge_part=says_error), make()
    assert client.get(f"{site.url}/parts") == plain.get(f"{site.url}/parts")
    assert metrics(client).state is CircuitState.OPEN
    assert (metrics(client).total_failures, metrics(client).total_calls) == (1, 1)
    last = "FailedBodyError: a part of the response's body says that the request failed"
    assert str(metrics(client).last_failure) == last
    assert metrics(plain).total_successes == 1


def test_a_part_of_the_body_that_is_a_failure_counts_before_the_body_ends(make: Make, site: Site) -> None:
    client = make(judge_part=lambda part: b"x" in part)
    answer = client.begin(f"{site.url}/stream")
    assert answer.read_some()
    assert metrics(client).state is CircuitState.OPEN
    answer.close()
    assert metrics(client).total_calls == 1


@pytest.mark.parametrize("path", ["/gzip", "/deflate", "/unknown"])
def test_parts_are_judged_decompressed(make: Make, site: Site, path: str) -> None:
    """As far as the client decompresses them."""
    client = make(judge_part=says_error)
    assert client.get(f"{site.url}{path}") == (200, ERROR)
    assert metrics(client).state is CircuitState.OPEN


def test_after_a_part_that_is_a_failure_no_other_is_judged(make: Make, site: Site) -> None:
    parts: list[bytes] = []

    def judge_part(part: bytes) -> bool:
        parts.append(part)
        return b"one" in b"".join(parts)

    client = make(judge_part=judge_part)
    assert client.get(f"{site.url}/gzip-parts") == (200, b"one, two")
    assert b"two" not in b"".join(parts) or parts == [b"one, two"]
    assert metrics(client).total_failures == 1


@pytest.mark.parametrize("framing", ANSWERS)
def test_each_part_is_judged_once_and_none_is_left_out(make: Make, site: Site, framing: str) -> None:
    parts: list[bytes] = []
    client = make(judge_part=parts.append)
    assert client.get(f"{site.url}/cut/{framing}/{len(ANSWERS[framing])}") == (200, BODY)
    assert b"".join(parts) == BODY
    assert all(type(part) is bytes for part in parts)
    assert metrics(client).total_successes == 1


@pytest.mark.parametrize(("path", "failures"), [("/status/404", 0), ("/status/503", 1), ("/status/302", 0)])
def test_only_the_bodies_of_answers_that_claim_success_are_judged(
    make: Make, site: Site, path: str, failures: int
) -> None:
    """What is wrong with a request is said in a body, too."""
    parts: list[bytes] = []
    client = make(judge_part=parts.append)
    client.get(f"{site.url}{path}")
    assert parts == []
    assert metrics(client).total_failures == failures


def test_a_judge_of_parts_that_raises_is_logged_once_and_the_answer_is_as_without(
    make: Make, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """E4"""

    def broken(part: bytes) -> bool:
        raise LookupError

    client = make(judge_part=broken)
    assert client.get(f"{site.url}/parts")[0] == 200
    assert metrics(client).total_successes == 1
    assert [record.message for record in caplog.records] == [
        f"{client.name}: judge_part raised; it is not called for the rest"
    ]


# When the verdict falls


@pytest.mark.parametrize("framing", ANSWERS)
def test_an_answer_cut_at_any_byte_is_what_the_caller_sees(make: Make, site: Site, framing: str) -> None:
    """An error is a failure, and a complete body is a success."""
    client, whole = make(failure_threshold=1000), len(ANSWERS[framing])
    head, failures = ANSWERS[framing].index(b"\r\n\r\n"), 0
    for size in range(whole + 1):
        try:
            status, body = client.get(f"{site.url}/cut/{framing}/{size}")
        except client.kind:
            failures += 1
        else:
            assert (status, body) == (200, BODY) or (client.takes_cut_heads and size < head), size
        assert (metrics(client).total_failures, metrics(client).total_calls) == (failures, size + 1), size
    assert failures >= whole - len(b"0\r\n\r\n") - (head if client.takes_cut_heads else 0)


def test_nothing_is_said_before_the_body_ends(make: Make, site: Site) -> None:
    client = make()
    answer = client.begin(f"{site.url}/stream")
    assert answer.read_some()
    assert metrics(client).total_calls == 0
    answer.close()
    assert metrics(client).total_calls == 1


def test_a_body_closed_early_is_no_failure(make: Make, site: Site) -> None:
    """What arrived was fine."""
    client = make()
    answer = client.begin(f"{site.url}/stream")
    assert answer.read_some()
    answer.close()
    assert metrics(client).total_successes == 1


def test_a_response_that_is_never_read_gives_its_permit_back(make: Make, site: Site) -> None:
    """H3"""
    client = make()
    client.begin(f"{site.url}/hang/0").close()
    assert (metrics(client).total_ignored, metrics(client).total_calls) == (1, 1)


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", f"/cut/length/{HEAD}"), ("GET", "/status/204"), ("GET", "/status/304"), ("GET", "/redirect")],
)
def test_an_answer_without_a_body_is_whole_though_nobody_reads_it(
    make: Make, site: Site, method: str, path: str
) -> None:
    """Known from the method, the status, or a length of 0."""
    client = make()
    client.begin(f"{site.url}{path}", method=method).close()
    assert metrics(client).total_successes == 1


def test_a_response_that_is_dropped_gives_its_permit_back(make: Make, site: Site, clock: ManualClock) -> None:
    """H3: a trial whose response is never read does not keep the circuit half-open."""
    client = make(half_open_max_attempts=1)
    get(client, f"{site.url}/status/500")
    clock.advance(30)
    with suppress(Warning):
        client.drop(f"{site.url}/hang/0")
    assert get(client, f"{site.url}/ok") == "200"
    assert metrics(client).state is CircuitState.CLOSED


def test_a_failed_answer_counts_before_its_body(make: Make, site: Site) -> None:
    """The failure is known at once, so it is counted at once."""
    client = make()
    answer = client.begin(f"{site.url}/status/500")
    assert metrics(client).state is CircuitState.OPEN
    answer.close()
    assert metrics(client).total_calls == 1


@pytest.mark.parametrize(("timed_until", "state"), [("headers", CircuitState.CLOSED), ("end", CircuitState.OPEN)])
def test_the_time_of_a_request_ends_where_it_is_told_to(
    kind: type[Client], site: Site, clock: ManualClock, timed_until: str, state: CircuitState
) -> None:
    """For slow calls."""
    slow = SlowCallRate(1.0, slower_than=5, calls=1)
    client = kind(trip=slow, clock=clock, timed_until=timed_until)
    answer = client.begin(f"{site.url}/stream")
    answer.read_some()
    clock.advance(60)
    answer.close()
    assert metrics(client).state is state
    client.close()


# For how long


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (503, "7", 7),
        (429, "120", 120),
        (429, "99999999", 600),
        (503, "Thu, 01 Jan 1970 00:17:25 GMT", 45),
        (503, "soon", 30),
        (503, "-5", 30),
        (503, "", 30),
        (503, "nan", 30),
        (500, "7", 30),
        (200, "7", None),
    ],
)
def test_the_server_says_when_to_come_again(
    make: Make, site: Site, status: int, header: str, seconds: float | None
) -> None:
    """O4: with 429 and 503, at most 600 s; a malformed value is ignored."""
    client = make(failure_threshold=1)
    client.get(f"{site.url}/status/{status}?Retry-After={quote(header)}")
    if seconds is None:
        assert metrics(client).state is CircuitState.CLOSED
    else:
        with pytest.raises(CircuitOpenError) as refused:
            client.get(f"{site.url}/ok")
        assert refused.value.retry_after == seconds


def test_the_limit_and_the_usual_time_are_the_users(make: Make, site: Site) -> None:
    """O4"""
    client = make(reset_timeout=RetryAfter(5, maximum=60), key=url_of)
    for path in ("/status/503?Retry-After=100", "/status/503"):
        get(client, site.url + path)
        with pytest.raises(CircuitOpenError) as refused:
            client.get(site.url + path)
        assert refused.value.retry_after == (60 if "100" in path else 5)


def test_the_defaults_of_a_registry_hold(kind: type[Client], site: Site, clock: ManualClock) -> None:
    client = kind(registry=Registry(failure_threshold=2, reset_timeout=9, clock=clock))
    ends = [get(client, f"{site.url}/status/500") for _ in range(3)]
    assert ends == ["500", "500", client.refusal.__name__]
    with pytest.raises(CircuitOpenError) as refused:
        client.get(f"{site.url}/ok")
    assert refused.value.retry_after == 9
    client.close()


# What a refused request is


def test_a_refused_request_is_an_error_of_both_kinds_and_is_not_sent(make: Make, site: Site) -> None:
    client = make()
    get(client, f"{site.url}/status/500")
    before = len(site.requests)
    with pytest.raises(CircuitOpenError) as refused:
        client.get(f"{site.url}/ok")
    error: Any = refused.value
    assert isinstance(error, client.kind)
    assert isinstance(error, client.refusal)
    assert url_of(error.request) == f"{site.url}/ok"
    assert error.name == f"{client.name}[{site.url}]"
    assert str(error) == str(pickle.loads(pickle.dumps(error)))
    assert str(error).startswith(f"circuit '{client.name}[{site.url}]' is open")
    assert len(site.requests) == before


def test_a_circuit_recovers_by_a_trial(make: Make, site: Site, clock: ManualClock) -> None:
    """H1"""
    client = make()
    get(client, f"{site.url}/status/500")
    assert get(client, f"{site.url}/ok") == client.refusal.__name__
    clock.advance(30)
    assert get(client, f"{site.url}/ok") == "200"
    assert metrics(client).state is CircuitState.CLOSED


# The client works as without it


def test_redirects_and_cookies_work(make: Make, site: Site) -> None:
    client = make()
    assert client.get_plainly(f"{site.url}/redirect") == (200, BODY)
    assert client.get_plainly(f"{site.url}/cookies") == (200, b"seen=yes")
    assert metrics(client).total_successes == 3


def test_bodies_are_sent(make: Make, site: Site) -> None:
    answer = make().begin(f"{site.url}/echo", method="POST", body=b"x" * 100_000)
    assert answer.read() == b"x" * 100_000
    answer.close()


def test_connections_are_used_again(make: Make, site: Site) -> None:
    """That the guard reads the body does not keep connections from going back to the pool."""
    client, before = make(), site.connections
    for _ in range(5):
        assert get(client, f"{site.url}/ok") == "200"
        assert get(client, f"{site.url}/status/404") == "404"
    assert site.connections - before == 1


def test_a_server_that_closes_idle_connections_is_well(make: Make) -> None:
    client = make()
    with Site() as site:
        for _ in range(5):
            assert get(client, f"{site.url}/bye") == "200"
            until(lambda: not site.serving, "the server closes the connection")
    assert metrics(client).total_successes == 5


@pytest.mark.parametrize("kind", [kind for kind in CLIENTS if CLIENTS[kind].is_async], indirect=True)
@pytest.mark.parametrize("path", ["/hang", "/hang/0", "/hang/10"])
def test_a_cancelled_request_says_nothing_and_gives_its_trial_back(
    make: Make, site: Site, clock: ManualClock, path: str
) -> None:
    """E3: before the response and within it."""
    client: Any = make(half_open_max_attempts=1)
    get(client, f"{site.url}/status/500")
    clock.advance(30)
    client.cancel_when(f"{site.url}{path}", lambda: site.paths[-1] == path)
    assert metrics(client).state is CircuitState.HALF_OPEN
    assert metrics(client).total_ignored == 1
    assert get(client, f"{site.url}/ok") == "200"
    assert metrics(client).state is CircuitState.CLOSED


@pytest.mark.parametrize("kind", [kind for kind in CLIENTS if CLIENTS[kind].is_async], indirect=True)
def test_a_request_that_is_cancelled_while_it_connects_says_nothing(make: Make) -> None:
    """E3"""
    client: Any = make()
    with deaf() as url:
        client.cancel_when(url, lambda: client.breakers)
    assert (metrics(client).total_ignored, metrics(client).total_calls) == (1, 1)


# Options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"is_failure": OSError}, TypeError, "no option 'is_failure' for a client: judge decides what counts"),
        ({"ignore": OSError}, TypeError, "no option 'ignore' for a client: judge decides what counts"),
        ({"is_failure_result": bool}, TypeError, "no option 'is_failure_result' for a client: judge decides"),
        ({"fallback": print}, TypeError, "no option 'fallback' for a client: catch CircuitOpenError"),
        ({"timed_until": "body"}, ValueError, "timed_until must be one of 'headers', 'end', got 'body'"),
        ({"judge": 5}, TypeError, "judge must be callable, got 5"),
        ({"judge_part": b"error"}, TypeError, "judge_part must be callable, got b'error'"),
        ({"key": "host"}, TypeError, "key must be callable, got 'host'"),
        ({"maxsize": 0}, ValueError, "maxsize must be at least 1, got 0"),
        ({"name": 7}, TypeError, "name must be a string, got 7"),
        ({"registry": {}}, TypeError, "registry must be a Registry or None, got {}"),
        ({"reset_timeout": -1}, ValueError, "reset_timeout must be "),
        ({"timeout": 5}, TypeError, "no option 'timeout'; here it is called reset_timeout"),
    ],
)
def test_wrong_options_are_refused(
    kind: type[Client], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(**options)
