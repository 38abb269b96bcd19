"""What the guards of clients share, without a client: a guard of one's own, by the words of the documentation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from typing import Any

import pytest

from circuitbreaker import CircuitBreakerError, CircuitOpenError, CircuitState, ManualClock, Registry
from circuitbreaker.clients import FAILURE_STATUSES, ClientCall, ClientGuard, FailedResponseError

from .support import Boom, counted, in_threads


def judge(end: object) -> bool | None:
    return end in FAILURE_STATUSES if isinstance(end, int) else isinstance(end, OSError) or None


@pytest.fixture
def guard(clock: ManualClock) -> ClientGuard:
    return ClientGuard("ftp", key=str.lower, judge=judge, options={"failure_threshold": 1, "clock": clock})


def totals(guard: ClientGuard, key: str = "host") -> tuple[int, int, int]:
    return counted(guard.breakers[key])


def test_a_guard_of_ones_own(guard: ClientGuard, sandbox: Registry) -> None:
    with guard.admit("HOST") as call:
        call.responded(200, 200, {})
    call.received()
    call.ended()
    with pytest.raises(ConnectionError), guard.admit("host"):
        raise ConnectionError("it is gone")
    with pytest.raises(CircuitOpenError, match=r"circuit 'ftp\[host\]' is open"):
        guard.admit("host")
    assert totals(guard) == (1, 1, 0)
    assert sandbox.get("ftp[host]").state is CircuitState.OPEN
    assert repr(guard) == "<ClientGuard 'ftp', 1 breakers>"


def test_a_block_that_says_nothing_of_the_end_counts_by_how_it_ends(guard: ClientGuard, clock: ManualClock) -> None:
    """H3: a trial without a word does not keep the circuit half-open."""
    with guard.admit("host"):
        pass
    assert totals(guard) == (1, 0, 0)
    with pytest.raises(OSError, match="gone"), guard.admit("host"):
        raise OSError("gone")
    assert totals(guard) == (1, 1, 0)
    clock.advance(30)
    with guard.admit("host") as call:
        pass
    assert guard.breakers["host"].state is CircuitState.CLOSED
    call.failed(OSError())
    assert totals(guard) == (2, 1, 0), "E2"


@pytest.mark.parametrize("say", [ClientCall.started, ClientCall.received, ClientCall.closed, ClientCall.ignored])
def test_a_block_that_has_said_something_leaves_the_end_to_be_said(
    guard: ClientGuard, say: Callable[[ClientCall], None]
) -> None:
    with guard.admit("host") as call:
        say(call)
    call.failed(OSError())
    successes, failures, ignored = totals(guard)
    assert (successes, failures + ignored) == (0, 1)


def a_stream(guard: ClientGuard, begun: bool) -> Iterator[int]:
    with guard.admit("host") as call:
        if begun:
            call.started()
        yield 1


@pytest.mark.parametrize("begun", [True, False])
def test_a_block_in_a_generator_that_is_closed_says_nothing(guard: ClientGuard, begun: bool) -> None:
    """E3, H3"""
    stream: Any = a_stream(guard, begun)
    next(stream)
    stream.close()
    del stream
    assert totals(guard) == (0, 0, 1)


def test_parts_are_judged_until_one_is_a_failure(clock: ManualClock) -> None:
    seen: list[object] = []

    def judge_part(part: object) -> bool:
        seen.append(part)
        return part == "no"

    guard = ClientGuard("ftp", key=str.lower, judge=judge, options={"judge_part": judge_part, "clock": clock})
    call = guard.admit("host")
    assert call.judges_parts
    for part in ("yes", None, "no", "more"):
        call.received(part)
    assert (seen, call.judges_parts) == (["yes", "no"], False)
    call.ended()
    assert totals(guard) == (0, 1, 0)
    assert str(guard.breakers["host"].metrics().last_failure).startswith("FailedBodyError: ")


@pytest.mark.parametrize("error", [Boom(), KeyboardInterrupt(), CancelledError()])
def test_an_error_that_says_nothing_gives_the_permit_back(guard: ClientGuard, error: BaseException) -> None:
    """E3: the judge is not asked about interrupts and cancellations."""
    with pytest.raises(type(error)), guard.admit("host"):
        raise error
    assert totals(guard) == (0, 0, 1)


def test_an_error_may_be_an_answer(clock: ManualClock) -> None:
    guard = ClientGuard("ftp", key=str.lower, judge=lambda end: False)
    with pytest.raises(Boom), guard.admit("host"):
        raise Boom
    assert totals(guard) == (1, 0, 0)


@pytest.mark.parametrize("failed", [True, False, None])
def test_the_judge_decides_about_another_circuits_refusal_too(failed: bool | None) -> None:
    """E3: whatever a breaker does by default."""
    guard = ClientGuard("ftp", key=str.lower, judge=lambda end: failed)
    with pytest.raises(CircuitOpenError), guard.admit("host"):
        raise CircuitOpenError("other", CircuitState.OPEN, 1.0)
    assert totals(guard) == (failed is False, failed is True, failed is None)


def test_the_first_that_is_said_of_the_end_counts(guard: ClientGuard) -> None:
    """E2"""
    call = guard.admit("host")
    call.received()
    call.closed()
    call.failed(OSError())
    call.ended()
    assert totals(guard) == (1, 0, 0)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {"Retry-After": "90"}, 90),
        (429, {"Retry-After": "90"}, 90),
        (503, {"Retry-After": "9"}, 30),
        (500, {"Retry-After": "90"}, 30),
        (503, {}, 30),
    ],
)
def test_an_answer_that_asks_for_a_pause_lengthens_the_open_period(
    guard: ClientGuard, clock: ManualClock, status: int, headers: Mapping[str, str], seconds: float
) -> None:
    guard.admit("host").responded(status, status, headers)
    with pytest.raises(CircuitOpenError) as refused:
        guard.admit("host")
    assert refused.value.retry_after == seconds


def test_a_failed_answer_says_what_it_was() -> None:
    assert [str(FailedResponseError(status, None)) for status in (503, 599)] == ["503 Service Unavailable", "599"]
    assert isinstance(FailedResponseError(503, "7"), CircuitBreakerError)


def test_ten_thousand_hosts_keep_as_many_breakers_as_allowed(guard: ClientGuard, sandbox: Registry) -> None:
    """E7"""
    for number in range(10_000):
        guard.admit(f"host{number}").ended()
    assert (len(guard.breakers), len(sandbox)) == (1024, 1024)


def test_many_threads_lose_no_request(guard: ClientGuard) -> None:
    """E6"""

    def work() -> None:
        for number in range(500):
            guard.admit(f"host{number % 3}").ended()

    in_threads(8, work)
    assert sum(breaker.metrics().total_successes for breaker in guard.breakers.values()) == 4000


@pytest.mark.usefixtures("broken_logging")
def test_a_judge_that_raises_is_no_matter_where_logging_raises_too() -> None:
    """E4"""
    guard = ClientGuard("ftp", key=str.lower, judge=judge, options={"judge": lambda end: 1 // 0})
    guard.admit("host").responded(503, 503, {})
    assert totals(guard) == (0, 1, 0)


def test_a_judge_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """E4"""
    guard = ClientGuard("ftp", key=str.lower, judge=judge, options={"judge": lambda end: 1 // 0})
    with caplog.at_level(logging.ERROR):
        guard.admit("host").responded(503, 503, {})
    assert totals(guard) == (0, 1, 0)
    assert "ftp: judge raised; the default judge decides" in caplog.text


def test_a_refusal_can_be_made_an_error_of_another_kind(guard: ClientGuard) -> None:
    """With everything that the refusal says."""

    class Refused(CircuitOpenError, OSError):
        pass

    guard.admit("host").failed(OSError("gone"))
    with pytest.raises(CircuitOpenError) as caught:
        guard.admit("host")
    error = Refused.from_refusal(caught.value)
    assert (str(error), vars(error)) == (str(caught.value), vars(caught.value))
    assert isinstance(error, OSError)


def test_a_registry_that_ignores_errors_does_not_hide_failed_answers() -> None:
    """The judge alone decides."""
    guard = ClientGuard(
        "ftp", key=str.lower, judge=judge, options={"registry": Registry(ignore=(CircuitBreakerError, OSError))}
    )
    guard.admit("host").responded(503, 503, {})
    guard.admit("host").failed(OSError())
    assert totals(guard) == (0, 2, 0)


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [("HEAD", 200, {}), ("GET", 204, {}), ("GET", 304, {}), ("GET", 101, {}), ("GET", 200, {"Content-Length": "0"})],
)
def test_an_answer_without_a_body_has_ended(
    guard: ClientGuard, method: str, status: int, headers: Mapping[str, str]
) -> None:
    """RFC 9110, 6.4.1"""
    guard.admit("host").responded(status, status, headers, method)
    assert totals(guard) == (1, 0, 0)


@pytest.mark.parametrize(("method", "headers"), [("HEAD", {}), ("GET", {"Content-Length": "0"})])
def test_a_failed_answer_without_a_body_is_a_failure(
    guard: ClientGuard, method: str, headers: Mapping[str, str]
) -> None:
    guard.admit("host").responded(503, 503, headers, method)
    assert totals(guard) == (0, 1, 0)


def test_an_unknown_option_is_answered_with_those_of_a_client() -> None:
    with pytest.raises(TypeError, match=r"no option 'verify' for a client; the options are .*\bkey, judge\b") as caught:
        ClientGuard("ftp", key=str.lower, judge=judge, options={"verify": False})  # type: ignore[typeddict-unknown-key]
    assert "is_failure" not in str(caught.value)
    assert "fallback" not in str(caught.value)
