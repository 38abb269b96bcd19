"""What the tests share: a service that can be told to fail, and ways to run many callers at once."""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Barrier, Event, Thread
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, ManualClock

if sys.version_info < (3, 11):
    import exceptiongroup as _groups
else:
    import builtins as _groups

BaseExceptionGroup, ExceptionGroup = _groups.BaseExceptionGroup, _groups.ExceptionGroup


class Boom(Exception):
    """The dependency's failure."""


def succeed(value: Any = "fine") -> Any:
    return value


def fail(*args: Any) -> Any:
    raise Boom("out of order")


async def succeed_async(value: Any = "fine") -> Any:
    return value


async def fail_async(*args: Any) -> Any:
    raise Boom("out of order")


def raiser(error: BaseException) -> Callable[..., Any]:
    """What raises `error`, whatever it is called with."""

    def raising(*args: object) -> Any:
        raise error

    return raising


def attempt(breaker: CircuitBreaker, function: Callable[..., Any] = succeed) -> str:
    """One call, and how it ended: its result, or the name of its error."""
    try:
        return str(breaker.call(function))
    except Exception as error:
        return type(error).__name__


def trip(breaker: CircuitBreaker) -> None:
    """Fail until the circuit is open."""
    for _ in range(1000):
        if breaker.state is CircuitState.OPEN:
            return
        attempt(breaker, fail)
    raise AssertionError("it does not trip")


def counted(breaker: CircuitBreaker) -> tuple[int, int, int]:
    """How many calls succeeded, failed, and said nothing."""
    metrics = breaker.metrics()
    return metrics.total_successes, metrics.total_failures, metrics.total_ignored


def refusal_of(breaker: CircuitBreaker) -> CircuitOpenError:
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    return caught.value


def go_on(new: CircuitBreaker, old: CircuitBreaker, clock: ManualClock) -> None:
    """Let `new` go on from a snapshot of `old`, by the same clock."""
    now = clock.monotonic()
    new._circuit.engine.restore(old._circuit.engine.snapshot(now), now)


def make_due(clock: ManualClock, **options: Any) -> CircuitBreaker:
    """A breaker whose next call is its only trial."""
    breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=1, clock=clock, **options)
    trip(breaker)
    clock.advance(30)
    return breaker


def recovers(breaker: CircuitBreaker, clock: ManualClock) -> bool:
    clock.advance(1e6)
    return attempt(breaker) == "fine" and breaker.state is CircuitState.CLOSED


def in_threads(many: int, work: Callable[[], object]) -> None:
    """Run `work` in so many threads, started together; raise the first error that one of them raised."""
    together = Barrier(many)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            together.wait(10)
            work()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        if thread.is_alive():
            errors.append(AssertionError("a thread hangs"))
    if errors:
        raise errors[0]


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def collect_on_pypy() -> None:
    """Let what was dropped disappear where nobody counts references. CPython does at once, and this does nothing."""
    if sys.implementation.name == "pypy":
        for _ in range(3):  # what a finalizer held goes in the next round
            gc.collect()


@contextmanager
def no_cyclic_collector() -> Iterator[None]:
    """What disappears in this block disappears because nobody holds it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def forked(work: Callable[[], bool]) -> int:
    """A child that runs `work`, and has the status 0 if that is true."""
    child = os.fork()
    if child == 0:  # pragma: no cover - the child's coverage is not collected
        status = 1
        try:
            status = 0 if work() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def exit_of_child(child: int | Callable[[], bool]) -> int:
    """The exit status of a forked child, which runs `child` if that is no process yet; one that hangs has failed."""
    if callable(child):
        child = forked(child)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        Event().wait(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1
