"""The aiohttp guard, where aiohttp has ways of its own: the pool, timers, second attempts, websockets, middlewares."""

from __future__ import annotations

import asyncio
import gc
import gzip
import pickle
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientTimeout, web
from aiohttp.http import HttpProcessingError
from aiohttp.test_utils import TestServer
from yarl import URL

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock
from circuitbreaker.integrations.aiohttp import CircuitBreakerMiddleware, CircuitOpenClientError, judge

from .websites import BODY, HOST, Hangup, Request, Site, answer, nobody

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + BODY
STUCK = ClientTimeout(total=0.05)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def guard(clock: ManualClock) -> CircuitBreakerMiddleware:
    return CircuitBreakerMiddleware(clock=clock, failure_threshold=1, half_open_max_attempts=1)


@pytest.fixture
async def session(guard: CircuitBreakerMiddleware) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(middlewares=[guard]) as session:
        yield session


class Wire:
    """A server that sends these bytes, one piece for each request of a connection, and then hangs up.

    It does so when there is one request more, or at once if it is told to `hang_up`. The first `broken` connections
    have no answer.
    """

    def __init__(self, *answers: bytes, hang_up: bool = False, broken: int = 0) -> None:
        self._answers = answers
        self._broken = broken
        self._hang_up = hang_up
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}
        self.connections = 0
        self.requests = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[asyncio.current_task()] = writer
        self.connections += 1
        answers = list(self._answers) if self.connections > self._broken else []
        while await reader.read(1 << 20):
            self.requests += 1
            if not answers:
                break
            writer.write(answers.pop(0))
            if self._hang_up and not answers:
                break
        writer.close()

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*filter(None, self._open), return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in self._open.values()), return_exceptions=True)


def only(guard: CircuitBreakerMiddleware) -> CircuitBreaker:
    (breaker,) = guard.breakers.values()
    return breaker


def ends(guard: CircuitBreakerMiddleware) -> tuple[int, int, int]:
    """How many calls succeeded, failed, and said nothing."""
    totals = [breaker.metrics() for breaker in guard.breakers.values()]
    return (
        sum(each.total_successes for each in totals),
        sum(each.total_failures for each in totals),
        sum(each.total_ignored for each in totals),
    )


SUCCESS, FAILURE, NOTHING = (1, 0, 0), (0, 1, 0), (0, 0, 1)


@pytest.fixture
def unreachable() -> Iterator[str]:
    """The address of a server that takes no more connections, and refuses none."""
    with socket.create_server((HOST, 0), backlog=0) as server, ExitStack() as crowd:
        for _ in range(4):
            each = crowd.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield f"http://{HOST}:{server.getsockname()[1]}"


# The pool


@pytest.mark.parametrize("timeout", [ClientTimeout(connect=0.05), STUCK], ids=["connect", "total"])
@pytest.mark.parametrize("limit", ["limit", "limit_per_host"])
async def test_a_pool_that_is_full_here_says_nothing(
    guard: CircuitBreakerMiddleware, site: Site, timeout: ClientTimeout, limit: str
) -> None:
    """aiohttp raises the same error for this and for a server that cannot be reached."""
    connector = aiohttp.TCPConnector(**{limit: 1})
    async with (
        aiohttp.ClientSession(connector=connector, middlewares=[guard]) as session,
        session.get(f"{site.url}/hang/0"),
    ):
        with pytest.raises(asyncio.TimeoutError):
            await session.get(f"{site.url}/ok", timeout=timeout)
        assert ends(guard) == NOTHING


async def test_a_timeout_in_the_pool_does_not_excuse_what_fails_while_it_is_handled(
    guard: CircuitBreakerMiddleware, site: Site
) -> None:
    """Even though Python chains the two errors."""
    connector = aiohttp.TCPConnector(limit=1)
    async with Wire() as wire, aiohttp.ClientSession(connector=connector, middlewares=[guard]) as session:
        holder = await session.get(f"{site.url}/hang/0")
        try:
            await session.get(f"{site.url}/ok", timeout=STUCK)
        except asyncio.TimeoutError:
            holder.close()
            with pytest.raises(aiohttp.ServerDisconnectedError) as caught:
                await session.post(wire.url)
            assert judge(caught.value) is True
    assert guard.breakers[wire.url].metrics().total_failures == 1


