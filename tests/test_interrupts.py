"""KeyboardInterrupt at every point of the package at which one can hit: nothing is wedged, nothing counted twice.

What an interrupt costs is told in no promise but H4: at most the call that it hit, and an attempt for as long as
`half_open_timeout`. So after every single interrupt, the circuit must trip, refuse, recover, count and tell as ever, in
the thread that was hit and in another.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    Hold,
    ManualClock,
    Outcome,
    Registry,
    SlowCallRate,
    circuit,
)

from .interrupting import interrupted_everywhere
from .support import attempt, fail, in_threads, succeed, trip

pytestmark = [
    pytest.mark.skipif(sys.implementation.name != "cpython", reason="interrupts hit other interpreters elsewhere"),
    # An interrupt may hit between the making of a coroutine and its first step, in any Python code.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    # Python swallows what hits a finalizer or a generator that is closed, and says so.
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]

End = Callable[[], object]
Way = Callable[[CircuitBreaker, End], object]


def ignored() -> None:
    raise LookupError


def drive(awaitable: Any) -> object:
    """Run a coroutine that waits for nothing."""
    try:
        awaitable.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def decorated(breaker: CircuitBreaker, end: End) -> object:
    return breaker(lambda: end())()


def called(breaker: CircuitBreaker, end: End) -> object:
    return breaker.call(end)


def in_a_block(breaker: CircuitBreaker, end: End) -> object:
    with breaker:
        return end()


def by_permit(breaker: CircuitBreaker, end: End) -> object:
    with breaker.acquire():
        return end()


def in_callbacks(breaker: CircuitBreaker, end: End) -> None:
    permit = breaker.acquire()
    try:
        end()
    except Exception as error:
        permit.failure(error)
    else:
        permit.success()


def in_a_coroutine(breaker: CircuitBreaker, end: End) -> object:
    @breaker
    async def work() -> object:
        return end()

    return drive(work())


def in_a_generator(breaker: CircuitBreaker, end: End) -> object:
    @breaker
    def steps() -> Iterator[object]:
        yield end()

    return list(steps())


def in_an_async_generator(breaker: CircuitBreaker, end: End) -> object:
    @breaker
    async def steps() -> AsyncIterator[object]:
        yield end()

    async def collect() -> list[object]:
        return [each async for each in steps()]

    return drive(collect())


# Ways, and how they end: the state that the call meets, and what it runs

WAYS: list[Way] = [
    decorated,
    called,
    in_a_block,
    by_permit,
    in_callbacks,
    in_a_coroutine,
    in_a_generator,
    in_an_async_generator,
]
ENDS: dict[str, tuple[str, End]] = {
    "success": ("closed", succeed),
    "trip": ("closed", fail),
    "refusal": ("open", succeed),
    "successful trial": ("due", succeed),
    "failed trial": ("due", fail),
    "neutral trial": ("due", ignored),
}


class Scene:
    """A breaker in some state, and what was told of it."""

    def __init__(self, state: str = "closed", listened_to: bool = False, **options: Any) -> None:
        self.clock = ManualClock()
        given = {"failure_threshold": 1, "half_open_max_attempts": 1, "ignore": LookupError, **options}
        if "trip" in given:
            del given["failure_threshold"]
        self.breaker = CircuitBreaker("scene", registry=None, clock=self.clock, **given)
        self.told: list[str] = []
        self.breaker.on("state_change", lambda change: self.told.append(change.new_state.value))
        if listened_to:
            self.breaker.on("success", lambda told: self.told.append("success"))
            self.breaker.on("rejected", lambda told: self.told.append("rejected"))
        self.expected = ["open", "rejected", "half_open", "success", "closed", "success"]
        if not listened_to:
            self.expected = ["open", "half_open", "closed"]
        for _ in range(10):
            attempt(self.breaker)
        self.bring(state)

    def bring(self, state: str) -> None:
        if state != "closed":
            trip(self.breaker)
        if state == "due":
            self.clock.advance(30)

    def totals(self) -> list[int]:
        metrics = self.breaker.metrics()
        return [metrics.total_successes, metrics.total_failures, metrics.total_rejections, metrics.total_ignored]

    def check(self) -> None:
        """That it recovers, and then works as ever: for another thread, and for this one."""
        in_threads(1, self.recover)
        self.cycle()

    def recover(self) -> None:
        if self.breaker.hold in (Hold.FORCED_OPEN, Hold.FORCED_CLOSED):
            self.breaker.reset()  # as somebody must
        for _ in range(3):
            self.clock.advance(1e6)
            attempt(self.breaker)
        assert self.breaker.state is CircuitState.CLOSED
        assert attempt(self.breaker) == "fine"

    def cycle(self) -> None:
        breaker = self.breaker
        breaker.reset()
        before = breaker.metrics().total_calls
        self.told.clear()
        trip(breaker)
        failures = breaker.metrics().failure_count
        assert attempt(breaker) == "CircuitOpenError"
        self.clock.advance(30)
        with breaker:
            assert breaker.state is CircuitState.HALF_OPEN
        assert breaker(succeed)() == "fine"
        assert breaker.metrics().total_calls == before + failures + 3
        assert self.told == self.expected


Make = Callable[[], tuple[Scene, Callable[[], object]]]


def check_everywhere(make: Make, calls: int) -> None:
    """Interrupt what `make` gives at each of its points, and check what is left. It makes so many calls."""
    scenes: list[tuple[Scene, list[int]]] = []

    def begin() -> Callable[[], object]:
        scene, act = make()
        scenes.append((scene, scene.totals()))
        return act

    for where in interrupted_everywhere(begin):
        scene, before = scenes[-1]
        try:
            more = [after - each for after, each in zip(scene.totals(), before, strict=True)]
            assert min(more) >= 0, more
            assert sum(more) <= calls, more
            scene.check()
        except AssertionError as broken:
            raise AssertionError(f"after an interrupt at {where}: {broken}") from broken
    assert len(scenes) > 2


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_an_interrupt_anywhere_in_a_call_wedges_nothing(way: Way, end: str) -> None:
    """H3, H4, E6"""
    state, function = ENDS[end]

    def make() -> tuple[Scene, Callable[[], object]]:
        scene = Scene(state, listened_to=way in (called, in_a_block))
        return scene, lambda: way(scene.breaker, function)

    check_everywhere(make, 1)


@pytest.mark.parametrize("hold", [None, "force_open", "force_closed", "shadow"])
@pytest.mark.parametrize("order", ["open", "reset", "force_open", "force_closed", "shadow", "metrics", "__repr__"])
def test_an_interrupt_anywhere_in_an_order_wedges_nothing(order: str, hold: str | None) -> None:
    """M1, M2"""

    def make() -> tuple[Scene, Callable[[], object]]:
        scene = Scene("due")
        if hold is not None:
            getattr(scene.breaker, hold)()
            attempt(scene.breaker)
        return scene, getattr(scene.breaker, order)

    check_everywhere(make, 0)


# What else can be under way


def nested_blocks(scene: Scene) -> object:
    with scene.breaker, ExitStack() as stack:
        stack.enter_context(scene.breaker)
        with scene.breaker:
            return succeed()


def a_block_of_another_period(scene: Scene) -> None:
    with scene.breaker:
        scene.breaker.reset()
        with scene.breaker:
            succeed()


def a_dropped_permit(scene: Scene) -> None:
    scene.breaker.acquire()
    attempt(scene.breaker)


def an_expired_trial(scene: Scene) -> None:
    slow = scene.breaker.acquire()
    scene.clock.advance(30)
    attempt(scene.breaker)
    slow.success()


def a_late_result(scene: Scene) -> None:
    late = scene.breaker.acquire()
    scene.breaker.reset()
    late.failure()


def a_shadowed_call(scene: Scene) -> None:
    scene.breaker.shadow()
    attempt(scene.breaker)
    scene.breaker.reset()


def a_listener_that_comes_and_goes(scene: Scene) -> None:
    scene.breaker.on("success", print)()


def several_calls(scene: Scene) -> None:
    for end in (succeed, fail, succeed):
        attempt(scene.breaker, end)
        scene.clock.advance(5)


class Ordering:
    """A policy that once gives the breaker orders in the middle of a change."""

    breaker: CircuitBreaker
    armed = False

    def watch(self) -> Ordering:
        return self

    def see(self, outcome: Outcome) -> str | None:
        if self.armed:
            self.armed = False
            self.breaker.shadow()
            attempt(self.breaker)
            self.breaker.reset()
        return "seen" if outcome.failed else None


SCENES: dict[str, tuple[str, dict[str, Any], Callable[[Scene], object], int]] = {
    "nested blocks": ("closed", {}, nested_blocks, 3),
    "nested trials": ("due", {"half_open_max_attempts": 3}, nested_blocks, 3),
    "a block of another period": ("closed", {}, a_block_of_another_period, 2),
    "a dropped permit": ("closed", {}, a_dropped_permit, 2),
    "a dropped trial": ("due", {}, a_dropped_permit, 2),
    "an expired trial": ("due", {}, an_expired_trial, 2),
    "a late result": ("closed", {}, a_late_result, 1),
    "a shadowed call": ("open", {}, a_shadowed_call, 1),
    "a fallback": ("open", {"fallback": lambda: "CircuitOpenError"}, lambda scene: attempt(scene.breaker), 1),
    "a listener": ("closed", {}, a_listener_that_comes_and_goes, 0),
    "a rate of calls": ("closed", {"trip": FailureRate(0.5, calls=2)}, several_calls, 3),
    "a rate in seconds": ("closed", {"trip": FailureRate(0.5, seconds=7, minimum_calls=2)}, several_calls, 3),
    "slow calls": ("closed", {"trip": SlowCallRate(slower_than=1, calls=2) | ConsecutiveFailures(1)}, several_calls, 3),
    "policies combined": ("closed", {"trip": ConsecutiveFailures(1) & FailureRate(0.1)}, several_calls, 3),
    "a judged result": ("due", {"is_failure_result": lambda result: result != "fine"}, several_calls, 3),
    "a predicate that raises": ("due", {"is_failure": lambda error: 1 / 0}, several_calls, 3),
}


@pytest.mark.parametrize("name", SCENES)
def test_an_interrupt_anywhere_else_wedges_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """H4, E4, E6"""
    caplog.set_level(logging.CRITICAL)
    state, options, act, calls = SCENES[name]

    def make() -> tuple[Scene, Callable[[], object]]:
        scene = Scene(state, **options)
        return scene, lambda: act(scene)

    check_everywhere(make, calls)


def test_an_interrupt_while_a_policy_gives_orders_wedges_nothing() -> None:
    """C2, E5, H4"""

    def make() -> tuple[Scene, Callable[[], object]]:
        policy = Ordering()
        scene = Scene(trip=policy)
        policy.breaker, policy.armed = scene.breaker, True
        return scene, lambda: attempt(scene.breaker, fail)

    check_everywhere(make, 2)


def test_after_an_interrupt_anywhere_own_code_that_raises_is_logged_about_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """E4"""

    def make() -> Callable[[], object]:
        return lambda: attempt(breaker, fail)

    breaker = CircuitBreaker(is_failure=lambda error: 1 / 0 > 0, failure_threshold=10**9)
    for where in interrupted_everywhere(make):
        attempt(breaker, succeed)
        breaker.metrics()
        caplog.clear()
        attempt(breaker, fail)
        assert len(caplog.records) >= 1, where


def test_an_interrupt_while_breakers_come_and_go_by_key_wedges_nothing() -> None:
    """E7: the registry and the mapping agree, whatever was being made or dropped."""

    def make() -> Callable[[], object]:
        registries.append(Registry())
        with registries[-1].as_default():
            guarded.append(circuit(key=lambda value: value, maxsize=1, name="by key")(succeed))
        return lambda: [guarded[-1](number) for number in range(3)]

    registries: list[Registry] = []
    guarded: list[Any] = []
    for where in interrupted_everywhere(make):
        in_threads(1, lambda: [guarded[-1](number) for number in (2, 3, 4)])
        assert list(guarded[-1].breakers) == [4], where
        assert len(registries[-1]) == 1, where


def test_an_interrupt_while_a_breaker_is_named_wedges_nothing() -> None:
    """The name is taken by a whole breaker, or free."""

    def make() -> Callable[[], object]:
        registries.append(Registry())
        registries[-1].on("success", lambda event: None)
        return lambda: registries[-1].get_or_create("shop", failure_threshold=1)

    registries: list[Registry] = []
    for where in interrupted_everywhere(make):
        breaker = registries[-1].get_or_create("shop", failure_threshold=1)
        trip(breaker)
        in_threads(1, registries[-1].clear)
        assert len(registries[-1]) == 0, where


def test_a_closed_period_whose_end_is_interrupted_goes_on(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """E6, C2: by an interrupt in the built-in function that the end calls last, for coverage to see."""
    breaker = CircuitBreaker(failure_threshold=2, clock=clock)

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    assert [attempt(breaker), attempt(breaker, fail)] == ["fine", "Boom"]
    with monkeypatch.context() as patch:
        patch.setattr("circuitbreaker._engine.engine.max", interrupt, raising=False)
        with pytest.raises(KeyboardInterrupt):
            breaker.call(fail)
    assert breaker.state is CircuitState.CLOSED
    assert [attempt(breaker), attempt(breaker, fail), attempt(breaker, fail)] == ["fine", "Boom", "Boom"]
    assert breaker.state is CircuitState.OPEN
    assert breaker.metrics()[6:9] == (2, 4, 0)
