"""E3 and E4: what comes from outside while the user's code runs passes, once the call is settled. Nothing wedges."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, CircuitState, ManualClock, Opening, Outcome

from .support import Boom, attempt, fail, make_due, recovers, succeed


class Kill(BaseException):
    """As gevent's GreenletExit and Timeout: thrown into a greenlet while it waits."""


class Alarm(Exception):
    """What a handler of SIGALRM raises. It is an ordinary exception, as TimeoutError is."""


def ring(number: int, frame: object) -> None:
    raise Alarm


def leave(number: int, frame: object) -> None:
    raise SystemExit(143)


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in HANDLERS.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


HANDLERS: dict[int, Any] = {signal.SIGALRM: ring, signal.SIGTERM: leave}
OUTSIDE: dict[str, tuple[Callable[[], object], type[BaseException]]] = {
    "an alarm": (lambda: signal.raise_signal(signal.SIGALRM), Alarm),
    "SIGTERM": (lambda: signal.raise_signal(signal.SIGTERM), SystemExit),
    "a greenlet's kill": (lambda: _raise(Kill()), Kill),
    "an interrupt": (lambda: _raise(KeyboardInterrupt()), KeyboardInterrupt),
    "a cancellation": (lambda: _raise(asyncio.CancelledError()), asyncio.CancelledError),
}


def _raise(error: BaseException) -> None:
    raise error


class User:
    """Code of the user's, which is hit once where it is told to."""

    def __init__(self, clock: ManualClock, hit: str, come: Callable[[], object]) -> None:
        self.heard: list[str] = []
        self._hit = hit
        self._come = come
        self.armed = True
        self.breaker = CircuitBreaker(
            "shop",
            trip=self,
            is_failure=self.is_failure,
            is_failure_result=self.is_failure_result,
            ignore=self.ignore,
            reset_timeout=self.strategy,
            clock=clock,
        )
        for event in ("success", "failure", "ignored", "state_change"):
            self.breaker.on(event, self.listener)  # type: ignore[call-overload]
            self.breaker.on(event, lambda value: self.heard.append(type(value).__name__))  # type: ignore[call-overload]

    def _be(self, where: str) -> None:
        if self.armed and where == self._hit:
            self.armed = False
            self._come()

    def watch(self) -> User:
        return self

    def see(self, outcome: Outcome) -> str | None:
        self._be("policy")
        return "seen" if outcome.failed else None

    def is_failure(self, error: Exception) -> bool:
        self._be("is_failure")
        return True

    def ignore(self, error: Exception) -> bool:
        self._be("ignore")
        return False

    def is_failure_result(self, result: object) -> bool:
        self._be("is_failure_result")
        return False

    def strategy(self, opening: Opening) -> float:
        self._be("strategy")
        return 30.0

    def listener(self, event: object) -> None:
        self._be("listener")


def by_call(breaker: CircuitBreaker, work: Callable[..., Any]) -> None:
    breaker.call(work)


def by_decorator(breaker: CircuitBreaker, work: Callable[..., Any]) -> None:
    breaker(work)()


def by_block(breaker: CircuitBreaker, work: Callable[..., Any]) -> None:
    with breaker:
        work()


def by_generator(breaker: CircuitBreaker, work: Callable[..., Any]) -> None:
    @breaker
    def steps() -> Iterator[object]:
        yield
        return work()

    list(steps())


def by_coroutine(breaker: CircuitBreaker, work: Callable[..., Any]) -> None:
    @breaker
    async def main() -> object:
        return work()

    with contextlib.suppress(StopIteration):
        main().send(None)


WAYS = {way.__name__: way for way in (by_call, by_decorator, by_block, by_generator, by_coroutine)}


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hit", ["is_failure", "ignore", "is_failure_result", "policy", "strategy", "listener"])
@pytest.mark.parametrize("outside", OUTSIDE)
def test_what_comes_from_outside_passes_once_the_call_is_settled(
    clock: ManualClock, outside: str, hit: str, way: str
) -> None:
    """E3, E4, E6"""
    if (way, hit) == ("by_block", "is_failure_result"):
        pytest.skip("a block has no result")
    come, error = OUTSIDE[outside]
    user = User(clock, hit, come)
    breaker = user.breaker
    with pytest.raises(error):
        WAYS[way](breaker, succeed if hit == "is_failure_result" else fail)
    assert not user.armed
    assert breaker.metrics().total_calls == 1
    assert recovers(breaker, clock)
    assert breaker.metrics().total_calls == 2


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("outside", OUTSIDE)
def test_the_other_listeners_are_notified_all_the_same(clock: ManualClock, outside: str) -> None:
    """E5: each exactly once, in order."""
    come, error = OUTSIDE[outside]
    user = User(clock, "listener", come)
    with pytest.raises(error):
        user.breaker.call(fail)
    user.breaker.metrics()
    assert sorted(user.heard) == ["CallFailed", "StateChange"]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("outside", OUTSIDE)
def test_a_trial_that_cannot_be_judged_for_an_exit_gives_its_attempt_back(clock: ManualClock, outside: str) -> None:
    """H3, H4"""
    come, error = OUTSIDE[outside]
    armed = [True]

    def judge(raised: Exception) -> bool:
        if isinstance(raised, Boom) and clock.monotonic() > 1000 and armed:
            armed.clear()
            come()
        return True

    breaker = make_due(clock, is_failure=judge)
    with pytest.raises(error):
        breaker.call(fail)
    assert breaker.state is CircuitState.HALF_OPEN
    assert attempt(breaker) == "fine"
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.usefixtures("handlers")
def test_the_codes_own_error_does_not_pass_though_a_handler_is_in_force(clock: ManualClock) -> None:
    """E4"""
    breaker = CircuitBreaker(failure_threshold=1, clock=clock, is_failure=lambda error: 1 / 0 > 0)
    assert attempt(breaker, fail) == "Boom"
    assert breaker.state is CircuitState.OPEN


def test_without_signal_an_error_is_the_codes_own(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """E4"""
    breaker = CircuitBreaker(failure_threshold=1, clock=clock, is_failure=lambda error: 1 / 0 > 0)
    monkeypatch.delitem(sys.modules, "signal")
    assert attempt(breaker, fail) == "Boom"
    assert breaker.state is CircuitState.OPEN


def test_an_exit_in_a_thread_passes_to_that_thread(clock: ManualClock) -> None:
    """E4"""
    breaker = CircuitBreaker(failure_threshold=1, clock=clock, on_state_change=lambda change: _raise(SystemExit()))
    caught: list[str] = []
    thread = threading.Thread(target=lambda: caught.append(_exit_of(lambda: breaker.call(fail))))
    thread.start()
    thread.join()
    assert caught == ["SystemExit"]
    assert breaker.state is CircuitState.OPEN


def _exit_of(work: Callable[[], object]) -> str:
    try:
        work()
    except BaseException as error:
        return type(error).__name__
    return ""