# Timeouts


@pytest.mark.parametrize(
    "timeout", [STUCK, ClientTimeout(connect=0.05), ClientTimeout(sock_connect=0.05)], ids=["total", "connect", "sock"]
)
async def test_a_server_that_cannot_be_reached_in_time_is_a_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, unreachable: str, timeout: ClientTimeout
) -> None:
    """A middleware sees the total timeout as a cancellation."""
    with pytest.raises(asyncio.TimeoutError):
        await session.get(unreachable, timeout=timeout)
    assert ends(guard) == FAILURE


@pytest.mark.parametrize("timeout", [STUCK, ClientTimeout(sock_read=0.05)], ids=["total", "sock"])
@pytest.mark.parametrize("path", ["/hang", "/hang/0", "/hang/10"])
async def test_an_answer_that_does_not_come_in_time_is_a_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site, path: str, timeout: ClientTimeout
) -> None:
    """Before the response, and within its body."""
    with pytest.raises(asyncio.TimeoutError):
        async with session.get(site.url + path, timeout=timeout) as response:
            async for _ in response.content.iter_any():
                pass
    assert ends(guard) == FAILURE
    assert "Timeout" in str(only(guard).metrics().last_failure)


async def test_where_the_timer_cannot_be_found_a_total_timeout_says_nothing(
    guard: CircuitBreakerMiddleware, site: Site
) -> None:
    """The way to the timer is not public. Without it, the timeout looks like a cancellation."""

    async def without(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        response = await handler(request)
        del request._timer
        return response

    async with aiohttp.ClientSession(middlewares=[guard, without]) as session:
        with pytest.raises(asyncio.TimeoutError):
            async with session.get(f"{site.url}/hang/0", timeout=STUCK) as response:
                await response.read()
    assert ends(guard) == NOTHING


@pytest.mark.parametrize("path", ["/hang", "/hang/0", "/hang/10"])
async def test_a_timeout_of_the_callers_own_says_nothing(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site, path: str
) -> None:
    """E3: it is a cancellation, and whether the server was too slow is for the client's timeouts to say."""

    async def get() -> None:
        async with session.get(site.url + path) as response:
            async for _ in response.content.iter_any():
                pass

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(get(), 0.05)
    assert ends(guard) == NOTHING


async def test_a_body_closed_early_while_another_error_is_handled_is_no_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site
) -> None:
    """As when the response of a second service is used in place of the first one's."""
    try:
        raise asyncio.TimeoutError
    except asyncio.TimeoutError:
        async with session.get(f"{site.url}/stream") as response:
            await response.content.readany()
    assert ends(guard) == SUCCESS


# The end of the body


@pytest.mark.parametrize("giving_up", ["close", "release"])
@pytest.mark.parametrize(("path", "end"), [("/hang/10", SUCCESS), ("/hang/0", NOTHING)])
async def test_a_response_given_up_says_what_came_of_it(
    guard: CircuitBreakerMiddleware,
    session: aiohttp.ClientSession,
    site: Site,
    giving_up: str,
    path: str,
    end: tuple[int, int, int],
) -> None:
    response = await session.get(site.url + path)
    if end == SUCCESS:
        await response.content.readany()
    getattr(response, giving_up)()
    assert ends(guard) == end


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("damage", ["the beginning", "the middle"])
@pytest.mark.parametrize("hang_up", [False, True])
async def test_a_compressed_body_that_is_damaged_is_a_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, encoding: str, damage: str, hang_up: bool
) -> None:
    """Even though all of its bytes have arrived."""
    packed = gzip.compress(BODY * 1000)
    body = {"the middle": packed[:15] + b"?" * 10 + packed[25:], "the beginning": b"?" * 50}[damage]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with Wire(head.encode() + body, hang_up=hang_up) as wire:
        with pytest.raises(aiohttp.ClientError):
            async with session.get(wire.url) as response:
                await response.read()
    assert ends(guard) == FAILURE


