"""Retries around a breaker and inside it, by tenacity and stamina, in front of a real service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
import requests
import stamina
import tenacity
import tenacity.asyncio
import trio
import urllib3

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock
from circuitbreaker.integrations.stamina import unless_open
from circuitbreaker.integrations.tenacity import retry_unless_open, wait_for_circuit

from .async_libraries import LIBRARIES
from .servers import HOST, free_port
from .support import Boom, attempt, fail, make_due, succeed, trip


class Service(ThreadingHTTPServer):
    """A service that answers with `status`, and counts the requests that reach it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 503
        self.requests = 0
        super().__init__((HOST, 0), _Answer)
        self.url = f"http://{HOST}:{self.server_port}/"

    def ask(self) -> int:
        """One request, without any retry."""
        connection = HTTPConnection(HOST, self.server_port, timeout=10)
        try:
            connection.request("GET", "/")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status >= 500:
            raise Boom(status)
        return status


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        service: Any = self.server
        service.requests += 1
        self.send_response(service.status)
        self.send_header("Content-Length", "0")
        self.send_header("Retry-After", "1")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        thread = Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.fixture
def waits(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Who sleeps, by whichever library, moves the clock; and how long each slept."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(asyncio, "sleep", sleep_async)
    monkeypatch.setattr(trio, "sleep", sleep_async)
    return slept


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """stamina logs each retry unless told otherwise."""
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(None)


Retried = Callable[..., Any]
"""Calls a function with up to `attempts` attempts; failures other than refusals are tried again at once."""


def by_tenacity(function: Callable[[], Any], attempts: int = 4, **options: Any) -> Any:
    return tenacity.Retrying(**_tenacity(attempts, **options))(function)


def by_tenacity_async(library: str) -> Retried:
    def retried(function: Callable[[], Any], attempts: int = 4, **options: Any) -> Any:
        async def call() -> Any:
            return function()

        async def main() -> Any:
            return await tenacity.AsyncRetrying(**_tenacity(attempts, **options))(call)

        return LIBRARIES[library].run(main)

    return retried


def _tenacity(attempts: int, jitter: float = 1.0, **options: Any) -> dict[str, Any]:
    return {
        "retry": retry_unless_open(**options),
        "wait": wait_for_circuit(jitter=jitter),
        "stop": tenacity.stop_after_attempt(attempts),
        "reraise": True,
    }


def by_stamina(function: Callable[[], Any], attempts: int = 4, **options: Any) -> Any:
    return stamina.retry(**_stamina(attempts, **options))(function)()


def by_stamina_async(library: str) -> Retried:
    def retried(function: Callable[[], Any], attempts: int = 4, **options: Any) -> Any:
        @stamina.retry(**_stamina(attempts, **options))
        async def call() -> Any:
            return function()

        return LIBRARIES[library].run(call)

    return retried


def _stamina(attempts: int, **options: Any) -> dict[str, Any]:
    return {"on": unless_open(Exception, **options), "attempts": attempts, "wait_initial": 0.0, "wait_jitter": 0.0}


RETRIES: dict[str, Retried] = {
    "tenacity": by_tenacity,
    "tenacity, asyncio": by_tenacity_async("asyncio"),
    "tenacity, trio": by_tenacity_async("trio"),
    "stamina": by_stamina,
    "stamina, asyncio": by_stamina_async("asyncio"),
    "stamina, trio": by_stamina_async("trio"),
}
each_retry = pytest.mark.parametrize("retried", RETRIES.values(), ids=RETRIES)


def end(call: Callable[..., object], *arguments: object, **options: object) -> str:
    """How a call ended: its result, or the name of its error."""
    try:
        return str(call(*arguments, **options))
    except Exception as error:
        return type(error).__name__


# Which goes outside


@each_retry
@pytest.mark.usefixtures("waits")
def test_with_the_retry_outside_a_failing_service_sees_no_more_than_the_threshold(
    retried: Retried, service: Service, clock: ManualClock
) -> None:
    """Ten calls of up to four attempts make 5 requests. The attempt that is refused is the last."""
    breaker = CircuitBreaker(failure_threshold=5, clock=clock)
    guarded = breaker(service.ask)
    ends = [end(retried, guarded) for _ in range(10)]
    assert ends == ["Boom"] + ["CircuitOpenError"] * 9
    assert service.requests == 5
    assert breaker.metrics().total_rejections == 9

    clock.advance(30)
    assert end(retried, guarded) == "CircuitOpenError"
    assert service.requests == 6, "a trial is one request"


@each_retry
@pytest.mark.usefixtures("waits")
def test_with_the_retry_inside_each_failure_costs_a_whole_round_of_attempts(
    retried: Retried, service: Service, clock: ManualClock
) -> None:
    """Ten calls of four attempts make 20 requests; each trial makes four more."""
    breaker = CircuitBreaker(failure_threshold=5, clock=clock)
    ends = [end(breaker.call, retried, service.ask) for _ in range(10)]
    assert ends == ["Boom"] * 5 + ["CircuitOpenError"] * 5
    assert service.requests == 20
    assert breaker.metrics().total_rejections == 5

    clock.advance(30)
    assert end(breaker.call, retried, service.ask) == "Boom"
    assert service.requests == 24, "a trial is a round of attempts"


def test_without_these_pieces_a_retry_outside_spends_its_attempts_on_refusals(
    service: Service, clock: ManualClock
) -> None:
    """The baseline for the other tests: the service is spared, and the callers are not."""
    breaker = CircuitBreaker(failure_threshold=5, clock=clock)
    plain = tenacity.Retrying(stop=tenacity.stop_after_attempt(4))
    ends = [end(plain, breaker(service.ask)) for _ in range(10)]
    assert ends == ["RetryError"] * 10
    assert service.requests == 5
    assert breaker.metrics().total_rejections == 35


# Giving up


@each_retry
def test_a_refused_call_is_not_tried_again(retried: Retried, clock: ManualClock, waits: list[float]) -> None:
    """A retry never hammers an open circuit. The refusal itself is raised."""
    breaker = CircuitBreaker("payments", failure_threshold=1, clock=clock)
    trip(breaker)
    with pytest.raises(CircuitOpenError, match="'payments' is open"):
        retried(breaker(succeed))
    assert breaker.metrics().total_rejections == 1
    assert waits == []


@each_retry
@pytest.mark.usefixtures("waits")
def test_other_failures_are_tried_again_as_ever(retried: Retried) -> None:
    failures = [Boom, Boom, Boom]

    def work() -> str:
        if failures:
            raise failures.pop()
        return "fine"

    assert retried(work) == "fine"


@each_retry
def test_a_circuit_that_opens_too_long_is_given_up(retried: Retried, clock: ManualClock, waits: list[float]) -> None:
    """`longer_than` bounds the wait by what the refusal says, to the second, before anybody waits."""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    trip(breaker)
    assert end(retried, breaker(succeed), longer_than=29.9) == "CircuitOpenError"
    assert (waits, breaker.metrics().total_rejections) == ([], 1)
    assert end(retried, breaker(succeed), longer_than=timedelta(seconds=30)) == "fine"


@each_retry
def test_a_circuit_that_is_forced_open_is_given_up_at_once(
    retried: Retried, clock: ManualClock, waits: list[float]
) -> None:
    """M2: nobody knows for how long."""
    breaker = CircuitBreaker(clock=clock)
    breaker.force_open()
    assert end(retried, breaker(succeed), longer_than=1e9) == "CircuitOpenError"
    assert (waits, breaker.metrics().total_rejections) == ([], 1)


class ClientError(CircuitOpenError, OSError):
    """As the integrations of clients raise it: a refusal that is an error of the client's kind as well."""


class SDKError(Exception):
    """As SDKs raise it, from an error of the client that they are built on."""


def refused(retry_after: float = 30.0, kind: type[CircuitOpenError] = CircuitOpenError) -> CircuitOpenError:
    return kind("payments", CircuitState.OPEN, retry_after)


def raised_from(cause: BaseException, error: BaseException | None = None) -> BaseException:
    error = SDKError("connection error") if error is None else error
    error.__cause__ = cause
    return error


REFUSALS: dict[str, Callable[[], BaseException]] = {
    "as it is": refused,
    "a client's": lambda: refused(kind=ClientError),
    "behind an SDK's": lambda: raised_from(refused(kind=ClientError)),
    "behind two": lambda: raised_from(raised_from(refused())),
}


@each_retry
@pytest.mark.parametrize("make", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_known_in_every_guise(
    retried: Retried, make: Callable[[], BaseException], waits: list[float]
) -> None:
    """Guards of clients and SDKs raise their own kinds of it."""
    calls: list[str] = []

    def work() -> None:
        calls.append("called")
        raise make()

    assert end(retried, work) == type(make()).__name__
    assert (len(calls), waits) == (1, [])
    assert end(retried, work, longer_than=30) == type(make()).__name__
    assert len(calls) == 1 + 4
    assert len(waits) == 3
    assert min(waits) >= 30


def while_handling_a_refusal() -> BaseException:
    """The primary was refused, and the secondary failed: the error says nothing of a circuit."""
    try:
        try:
            raise refused()
        except CircuitOpenError:
            raise SDKError("the secondary is down")  # noqa: B904
    except SDKError as error:
        return error


def its_own_cause() -> BaseException:
    error = SDKError("a knot")
    return raised_from(error, error)


@each_retry
@pytest.mark.parametrize("make", [while_handling_a_refusal, its_own_cause])
@pytest.mark.usefixtures("waits")
def test_what_is_no_refusal_is_not_taken_for_one(retried: Retried, make: Callable[[], BaseException]) -> None:
    calls: list[str] = []

    def work() -> None:
        calls.append("called")
        raise make()

    assert end(retried, work) == "SDKError"
    assert len(calls) == 4


@pytest.mark.parametrize("retried", [by_tenacity, by_stamina])
@pytest.mark.parametrize("cause", [None, refused()])
def test_an_interrupt_is_not_tried_again(retried: Retried, cause: BaseException | None, waits: list[float]) -> None:
    """E3. Both libraries ask about it, and tenacity's `retry_if_not_exception_type(CircuitOpenError)` would."""
    calls: list[str] = []

    def work() -> None:
        calls.append("called")
        raise KeyboardInterrupt from cause

    with pytest.raises(KeyboardInterrupt):
        retried(work, longer_than=60)
    assert (len(calls), waits) == (1, [])


# Waiting


@each_retry
def test_who_waits_comes_back_when_the_circuit_lets_calls_through(
    retried: Retried, service: Service, clock: ManualClock, waits: list[float]
) -> None:
    """It waits at least `retry_after`, and the one request that it sends after that is the trial."""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    assert attempt(breaker, service.ask) == "Boom"
    service.status = 200
    clock.advance(10)
    assert retried(breaker(service.ask), longer_than=60) == 200
    assert service.requests == 2
    assert breaker.metrics().total_rejections == 1
    assert len(waits) == 1
    assert 20 <= waits[0] <= 21
    assert breaker.state is CircuitState.CLOSED


@each_retry
def test_who_waits_for_a_service_that_stays_down_sends_it_one_request_a_period(
    retried: Retried, service: Service, clock: ManualClock, waits: list[float]
) -> None:
    """Refused, trial, refused, trial, refused: three waits of at least a whole period."""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    assert attempt(breaker, service.ask) == "Boom"
    assert end(retried, breaker(service.ask), attempts=6, longer_than=60) == "Boom"
    assert service.requests == 4
    long_waits = [wait for wait in waits if wait > 1]
    assert len(long_waits) == 3
    assert min(long_waits) >= 30


@each_retry
def test_a_half_open_circuit_whose_trials_are_out_is_waited_for(
    retried: Retried, clock: ManualClock, waits: list[float]
) -> None:
    """H4: until a trial that hangs has lost its attempt."""
    breaker = make_due(clock, reset_timeout=30)
    hangs = breaker.acquire()
    assert retried(breaker(succeed), longer_than=60) == "fine"
    assert len(waits) == 1
    assert 30 <= waits[0] <= 31
    hangs.release()


@each_retry
def test_a_wait_of_no_time_is_no_busy_loop(retried: Retried, waits: list[float]) -> None:
    """Refused with a `retry_after` of 0: an attempt may be free at any moment, and the next call may miss it too."""

    def work() -> None:
        raise refused(0.0)

    assert end(retried, work, attempts=100, longer_than=1) == "CircuitOpenError"
    assert len(waits) == 99
    assert 25 < sum(waits) < 75
    assert max(waits) <= 1


@each_retry
def test_those_who_wait_for_one_circuit_do_not_come_back_in_one_instant(
    retried: Retried, clock: ManualClock, waits: list[float]
) -> None:
    """However close to the end they were refused."""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    back: list[float] = []
    for _ in range(100):
        trip(breaker)
        began = clock.monotonic()
        clock.advance(29.9)
        assert retried(breaker(succeed), longer_than=60) == "fine"
        back.append(clock.monotonic() - began - 30)
    assert 0 <= min(back) < max(back) <= 1
    for tenth in range(10):
        assert sum(tenth / 10 <= moment <= (tenth + 1) / 10 for moment in back) < 35, "a crowd"


# tenacity's own ways to combine


def test_the_wait_for_the_circuit_is_added_to_the_wait_for_other_failures(
    clock: ManualClock, waits: list[float]
) -> None:
    breaker = CircuitBreaker(failure_threshold=2, reset_timeout=30, clock=clock)
    retrying = tenacity.Retrying(
        retry=retry_unless_open(longer_than=60),
        wait=tenacity.wait_fixed(2) + wait_for_circuit(jitter=0.5),
        stop=tenacity.stop_after_attempt(4),
    )
    assert end(retrying, breaker(fail)) == "RetryError"
    assert waits[:2] == [2, 2]
    assert 30 <= waits[2] <= 30.5


def test_a_budget_that_the_wait_would_break_stops_before_the_wait(clock: ManualClock, waits: list[float]) -> None:
    """tenacity's `stop_before_delay`; `stop_after_delay` would wait, try once more, and stop then."""
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    trip(breaker)
    retrying = tenacity.Retrying(
        retry=retry_unless_open(longer_than=60),
        wait=wait_for_circuit(),
        stop=tenacity.stop_before_delay(20),
        reraise=True,
    )
    assert end(retrying, breaker(succeed)) == "CircuitOpenError"
    assert (waits, breaker.metrics().total_rejections) == ([], 1)


def test_a_circuit_forced_open_has_no_time_to_wait_for(clock: ManualClock, waits: list[float]) -> None:
    """Whoever retries it all the same waits by a strategy of their own, and not for ever."""
    breaker = CircuitBreaker(clock=clock)
    breaker.force_open()
    retrying = tenacity.Retrying(wait=tenacity.wait_fixed(5) + wait_for_circuit(), stop=tenacity.stop_after_attempt(3))
    assert end(retrying, breaker(succeed)) == "RetryError"
    assert len(waits) == 2
    assert 5 <= min(waits) <= max(waits) <= 6


def test_a_result_is_waited_for_by_the_other_strategies_alone(waits: list[float]) -> None:
    results = [None, None, "there"]
    retrying = tenacity.Retrying(
        retry=retry_unless_open() | tenacity.retry_if_result(lambda result: result is None), wait=wait_for_circuit()
    )
    assert retrying(lambda: results.pop(0)) == "there"
    assert waits == [0, 0]


@pytest.mark.usefixtures("waits")
def test_it_narrows_a_condition_of_the_users(clock: ManualClock) -> None:
    """A client's refusal is also of the kind that the user retries, and still not retried."""
    errors: list[Exception] = [KeyError("mine"), refused(kind=ClientError), OSError("reset")]

    def work() -> None:
        raise errors[-1]

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(OSError) & retry_unless_open(), stop=tenacity.stop_after_attempt(3)
    )
    assert end(retrying, work) == "RetryError"
    assert retrying.statistics["attempt_number"] == 3
    for expected in ("ClientError", "KeyError"):
        errors.pop()
        assert end(retrying, work) == expected
        assert retrying.statistics["attempt_number"] == 1


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.usefixtures("waits")
def test_it_narrows_an_async_condition(library: str) -> None:
    calls: list[str] = []

    async def work() -> None:
        calls.append("called")
        raise refused() if len(calls) == 3 else Boom

    async def is_worth_it(error: BaseException) -> bool:
        return isinstance(error, Boom | CircuitOpenError)

    async def main() -> None:
        condition = tenacity.asyncio.retry_if_exception(is_worth_it)
        await tenacity.AsyncRetrying(retry=condition & retry_unless_open())(work)

    with pytest.raises(CircuitOpenError):
        LIBRARIES[library].run(main)
    assert len(calls) == 3


@pytest.mark.parametrize("make", [tenacity.Retrying, stamina.retry_context])
def test_around_a_block_the_breaker_stands_behind_the_attempt(
    make: Callable[..., Any], clock: ManualClock, waits: list[float]
) -> None:
    """docs/retries.md: `with attempt, breaker:`."""
    breaker = CircuitBreaker(failure_threshold=2, clock=clock)
    options = {"retry": retry_unless_open()} if make is tenacity.Retrying else {"on": unless_open(Exception)}

    def work() -> None:
        for once in make(**options):
            with once, breaker:
                fail()

    assert end(work) == "CircuitOpenError"
    assert breaker.metrics().total_failures == 2
    assert breaker.metrics().total_rejections == 1
    assert len(waits) == 2


# stamina's hooks


@pytest.mark.parametrize("answer", [True, False, 1.5, timedelta(seconds=2)])
def test_a_hook_of_the_users_answers_for_other_errors(answer: object) -> None:
    hook: Any = unless_open(lambda error: answer)
    assert hook(Boom()) is answer
    assert hook(refused()) is False


def test_types_of_the_users_answer_for_other_errors() -> None:
    hook = unless_open((KeyError, OSError))
    assert hook(KeyError()) is True
    assert hook(ConnectionError()) is True
    assert hook(Boom()) is False
    assert hook(refused(kind=ClientError)) is False


def test_a_hook_that_raises_is_logged_and_the_call_keeps_its_own_error(
    caplog: pytest.LogCaptureFixture, waits: list[float]
) -> None:
    """E4"""

    def hook(error: Exception) -> bool:
        raise ZeroDivisionError

    with pytest.raises(Boom):
        stamina.retry(on=unless_open(hook))(fail)()
    assert [(record.name, record.levelname) for record in caplog.records] == [("circuitbreaker", "ERROR")]
    assert "the backoff hook" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert waits == []


def test_stamina_tells_its_own_hooks_how_long_it_waits(clock: ManualClock, waits: list[float]) -> None:
    told: list[float] = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: told.append(details.wait_for)])
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=30, clock=clock)
    trip(breaker)
    assert by_stamina(breaker(succeed), longer_than=30, jitter=timedelta(seconds=4)) == "fine"
    assert told == waits
    assert 30 <= told[0] <= 34


