"""An interpreter that ends while breakers are in use: nothing is printed, nothing hangs, and callers get their own.

Each test runs a script to its end, in an interpreter of its own.
"""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

BEGIN = """
    import os, sys
    from circuitbreaker import CircuitBreaker, CircuitOpenError, ManualClock, circuit

    def say(text, write=os.write):  # without what is gone by then
        write(1, text.encode() + b" ")

    def fail(error=ValueError):
        raise error

    def use(breaker, fail=fail, say=say, expected=(ValueError, CircuitOpenError)):
        "Use it in every way, and say how a failing call ended."
        breaker.metrics()
        with breaker:
            pass
        breaker.acquire().success()
        breaker.acquire()
        try:
            breaker.call(fail)
        except expected as error:
            say(type(error).__name__)
        breaker.reset()
"""


def output_of(script: str, status: int = 0) -> list[str]:
    """The words that `script` says; it must end with `status`, and leave stderr empty."""
    code = dedent(BEGIN) + dedent(script)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.stderr, ended.returncode) == ("", status)
    return ended.stdout.split()


def test_exit_handlers_may_use_a_breaker() -> None:
    """E4, C3"""
    script = """
        import atexit
        breaker = CircuitBreaker("late", failure_threshold=1)
        atexit.register(use, breaker)
        atexit.register(lambda: use(CircuitBreaker("later", failure_threshold=1)))
    """
    assert output_of(script) == ["ValueError"] * 2


@pytest.mark.parametrize("options", ["", ", is_failure=lambda error: 1 / 0"], ids=["plain", "raising predicate"])
def test_finalizers_may_use_a_breaker_while_the_interpreter_shuts_down(options: str) -> None:
    """E4, C3: the caller gets its own error, though nothing can be imported any more, and so nothing logged."""
    script = f"""
        class Late:
            def __init__(self, breaker, use=use):
                self.breaker, self.use = breaker, use

            def __del__(self):
                self.use(self.breaker)

        breaker = CircuitBreaker("late", failure_threshold=9, reset_timeout=5{options})
        late = Late(breaker)
        cycle = [Late(breaker)]
        cycle.append(cycle)
    """
    assert output_of(script) == ["ValueError"] * 2


@pytest.mark.parametrize("state", ["closed", "half_open"])
def test_permits_blocks_and_generators_may_be_alive_at_the_end(state: str) -> None:
    """H3, E7: in globals, in cycles, and on the stack of a generator."""
    script = f"""
        clock = ManualClock()
        breaker = CircuitBreaker(failure_threshold=1, half_open_max_attempts=9, clock=clock)
        if {state == "half_open"}:
            breaker.open()
            clock.advance(30)

        def block():
            with breaker:
                yield

        @breaker
        def steps():
            yield

        @breaker
        async def work():
            await Forever()

        class Forever:
            def __await__(self):
                yield

        kept = [breaker.acquire(), block(), steps(), work()]
        next(kept[1]), next(kept[2]), kept[3].send(None)
        cycle = [breaker.acquire(), block()]
        next(cycle[1])
        cycle.append(cycle)
        say(breaker.state.value)
    """
    assert output_of(script) == [state]


def test_daemon_threads_may_be_using_it_when_the_interpreter_ends() -> None:
    script = """
        import threading
        breaker = CircuitBreaker(failure_threshold=2, reset_timeout=1e-4, on_state_change=lambda change: None)
        running = threading.Barrier(5)

        def forever():
            running.wait()
            while True:
                try:
                    with breaker:
                        breaker.call(fail)
                except (ValueError, CircuitOpenError):
                    breaker.metrics()

        for _ in range(4):
            threading.Thread(target=forever, daemon=True).start()
        running.wait()
        while breaker.metrics().total_calls < 2000:
            pass
        say("over")
    """
    assert output_of(script) == ["over"]


def test_threads_that_outlive_the_main_thread_go_on_using_it() -> None:
    script = """
        import threading
        breaker = CircuitBreaker(failure_threshold=1, on_state_change=lambda change: say(change.new_state.value))
        main = threading.main_thread()

        def outlive():
            main.join()
            use(breaker)

        threading.Thread(target=outlive).start()
    """
    assert output_of(script) == ["open", "ValueError", "closed"]


@pytest.mark.parametrize("where", ["block", "call", "generator"])
def test_leaving_by_sys_exit_keeps_its_status(where: str) -> None:
    """E3, C3"""
    script = f"""
        breaker = CircuitBreaker(failure_threshold=1)
        import atexit
        atexit.register(lambda: say(f"{{breaker.state}} {{breaker.metrics().total_ignored}}"))
        if {where!r} == "block":
            with breaker:
                sys.exit(7)
        elif {where!r} == "call":
            breaker.call(sys.exit, 7)
        else:
            list(breaker(lambda: (yield sys.exit(7)))())
    """
    assert output_of(script, 7) == ["closed", "1"]


def test_a_listener_that_exits_ends_the_program() -> None:
    """E4: as the handler of SIGTERM would, if it came while the listener runs."""
    script = """
        import logging
        logging.getLogger("circuitbreaker").addHandler(logging.NullHandler())
        breaker = CircuitBreaker(failure_threshold=1, on_state_change=lambda change: sys.exit(7))
        use(breaker)
        say("over")
    """
    assert output_of(script, 7) == []


def test_a_loop_that_is_abandoned_with_its_tasks_leaves_nothing_to_say() -> None:
    """H3: a task that is destroyed while its call is under way."""
    script = """
        import asyncio
        breaker = CircuitBreaker(failure_threshold=1)

        @breaker
        async def hang():
            await asyncio.Event().wait()

        async def main():
            task = asyncio.ensure_future(hang())
            await asyncio.sleep(0)
            task.cancel()

        asyncio.run(main())
        say(breaker.metrics().total_ignored.__repr__())
    """
    assert output_of(script) == ["1"]