async def test_a_compressed_body_that_is_whole_is_a_success(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    body = gzip.compress(BODY)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    async with Wire(head.encode() + body) as wire, session.get(wire.url) as response:
        assert await response.read() == BODY
    assert ends(guard) == SUCCESS


async def lines(content: aiohttp.StreamReader) -> bytes:
    return b"".join([line async for line in content])


async def by_chunks(content: aiohttp.StreamReader) -> bytes:
    return b"".join([part async for part, _ in content.iter_chunks()])


async def by_size(content: aiohttp.StreamReader) -> bytes:
    return b"".join([part async for part in content.iter_chunked(3)])


async def whatever_there_is(content: aiohttp.StreamReader) -> bytes:
    return b"".join([part async for part in content.iter_any()])


async def without_waiting(content: aiohttp.StreamReader) -> bytes:
    whole = content.read_nowait()
    while not content.at_eof():
        whole += content.read_nowait(2) or await content.readany()
    return whole


READERS: dict[str, Callable[[aiohttp.StreamReader], Any]] = {
    "read": lambda content: content.read(),
    "readexactly": lambda content: content.readexactly(11),
    "readuntil": lambda content: content.readuntil(b"!"),
    "lines": lines,
    "iter_chunks": by_chunks,
    "iter_chunked": by_size,
    "iter_any": whatever_there_is,
    "read_nowait": without_waiting,
}


@pytest.mark.parametrize("reader", READERS)
async def test_a_body_is_judged_however_it_is_read(reader: str) -> None:
    """The first part while the second has not come; what is not read when the last comes, then."""
    parts: list[bytes] = []
    read_first, whole = asyncio.Event(), b"all\nis well"

    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(whole[:5])
        await read_first.wait()
        await response.write(whole[5:])
        return response

    def judge_part(part: bytes) -> None:
        parts.append(part)
        read_first.set()

    app = web.Application()
    app.router.add_get("/", serve)
    guard = CircuitBreakerMiddleware(judge_part=judge_part)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(middlewares=[guard]) as session,
        session.get(server.make_url("/")) as response,
    ):
        assert await READERS[reader](response.content) == whole
        assert response.content.total_bytes == len(whole)
    assert b"".join(parts) == whole
    assert len(parts) >= 2
    assert ends(guard) == SUCCESS


async def test_a_body_that_nobody_reads_is_judged_when_it_has_come() -> None:
    parts: list[bytes] = []
    guard = CircuitBreakerMiddleware(judge_part=parts.append)
    async with (
        Wire(OK) as wire,
        aiohttp.ClientSession(middlewares=[guard]) as session,
        session.get(wire.url) as response,
    ):
        while not parts:
            await asyncio.sleep(0)
        assert await response.read() == BODY
    assert parts == [BODY]


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"4\r\nall \r\nzz\r\n", b"4\r\nall too long\r\n"])
async def test_chunks_that_are_none_are_a_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, chunks: bytes
) -> None:
    """Whether they arrive with the headers or after them."""
    async with Wire(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks) as wire:
        with pytest.raises(aiohttp.ClientError):
            async with session.get(wire.url, timeout=ClientTimeout(sock_read=0.2)) as response:
                await response.read()
    assert ends(guard) == FAILURE


