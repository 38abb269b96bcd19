"""What the comparison says about this package, cell by cell. Each cell is worked out from the package itself."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier, Event, Lock, Thread, active_count
from typing import Any, get_args

import pytest
import trio

import circuitbreaker
from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    EventName,
    ExponentialBackoff,
    FailureRate,
    ManualClock,
    Options,
    Outcome,
    Registry,
    RetryAfter,
    SlowCallRate,
    circuit,
)
from circuitbreaker.stores.memory import MemoryServer, MemoryStore

from .servers import until

ROOT = Path(__file__).parent.parent
ABOUT = metadata("circuitbreaker-kit")
CELLS: dict[str, Callable[[], str]] = {}
"""By the label of a row: what works out our cell."""


def cell(label: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    def keep(work_out: Callable[[], str]) -> Callable[[], str]:
        CELLS[label] = work_out
        return work_out

    return keep


# The tables


def rows(page: str) -> dict[str, list[str]]:
    """The comparison of a page: by the label of a row, its cells without footnotes, ours first."""
    text = re.sub(r"\[\^\w+\]", "", (ROOT / page).read_text(encoding="utf-8"))
    lines = text[text.index("| | this package |") :].split("\n\n")[0].splitlines()
    found = [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {label: cells for label, *cells in found[2:] if not label.startswith("**")}


SHORT, FULL = rows("README.md"), rows("docs/migration.md")


def test_every_row_about_us_is_checked() -> None:
    assert FULL.keys() | SHORT.keys() == CELLS.keys()
    assert len(SHORT) == 6


@pytest.mark.parametrize("label", [*FULL, *(label for label in SHORT if label not in FULL)])
def test_a_cell_of_ours_is_true(label: str) -> None:
    for table in (SHORT, FULL):
        if label in table:
            assert table[label][0] == CELLS[label]()


@pytest.mark.parametrize("label", [label for label in SHORT if label in FULL])
def test_the_short_comparison_agrees_with_the_full_one(label: str) -> None:
    assert SHORT[label] == FULL[label]


# What the cells are worked out by


def yes(condition: object) -> str:
    return "yes" if condition else "no"


def new(**options: Any) -> CircuitBreaker:
    return CircuitBreaker(registry=None, **{"failure_threshold": 2, **options})


def is_open(breaker: CircuitBreaker) -> bool:
    return breaker.state is CircuitState.OPEN


def work() -> str:
    return "an answer"


def fail(*args: object) -> None:
    raise ConnectionError


async def fail_async(*args: object) -> None:
    raise ConnectionError


def fail_twice(call: Callable[[], object]) -> None:
    for _ in range(2):
        with suppress(ConnectionError):
            call()


def fail_twice_async(call: Callable[[], Any], run: Callable[..., Any] = asyncio.run) -> None:
    async def main() -> None:
        for _ in range(2):
            with suppress(ConnectionError):
                await call()

    run(main) if run is trio.run else run(main())


def half_open(breaker: CircuitBreaker, clock: ManualClock) -> CircuitBreaker:
    """Make the next call of `breaker` a trial."""
    breaker.open()
    clock.advance(30)
    return breaker


@contextmanager
def rejected() -> Iterator[list[CircuitOpenError]]:
    """Collect the rejection that the block ends with, if any."""
    found: list[CircuitOpenError] = []
    try:
        yield found
    except CircuitOpenError as error:
        found.append(error)


def rejects(breaker: CircuitBreaker) -> bool:
    with rejected() as found:
        breaker.acquire().release()
    return bool(found)


# What can be guarded


@cell("Functions")
def _() -> str:
    breaker = new()
    fail_twice(breaker(fail))
    return yes(is_open(breaker))


@cell("Coroutine functions, decorated")
def _() -> str:
    breaker = new()
    fail_twice_async(breaker(fail_async))
    return yes(is_open(breaker))


@cell("`call(async_function)` is guarded")
def _() -> str:
    breaker = new()
    fail_twice_async(partial(breaker.call, fail_async))
    return yes(is_open(breaker))


@cell("Guards a lambda that returns an awaitable with")
def _() -> str:
    decorated, called = new(), new()
    fail_twice_async(decorated(lambda: fail_async()))
    fail_twice_async(partial(called.call, lambda: fail_async()))
    return "`@circuit`, `call`" if is_open(called) and is_open(decorated) else "another way"


def numbers() -> Generator[int]:
    yield 1
    raise ConnectionError


@cell("Generators: an error midway counts")
def _() -> str:
    breaker = new()
    fail_twice(lambda: list(breaker(numbers)()))
    return yes(is_open(breaker))


@cell("Async generators: an error midway counts")
def _() -> str:
    breaker = new()

    @breaker
    async def numbers() -> Any:
        yield 1
        raise ConnectionError

    async def read() -> None:
        async for _ in numbers():
            pass

    fail_twice_async(read)
    return yes(is_open(breaker))


@cell("Generators keep `send()` / return value")
def _() -> str:
    @new()
    def echo() -> Generator[Any, Any, str]:
        yield (yield "ready")
        return "the end"

    items = echo()
    next(items)
    sent = items.send("sent")
    with pytest.raises(StopIteration) as ended:
        next(items)
    return f"{yes(sent == 'sent')} / {yes(ended.value.value == 'the end')}"


@cell("Stopping a generator early counts as")
def _() -> str:
    breaker = new()
    items = breaker(numbers)()
    next(items)
    items.close()
    return what_counted(breaker)


def what_counted(breaker: CircuitBreaker) -> str:
    """What the one call through `breaker` counted as."""
    metrics = breaker.metrics()
    totals = {
        "success": metrics.total_successes,
        "failure": metrics.total_failures,
        "ignored": metrics.total_ignored,
    }
    assert sum(totals.values()) == 1
    return next(name for name, total in totals.items() if total)


@cell("`with`")
def _() -> str:
    breaker = new()

    def block() -> None:
        with breaker:
            raise ConnectionError

    fail_twice(block)
    return yes(is_open(breaker) and rejects(breaker))


@cell("`async with`")
def _() -> str:
    breaker = new()

    async def block() -> None:
        async with breaker:
            raise ConnectionError

    fail_twice_async(block)
    return yes(is_open(breaker))


@cell("`with` left in another thread")
def _() -> str:
    breaker = new()

    def block() -> Iterator[None]:
        with breaker:
            yield
            raise ConnectionError

    def leave(items: Iterator[None]) -> None:
        with suppress(ConnectionError):
            next(items)

    for _ in range(2):
        entered = block()
        next(entered)
        thread = Thread(target=leave, args=[entered])
        thread.start()
        thread.join()
    return yes(is_open(breaker))


@cell("trio")
def _() -> str:
    breaker = new()
    fail_twice_async(breaker(fail_async), trio.run)
    return yes(is_open(breaker))


# When it opens


@cell("After consecutive failures")
def _() -> str:
    return yes(opens(ConsecutiveFailures(3), "-+--+---"))


@cell("Failure rate, last calls")
def _() -> str:
    return yes(opens(FailureRate(0.5, calls=4), "++-+-") and not opens(FailureRate(0.5, calls=4), "++-+"))


@cell("Failure rate, last seconds")
def _() -> str:
    policy = FailureRate(0.5, seconds=4, minimum_calls=3)
    return yes(opens(policy, "+" * 20 + "---") and not opens(policy, "+" * 20))


@cell("Slow calls")
def _() -> str:
    policy = SlowCallRate(0.5, slower_than=2, calls=2)
    return yes(opens(policy, "++", lasting=3) and not opens(policy, "++", lasting=1))


def opens(policy: Any, ends: str, lasting: float = 0) -> bool:
    """Whether `policy` opens a circuit at the last of these calls, `+` and `-`, one a second."""
    clock = ManualClock()
    breaker = CircuitBreaker(registry=None, trip=policy, clock=clock)
    for end in ends:
        assert not is_open(breaker)
        permit = breaker.acquire()
        clock.advance(lasting)
        permit.success() if end == "+" else permit.failure()
        clock.advance(1)
    return is_open(breaker)


@cell("Slow streams are timed to")
def _() -> str:
    clock = ManualClock()
    breaker = new(clock=clock)
    durations: list[float] = []
    breaker.on("success", lambda event: durations.append(event.duration))

    @breaker
    def stream() -> Iterator[int]:
        yield 1
        clock.advance(5)
        yield 2

    list(stream())
    return {0: "their first item", 5: "their end"}[round(durations[-1])]


@cell("Combined (`\\|`, `&`) and own policies")
def _() -> str:
    class AtFive:
        def watch(self) -> AtFive:
            return self

        def see(self, outcome: Outcome) -> str | None:
            return "five" if outcome.number == 5 else None

    either, both = AtFive() | ConsecutiveFailures(3), AtFive() & ConsecutiveFailures(2)
    return yes(opens(either, "+++++") and opens(either, "---") and opens(both, "---+-") is False)


@cell("A returned value can be a failure")
def _() -> str:
    breaker = new(is_failure_result=lambda result: result == 0)
    fail_twice(breaker(lambda: 0))
    return yes(is_open(breaker))


@cell("Errors that count neither way")
def _() -> str:
    breaker = new(ignore=KeyError)
    for error in (ConnectionError, KeyError, ConnectionError):
        with suppress(error), breaker:
            raise error
    return yes(is_open(breaker))


async def cancelled(breaker: CircuitBreaker) -> None:
    """Cancel a call through `breaker`."""
    entered = asyncio.Event()

    @breaker
    async def wait() -> None:
        entered.set()
        await asyncio.sleep(60)

    task = asyncio.ensure_future(wait())
    await entered.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@cell("Cancellation counts as")
def _() -> str:
    breaker = new()
    asyncio.run(cancelled(breaker))
    return what_counted(breaker).replace("ignored", "nothing")


@cell("`KeyboardInterrupt` counts as")
def _() -> str:
    breaker = new()
    with suppress(KeyboardInterrupt), breaker:
        raise KeyboardInterrupt
    return what_counted(breaker).replace("ignored", "nothing")


@cell("The call that trips it raises")
def _() -> str:
    breaker = new(failure_threshold=1)
    with pytest.raises(ConnectionError) as caught, breaker:
        raise ConnectionError
    return "its own error" if caught.type is ConnectionError and is_open(breaker) else "another"


# How it recovers


@cell("Trials: 30 threads, how many calls get through")
def _() -> str:
    clock = ManualClock()
    breaker = half_open(new(clock=clock), clock)
    lock, done = Lock(), Event()
    admitted: list[None] = []
    turned_away: list[None] = []

    def note(where: list[None]) -> None:
        with lock:
            where.append(None)
            if len(admitted) + len(turned_away) == 30:
                done.set()

    def trial() -> None:
        note(admitted)
        done.wait(10)  # until all have tried

    def call() -> None:
        try:
            breaker.call(trial)
        except CircuitOpenError:
            note(turned_away)

    threads = [Thread(target=call) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.is_set()
    return str(len(admitted))


@cell("Trials: 30 asyncio tasks, how many get through")
def _() -> str:
    clock = ManualClock()
    breaker = half_open(new(clock=clock), clock)

    async def main() -> int:
        admitted = 0

        @breaker
        async def trial() -> None:
            nonlocal admitted
            admitted += 1
            await asyncio.sleep(0.05)

        await asyncio.gather(*(trial() for _ in range(30)), return_exceptions=True)
        return admitted

    return str(asyncio.run(main()))


@cell("Trials: limit in total / at once")
def _() -> str:
    limits = [option for option in Options.__annotations__ if "attempts" in option or "concurrent" in option]
    return {1: "one number", 2: "two numbers"}[len(limits)]


@cell("Trials: verdict")
def _() -> str:
    clock = ManualClock()
    breaker = half_open(new(success_threshold=2, clock=clock), clock)
    breaker.call(work)
    assert breaker.state is CircuitState.HALF_OPEN
    breaker.call(work)
    return "n successes" if breaker.state is CircuitState.CLOSED else "another"


@cell("Trials: a failed one may be tolerated")
def _() -> str:
    clock = ManualClock()
    breaker = half_open(new(success_threshold=2, clock=clock), clock)
    breaker.acquire().failure()
    return yes(not is_open(breaker))


@cell("Trials: a slow success counts as failed")
def _() -> str:
    clock = ManualClock()
    breaker = CircuitBreaker(registry=None, trip=SlowCallRate(0.5, slower_than=2, calls=2), clock=clock)
    trial = half_open(breaker, clock).acquire()
    clock.advance(5)
    trial.success()
    return yes(breaker.state is not CircuitState.CLOSED)


@cell("Trials: a cancelled one gives its attempt back")
def _() -> str:
    clock = ManualClock()
    breaker = half_open(new(half_open_max_attempts=1, clock=clock), clock)
    asyncio.run(cancelled(breaker))
    return yes(breaker.state is CircuitState.HALF_OPEN and not rejects(breaker))


@cell("Trials: one that hangs loses its attempt")
def _() -> str:
    clock = ManualClock()
    breaker = half_open(new(half_open_timeout=10, clock=clock), clock)
    hanging = [breaker.acquire() for _ in range(3)]
    assert rejects(breaker)
    clock.advance(10)
    assert len(hanging) == 3
    return "no" if rejects(breaker) else "yes, deadline"


@cell("A late result cannot move a later state")
def _() -> str:
    clock = ManualClock()
    breaker = new(success_threshold=2, clock=clock)
    late = [breaker.acquire() for _ in range(2)]
    trial = half_open(breaker, clock).acquire()
    late[0].success()
    late[1].failure()
    trial.success()
    return yes(breaker.state is CircuitState.HALF_OPEN and breaker.metrics().success_count == 1)


@cell("Open time is measured on")
def _() -> str:
    clock = ManualClock()
    breaker = new(clock=clock)
    breaker.open()
    clock.set_time(3600)
    assert rejects(breaker)
    clock.set_time(-3600)
    clock.advance(30)
    return "monotonic clock" if not rejects(breaker) else "wall clock"


def open_times(rounds: int, **options: Any) -> list[float]:
    """The seconds of the first open periods, each ended by a trial that fails."""
    clock = ManualClock()
    breaker = new(failure_threshold=1, clock=clock, **options)
    times: list[float] = []
    breaker.on("state_change", lambda change: times.append(change.retry_after))
    for _ in range(rounds):
        breaker.acquire().failure(Asking())
        clock.advance(max(times))
    return [each for each in times if each]


class Asking(Exception):
    """It asks for seven seconds."""

    retry_after = 7


@cell("Open time grows exponentially")
def _() -> str:
    return yes(open_times(4, reset_timeout=ExponentialBackoff(5)) == [5, 10, 20, 40])


@cell("Open time has jitter")
def _() -> str:
    times = open_times(9, reset_timeout=ExponentialBackoff(5, factor=1, jitter=0.5))
    return yes(len(set(times)) > 1 and all(2.5 <= each <= 5 for each in times))


@cell("Retry-After lengthens the open time")
def _() -> str:
    return yes([open_times(1, reset_timeout=RetryAfter(least)) for least in (5, 30)] == [[7], [30]])


@cell("A timer makes it half-open")
def _() -> str:
    threads = active_count()
    breaker = new(reset_timeout=0.01)
    breaker.open()
    Event().wait(0.05)
    return yes(active_count() > threads or not is_open(breaker))


# What a rejected caller gets


def rejection() -> CircuitOpenError:
    breaker = new(clock=ManualClock())
    fail_twice(breaker(fail))
    with rejected() as found, breaker:
        pass
    return found[0]


@cell("Seconds to wait, on the error")
def _() -> str:
    return yes(rejection().retry_after == 30)


@cell("Last failure, on error or breaker")
def _() -> str:
    failure = rejection().last_failure
    assert failure is not None
    return "text" if isinstance(failure.text, str) and failure.type == "ConnectionError" else "another"


@cell("Traceback of the error stays short")
def _() -> str:
    breaker = new()
    breaker.open()
    entries = 0
    for _ in range(1000):
        with rejected() as found, breaker:
            pass
        entries = len(traceback.extract_tb(found[0].__traceback__))
    return yes(0 < entries < 10)


@cell("Fallback")
def _() -> str:
    breaker = new(fallback=lambda: "another answer")
    breaker.open()
    return yes(breaker.call(work) == "another answer")


# Breakers by name


@cell("Registry")
def _() -> str:
    registry = Registry()
    breaker = CircuitBreaker("named", registry=registry)
    return yes(registry.get("named") is breaker)


@cell("The same name twice")
def _() -> str:
    registry = Registry()
    breaker = registry.get_or_create("named", failure_threshold=3)
    assert registry.get_or_create("named", failure_threshold=3) is breaker
    with pytest.raises(ValueError, match="other options"):
        registry.get_or_create("named", failure_threshold=4)
    return "same breaker; error if options differ"


@cell("One breaker per key")
def _() -> str:
    fetch = circuit(key=lambda host: host, registry=None)(lambda host: host)
    fetch("a")
    fetch("b")
    return yes(list(fetch.breakers) == ["a", "b"])


@cell("Dropping keys spares open circuits")
def _() -> str:
    fetch = circuit(key=lambda host: host, maxsize=2, registry=None)(lambda host: host)
    fetch("a")
    fetch.breakers["a"].open()
    for host in "bcd":
        fetch(host)
    return yes("a" in fetch.breakers and "b" not in fetch.breakers)


# Watching and control


@cell("Listeners: kinds of event")
def _() -> str:
    return str(len(get_args(EventName)))


@cell("A listener that raises is harmless")
def _() -> str:
    breaker = new()
    for event in get_args(EventName):
        breaker.on(event, fail)
    assert breaker.call(work) == "an answer"
    fail_twice(breaker(fail))
    return yes(is_open(breaker) and rejects(breaker))


@cell("A predicate that raises is harmless")
def _() -> str:
    breaker = new(is_failure=lambda error: bool(1 / 0))
    with pytest.raises(ConnectionError):
        breaker.call(fail)
    return yes(breaker.metrics().total_failures == 1)


@cell("Reading the state changes nothing")
def _() -> str:
    clock = ManualClock()
    changes: list[object] = []
    breaker = new(clock=clock)
    breaker.open()
    clock.advance(30)
    breaker.on("state_change", changes.append)
    return yes(is_open(breaker) and breaker.metrics() and not changes)


@cell("Metrics")
def _() -> str:
    fields = circuitbreaker.Metrics._fields
    named = {"total_": "totals", "_time": "times", "rate": "window"}
    return ", ".join(name for part, name in named.items() if any(part in field for field in fields))


@cell("Manual control: open / close")
def _() -> str:
    breaker = new()
    breaker.open()
    opened = is_open(breaker)
    breaker.reset()
    return f"{yes(opened)} / {yes(not is_open(breaker))}"


@cell("Force open / force closed / observe only")
def _() -> str:
    breaker = new()
    breaker.force_open()
    forced_open = rejects(breaker)
    breaker.force_closed()
    fail_twice(breaker(fail))
    forced_closed = not rejects(breaker) and not is_open(breaker)
    breaker.reset()
    breaker.shadow()
    fail_twice(breaker(fail))
    observed = not rejects(breaker) and is_open(breaker)
    return f"{yes(forced_open)} / {yes(forced_closed)} / {yes(observed)}"


@cell("Initial state can be chosen")
def _() -> str:
    return yes(any("state" in option for option in Options.__annotations__ if option != "on_state_change"))


@cell("Limits can be changed at run time")
def _() -> str:
    breaker: Any = new()
    changed = 0
    for option in Options.__annotations__:
        with suppress(AttributeError):
            setattr(breaker, option, 1)
            changed += 1
    return yes(changed)


# Shared state


def fleet() -> list[CircuitBreaker]:
    """Two circuits that share one, both connected, with one success each. They open at six calls, none at three."""
    server, policy = MemoryServer(), FailureRate(0.5, calls=10, minimum_calls=6)
    pair = [CircuitBreaker("stock", registry=None, trip=policy, store=MemoryStore(server)) for _ in range(2)]
    for each in pair:
        each.call(work)
        until(partial(is_connected, each), "connected")
    return pair


def is_connected(breaker: CircuitBreaker) -> bool:
    return breaker.metrics().store == "connected"


@cell("One circuit for many processes")
def _() -> str:
    here, there = fleet()
    here.open()
    until(lambda: is_open(there), "open there too")
    return yes(find_spec("circuitbreaker.stores.redis") and "redis" in extras())


@cell("Failures of all processes add up")
def _() -> str:
    pair = fleet()
    for each in pair:
        fail_twice(partial(each.call, fail))
    until(lambda: all(is_open(each) for each in pair), "open")
    return "yes"


@cell("A closed call waits for Redis")
def _() -> str:
    server = MemoryServer()
    breaker = CircuitBreaker("stock", registry=None, store=MemoryStore(server))
    with server.condition:  # so that the server answers nothing
        waited = False
        for _ in range(100):
            finished = Event()
            Thread(target=lambda done: breaker.call(done.set), args=[finished]).start()
            waited = waited or not finished.wait(10)
    return yes(waited)


# Around it

NO_SERVICES = {"__init__", "tenacity", "stamina"}


def extras() -> set[str]:
    return set(ABOUT.get_all("Provides-Extra") or [])


@cell("HTTP clients, web frameworks")
def _() -> str:
    folder = Path(circuitbreaker.__file__).parent / "integrations"
    integrations = {path.stem for path in folder.glob("*.py")} - NO_SERVICES
    assert integrations <= extras()
    return str(len(integrations))


@cell("Retry, timeout, bulkhead")
def _() -> str:
    names = {name.lower() for name in circuitbreaker.__all__} | set(Options.__annotations__)
    return yes(names & {"retry", "timeout", "bulkhead"})


@cell("OpenTelemetry")
def _() -> str:
    folder = Path(circuitbreaker.__file__).parent
    return yes([path for path in folder.rglob("*.py") if re.search("otel|opentelemetry", path.stem)])


@cell("Pluggable clock")
def _() -> str:
    return yes("clock" in Options.__annotations__)


@cell("Comes with a manual clock for tests")
def _() -> str:
    clock = ManualClock()
    clock.advance(5)
    return yes(clock.monotonic() == 5)


@cell("`py.typed`")
def _() -> str:
    return yes((Path(circuitbreaker.__file__).parent / "py.typed").exists())


@cell("A decorated function keeps its type")
def _() -> str:
    checked = (ROOT / "tests" / "typing_checks.py").read_text(encoding="utf-8")  # which mypy and pyright read in CI
    return yes("assert_type(" in checked and "@circuit" in checked)


@cell("Lock held while the guarded function runs")
def _() -> str:
    together = Barrier(2, timeout=10)
    breaker = new()
    threads = [Thread(target=breaker.call, args=[together.wait]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return yes(breaker.metrics().total_successes != 2)


@cell("Python")
def _() -> str:
    return ABOUT["Requires-Python"].replace(">=", "") + "+"


@cell("Declares support for free-threaded CPython")
def _() -> str:
    return yes([each for each in ABOUT.get_all("Classifier") or [] if "Free Threading" in each])


@cell("Dependencies")
def _() -> str:
    needed = [each for each in ABOUT.get_all("Requires-Dist") or [] if "extra ==" not in each]
    return ", ".join(re.split(r"[^\w-]", each)[0] for each in needed)


@cell("Licence")
def _() -> str:
    return str(ABOUT["License-Expression"])


# The rows of the short table that join several of the full one


@cell("Opens by failures in a row / failure rate / slow calls")
def _() -> str:
    rates = {CELLS["Failure rate, last calls"](), CELLS["Failure rate, last seconds"]()}
    return " / ".join([CELLS["After consecutive failures"](), *rates, CELLS["Slow calls"]()])


@cell("Shared through Redis / a closed call waits for it")
def _() -> str:
    return f"{CELLS['One circuit for many processes']()} / {CELLS['A closed call waits for Redis']()}"


@cell("HTTP clients and frameworks / retry, timeout, bulkhead")
def _() -> str:
    return f"{CELLS['HTTP clients, web frameworks']()} / {CELLS['Retry, timeout, bulkhead']()}"