# No sleep is replaced here


@each_retry
def test_with_the_clocks_of_the_machine_it_waits_as_well(retried: Retried) -> None:
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=0.02)
    began = time.monotonic()
    trip(breaker)
    assert retried(breaker(succeed), longer_than=1, jitter=0.001) == "fine"
    assert time.monotonic() - began >= 0.02


# Retries that clients bring along: inside the breaker, wherever it stands around the client


@pytest.mark.parametrize("retries", [0, 3])
def test_the_retries_of_requests_and_urllib3_are_one_call_for_the_breaker(
    retries: int, service: Service, clock: ManualClock
) -> None:
    """docs/retries.md"""
    breaker = CircuitBreaker(failure_threshold=2, clock=clock)

    def get() -> None:
        session.get(service.url, timeout=10).raise_for_status()

    with requests.Session() as session:
        session.trust_env = False
        policy = urllib3.Retry(total=retries, status_forcelist=[503], respect_retry_after_header=False)
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=policy))
        ends = [attempt(breaker, get) for _ in range(4)]
    assert ends[2:] == ["CircuitOpenError"] * 2
    assert service.requests == 2 * (1 + retries)


def test_urllib3_can_be_left_with_the_retries_that_do_no_harm(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """docs/retries.md: three more tries to connect, none after an answer, also if it says when to come again."""
    policy = urllib3.Retry(connect=3, read=0, status=0, other=0, respect_retry_after_header=False)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=policy))
        assert session.get(service.url, timeout=10).status_code == 503
        assert service.requests == 1
        with pytest.raises(requests.ConnectionError):
            session.get(f"http://{HOST}:{free_port()}/", timeout=10)
    assert [record.name for record in caplog.records if record.levelname == "WARNING"] == ["urllib3.connectionpool"] * 3


