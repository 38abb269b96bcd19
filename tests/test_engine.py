"""The engine, explored: every order of a dozen operations up to a depth, each checked against the promises.

The states are those of the shipped engine. Each is told by a key that leaves absolute time and totals out, so that the
search ends where nothing new can come.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from circuitbreaker._own_code import OwnCode
from circuitbreaker._periods import Closed, HalfOpen, Open, Trial
from circuitbreaker._windows import SparseWatch
from circuitbreaker.engine import Engine
from circuitbreaker.events import CircuitState, Hold, LastFailure
from circuitbreaker.policies import ConsecutiveFailures, begin

FAILURE = LastFailure("Boom", "", datetime(2030, 1, 1, tzinfo=timezone.utc))


Move = tuple[str, int]
ORDERS = ("open", "reset", "force_open", "force_closed", "shadow")


class Rules:
    """Two failures trip; open for 2 s; trials may stay out for 2 s."""

    trial_timeout: float | None = None

    def __init__(self, attempts: int, successes_to_close: int) -> None:
        self.attempts = attempts
        self.successes_to_close = successes_to_close

    def watch(self) -> SparseWatch:
        return begin(ConsecutiveFailures(2), OwnCode("explored"))

    def open_for(self, opening: int, error: BaseException | None) -> float:
        return 2.0


class World:
    """An engine, the time, and the calls that are out, with what the promises need to be checked."""

    def __init__(self, rules: Rules) -> None:
        self.engine = Engine(rules)
        self.now = 0.0
        self.out: list[Any] = []  # the admissions that are not settled

    def key(self) -> tuple[object, ...]:
        """What tells this state from others."""
        period = self.engine.period
        shape: tuple[object, ...]
        if isinstance(period, Closed):
            shape = ("closed", period.run)
        elif isinstance(period, Open):
            shape = ("open", max(0.0, period.until - self.now))
        else:
            trials = tuple(max(0.0, trial.deadline - self.now) for trial in period._trials)
            shape = ("half_open", period.finished, period.successes, trials)
        return (*shape, self.engine.hold, tuple(sorted(map(self.describe, self.out))))

    def describe(self, admission: Any) -> str:
        period = self.engine.period
        if isinstance(admission, Closed):
            return "closed" if admission is period else "beside" if admission is self.engine.beside else "late"
        if admission.period is not period:
            return "late trial"
        return f"trial {list(period._trials).index(admission)}" if admission in period._trials else "handed-on trial"

    # What can happen

    def moves(self, orders: tuple[str, ...]) -> list[Move]:
        settle = [(how, index) for index in range(len(self.out)) for how in ("succeed", "fail", "release")]
        admit = [("admit", 0)] if len(self.out) < 4 else []
        return [*admit, *settle, ("wait", 0), *((order, 0) for order in orders)]

    def make(self, move: Move) -> None:
        what, index = move
        before = self.engine.period, self.engine.hold
        getattr(self, what)(index)
        self.check(what, before)

    def admit(self, _: int) -> None:
        engine, before = self.engine, self.engine.period
        refused_for_certain = engine.refusal(self.now)
        admitted, change = engine.admit(self.now)
        if isinstance(admitted, tuple):
            assert admitted[1] > 0
            beside = engine.shadowed
            assert (beside is not None) == (engine.hold is Hold.SHADOW)
            if beside is not None:
                self.out.append(beside)
        else:
            assert refused_for_certain is None
            assert engine.hold is not Hold.FORCED_OPEN
            if isinstance(before, Open) and engine.hold in (None, Hold.SHADOW):
                assert self.now >= before.until, "O1"
                assert change is not None, "O3"
            self.out.append(admitted)

    def succeed(self, index: int) -> None:
        admission = self.out.pop(index)
        total = self.engine.successes
        if isinstance(admission, Trial):
            self.engine.succeed(admission, self.now)
        else:
            admission.last_success = self.now
            number = next(admission.tally)
            if number >= admission.due or self.now >= admission.wake:
                self.engine.look(admission, number, self.now, 0.0)
        assert self.engine.successes == total + 1, "E6"

    def fail(self, index: int) -> None:
        total = self.engine.failures
        self.engine.fail(self.out.pop(index), self.now, 0.0, FAILURE, None)
        assert self.engine.failures == total + 1, "E6"

    def release(self, index: int) -> None:
        self.engine.release(self.out.pop(index))

    def wait(self, _: int) -> None:
        self.now += 1

    def open(self, _: int) -> None:
        self.engine.open(self.now)

    def reset(self, _: int) -> None:
        self.engine.reset(self.now)

    def force_open(self, _: int) -> None:
        self.engine.force(Hold.FORCED_OPEN)

    def force_closed(self, _: int) -> None:
        self.engine.force(Hold.FORCED_CLOSED)

    def shadow(self, _: int) -> None:
        self.engine.force(Hold.SHADOW)

    # What must hold

    def check(self, what: str, before: tuple[object, Hold | None]) -> None:
        engine, period = self.engine, self.engine.period
        old, hold = before
        if isinstance(period, HalfOpen):
            assert period.finished + len(period._trials) <= engine._rules.attempts, "H1"
            assert period.successes < engine._rules.successes_to_close, "H2"
        if what in ("succeed", "fail", "release") and hold in (Hold.FORCED_OPEN, Hold.FORCED_CLOSED):
            assert period is old, "M2"
        if what in ("succeed", "fail", "release", "admit", "wait", "open"):
            assert engine.hold is hold, "M2"
        if what == "fail" and isinstance(period, Open) and period is not old:
            assert isinstance(old, Closed | HalfOpen), "C2"
        if what == "wait":
            assert period is old, "O3"
        if isinstance(period, Closed):
            assert period.run < 2 or hold is not None or engine.hold is not None, "C2"

    def recovers(self) -> bool:
        """Whether a healthy dependency leads back to closed, though the calls that are out never return (H4)."""
        self.reset_hold()
        for _ in range(20):
            if self.engine.period.state is CircuitState.CLOSED:
                return True
            before = len(self.out)
            self.admit(0)
            if len(self.out) > before:
                self.succeed(before)
            self.now += 1
        return False

    def reset_hold(self) -> None:
        """Let go of a force, which lasts until somebody does, without closing the circuit."""
        if self.engine.hold is not None:
            self.engine.force(Hold.SHADOW)


def replay(rules: Rules, path: tuple[Move, ...]) -> World:
    world = World(rules)
    for move in path:
        world.make(move)
    return world


@pytest.mark.parametrize(("attempts", "successes_to_close"), [(1, 1), (2, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize(("orders", "depth"), [((), 99), (ORDERS, 10)], ids=["calls", "calls and orders"])
def test_every_order_of_events_keeps_the_promises(
    attempts: int, successes_to_close: int, orders: tuple[str, ...], depth: int
) -> None:
    """H1, H2, H4, O1, O3, E1, E6, C2, M2, and that nothing lasts for ever: in every state that can be reached."""
    rules = Rules(attempts, successes_to_close)
    seen = {World(rules).key()}
    frontier: list[tuple[Move, ...]] = [()]
    for _ in range(depth):
        reached: list[tuple[Move, ...]] = []
        for path in frontier:
            for move in replay(rules, path).moves(orders):
                longer = (*path, move)
                try:
                    world = replay(rules, longer)
                    if world.key() not in seen:
                        seen.add(world.key())
                        reached.append(longer)
                        assert world.recovers(), "H4"
                except AssertionError as broken:
                    raise AssertionError(f"{broken} after {longer}") from broken
        frontier = reached
    assert len(seen) > 100
    assert any(key[0] == "half_open" for key in seen)
