"""The Python side of the page: a fake service, the circuit that guards it, and the calls that go through it.

All logic is here, with the same package that runs on a server. JavaScript passes user input on, and draws what
`Show.snapshot()` returns.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version

from circuitbreaker import CircuitOpenError, CircuitState, ConsecutiveFailures, SlowCallRate, StateChange, circuit

RESET_TIMEOUT = float(os.environ.get("RESET_TIMEOUT", "6"))  # in the page's address: ?reset_timeout=6
FAILURES, TRIALS, SUCCESSES = 3, 3, 2


class Service:
    """Answers with a price, fails, or is slow, depending on `mode`."""

    mode = "well"
    requests = 0

    async def answer(self) -> float:
        """Take a moment, then answer or fail."""
        self.requests += 1
        mode = self.mode
        await asyncio.sleep(1.5 if mode == "slow" else 0.25)
        if mode == "failing":
            raise ConnectionError("the service answered 503")
        return 4.2

    def answer_at_once(self) -> float:
        """Answer or fail now. In a page only coroutines can wait, so a slow service has no answer yet."""
        self.requests += 1
        if self.mode == "failing":
            raise ConnectionError("the service answered 503")
        if self.mode == "slow":
            raise TimeoutError("the service has no answer yet")
        return 4.2


@dataclass
class Call:
    """One call, as the page draws it."""

    number: int
    kind: str
    outcome: str = "out"  # then "success", "failure" or "refused"
    trial: bool = False
    text: str = "in progress"


service = Service()


@circuit(
    name="prices",
    trip=ConsecutiveFailures(FAILURES) | SlowCallRate(0.5, slower_than=1.0, calls=10, minimum_calls=4),
    reset_timeout=RESET_TIMEOUT,
    half_open_max_attempts=TRIALS,
    success_threshold=SUCCESSES,
)
async def price(call: Call) -> float:
    """Call the service and wait for its answer."""
    note_start(call)
    return await service.answer()


breaker = price.breaker


@breaker
def price_at_once(call: Call) -> float:
    """Call the service without waiting. It shares the circuit with `price`."""
    note_start(call)
    return service.answer_at_once()


def note_start(call: Call) -> None:
    """Note whether the call is a trial: it is if the circuit is half-open when it starts."""
    call.trial = breaker.state is CircuitState.HALF_OPEN
    if call.trial:
        show.trials.append(call)


class Show:
    """What the page calls, and what it draws."""

    def __init__(self) -> None:
        self.trials: list[Call] = []  # of the current half-open period
        self._made = 0
        self._calls: deque[Call] = deque(maxlen=60)
        self._changes: deque[dict[str, str]] = deque(maxlen=6)
        self._refusal = ""
        self._stream: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # The event loop holds only weak references to tasks.
        breaker.on("state_change", self._note_change)

    def set_service(self, mode: str) -> None:
        """Set the service to "well", "failing" or "slow"."""
        service.mode = mode

    def call_once(self, kind: str) -> None:
        """Make one call: an "async" one continues in the background, a "sync" one has ended when this returns."""
        self._made += 1
        call = Call(self._made, kind)
        self._calls.append(call)
        if kind == "async":
            task = asyncio.ensure_future(self._wait_for_price(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            with self._noted(call):
                price_at_once(call)

    def stream(self, per_second: float, kind: str) -> None:
        """Make `per_second` calls a second from now on; 0 stops."""
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None
        if per_second:
            self._stream = asyncio.ensure_future(self._call_steadily(1 / per_second, kind))

    def reset(self) -> None:
        """Close the circuit."""
        breaker.reset()

    def snapshot(self) -> str:
        """Everything the page draws, as JSON."""
        now = breaker.metrics()
        wait = (now.next_attempt_time - datetime.now(timezone.utc)).total_seconds() if now.next_attempt_time else 0.0
        seen = {
            "state": now.state.value,
            "wait": max(0.0, wait),
            "length": RESET_TIMEOUT,
            "reason": now.reason,
            "failures": [now.failure_count, FAILURES],
            "trials": [[trial.outcome for trial in self.trials], TRIALS],
            "calls": [asdict(call) for call in self._calls],
            "changes": list(self._changes),
            "refusal": self._refusal,
            "totals": {
                "calls": now.total_calls,
                "successes": now.total_successes,
                "failures": now.total_failures,
                "rejections": now.total_rejections,
                "requests": service.requests,
            },
        }
        return json.dumps(seen)

    def versions(self) -> str:
        """The versions in use."""
        return (
            f"Python {platform.python_version()} · circuitbreaker-kit {version('circuitbreaker-kit')} · "
            f"wrapt {version('wrapt')}"
        )

    async def _wait_for_price(self, call: Call) -> None:
        with self._noted(call):
            await price(call)

    async def _call_steadily(self, seconds: float, kind: str) -> None:
        with suppress(asyncio.CancelledError):
            while True:
                self.call_once(kind)
                await asyncio.sleep(seconds)

    @contextmanager
    def _noted(self, call: Call) -> Iterator[None]:
        try:
            yield
        except CircuitOpenError as error:
            call.outcome, call.text = "refused", f"not sent: the circuit is {error.state.value.replace('_', '-')}"
            self._refusal = str(error)
        except OSError as error:
            call.outcome, call.text = "failure", f"{type(error).__name__}: {error}"
        else:
            call.outcome, call.text = "success", "answered"

    def _note_change(self, change: StateChange) -> None:
        self.trials.clear()
        old, new = change.old_state.value, change.new_state.value
        self._changes.append({"at": f"{change.at:%H:%M:%S}", "old": old, "new": new, "reason": change.reason})


show = Show()