def test_the_retries_of_an_httpx_transport_are_for_connecting_and_one_call_for_the_breaker(
    service: Service, clock: ManualClock
) -> None:
    """docs/retries.md"""
    connects: list[str] = []

    def trace(event: str, _: object) -> None:
        connects.extend([event] * event.startswith("connection.connect_tcp.started"))

    def get(url: str) -> None:
        client.get(url, extensions={"trace": trace}).raise_for_status()

    nobody = f"http://{HOST}:{free_port()}/"
    with httpx.Client(transport=httpx.HTTPTransport(retries=1), trust_env=False) as client:
        breaker = CircuitBreaker(failure_threshold=1, clock=clock)
        assert attempt(breaker, lambda: get(nobody)) == "ConnectError"
        assert attempt(breaker, lambda: get(nobody)) == "CircuitOpenError"
        assert len(connects) == 2

        breaker.reset()
        assert attempt(breaker, lambda: get(service.url)) == "HTTPStatusError"
        assert service.requests == 1, "an answer is not retried"


# Wrong options


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"longer_than": -1}, ValueError, "longer_than must be more than 0 seconds and finite, got -1"),
        ({"longer_than": float("inf")}, ValueError, "longer_than must be more than 0 seconds and finite, got inf"),
        ({"longer_than": float("nan")}, ValueError, "longer_than must be more than 0 seconds and finite, got nan"),
        ({"longer_than": 10**400}, ValueError, "longer_than must be more than 0 seconds and finite, got 1000"),
        ({"longer_than": "60"}, TypeError, "longer_than must be a number of seconds or a timedelta, got '60'"),
        ({"longer_than": True}, TypeError, "longer_than must be a number of seconds or a timedelta, got True"),
        ({"jitter": 0}, ValueError, "jitter must be more than 0 seconds and finite, got 0"),
        ({"jitter": timedelta(seconds=-1)}, ValueError, "jitter must be more than 0 seconds and finite, got .*-1"),
        ({"jitter": None}, TypeError, "jitter must be a number of seconds or a timedelta, got None"),
    ],
)
def test_a_wrong_time_is_refused(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        unless_open(Exception, **options)
    ours: Any = retry_unless_open if "longer_than" in options else wait_for_circuit
    with pytest.raises(error, match=text):
        ours(**options)


@pytest.mark.parametrize("on", [None, "OSError", int, KeyboardInterrupt, (OSError, "x"), (OSError, BaseException)])
def test_what_stamina_cannot_be_asked_to_retry_on_is_refused(on: Any) -> None:
    with pytest.raises(TypeError, match="on must be a type of Exception, a tuple of them, or a backoff hook, got "):
        unless_open(on)
