"""What the lock-free paths promise, counted under as many threads as asked for, on whatever interpreter runs this.

    python -m checks.interpreters.contention [calls per thread, 100000] [threads, 8]

Each line is one promise, what was expected, and what came out. The exit status is 1 if they differ anywhere.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from threading import Barrier, Event, Thread
from time import perf_counter

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    FailureRate,
    ManualClock,
    Outcome,
    Registry,
    StateChange,
    circuit,
)

Work = Callable[[int], object]
Seen = tuple[object, object]
"""What was expected, and what came out."""


class BoomError(Exception):
    """The failure of the guarded code."""


def in_threads(threads: int, work: Work, meanwhile: Callable[[], object] | None = None) -> None:
    """Run `work` in so many threads, and `meanwhile` over and over in one more; raise what one of them raised."""
    start, stop, errors = Barrier(threads + (meanwhile is not None)), Event(), list[BaseException]()

    def run(index: int) -> None:
        start.wait()
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    def repeat(_: int) -> None:
        start.wait()
        while meanwhile is not None and not stop.is_set():
            meanwhile()

    workers = [Thread(target=run, args=(index,)) for index in range(threads)]
    other = [] if meanwhile is None else [Thread(target=repeat, args=(0,))]
    for thread in workers + other:
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    for thread in other:
        thread.join()
    if errors:
        raise errors[0]


def totals(calls: int, threads: int) -> Seen:
    """E6: every success is counted, while resets end one closed period after the other."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, calls=100) | FailureRate(0.5, seconds=1))
    guarded = breaker(lambda: None)
    in_threads(threads, lambda _: [guarded() for _ in range(calls)], breaker.reset)
    return calls * threads, breaker.metrics().total_successes


def numbers(calls: int, threads: int) -> Seen:
    """C2: a policy of one's own is shown the numbers 1, 2, 3 ... each once."""
    seen: list[int] = []

    class Watch:
        def watch(self) -> Watch:
            return self

        def see(self, outcome: Outcome) -> str | None:
            seen.append(outcome.number)
            return None

    guarded = CircuitBreaker(trip=Watch())(lambda: None)
    in_threads(threads, lambda _: [guarded() for _ in range(calls // 10)])
    return [calls // 10 * threads, "without a gap"], [len(seen), _gaps(sorted(seen))]


def _gaps(numbers: list[int]) -> str:
    return "without a gap" if numbers == list(range(1, len(numbers) + 1)) else "with gaps"


def blocks(calls: int, threads: int) -> Seen:
    """W4: each block is settled once, while resets end one closed period after the other."""
    breaker = CircuitBreaker()

    def work(_: int) -> None:
        for _ in range(calls // 2):
            with breaker:
                pass

    in_threads(threads, work, breaker.reset)
    return (calls // 2 * threads, 0), (breaker.metrics().total_successes, breaker.metrics().total_ignored)


def permits(calls: int, threads: int) -> Seen:
    """E2: a permit that all threads settle is settled once."""
    breaker = CircuitBreaker()
    kept = [breaker.acquire() for _ in range(calls // 10)]

    def work(index: int) -> None:
        for permit in kept:
            (permit.success if index % 2 else permit.release)()

    in_threads(threads, work)
    return len(kept), breaker.metrics().total_calls


def trials(calls: int, threads: int) -> Seen:
    """H1, H3: no more trials are out than there are attempts, and all come back."""
    clock = ManualClock()
    breaker = CircuitBreaker(clock=clock, half_open_max_attempts=3)
    breaker.open()
    clock.advance(30)
    out: list[None] = []
    at_once: list[int] = []

    def work(_: int) -> None:
        for _ in range(calls // 10):
            with suppress(CircuitOpenError):
                permit = breaker.acquire()
                out.append(None)
                at_once.append(len(out))
                out.pop()
                permit.release()

    in_threads(threads, work)
    return ("at most 3", len(at_once)), (f"at most {max(3, *at_once)}", breaker.metrics().total_ignored)


def every_state(calls: int, threads: int) -> Seen:
    """E6, E5: what callers saw is what was counted, through thousands of transitions, each told of in order."""
    told: list[StateChange] = []
    ends: list[Counter[str]] = []
    breaker = CircuitBreaker(failure_threshold=3, reset_timeout=0.0001, on_state_change=told.append)

    @breaker
    def sometimes(fails: bool) -> None:
        if fails:
            raise BoomError

    def work(index: int) -> None:
        chance, mine = random.Random(index), Counter[str]()
        for _ in range(calls // 5):
            mine[_end(sometimes, chance.random() < 0.3)] += 1
        ends.append(mine)

    in_threads(threads, work)
    seen: Counter[str] = sum(ends, Counter())
    metrics = breaker.metrics()
    counted = (metrics.total_successes, metrics.total_failures, metrics.total_rejections)
    broken = sum(one.new_state is not next_one.old_state for one, next_one in pairwise(told))
    return (seen["success"], seen["failure"], seen["rejection"], 0), (*counted, broken)


def _end(sometimes: Callable[[bool], object], fails: bool) -> str:
    try:
        sometimes(fails)
    except BoomError:
        return "failure"
    except CircuitOpenError:
        return "rejection"
    return "success"


def names(calls: int, threads: int) -> Seen:
    """E8: a registry may be read and written while others drop their breakers."""
    registry = Registry()
    kept = [registry.get_or_create(str(number)) for number in range(10)]
    incomplete: list[object] = []

    def work(index: int) -> None:
        for number in range(calls // 10):
            with suppress(ValueError):  # if another thread has one by that name
                CircuitBreaker("brief" if index % 2 else f"{index} {number}", registry=registry)
            if index % 4 == 0 and len(list(registry)) < len(kept):
                incomplete.append(index)

    in_threads(threads, work)
    return (len(kept), 0), (len(registry), len(incomplete))


def keys(calls: int, threads: int) -> Seen:
    """E6, E7: one breaker per key, however many ask for it at once; no more of them than `maxsize`."""

    @circuit(key=lambda key: key, maxsize=50, registry=None)
    def guarded(key: int) -> int:
        return key

    in_threads(threads, lambda _: [guarded(number % 50) for number in range(calls // 5)])
    total = sum(breaker.metrics().total_calls for breaker in guarded.breakers.values())
    in_threads(threads, lambda _: [guarded(number % 200) for number in range(calls // 50)])
    closed = [breaker.state for breaker in guarded.breakers.values()].count(CircuitState.CLOSED)
    return (calls // 5 * threads, 50), (total, closed)


def main(calls: int = 100_000, threads: int = 8) -> int:
    """Print what came out; 1 if anything was not as expected."""
    wrong = 0
    print(f"Python {sys.version.split()[0]} ({sys.implementation.name}), the GIL {_gil()}, {threads} threads")
    for claim in (totals, numbers, blocks, permits, trials, every_state, names, keys):
        began = perf_counter()
        try:
            expected, got = claim(calls, threads)
        except Exception as error:
            expected, got = "no error", repr(error)
        wrong += expected != got
        verdict = "as expected" if expected == got else f"WRONG: expected {expected}"
        print(f"{claim.__doc__}\n    {got}: {verdict}; {perf_counter() - began:.1f} s", flush=True)
    print(f"The GIL is {_gil()} at the end.")
    return int(wrong > 0)


def _gil() -> str:
    enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return "on" if enabled() else "off"


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