async def test_a_body_that_ends_with_its_connection_is_a_success(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """RFC 9112, 6.3: without a length, that is how it ends."""
    async with Wire(b"HTTP/1.1 200 OK\r\n\r\n" + BODY, hang_up=True) as wire, session.get(wire.url) as response:
        assert await response.read() == BODY
    assert ends(guard) == SUCCESS


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
async def test_an_answer_without_a_body_ends_with_its_headers(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, method: str, status: str
) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: 11\r\n\r\n".encode()
    async with Wire(head) as wire, session.request(method, wire.url):
        assert ends(guard) == SUCCESS


async def test_an_empty_chunked_body_that_comes_later_is_a_success(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """Its body is empty, but its end has arrived."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Wire(head, b"0\r\n\r\n") as wire, session.get(wire.url) as response:
        assert ends(guard) == (0, 0, 0)
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.write(b"more, please")
        assert await response.read() == b""
    assert ends(guard) == SUCCESS


async def test_a_body_read_while_the_request_is_still_sent_is_one_call(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """A server may respond before it has received the whole request."""
    sent = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        await sent.wait()

    async with Wire(OK) as wire, session.post(wire.url, data=body()) as response:
        assert await response.read() == BODY
        assert ends(guard) == SUCCESS
        sent.set()
    assert ends(guard) == SUCCESS


async def test_a_session_closed_in_the_middle_of_a_body_says_nothing(
    guard: CircuitBreakerMiddleware, site: Site
) -> None:
    """The body is closed by its consumer."""
    async with aiohttp.ClientSession(middlewares=[guard]) as session:
        response = await session.get(f"{site.url}/hang/0")
    response.close()
    assert ends(guard) == NOTHING


async def test_a_response_that_is_forgotten_does_not_keep_others_out_for_ever(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site, clock: ManualClock
) -> None:
    """H4: aiohttp itself holds it for as long as there is its connection, and so is its permit held."""
    async with session.get(f"{site.url}/status/500"):
        clock.advance(30)
    await session.get(f"{site.url}/hang/0")
    gc.collect()
    with pytest.raises(CircuitOpenError):
        await session.get(f"{site.url}/ok")
    clock.advance(30)
    async with session.get(f"{site.url}/ok") as response:
        await response.read()
    assert only(guard).state is CircuitState.CLOSED
    await session.close()
    gc.collect()


# Second attempts


async def test_a_connection_that_was_closed_while_idle_is_no_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """At the worst moment: while the next request is being sent."""
    async with Wire(OK) as wire:
        for _ in range(3):
            async with session.get(wire.url) as response:
                assert await response.read() == BODY
        assert (wire.connections, wire.requests) == (3, 5)
    assert ends(guard) == (3, 0, 0)


async def test_a_trial_on_a_connection_that_was_closed_closes_the_circuit(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, clock: ManualClock
) -> None:
    """H1: both attempts are one trial."""
    async with Wire(OK) as wire:
        async with session.get(wire.url) as response:
            await response.read()
        only(guard).open()
        clock.advance(30)
        async with session.get(wire.url) as response:
            await response.read()
        assert wire.requests == 3
    assert only(guard).state is CircuitState.CLOSED


async def test_two_attempts_of_one_call_are_one_failure_and_the_callers_own_error(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """C3: also when the first of them would have opened the circuit."""
    async with Wire() as wire:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(wire.url)
        assert (ends(guard), wire.connections) == (FAILURE, 2)
        with pytest.raises(CircuitOpenClientError):
            await session.get(wire.url)
        assert wire.connections == 2
    assert ends(guard) == FAILURE


async def test_a_second_attempt_is_judged_by_its_own_end_whatever_its_task_does_meanwhile(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site
) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + BODY
    async with Wire(begun, broken=1) as wire, session.get(wire.url):
        assert wire.connections == 2
        async with session.get(f"{site.url}/ok") as other:
            await other.read()
        assert ends(guard) == SUCCESS
    assert ends(guard) == (2, 0, 0)


async def test_a_request_that_is_not_sent_again_is_a_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """What counts is what the caller sees, and a POST is left to the caller to repeat."""
    async with Wire(OK) as wire:
        async with session.get(wire.url) as response:
            await response.read()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.post(wire.url)
        assert wire.requests == 2
    assert ends(guard) == (1, 1, 0)


async def careless(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware around ours, by which aiohttp never knows that a connection broke."""
    try:
        return await handler(request)
    except aiohttp.ServerDisconnectedError:
        raise RuntimeError from None


async def test_a_second_attempt_that_is_not_made_leaves_a_failure_at_the_end_of_the_task(
    guard: CircuitBreakerMiddleware,
) -> None:
    async def get() -> None:
        with suppress(RuntimeError):
            await session.get(wire.url)

    async with Wire() as wire, aiohttp.ClientSession(middlewares=[careless, guard]) as session:
        await asyncio.create_task(get())
        await asyncio.sleep(0)
        assert (ends(guard), wire.requests) == (FAILURE, 1)


async def test_a_second_attempt_that_is_not_made_leaves_a_failure_before_the_next_request(
    guard: CircuitBreakerMiddleware,
) -> None:
    async with Wire() as wire, aiohttp.ClientSession(middlewares=[careless, guard]) as session:
        with pytest.raises(RuntimeError):
            await session.get(wire.url)
        with pytest.raises(CircuitOpenError):
            await session.get(wire.url)
        assert (ends(guard), wire.requests) == (FAILURE, 1)


@pytest.mark.parametrize("total", [30, None])
async def test_a_request_between_two_attempts_leaves_the_first_one_waiting(total: float | None) -> None:
    """A middleware fetches a token by the same guard; the server has closed the idle connection meanwhile."""
    guard = CircuitBreakerMiddleware(failure_threshold=1)
    asked = 0

    def flaky(request: Request, send: Callable[[bytes], None]) -> None:
        nonlocal asked
        asked += 1
        if asked % 2 == 0:
            raise Hangup
        send(answer(200, BODY))

    with Site({"/flaky": flaky}) as site, Site() as tokens:

        async def auth(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            async with session.get(f"{tokens.url}/ok", middlewares=[guard]) as token:
                await token.read()
            return await handler(request)

        timeout = aiohttp.ClientTimeout(total=total)
        async with aiohttp.ClientSession(middlewares=[auth, guard], timeout=timeout) as session:
            for _ in range(3):
                async with session.get(f"{site.url}/flaky") as response:
                    assert await response.read() == BODY
    metrics = guard.breakers[site.url].metrics()
    assert (metrics.total_successes, metrics.total_failures) == (3, 0)


async def test_a_request_between_two_attempts_may_be_made_twice_itself(guard: CircuitBreakerMiddleware) -> None:
    """Both servers have closed their idle connections."""

    async def auth(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        async with session.get(tokens.url, middlewares=[guard]) as token:
            await token.read()
        return await handler(request)

    async with Wire(OK) as wire, Wire(OK) as tokens:
        async with aiohttp.ClientSession(middlewares=[auth, guard]) as session:
            for _ in range(3):
                async with session.get(wire.url) as response:
                    assert await response.read() == BODY
        assert (wire.requests, tokens.requests) == (5, 9)
    assert ends(guard) == (8, 0, 0)


async def test_a_middleware_that_fails_over_is_guarded_by_each_host() -> None:
    """The failure is that of the first, the answer that of the second."""
    guard = CircuitBreakerMiddleware(failure_threshold=1)
    with Site() as one, Site() as other:

        async def fail_over(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            try:
                return await handler(request)
            except aiohttp.ClientError:
                request.url = URL(f"{other.url}/ok")
                return await handler(request)

        async def get() -> bytes:
            async with session.get(f"{one.url}/reset") as response:
                return await response.read()

        async with aiohttp.ClientSession(middlewares=[fail_over, guard]) as session:
            assert await asyncio.create_task(get()) == BODY
            await asyncio.sleep(0)  # the end of the task is told of in the next round of the loop
    ends = {key: (each.metrics().total_successes, each.metrics().total_failures) for key, each in _items(guard)}
    assert ends == {one.url: (0, 1), other.url: (1, 0)}


def _items(guard: CircuitBreakerMiddleware) -> list[tuple[Any, CircuitBreaker]]:
    return list(guard.breakers.items())


async def test_an_attempt_that_a_middleware_around_ours_makes_is_a_call_of_its_own() -> None:
    """Last in the list, the guard sees every request that goes out: here one on a connection that the server closed."""

    async def stubborn(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        try:
            return await handler(request)
        except aiohttp.ServerDisconnectedError:
            return await handler(request)

    guard = CircuitBreakerMiddleware()
    async with Wire(OK) as wire, aiohttp.ClientSession(middlewares=[stubborn, guard]) as session:
        for _ in range(2):
            async with session.get(wire.url) as response:
                await response.read()
    assert ends(guard) == (2, 1, 0)


async def retrying(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware around ours that sends three times."""
    for _ in range(2):
        with suppress(aiohttp.ServerDisconnectedError):
            return await handler(request)
    return await handler(request)


async def test_attempts_of_a_middleware_around_ours_are_counted_each() -> None:
    """aiohttp makes all three twice; its second attempt is one call with the last of the first three."""
    guard = CircuitBreakerMiddleware(failure_threshold=100)

    async def get() -> None:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(wire.url)

    async with Wire() as wire, aiohttp.ClientSession(middlewares=[retrying, guard]) as session:
        await asyncio.create_task(get())
        await asyncio.sleep(0)
        assert (ends(guard), wire.requests) == ((0, 5, 0), 6)


async def test_attempts_of_a_middleware_around_ours_end_at_an_open_circuit(guard: CircuitBreakerMiddleware) -> None:
    """C3"""
    async with Wire() as wire, aiohttp.ClientSession(middlewares=[retrying, guard]) as session:
        with pytest.raises(CircuitOpenClientError):
            await session.get(wire.url)
        assert (ends(guard), wire.requests) == (FAILURE, 1)


async def test_a_second_attempt_is_none_of_what_a_middleware_sent_to_another_host(
    guard: CircuitBreakerMiddleware,
) -> None:
    """When both fail, each has a failure of its own, and the first host is not asked again."""

    async def fail_over(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        with suppress(aiohttp.ServerDisconnectedError):
            return await handler(request)
        request.url = URL(other.url)
        return await handler(request)

    async def get() -> None:
        with pytest.raises(CircuitOpenClientError):
            await session.get(one.url)

    async with (
        Wire() as one,
        Wire() as other,
        aiohttp.ClientSession(middlewares=[fail_over, guard]) as session,
    ):
        await asyncio.create_task(get())
        await asyncio.sleep(0)
        assert (one.requests, other.requests) == (1, 1)
        assert {key: each.metrics().total_failures for key, each in _items(guard)} == {one.url: 1, other.url: 1}


# What counts


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("end", "failed"),
    [
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientOSError(), True),
        (aiohttp.ServerTimeoutError(), True),
        (aiohttp.ClientPayloadError(), True),
        (asyncio.TimeoutError(), True),
        (ConnectionResetError(), True),
        (aiohttp.ClientConnectionError("Connector is closed."), None),
        (aiohttp.InvalidURL("http://"), None),
        (aiohttp.TooManyRedirects(None, ()), None),  # type: ignore[arg-type]
        (ValueError(), None),
        (RuntimeError("Session is closed"), None),
        (aiohttp.ClientResponseError(None, (), status=404), None),  # type: ignore[arg-type]
        (aiohttp.ClientResponseError(None, (), status=503), True),  # type: ignore[arg-type]
        (chained(aiohttp.ClientResponseError(None, (), status=400), HttpProcessingError()), True),  # type: ignore[arg-type]
        (CircuitOpenClientError("search", CircuitState.OPEN, 5.0), None),
    ],
    ids=repr,
)
def test_what_an_error_says(end: Exception, failed: bool | None) -> None:
    assert judge(end) is failed


async def test_raising_for_a_status_is_no_matter_of_ours(guard: CircuitBreakerMiddleware, site: Site) -> None:
    """The response has been judged before."""
    async with aiohttp.ClientSession(middlewares=[guard], raise_for_status=True) as session:
        for path in ("/status/404", "/status/400", "/status/503"):
            with pytest.raises(aiohttp.ClientResponseError):
                await session.get(site.url + path)
    assert ends(guard) == (2, 1, 0)


async def test_a_body_to_send_that_raises_says_nothing(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """It is a mistake of the caller."""

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise ValueError("the file ends here")

    async with Wire(b"", b"", b"") as wire:  # it listens, and is silent
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(wire.url, data=body())
    assert ends(guard) == NOTHING


async def test_too_many_redirects_are_answers(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site
) -> None:
    url = f"{site.url}/status/302?Location=/redirect"
    with pytest.raises(aiohttp.TooManyRedirects):
        await session.get(url, max_redirects=2)
    assert ends(guard) == (2, 0, 0)


async def test_each_hop_of_a_redirect_is_a_call_to_its_host(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site
) -> None:
    elsewhere = f"http://localhost:{site.port}"
    async with session.get(f"{site.url}/status/302?Location={elsewhere}/status/503") as response:
        assert response.status == 503
    states = {key: breaker.state.value for key, breaker in guard.breakers.items()}
    assert states == {site.url: "closed", elsewhere: "open"}
    with pytest.raises(CircuitOpenClientError) as refused:
        await session.get(f"{site.url}/status/302?Location={elsewhere}/ok")
    assert str(refused.value.request.url) == f"{elsewhere}/ok"


async def test_a_base_url_is_part_of_the_key(guard: CircuitBreakerMiddleware, site: Site) -> None:
    async with aiohttp.ClientSession(site.url, middlewares=[guard]) as session, session.get("/ok") as response:
        assert await response.read() == BODY
    assert list(guard.breakers) == [site.url]


async def test_behind_a_proxy_the_key_is_the_hosts(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site
) -> None:
    async with session.get("http://shop.example/ok", proxy=site.url) as response:
        assert await response.read() == BODY
    assert (list(guard.breakers), ends(guard)) == (["http://shop.example"], SUCCESS)


@pytest.mark.parametrize(("status", "end"), [(407, NOTHING), (503, FAILURE)])
async def test_what_a_proxy_answers_in_place_of_a_tunnel(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, status: int, end: tuple[int, int, int]
) -> None:
    """A proxy that asks for credentials says nothing about the server; one that fails is a failure."""
    async with Wire(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode(), hang_up=True) as wire:
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await session.get("https://shop.example/ok", proxy=wire.url)
    assert ends(guard) == end


async def test_a_proxy_that_is_not_there_is_a_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(aiohttp.ClientProxyConnectionError):
        await session.get("http://shop.example/ok", proxy=nobody())
    assert ends(guard) == FAILURE


# Websockets


@pytest.fixture
async def sockets() -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.StreamResponse:
        if request.path == "/down":
            return web.Response(status=503, headers={"Retry-After": "7"})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/{path}", serve)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def test_the_verdict_of_a_websocket_is_that_of_its_handshake(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, sockets: str
) -> None:
    """What follows the handshake is not a body."""
    async with session.ws_connect(f"{sockets}echo") as socket:
        assert ends(guard) == SUCCESS
        await socket.send_str("well?")
        assert await socket.receive_str() == "well?"
    assert ends(guard) == SUCCESS


async def test_a_handshake_that_fails_is_a_failure(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, sockets: str
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect(f"{sockets}down")
    with pytest.raises(CircuitOpenClientError) as refused:
        await session.ws_connect(f"{sockets}echo")
    assert refused.value.retry_after == 7


# Middlewares


async def test_middlewares_of_one_request_stand_in_for_the_sessions(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site
) -> None:
    """aiohttp works this way; the guard must be in the request's list too."""
    async with session.get(f"{site.url}/status/500", middlewares=()):
        assert not guard.breakers
    async with session.get(f"{site.url}/status/500", middlewares=[guard]):
        assert ends(guard) == FAILURE


async def test_the_refusal_of_one_guard_is_no_failure_for_another(site: Site, clock: ManualClock) -> None:
    """A circuit for each path, inside one for each host."""
    paths = CircuitBreakerMiddleware(name="paths", key=lambda request: request.url.path, failure_threshold=1)
    hosts = CircuitBreakerMiddleware(name="hosts")
    async with aiohttp.ClientSession(middlewares=[hosts, paths]) as session:
        async with session.get(f"{site.url}/status/500") as response:
            await response.read()
        with pytest.raises(CircuitOpenClientError):
            await session.get(f"{site.url}/status/500")
    assert (ends(hosts), ends(paths)) == ((0, 1, 1), (0, 1, 0))


async def test_a_response_that_an_inner_middleware_has_read_is_a_success(
    guard: CircuitBreakerMiddleware, site: Site
) -> None:

    async def reading(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        response = await handler(request)
        await response.read()
        return response

    async with aiohttp.ClientSession(middlewares=[guard, reading]) as session:
        await session.get(f"{site.url}/ok")
        assert ends(guard) == SUCCESS


@pytest.mark.parametrize(("path", "end"), [("/hang/10", SUCCESS), ("/hang/0", NOTHING)])
async def test_a_response_that_an_inner_middleware_has_closed_is_over(
    guard: CircuitBreakerMiddleware, site: Site, path: str, end: tuple[int, int, int]
) -> None:

    async def closing(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        response = await handler(request)
        if end == SUCCESS:
            await response.content.readany()
        response.close()
        return response

    async with aiohttp.ClientSession(middlewares=[guard, closing]) as session:
        await session.get(site.url + path)
        assert ends(guard) == end


# The rest


async def test_a_refusal_holds_what_was_refused_and_no_more(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession, site: Site
) -> None:
    """O2: no session and no body; and it can be pickled."""
    async with session.get(f"{site.url}/status/500"):
        pass
    with pytest.raises(CircuitOpenClientError) as refused:
        await session.post(f"{site.url}/echo", data=b"secret", headers={"X-Trace": "7"})
    again = pickle.loads(pickle.dumps(refused.value))
    for request in (refused.value.request, again.request):
        assert (str(request.url), str(request.real_url)) == (f"{site.url}/echo", f"{site.url}/echo")
        assert (request.method, request.headers["x-trace"]) == ("POST", "7")
    assert len(pickle.dumps(refused.value)) < 3000


async def test_many_requests_at_once_are_counted_exactly(site: Site, clock: ManualClock) -> None:
    """E6"""
    guard = CircuitBreakerMiddleware(clock=clock, failure_threshold=1000)
    paths = ["/ok", "/status/500", "/status/404", "/cut/length/50", "/reset", "/hang/0"]

    async def get(path: str) -> None:
        with suppress(aiohttp.ClientError):
            async with session.get(site.url + path) as response:
                if path != "/hang/0":
                    await response.read()

    async with aiohttp.ClientSession(middlewares=[guard]) as session:
        await asyncio.gather(*(get(path) for path in paths * 30))
    assert ends(guard) == (60, 90, 30)


def test_one_guard_serves_several_loops(site: Site, guard: CircuitBreakerMiddleware) -> None:
    """E8"""

    async def get() -> None:
        async with aiohttp.ClientSession(middlewares=[guard]) as session, session.get(f"{site.url}/ok") as response:
            await response.read()

    for _ in range(3):
        asyncio.run(get())
    assert ends(guard) == (3, 0, 0)


async def test_the_error_of_a_server_that_went_away_is_the_callers(
    guard: CircuitBreakerMiddleware, session: aiohttp.ClientSession
) -> None:
    """C3"""
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await session.get(nobody())
    assert type(caught.value) is aiohttp.ClientConnectorError
    assert ends(guard) == FAILURE
