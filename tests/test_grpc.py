"""The contract of clients' guards, for gRPC: real channels, real servers on sockets, sync and async, all four kinds."""

from __future__ import annotations

import asyncio
import gc
import pickle
import socket
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any

import anyio.from_thread
import grpc
import grpc.aio
import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    KeyedBreakers,
    ManualClock,
    Metrics,
    Registry,
    RetryAfter,
    SlowCallRate,
)
from circuitbreaker.integrations import grpc as ours
from circuitbreaker.integrations.grpc import (
    AsyncCircuitBreakerInterceptor,
    CallDetails,
    CircuitBreakerInterceptor,
    CircuitOpenAioRpcError,
    CircuitOpenRpcError,
    FailedRpcError,
)

from .servers import HOST, Proxy, until
from .websites import Site, nobody

# In older versions, a call of grpc.aio complains when it goes that an interceptor had raised.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function InterceptedCall.__del__:pytest.PytestUnraisableExceptionWarning"
)

FAILURES = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN"]
ANSWERS = sorted({code.name for code in grpc.StatusCode} - {*FAILURES, "OK", "CANCELLED"})


class Service:
    """
    Servers, sync and async, that do what the words of a request say, from left to right.

    word        a response; of many, a unary call gets the last
    CODE        the call ends with this status
    name=value  trailing metadata
    stay        nothing more, until the caller has gone or the test is over
    meet        the names and values of the metadata that came, as a response
    """

    def __init__(self, portal: anyio.from_thread.BlockingPortal) -> None:
        self.scripts: list[str] = []
        self.over = Event()
        self._portal = portal
        self._pool = ThreadPoolExecutor(32)
        self._server = grpc.server(self._pool)
        self._server.add_generic_rpc_handlers((self._handlers(self._one, self._many, self._joined, self._each),))
        self.port = self._server.add_insecure_port(f"{HOST}:0")
        self._server.start()
        self.async_port: int = portal.call(self._start_async)

    def close(self) -> None:
        self.over.set()
        self._server.stop(0).wait()
        self._pool.shutdown()
        self._portal.call(self._async_server.stop, 0)

    @staticmethod
    def _handlers(one: Any, many: Any, joined: Any, each: Any) -> grpc.GenericRpcHandler:
        kinds = {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler(one),
            "UnaryStream": grpc.unary_stream_rpc_method_handler(many),
            "StreamUnary": grpc.stream_unary_rpc_method_handler(joined),
            "StreamStream": grpc.stream_stream_rpc_method_handler(each),
        }
        return grpc.method_handlers_generic_handler("tests.Service", kinds)

    def _many(self, request: bytes, context: Any) -> Iterator[bytes]:
        self.scripts.append(request.decode())
        for word in request.decode().split():
            if word == "stay":
                gone = Event()
                context.add_callback(gone.set)
                while not (self.over.is_set() or gone.wait(0.02)):
                    pass
                context.abort(grpc.StatusCode.ABORTED, "nobody waits")
            elif word == "meet":
                yield repr(sorted(context.invocation_metadata())).encode()
            elif word in grpc.StatusCode.__members__:
                context.abort(grpc.StatusCode[word], "as told")
            elif "=" in word:
                context.set_trailing_metadata([tuple(word.split("="))])
            else:
                yield word.encode()

    def _one(self, request: bytes, context: Any) -> bytes:
        return [b"", *self._many(request, context)][-1]

    def _joined(self, requests: Iterator[bytes], context: Any) -> bytes:
        return self._one(b" ".join(requests), context)

    def _each(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield from self._many(request, context)

    async def _start_async(self) -> int:
        async def many(request: bytes, context: Any) -> AsyncIterator[bytes]:
            self.scripts.append(request.decode())
            for word in request.decode().split():
                if word == "stay":
                    await asyncio.sleep(30)
                elif word == "meet":
                    yield repr(sorted(context.invocation_metadata())).encode()
                elif word in grpc.StatusCode.__members__:
                    await context.abort(grpc.StatusCode[word], "as told")
                elif "=" in word:
                    context.set_trailing_metadata([tuple(word.split("="))])
                else:
                    yield word.encode()

        async def one(request: bytes, context: Any) -> bytes:
            return [b"", *[each async for each in many(request, context)]][-1]

        async def joined(requests: AsyncIterator[bytes], context: Any) -> bytes:
            return await one(b" ".join([each async for each in requests]), context)

        async def each(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for request in requests:
                async for response in many(request, context):
                    yield response

        self._async_server = grpc.aio.server()
        self._async_server.add_generic_rpc_handlers((self._handlers(one, many, joined, each),))
        port = self._async_server.add_insecure_port(f"{HOST}:0")
        await self._async_server.start()
        return port


class Call(ABC):
    """A call that has begun."""

    @abstractmethod
    def first(self) -> bytes:
        """The first response."""

    @abstractmethod
    def rest(self) -> list[bytes]:
        """All others, or of a unary call the response."""

    @abstractmethod
    def cancel(self) -> None: ...

    @abstractmethod
    def status(self) -> tuple[grpc.StatusCode, str, Any]:
        """Its code, its details, its trailing metadata."""


class Client(ABC):
    """A guarded channel for calls of one kind; sync to the eye, whatever it is inside."""

    method: str
    requests_stream: bool
    responses_stream: bool
    is_async: bool
    kind: type[grpc.RpcError]
    refusal: type[Any]
    breakers: KeyedBreakers

    def __init__(self, target: str, portal: anyio.from_thread.BlockingPortal, others: Any, **options: Any) -> None:
        self.target = target

    @abstractmethod
    def begin(self, script: str, *, codec: Callable[[bytes], bytes] | None = None, **options: Any) -> Call: ...

    def get(self, script: str, **options: Any) -> list[bytes]:
        """All the responses."""
        return self.begin(script, **options).rest()

    @abstractmethod
    def break_requests(self) -> None:
        """Make a call whose iterator of requests raises."""

    @abstractmethod
    def close(self) -> None: ...


class SyncCall(Call):
    def __init__(self, call: Any, streams: bool) -> None:
        self._call = call
        self._streams = streams

    def first(self) -> bytes:
        response: bytes = next(self._call)
        return response

    def rest(self) -> list[bytes]:
        return list(self._call) if self._streams else [self._call.result()]

    def cancel(self) -> None:
        self._call.cancel()

    def status(self) -> tuple[grpc.StatusCode, str, Any]:
        return self._call.code(), self._call.details(), self._call.trailing_metadata()


class SyncClient(Client):
    is_async = False
    kind, refusal = grpc.RpcError, CircuitOpenRpcError

    def __init__(self, target: str, portal: anyio.from_thread.BlockingPortal, others: Any, **options: Any) -> None:
        super().__init__(target, portal, others)
        guard = CircuitBreakerInterceptor(target, **options)
        self.breakers = guard.breakers
        self._plain = grpc.insecure_channel(target)
        outer, inner = others
        self.channel = grpc.intercept_channel(self._plain, *outer, guard, *inner)

    def callable(self, codec: Callable[[bytes], bytes] | None = None) -> Any:
        makers = {
            "UnaryUnary": self.channel.unary_unary,
            "UnaryStream": self.channel.unary_stream,
            "StreamUnary": self.channel.stream_unary,
            "StreamStream": self.channel.stream_stream,
        }
        return makers[self.method](f"/tests.Service/{self.method}", request_serializer=codec)

    def requests(self, script: str) -> Any:
        return iter([script.encode()]) if self.requests_stream else script.encode()

    def begin(self, script: str, *, codec: Callable[[bytes], bytes] | None = None, **options: Any) -> Call:
        make = self.callable(codec)
        call = (make if self.responses_stream else make.future)(self.requests(script), **options)
        return SyncCall(call, self.responses_stream)

    def get(self, script: str, **options: Any) -> list[bytes]:
        if self.responses_stream:
            return super().get(script, **options)
        return [self.callable()(self.requests(script), **options)]

    def break_requests(self) -> None:
        def requests() -> Iterator[bytes]:
            yield from ()
            raise ValueError("no more requests")

        made = self.callable()(requests())
        if self.responses_stream:
            list(made)

    def close(self) -> None:
        self.channel.close()


class AsyncCall(Call):
    def __init__(self, call: Any, streams: bool, run: Callable[..., Any]) -> None:
        self._call = call
        self._streams = streams
        self._run = run

    def first(self) -> bytes:
        response: bytes = self._run(self._call.read)
        return response

    def rest(self) -> list[bytes]:
        async def rest() -> list[bytes]:
            return [each async for each in self._call] if self._streams else [await self._call]

        responses: list[bytes] = self._run(rest)
        return responses

    def cancel(self) -> None:
        async def cancel() -> None:
            self._call.cancel()
            with suppress(asyncio.CancelledError):
                await self._call.code()

        self._run(cancel)

    def status(self) -> tuple[grpc.StatusCode, str, Any]:
        async def status() -> Any:
            return await self._call.code(), await self._call.details(), await self._call.trailing_metadata()

        all_: tuple[grpc.StatusCode, str, Any] = self._run(status)
        return all_


class AsyncClient(Client):
    is_async = True
    kind, refusal = grpc.aio.AioRpcError, CircuitOpenAioRpcError

    def __init__(self, target: str, portal: anyio.from_thread.BlockingPortal, others: Any, **options: Any) -> None:
        super().__init__(target, portal, others)
        self.portal = portal
        guard = AsyncCircuitBreakerInterceptor(target, **options)
        self.breakers = guard.breakers
        outer, inner = others
        interceptors = [*outer, *guard, *inner] if outer or inner else guard

        async def open_channel() -> grpc.aio.Channel:
            return grpc.aio.insecure_channel(target, interceptors=interceptors)

        self.channel = portal.call(open_channel)

    async def begun(
        self, requests: Any, codec: Callable[[bytes], bytes] | None = None, /, **options: Any
    ) -> grpc.aio.Call:
        makers: dict[str, Any] = {
            "UnaryUnary": self.channel.unary_unary,
            "UnaryStream": self.channel.unary_stream,
            "StreamUnary": self.channel.stream_unary,
            "StreamStream": self.channel.stream_stream,
        }
        call: grpc.aio.Call = makers[self.method](f"/tests.Service/{self.method}", request_serializer=codec)(
            requests, **options
        )
        return call

    def begin(self, script: str, *, codec: Callable[[bytes], bytes] | None = None, **options: Any) -> Call:
        requests: Any = [script.encode()] if self.requests_stream else script.encode()
        call = self.portal.call(lambda: self.begun(requests, codec, **options))
        return AsyncCall(call, self.responses_stream, self.portal.call)

    def break_requests(self) -> None:
        async def requests() -> AsyncIterator[bytes]:
            for each in ():
                yield each
            raise ValueError("no more requests")

        async def run() -> None:
            call: Any = await self.begun(requests())
            await call.code()

        self.portal.call(run)

    def cancel_task_when(self, script: str, due: Callable[[], object]) -> None:
        """Make a call in a task, and cancel that when it is so."""

        async def get() -> None:
            call: Any = await self.begun([script.encode()] if self.requests_stream else script.encode())
            if self.responses_stream:
                async for response in call:
                    self.arrived.append(response)
            else:
                await call

        self.arrived: list[bytes] = []
        task: Future[None] = self.portal.start_task_soon(get)
        until(due, "it is time to cancel")
        task.cancel()
        with suppress(BaseException):
            task.result(10)

    def close(self) -> None:
        self.portal.call(self.channel.close)


def kinds() -> dict[str, type[Client]]:
    made: dict[str, type[Client]] = {}
    for base in (SyncClient, AsyncClient):
        for requests in ("Unary", "Stream"):
            for responses in ("Unary", "Stream"):
                traits = {
                    "method": requests + responses,
                    "requests_stream": requests == "Stream",
                    "responses_stream": responses == "Stream",
                }
                name = f"{'async' if base.is_async else 'sync'} {requests}-{responses}".lower()
                made[name] = type("Made", (base,), traits)
    return made


KINDS = kinds()
SYNC = [name for name in KINDS if not KINDS[name].is_async]
ASYNC = [name for name in KINDS if KINDS[name].is_async]
STREAMS = [name for name in KINDS if KINDS[name].responses_stream]
REQUEST_STREAMS = [name for name in KINDS if KINDS[name].requests_stream]

Make = Callable[..., Any]


def only_for(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", names, indirect=True)


@pytest.fixture(scope="module")
def portal() -> Iterator[anyio.from_thread.BlockingPortal]:
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal
    gc.collect()  # A forked child that destroys what is left of grpc would wait for its parent's threads, or crash.


@pytest.fixture(scope="module")
def service(portal: anyio.from_thread.BlockingPortal) -> Iterator[Service]:
    service = Service(portal)
    yield service
    service.close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Client]:
    return KINDS[request.param]


@pytest.fixture
def make(
    kind: type[Client], service: Service, portal: anyio.from_thread.BlockingPortal, clock: ManualClock
) -> Iterator[Make]:
    """Make a client; its breakers have the test's clock, and open after one failure."""
    made: list[Client] = []

    def make(target: str | None = None, others: Any = ((), ()), **options: Any) -> Client:
        port = service.async_port if kind.is_async else service.port
        options = {"clock": clock, **({} if "trip" in options else {"failure_threshold": 1}), **options}
        made.append(kind(target or f"{HOST}:{port}", portal, others, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def end(client: Client, script: str, **options: Any) -> str:
    """How a call ended: OK, its error's code, or the name of an error without one."""
    try:
        client.get(script, **options)
    except client.refusal:
        return "refused"
    except client.kind as error:
        code: Any = getattr(error, "code", None)
        return str(code().name)
    except Exception as error:
        return type(error).__name__
    return "OK"


def only(client: Client) -> CircuitBreaker:
    (breaker,) = client.breakers.values()
    return breaker


def metrics(client: Client) -> Metrics:
    return only(client).metrics()


def settled(client: Client) -> tuple[int, int, int]:
    """Successes, failures and what said nothing, once the only call has ended."""
    until(lambda: metrics(client).total_calls == 1, "the call is settled")
    all_ = metrics(client)
    return all_.total_successes, all_.total_failures, all_.total_ignored


SUCCESS, FAILURE, NEUTRAL = (1, 0, 0), (0, 1, 0), (0, 0, 1)


# Which circuit


def test_each_target_has_a_circuit(make: Make) -> None:
    client = make()
    assert client.get("well") == [b"well"]
    assert {key: breaker.name for key, breaker in client.breakers.items()} == {client.target: f"grpc[{client.target}]"}


def test_a_key_of_the_users_chooses_the_circuit(make: Make) -> None:
    """One for each method; the key function gets the same arguments, sync and async."""
    seen: list[CallDetails] = []

    def key(details: CallDetails) -> str:
        seen.append(details)
        return details.method

    client = make(key=key, name="shop", registry=Registry())
    assert end(client, "INTERNAL", metadata=(("who", "me"),), timeout=9, wait_for_ready=True) == "INTERNAL"
    (details,) = seen
    assert isinstance(details, grpc.ClientCallDetails)
    assert (details.method, details.timeout, details.wait_for_ready) == (f"/tests.Service/{client.method}", 9, True)
    assert ("who", "me") in list(details.metadata)
    assert [breaker.name for breaker in client.breakers.values()] == [f"shop[/tests.Service/{client.method}]"]


def test_what_the_key_raises_is_the_callers_and_nothing_is_sent(make: Make, service: Service) -> None:
    client, before = make(key=lambda details: 1 // 0), len(service.scripts)
    with pytest.raises(ZeroDivisionError):
        client.get("well")
    assert len(service.scripts) == before
    assert not client.breakers


# What counts


@pytest.mark.parametrize("code", FAILURES)
def test_what_a_failing_or_overloaded_server_answers_is_a_failure(make: Make, code: str) -> None:
    """And the caller gets the error."""
    client = make()
    assert end(client, code) == code
    assert settled(client) == FAILURE
    assert str(metrics(client).last_failure).startswith(f"FailedRpcError: {code}: as told")
    assert end(client, "well") == "refused"


def test_other_codes_are_answers(make: Make) -> None:
    client = make()
    assert [end(client, code) for code in ANSWERS] == ANSWERS
    until(lambda: metrics(client).total_successes == len(ANSWERS), "all count")


def test_a_cancellation_on_the_other_side_says_nothing(make: Make) -> None:
    """A server forwards that it was cancelled itself."""
    client = make()
    assert end(client, "CANCELLED") == "CANCELLED"
    assert settled(client) == NEUTRAL


def test_a_server_that_is_not_there_is_a_failure(make: Make) -> None:
    client = make(nobody().removeprefix("http://"))
    assert end(client, "well") == "UNAVAILABLE"
    assert settled(client) == FAILURE


def test_a_server_that_speaks_another_protocol_is_a_failure(make: Make) -> None:
    with Site() as site:
        client = make(f"{HOST}:{site.port}")
        assert end(client, "well", timeout=10) in FAILURES
        assert settled(client) == FAILURE
        client.close()


def test_a_deadline_is_a_failure(make: Make) -> None:
    """Whoever has set it."""
    with socket.create_server((HOST, 0)) as silent:
        client = make(f"{HOST}:{silent.getsockname()[1]}")
        assert end(client, "well", timeout=0.1) == "DEADLINE_EXCEEDED"
        assert settled(client) == FAILURE
        client.close()


@only_for(STREAMS)
def test_a_deadline_within_a_stream_is_a_failure(make: Make, service: Service, kind: type[Client]) -> None:
    """The server stalls."""
    proxy = Proxy(service.async_port if kind.is_async else service.port)
    client = make(f"{HOST}:{proxy.port}")
    call = client.begin("1 stay", timeout=0.5)
    assert call.first() == b"1"
    proxy.black_hole = True
    with pytest.raises(client.kind) as caught:
        call.rest()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert settled(client) == FAILURE
    client.close()
    proxy.close()


def test_a_call_that_waits_for_a_connection_counts_once(make: Make) -> None:
    client = make(nobody().removeprefix("http://"))
    assert end(client, "well", timeout=0.1, wait_for_ready=True) == "DEADLINE_EXCEEDED"
    assert settled(client) == FAILURE


@only_for(SYNC)
def test_a_request_that_cannot_be_serialized_says_nothing(make: Make) -> None:
    """It is a mistake of the caller, which grpc reports as INTERNAL. grpc.aio sends an empty request."""
    client = make()
    with pytest.raises(grpc.RpcError, match="Exception serializing request!"):
        client.begin("well", codec=lambda request: 1 // 0).rest()
    assert settled(client) == NEUTRAL


@only_for(REQUEST_STREAMS)
def test_requests_that_raise_say_nothing(make: Make) -> None:
    """It is a mistake of the caller, which grpc reports as UNKNOWN, and grpc.aio as CANCELLED."""
    client = make()
    with suppress(grpc.RpcError):
        client.break_requests()
    assert settled(client) == NEUTRAL


def test_a_closed_channel_says_nothing(make: Make) -> None:
    """It is a mistake of the caller."""
    client = make()
    client.close()
    assert end(client, "well") in ("ValueError", "UsageError")
    assert settled(client) == NEUTRAL


def test_a_judge_of_the_users_decides(make: Make) -> None:
    """The judge sees the same, sync and async."""
    verdicts: dict[str, bool | None] = {"NOT_FOUND": True, "UNKNOWN": False, "ABORTED": None}

    def judge(end: FailedRpcError) -> bool | None:
        assert end.details() == "as told"
        return verdicts.get(end.code().name, ours.judge(end))

    client = make(judge=judge, failure_threshold=9)
    assert [end(client, code) for code in ("NOT_FOUND", "UNKNOWN", "ABORTED", "INTERNAL", "OUT_OF_RANGE", "well")]
    until(lambda: metrics(client).total_calls == 6, "all count")
    all_ = metrics(client)
    assert (all_.total_failures, all_.total_successes, all_.total_ignored) == (2, 3, 1)


def test_a_judge_that_raises_is_logged_and_the_usual_one_asked(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """E4"""
    client = make(judge=lambda end: 1 // 0)
    assert end(client, "INTERNAL") == "INTERNAL"
    assert settled(client) == FAILURE
    assert "judge raised" in caplog.text


# When the verdict falls


def test_a_call_that_ends_well_is_a_success(make: Make) -> None:
    client = make()
    assert client.get("1 2 3") == ([b"1", b"2", b"3"] if client.responses_stream else [b"3"])
    assert settled(client) == SUCCESS


@only_for(SYNC)
def test_a_call_that_has_begun_is_settled_when_it_ends(make: Make) -> None:
    """Futures too."""
    client = make()
    assert client.begin("1 2").rest()[-1] == b"2"
    assert settled(client) == SUCCESS


def test_a_call_that_the_caller_cancels_says_nothing(make: Make, service: Service) -> None:
    client, before = make(), len(service.scripts)
    call = client.begin("stay")
    until(lambda: len(service.scripts) > before, "the server has it")
    assert metrics(client).total_calls == 0
    call.cancel()
    assert settled(client) == NEUTRAL


@only_for(STREAMS)
def test_a_stream_that_is_cancelled_after_some_of_it_came_is_a_success(make: Make) -> None:
    """What arrived was fine."""
    client = make()
    call = client.begin("1 2 stay")
    assert call.first() == b"1"
    assert metrics(client).total_calls == 0
    call.cancel()
    assert settled(client) == SUCCESS


@only_for(STREAMS)
def test_a_stream_that_fails_after_some_of_it_came_is_a_failure(make: Make) -> None:
    client = make()
    call = client.begin("1 INTERNAL")
    assert call.first() == b"1"
    with pytest.raises(client.kind):
        call.rest()
    assert settled(client) == FAILURE


def test_a_connection_that_is_cut_is_a_failure(make: Make, service: Service, kind: type[Client]) -> None:
    """Within a stream, too."""
    proxy, before = Proxy(service.async_port if kind.is_async else service.port), len(service.scripts)
    client = make(f"{HOST}:{proxy.port}")
    call = client.begin("1 2 stay")
    if client.responses_stream:
        assert call.first() == b"1"
    until(lambda: len(service.scripts) > before, "the server has it")
    proxy.refuse()
    with pytest.raises(client.kind) as caught:
        call.rest()
    assert not isinstance(caught.value, CircuitOpenError)
    assert settled(client) == FAILURE
    client.close()
    proxy.close()


@only_for(SYNC)
@pytest.mark.parametrize("script", ["stay", "1 stay"])
def test_a_call_that_is_dropped_is_cancelled_and_settled(make: Make, script: str) -> None:
    """H3: as without a guard, grpc cancels a call that is garbage-collected. grpc.aio continues it."""
    client = make()
    call: Any = client.begin(script)
    streams = client.responses_stream and script != "stay"
    if streams:
        assert call.first() == b"1"
    del call
    gc.collect()
    assert settled(client) == (SUCCESS if streams else NEUTRAL)


def test_a_trial_that_is_cancelled_gives_its_attempt_back(make: Make, clock: ManualClock) -> None:
    """H3"""
    client = make(half_open_max_attempts=1)
    end(client, "INTERNAL")
    until(lambda: metrics(client).state is CircuitState.OPEN, "it opens")
    clock.advance(30)
    call = client.begin("stay")
    assert end(client, "well") == "refused"
    call.cancel()
    until(lambda: metrics(client).total_ignored == 1, "it is given back")
    assert end(client, "well") == "OK"
    until(lambda: metrics(client).state is CircuitState.CLOSED, "it closes")


@only_for(ASYNC)
@pytest.mark.parametrize("script", ["stay", "1 stay"])
def test_a_cancelled_task_says_nothing_unless_some_came(make: Make, service: Service, script: str) -> None:
    """E3"""
    client, before = make(), len(service.scripts)
    client.cancel_task_when(script, lambda: len(service.scripts) > before)
    assert settled(client) in ([NEUTRAL, SUCCESS] if client.responses_stream and script != "stay" else [NEUTRAL])


def test_a_message_may_say_that_the_call_failed(make: Make) -> None:
    """The caller gets it all the same."""
    client = make(judge_part=lambda message: message == b"no")
    assert client.begin("well no").rest()[-1] == b"no"
    assert settled(client) == FAILURE


def test_messages_are_judged_each(make: Make) -> None:
    seen: list[bytes] = []
    client = make(judge_part=seen.append)
    assert client.begin("1 2").rest() == (seen or ["nothing"])
    assert settled(client) == SUCCESS
    assert end(client, "1 INTERNAL") == "INTERNAL"
    until(lambda: metrics(client).total_failures == 1, "it is counted")


@only_for([each for each in ASYNC if each in STREAMS])
def test_a_stream_that_hangs_until_a_timeout_around_it_says_nothing(
    make: Make, service: Service, clock: ManualClock
) -> None:
    """E3, H3: although some of it arrived. It does not close a half-open circuit."""
    client: Any = make(half_open_max_attempts=1)
    end(client, "INTERNAL")
    until(lambda: metrics(client).state is CircuitState.OPEN, "it opens")
    clock.advance(30)
    client.cancel_task_when("1 stay", lambda: client.arrived == [b"1"])
    until(lambda: metrics(client).total_ignored == 1, "it is given back")
    assert metrics(client).state is CircuitState.HALF_OPEN


@only_for(STREAMS)
@pytest.mark.parametrize(("timed_until", "state"), [("headers", CircuitState.CLOSED), ("end", CircuitState.OPEN)])
def test_the_time_of_a_stream_ends_where_it_is_told_to(
    make: Make, clock: ManualClock, timed_until: str, state: CircuitState
) -> None:
    """For slow calls: at the first response or at the last."""
    client = make(trip=SlowCallRate(1.0, slower_than=5, calls=1), timed_until=timed_until)
    call = client.begin("1 2 3")
    assert call.first() == b"1"
    clock.advance(60)
    assert call.rest() == [b"2", b"3"]
    assert settled(client) == SUCCESS
    assert metrics(client).state is state


# For how long


@pytest.mark.parametrize(
    ("pushback", "seconds"),
    [("7000", 7), ("1", 0.001), ("99999999", 600), ("0", 30), ("-1", 30), ("soon", 30), ("1.5", 30), ("nan", 30)],
)
def test_the_server_says_when_to_come_again(make: Make, pushback: str, seconds: float) -> None:
    """O4, gRFC A6: at most 600 s; a value that is malformed, or forbids a retry, is ignored."""
    client = make()
    assert end(client, f"grpc-retry-pushback-ms={pushback} UNAVAILABLE") == "UNAVAILABLE"
    assert settled(client) == FAILURE
    with pytest.raises(CircuitOpenError) as refused:
        client.get("well")
    assert refused.value.retry_after == pytest.approx(seconds)


@only_for(["sync unary-unary", "async stream-stream"])
def test_the_limit_and_the_usual_time_are_the_users(make: Make) -> None:
    """O4"""
    client = make(reset_timeout=RetryAfter(5, maximum=60), key=lambda details: dict([*details.metadata])["key"])
    for key, script, seconds in (("a", "grpc-retry-pushback-ms=100000 UNKNOWN", 60), ("b", "UNKNOWN", 5)):
        end(client, script, metadata=(("key", key),))
        until(lambda: client.breakers[key].state is CircuitState.OPEN, "it opens")  # noqa: B023
        with pytest.raises(CircuitOpenError) as refused:
            client.get("well", metadata=(("key", key),))
        assert refused.value.retry_after == seconds


# What a refused call is


def test_a_refused_call_is_an_error_of_both_kinds_and_is_not_sent(make: Make, service: Service) -> None:
    client = make(failure_threshold=1)
    end(client, "INTERNAL")
    until(lambda: metrics(client).state is CircuitState.OPEN, "it opens")
    before = len(service.scripts)
    with pytest.raises(client.kind) as refused:
        client.get("well", metadata=(("who", "me"),), timeout=9)
    error: Any = refused.value
    assert isinstance(error, CircuitOpenError)
    assert isinstance(error, client.refusal)
    assert error.name == f"grpc[{client.target}]"
    assert error.request.method == f"/tests.Service/{client.method}"
    assert (error.request.timeout, ("who", "me") in error.request.metadata) == (9, True)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == error.debug_error_string() == str(error)
    assert str(error).startswith(f"circuit 'grpc[{client.target}]' is open")
    assert str(error) in repr(error)
    assert (list(error.initial_metadata()), list(error.trailing_metadata())) == ([], [])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.request) == (str(error), error.request)
    assert len(service.scripts) == before


def test_a_refused_call_fails_where_grpc_lets_calls_fail(make: Make) -> None:
    """Not before its result, or its first response, is read; its status is known."""
    client = make()
    end(client, "INTERNAL")
    until(lambda: metrics(client).state is CircuitState.OPEN, "it opens")
    call = client.begin("well")
    code, details, trailing = call.status()
    assert (code, list(trailing or ())) == (grpc.StatusCode.UNAVAILABLE, [])
    assert details.startswith("circuit 'grpc[")
    with pytest.raises(client.refusal):
        call.rest()


@only_for(SYNC)
def test_a_refusal_is_a_call_that_has_ended(make: Make) -> None:
    """Interceptors around the guard, and callbacks, treat it like any other call."""
    client = make()
    end(client, "INTERNAL")
    until(lambda: metrics(client).state is CircuitState.OPEN, "it opens")
    call = client.begin("well")._call
    told: list[Any] = []
    call.add_done_callback(told.append)
    assert told == [call]
    assert isinstance(call, grpc.Call)
    assert isinstance(call, grpc.Future)
    assert (call.done(), call.running(), call.is_active(), call.cancelled(), call.cancel()) == (True, *[False] * 4)
    assert (call.time_remaining(), call.add_callback(print), call.exception(1)) == (None, False, call)
    assert call.traceback() is None
    with pytest.raises(CircuitOpenRpcError):
        call.result(timeout=1)
    with pytest.raises(CircuitOpenRpcError):
        next(iter(call))
    assert call.traceback() is not None


def test_a_circuit_recovers_by_a_trial(make: Make, clock: ManualClock) -> None:
    """H1"""
    client = make()
    assert [end(client, "INTERNAL"), end(client, "well")] == ["INTERNAL", "refused"]
    clock.advance(30)
    assert end(client, "well") == "OK"
    until(lambda: metrics(client).state is CircuitState.CLOSED, "it closes")


# gRPC works as without it


class Stamp(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Another interceptor, which adds metadata, and looks at the calls that come back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.codes: list[grpc.StatusCode] = []

    def _stamp(self, continuation: Any, details: Any, request: Any) -> Any:
        details = details._replace(metadata=[*(details.metadata or ()), (self.name, "was here")])
        call = continuation(details, request)
        call.add_done_callback(lambda call: self.codes.append(call.code()))
        return call

    intercept_unary_unary = intercept_unary_stream = _stamp
    intercept_stream_unary = intercept_stream_stream = _stamp


def async_stamps(name: str) -> list[Any]:
    async def stamp(self: Any, continuation: Any, details: Any, request: Any) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()), (name, "was here"))
        return await continuation(details._replace(metadata=metadata), request)

    return [
        type("Stamp", (base,), {f"intercept_{kind}": stamp})()
        for base, kind in [
            (grpc.aio.UnaryUnaryClientInterceptor, "unary_unary"),
            (grpc.aio.UnaryStreamClientInterceptor, "unary_stream"),
            (grpc.aio.StreamUnaryClientInterceptor, "stream_unary"),
            (grpc.aio.StreamStreamClientInterceptor, "stream_stream"),
        ]
    ]


def test_interceptors_around_it_and_within_it_work(make: Make, kind: type[Client]) -> None:
    """In any order."""
    others = (async_stamps("outer"), async_stamps("inner")) if kind.is_async else ([Stamp("outer")], [Stamp("inner")])
    client = make(others=others)
    (met,) = client.get("meet", metadata=(("own", "too"),), compression=grpc.Compression.Gzip)
    for name, value in (("outer", "was here"), ("inner", "was here"), ("own", "too")):
        assert f"'{name}', value='{value}'" in met.decode() or f"('{name}', '{value}')" in met.decode()
    assert [end(client, "INTERNAL"), end(client, "well")] == ["INTERNAL", "refused"]
    if not kind.is_async:
        outer, inner = others[0][0], others[1][0]
        until(lambda: len(outer.codes) == 3, "all are told")
        assert [code.name for code in outer.codes] == ["OK", "INTERNAL", "UNAVAILABLE"]
        assert [code.name for code in inner.codes] == ["OK", "INTERNAL"]


def test_two_breakers_on_one_channel_count_a_refusal_once(make: Make, kind: type[Client]) -> None:
    """A refusal by the inner one is neither a success nor a failure for the outer one."""
    inner: Any = (AsyncCircuitBreakerInterceptor if kind.is_async else CircuitBreakerInterceptor)(
        "inner", failure_threshold=1
    )
    client = make(others=((), inner if kind.is_async else [inner]), failure_threshold=9)
    assert [end(client, "INTERNAL"), end(client, "well")] == ["INTERNAL", "refused"]
    until(lambda: metrics(client).total_calls == 2, "both are settled")
    assert (metrics(client).total_failures, metrics(client).total_ignored) == (1, 1)


def test_an_interceptor_within_that_raises_says_nothing(make: Make, kind: type[Client]) -> None:
    """Nothing is known about the server."""
    client = make(others=((), raising(kind, ValueError("its own"))))
    with pytest.raises(ValueError, match="its own"):
        client.get("well")
    assert settled(client) == NEUTRAL


@only_for(ASYNC)
def test_an_interceptor_within_may_raise_how_a_call_ended(make: Make, kind: type[Client]) -> None:
    """The interceptor has awaited the call itself."""
    failed = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), "as told")
    client = make(others=((), raising(kind, failed)))
    assert end(client, "well") == "INTERNAL"
    assert settled(client) == FAILURE


def raising(kind: type[Client], error: Exception) -> list[Any]:
    """An interceptor that raises."""

    def intercept(self: Any, continuation: Any, details: Any, request: Any) -> Any:
        raise error

    async def intercept_async(self: Any, continuation: Any, details: Any, request: Any) -> Any:
        raise error

    return answering(kind, intercept_async if kind.is_async else intercept)


def answering(kind: type[Client], intercept: Any) -> list[Any]:
    """An interceptor that does so."""
    base = getattr(grpc.aio if kind.is_async else grpc, f"{kind.method}ClientInterceptor")
    name = {"UnaryUnary": "unary_unary", "UnaryStream": "unary_stream", "StreamUnary": "stream_unary"}
    return [type("Other", (base,), {f"intercept_{name.get(kind.method, 'stream_stream')}": intercept})()]


@only_for(["sync unary-stream", "sync stream-stream"])
@pytest.mark.parametrize(("script", "verdict"), [("1 2", SUCCESS), ("1 INTERNAL", FAILURE)])
def test_an_interceptor_within_may_give_an_iterator_for_a_call(
    make: Make, kind: type[Client], script: str, verdict: object
) -> None:
    """As OpenTelemetry's does."""

    def intercept(self: Any, continuation: Any, details: Any, request: Any) -> Iterator[Any]:
        yield from continuation(details, request)

    client = make(others=((), answering(kind, intercept)))
    assert end(client, script) == ("OK" if verdict is SUCCESS else "INTERNAL")
    assert settled(client) == verdict


@only_for(["sync unary-stream", "sync stream-stream"])
def test_an_interceptor_within_may_give_a_list_for_a_stream(make: Make, kind: type[Client]) -> None:
    """From a cache, for example."""
    client = make(others=((), answering(kind, lambda *arguments: [b"1", b"2"])))
    assert client.get("well") == [b"1", b"2"]
    assert settled(client) == SUCCESS


@only_for(["sync unary-unary", "sync stream-unary"])
def test_an_interceptor_within_may_answer_itself(make: Make, kind: type[Client]) -> None:
    """From a cache, for example. A future of its own is ignored, because its end cannot be known."""

    class Kept:
        def result(self) -> bytes:
            return b"kept"

    client = make(others=((), answering(kind, lambda *arguments: Kept())))
    assert client.get("well") == [b"kept"]
    assert settled(client) == SUCCESS
    assert client.begin("well").rest() == [b"kept"]
    until(lambda: metrics(client).total_ignored == 1, "its permit is given back")


@only_for(["async unary-unary"])
def test_an_async_interceptor_within_may_answer_itself(make: Make, kind: type[Client]) -> None:

    async def intercept(self: Any, continuation: Any, details: Any, request: Any) -> bytes:
        return bytes(await (await continuation(details, request)))

    client = make(others=((), answering(kind, intercept)))
    assert client.get("well") == [b"well"]
    assert settled(client) == SUCCESS


@only_for(["async unary-stream", "async stream-stream"])
def test_an_async_interceptor_around_may_read_the_stream(make: Make, kind: type[Client]) -> None:
    """By `read()`, too."""

    async def intercept(self: Any, continuation: Any, details: Any, request: Any) -> Any:
        call = await continuation(details, request)
        assert "terminated" not in repr(call)

        async def responses() -> AsyncIterator[bytes]:
            while (response := await call.read()) is not grpc.aio.EOF:
                yield response

        return responses()

    client = make(others=(answering(kind, intercept), ()))
    assert client.get("1 2") == [b"1", b"2"]
    assert settled(client) == SUCCESS


@only_for(["async stream-unary", "async stream-stream"])
def test_requests_may_be_written_one_by_one(make: Make) -> None:
    client = make()

    async def talk() -> list[bytes]:
        call: Any = await client.begun(None)
        await call.write(b"1")
        first = await call.read() if client.responses_stream else None
        await call.write(b"2")
        await call.done_writing()
        return [first, await call.read()] if client.responses_stream else [await call]

    assert client.portal.call(talk)[-1] == b"2"
    assert settled(client) == SUCCESS


@only_for(["sync unary-unary"])
def test_a_call_comes_with_its_response(make: Make) -> None:
    """By `with_call`."""
    client = make()
    response, call = client.callable().with_call(b"a=b well")
    assert (response, call.code()) == (b"well", grpc.StatusCode.OK)
    assert ("a", "b") in [tuple(each) for each in call.trailing_metadata()]
    assert settled(client) == SUCCESS


@only_for(["sync unary-stream", "sync stream-stream"])
def test_a_stream_is_the_call_that_it_was(make: Make) -> None:
    client = make()
    call = client.begin("a=b 1 2", timeout=10)._call
    assert isinstance(call, grpc.Call)
    assert isinstance(call, grpc.Future)
    assert iter(call) is call
    assert 0 < call.time_remaining() <= 10
    assert list(call) == [b"1", b"2"]
    assert call.code() is grpc.StatusCode.OK
    assert "StatusCode.OK" in repr(call)
    assert ("a", "b") in [tuple(each) for each in call.trailing_metadata()]


@only_for(SYNC)
def test_a_call_is_kept_by_nobody(make: Make) -> None:
    """E7"""
    client = make()
    call: Any = client.begin("1 2")
    call.rest()
    kept = weakref.ref(call._call)
    assert settled(client) == SUCCESS
    del call
    gc.collect()
    assert kept() is None


# Options


def test_the_four_are_a_sequence() -> None:
    """It can be passed as it is, or unpacked among others."""
    guard = AsyncCircuitBreakerInterceptor("payments:50051")
    assert len(guard) == len([*guard]) == 4
    assert guard[-1] is [*guard][3]
    assert not guard.breakers


@pytest.mark.parametrize("guard", [CircuitBreakerInterceptor, AsyncCircuitBreakerInterceptor])
@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (7, {}, TypeError, "target must be a string, got 7"),
        ("there", {"is_failure": OSError}, TypeError, "no option 'is_failure' for a client: judge decides"),
        ("there", {"fallback": print}, TypeError, "no option 'fallback' for a client: catch CircuitOpenError"),
        ("there", {"timed_until": "body"}, ValueError, "timed_until must be one of 'headers', 'end', got 'body'"),
        ("there", {"judge": 5}, TypeError, "judge must be callable, got 5"),
        ("there", {"maxsize": 0}, ValueError, "maxsize must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused(
    guard: type, target: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        guard(target, **options)


def test_how_a_call_ended_can_be_pickled() -> None:
    end = FailedRpcError(grpc.StatusCode.INTERNAL, "as told", (("grpc-retry-pushback-ms", "1500"), ("a-bin", b"\0")))
    again = pickle.loads(pickle.dumps(end))
    assert (again.code(), again.details(), again.retry_after) == (end.code(), "as told", 1.5)
    assert again.trailing_metadata() == end.trailing_metadata()
    assert str(FailedRpcError(grpc.StatusCode.UNKNOWN, None, None)) == "UNKNOWN"


@pytest.mark.parametrize("pushback", ["-1", "0", "soon", ""])
def test_a_pushback_that_is_no_time_is_none(pushback: str) -> None:
    assert FailedRpcError(grpc.StatusCode.UNKNOWN, "", (("grpc-retry-pushback-ms", pushback),)).retry_after is None
