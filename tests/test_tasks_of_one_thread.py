"""Tasks that share a thread: greenlets, nested loops, blocks at the root of a task. Each has what is its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import pytest
import trio
import trio.testing

from circuitbreaker import CircuitBreaker, CircuitState, ManualClock

from .support import make_due


class Connection:
    """Its own context methods stand at the root of tasks, with a guarded block inside."""

    def __init__(self, breaker: CircuitBreaker, work: Callable[[], Awaitable[object]]) -> None:
        self._breaker = breaker
        self._work = work

    async def __aenter__(self) -> None:
        with self._breaker:
            await self._work()

    async def __aexit__(self, *error: object) -> None:
        with self._breaker:
            await self._work()

    async def __enter__(self) -> None:
        async with self._breaker:
            await self._work()


METHODS = ["__aenter__", "__aexit__", "__enter__"]
each_method = pytest.mark.parametrize("method", METHODS)


@each_method
@pytest.mark.parametrize("wrap", [asyncio.ensure_future, asyncio.shield, lambda work: asyncio.wait_for(work, 60)])
def test_blocks_at_the_root_of_a_task_settle_their_own_trials(clock: ManualClock, method: str, wrap: Any) -> None:
    """W4: the first to end does not settle the trial of the other, which fails."""
    breaker = CircuitBreaker(half_open_max_attempts=2, success_threshold=2, clock=clock)
    breaker.open()
    clock.advance(30)

    async def main() -> None:
        go_on = [asyncio.Event(), asyncio.Event()]

        async def fails() -> None:
            await go_on[0].wait()
            raise ConnectionError

        works, breaks = Connection(breaker, go_on[1].wait), Connection(breaker, fails)
        first = asyncio.ensure_future(wrap(getattr(works, method)()))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(wrap(getattr(breaks, method)()))
        for _ in range(3):
            await asyncio.sleep(0)
        go_on[1].set()
        await first
        assert breaker.metrics().success_count == 1
        assert breaker.state is CircuitState.HALF_OPEN
        go_on[0].set()
        with pytest.raises(ConnectionError):
            await second

    asyncio.run(main())
    assert breaker.state is CircuitState.OPEN


@each_method
def test_blocks_at_the_root_of_a_trio_task_settle_their_own_trials(clock: ManualClock, method: str) -> None:
    """W4, E8"""
    breaker = CircuitBreaker(half_open_max_attempts=2, success_threshold=2, clock=clock)
    breaker.open()
    clock.advance(30)

    async def main() -> None:
        fast, slow = trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(Connection(breaker, slow.wait), method))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(getattr(Connection(breaker, fast.wait), method))
            await trio.testing.wait_all_tasks_blocked()
            fast.set()
            await trio.testing.wait_all_tasks_blocked()
            assert breaker.metrics().success_count == 1
            breaker.open()  # so that the other one is late
            slow.set()

    trio.run(main)
    assert breaker.state is CircuitState.OPEN


def test_a_trial_entered_at_the_root_of_one_task_and_left_in_another_is_given_back(clock: ManualClock) -> None:
    """W4, H4"""
    breaker = make_due(clock)

    async def main() -> None:
        await asyncio.gather(breaker.__aenter__())
        await asyncio.gather(breaker.__aexit__(None, None, None))

    asyncio.run(main())
    assert breaker.state is CircuitState.CLOSED


GREENLETS = """
import sys, time
from circuitbreaker import CircuitBreaker, ManualClock  # before threads are replaced, as with gunicorn --preload
early = CircuitBreaker("early")
{patch}
late = CircuitBreaker("late")

def check(breaker):
    ended, changes = [], []
    def listen(event):
        sleep(0.01)  # others run meanwhile
        ended.append(event)
    for event in "success", "failure", "ignored":
        breaker.on(event, listen)
    breaker.on("state_change", lambda change: (sleep(0.01), changes.append(change)))
    def call(number):
        try:
            with breaker:
                sleep(0.001 * (number % 3))
                if number % 2:
                    raise ConnectionError
        except Exception:
            pass
    run([lambda number=number: call(number) for number in range(20)])
    run([breaker.open, breaker.reset, breaker.open, breaker.reset])
    metrics = breaker.metrics()
    assert len(ended) == metrics.total_calls == 20, (len(ended), metrics)
    states = [change.new_state.value for change in changes]
    assert states == ["open", "closed"] * (len(states) // 2) and states, states

class Waiting:
    "A policy that waits under the lock."
    def watch(self): return self
    def see(self, outcome):
        sleep(0.001)
        return None

def check_policy(breaker):
    def fails():
        try:
            breaker.call(lambda: 1 / 0)
        except ZeroDivisionError:
            pass
    run([fails] * 10)
    breaker.metrics()
    assert breaker.metrics().total_failures == 10, breaker.metrics()

for breaker in early, late:
    check(breaker)
check_policy(CircuitBreaker(trip=Waiting()))
"""
PATCHES = {
    "gevent": """
import gevent.monkey; gevent.monkey.patch_all()
import gevent
sleep = gevent.sleep
def run(works): gevent.joinall([gevent.spawn(work) for work in works], raise_error=True)
""",
    "eventlet": """
import warnings; warnings.simplefilter("ignore")
import eventlet; eventlet.monkey_patch()
sleep = eventlet.sleep
def run(works): [thread.wait() for thread in [eventlet.spawn(work) for work in works]]
""",
}


@pytest.mark.parametrize("library", PATCHES)
def test_greenlets_that_share_a_thread_lose_no_event_while_a_listener_waits(library: str) -> None:
    """E5, E6: also where threads were replaced after the package was imported."""
    pytest.importorskip(library)
    code = GREENLETS.format(patch=PATCHES[library])
    environment = {**os.environ, "EVENTLET_NO_GREENDNS": "yes"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_loop_that_runs_within_a_listener_loses_no_event_of_other_tasks(clock: ManualClock) -> None:
    """E5: as nest_asyncio lets a loop run within itself."""
    breaker = CircuitBreaker(clock=clock)
    ended: list[object] = []

    def listen(event: object) -> None:
        ended.append(event)
        if len(ended) == 1:  # what a nested loop does: it runs steps of other tasks, in their contexts
            other.run(breaker.call, lambda: None)

    other = copy_context()
    breaker.on("success", listen)
    breaker.call(lambda: None)
    assert len(ended) == breaker.metrics().total_calls == 2


def test_what_a_listener_starts_is_its_own_until_it_ends(clock: ManualClock) -> None:
    """E5: a call that a listener makes is no event; one of a task that goes on after it is."""
    breaker = CircuitBreaker(clock=clock)
    ended: list[object] = []
    tasks: list[asyncio.Task[None]] = []

    async def goes_on() -> None:
        breaker.call(lambda: None)

    def listen(event: object) -> None:
        ended.append(event)
        breaker.call(lambda: None)
        if not tasks:
            tasks.append(asyncio.ensure_future(goes_on()))

    async def main() -> None:
        breaker.on("success", listen)
        breaker.call(lambda: None)
        await tasks[0]

    asyncio.run(main())
    assert len(ended) == 2
    assert breaker.metrics().total_calls == 4
