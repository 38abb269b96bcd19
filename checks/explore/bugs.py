"""Small ways to break the engine. Each must be found, by its promise's number, or the exploration is worth nothing.

Each replaces one or two methods of the shipped code while its world is explored.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from circuitbreaker import FailureRate, Hold
from circuitbreaker._circuit import circuit
from circuitbreaker._circuit.listeners import Listeners
from circuitbreaker._circuit.rules import LocalRules
from circuitbreaker._engine.engine import Engine
from circuitbreaker._engine.periods import Closed, HalfOpen, Open, total
from circuitbreaker._engine.watches import NEVER
from circuitbreaker.permit import Permit

from .account import IGNORED, Account
from .planted import Planted
from .worlds import World

__all__ = ["PLANTED"]

PLAIN = World("one attempt", out=2)
ALONE = World("one attempt, no call within", out=2, nested=False)
HEARD = World("one attempt, heard", out=2, heard=True)
TWO = World("two attempts", attempts=2, successes=2, timeout=1, out=3)
GROWING = World("growing", lengths=(1, 2), out=2)
CALLS = World("rate of calls", trip=FailureRate(0.5, calls=3, minimum_calls=2), out=2)
SECONDS = World("rate of seconds", trip=FailureRate(0.5, seconds=1, minimum_calls=2), out=2, calls=4, orders=())

PLANTED: list[Planted] = []
Patch = tuple[type | ModuleType, str, Callable[[Any], Any]]


def _plant(name: str, promise: str, world: World, *patches: Patch) -> None:
    """Add a bug: each patch names a class, an attribute, and a function from what is there to what is put there."""
    made = tuple((owner, name, make(vars(owner)[name])) for owner, name, make in patches)
    PLANTED.append(Planted(name, promise, world, made))


def _then(after: Callable[..., object]) -> Callable[[Any], Any]:
    """Do what is there, then `after(self, result)`, whose result counts."""

    def make(shipped: Any) -> Any:
        return lambda self, *args: after(self, shipped(self, *args))

    return make


def _first(before: Callable[..., object]) -> Callable[[Any], Any]:
    """Do `before(self, *args)`, then what is there."""

    def make(shipped: Any) -> Any:
        def broken(self: Any, *args: Any) -> Any:
            before(self, *args)
            return shipped(self, *args)

        return broken

    return make


def _instead(broken: Any) -> Callable[[Any], Any]:
    """Do this in place of what is there."""
    return lambda shipped: broken


# Closed


def _refuse_if_failing(engine: Engine, decided: Any) -> Any:
    return None if isinstance(decided, Closed) and decided.streak else decided


def _go_on_with_the_run(period: Closed, *args: object) -> None:
    period._streak_end = total(period.tally)


def _see_twice(shipped: Any) -> Any:
    def see(self: Closed, outcome: Any) -> str | None:
        reasons: list[str | None] = [shipped(self, outcome), shipped(self, outcome)]
        return reasons[0] or reasons[1]

    return see


def _ask_for_no_number(period: Closed, reason: str | None) -> str | None:
    period.next_number = NEVER
    return reason


def _ask_for_no_moment(period: Closed, reason: str | None) -> str | None:
    period.next_time = float("inf")
    return reason


def _do_not_open(shipped: Any) -> Any:
    return lambda self, outcome: None if shipped(self, outcome) and outcome.streak < 3 else shipped(self, outcome)


_plant(
    "a closed circuit refuses calls after a failure",
    "C1",
    HEARD,
    (Engine, "decide", _then(_refuse_if_failing)),
)
_plant(
    "a success does not end a run of failures",
    "C2",
    PLAIN,
    (Closed, "fail", _first(_go_on_with_the_run)),
    (Closed, "streak", _instead(property(lambda self: self._streak))),
)
_plant("the policy's word is not heard the first time", "C2", PLAIN, (Closed, "see", _do_not_open))
_plant("the policy sees each outcome twice", "C2", CALLS, (Closed, "see", _see_twice))
_plant("the success that completes a window goes by unseen", "C2", CALLS, (Closed, "see", _then(_ask_for_no_number)))
_plant(
    "a success that comes when old ones leave goes by unseen", "C2", SECONDS, (Closed, "see", _then(_ask_for_no_moment))
)


# Open


def _end_sooner(engine: Engine, change: object) -> object:
    engine.period.until -= 1  # type: ignore[union-attr]
    return change


def _refuse_one_unit_less(shipped: Any) -> Any:
    return lambda self, now: shipped(self, now + 1) and shipped(self, now)


def _half_open_when_looked_at(engine: Engine, now: float) -> None:
    if isinstance(engine.period, Open) and now >= engine.period.until:
        engine._half_open(engine.period, now)


_plant("an open period ends one unit early", "O1", PLAIN, (Engine, "_open", _then(_end_sooner)))
_plant("the last unit of an open period refuses nobody", "O1", PLAIN, (Engine, "decide", _refuse_one_unit_less))
_plant("reading the metrics half-opens", "O3", PLAIN, (Engine, "next_attempt", _first(_half_open_when_looked_at)))
_plant(
    "open periods do not grow",
    "O4",
    GROWING,
    (LocalRules, "open_for", lambda shipped: lambda self, opening, error: shipped(self, 1, error)),
)


# Half-open


def _one_more(period: HalfOpen) -> bool:
    return not period._trials or period.finished + len(period._trials) <= period._attempts


def _succeed_for_free(period: HalfOpen, trial: Any) -> None:
    period.release(trial)
    period.successes += 1


def _use_an_attempt_up(period: HalfOpen, trial: Any) -> None:
    period.release(trial)
    period.finished += 1
    period.successes += 1


def _count_the_success_twice(period: HalfOpen, trial: Any) -> None:
    period.successes += 1


def _fail_unheard(engine: Engine, trial: Any, *args: object) -> None:
    trial.period.release(trial)


def _never_hand_on(shipped: Any) -> Any:
    return lambda self, now: shipped(self, now) if self._has_free_attempt() else None


def _wait_for_ever(period: HalfOpen, now: float) -> float:
    return 0.0 if period._has_free_attempt() else max(1.0, period._oldest().deadline - now)


def _never(*args: object) -> bool:
    return False


def _count_holders_only(shipped: Any) -> Any:
    return lambda self, trial: trial in trial.period._trials and shipped(self, trial)


_plant("one trial too many is admitted", "H1", PLAIN, (HalfOpen, "_has_free_attempt", _instead(_one_more)))
_plant(
    "a trial that succeeded does not use up its attempt", "H1", TWO, (HalfOpen, "succeed", _instead(_succeed_for_free))
)
_plant("one success closes where two must", "H2", TWO, (HalfOpen, "succeed", _first(_count_the_success_twice)))
_plant("a failed trial does not open", "H2", PLAIN, (Engine, "_fail_trial", _instead(_fail_unheard)))
_plant("a released trial keeps its attempt", "H3", PLAIN, (HalfOpen, "release", _instead(lambda self, trial: None)))
_plant("a dropped permit is forgotten", "H3", PLAIN, (Permit, "__del__", _instead(lambda self: None)))
_plant("a late success takes another trial's attempt", "H3", TWO, (HalfOpen, "succeed", _instead(_use_an_attempt_up)))
_plant(
    "a trial keeps its attempt for ever",
    "H4",
    PLAIN,
    (HalfOpen, "admit", _never_hand_on),
    (HalfOpen, "wait", _instead(_wait_for_ever)),
)
_plant("the verdict of a trial handed on is lost", "H4", PLAIN, (Engine, "_counts", _count_holders_only))


_plant("a call inside a trial takes an attempt", "H5", PLAIN, (circuit, "is_within_trial", _instead(_never)))


# Every state


def _fail_in_the_present(shipped: Any) -> Any:
    def fail(self: Engine, admission: Any, *args: Any) -> Any:
        late = isinstance(admission, Closed) and isinstance(self.period, Closed)
        return shipped(self, self.period if late else admission, *args)

    return fail


def _close_by_a_late_success(shipped: Any) -> Any:
    def look(self: Engine, period: Closed, number: int, now: float, duration: float) -> Any:
        change = shipped(self, period, number, now, duration)
        return self._close(now, "a call succeeded", self.hold) if isinstance(self.period, HalfOpen) else change

    return look


def _count_in_the_present(engine: Engine, trial: Any) -> None:
    if isinstance(engine.period, HalfOpen):
        trial.period = engine.period


def _settle_and_keep(shipped: Any) -> Any:
    def settle(self: Permit, *args: Any) -> None:
        self._unsettled += self._unsettled[-1:]
        shipped(self, *args)

    return settle


def _queue_twice(listeners: Listeners, event: Any, value: Any) -> None:
    listeners.queued.append((event, value))


def _end_unnoticed(period: Closed) -> tuple[int, int]:
    period.final = total(period.tally)
    return period.final - period.failures, period.streak


_plant("a late failure counts in the present period", "E1", PLAIN, (Engine, "fail", _fail_in_the_present))
_plant(
    "a late success closes a half-open circuit",
    "E1",
    ALONE,
    (Engine, "observe", _close_by_a_late_success),
)
_plant(
    "a late trial counts in a later half-open period", "E1", PLAIN, (Engine, "_counts", _first(_count_in_the_present))
)
_plant("a permit can be settled twice", "E2", PLAIN, (Permit, "_settle_as", _settle_and_keep))
_plant("a transition is told of twice", "E5", PLAIN, (Listeners, "queue", _first(_queue_twice)))
_plant("half-opening is told to nobody", "E5", PLAIN, (Engine, "admit", _then(lambda self, found: (found[0], None))))
_plant("a late success is not counted", "E6", PLAIN, (Closed, "end", _instead(_end_unnoticed)))


# Control


def _reset_and_hold(shipped: Any) -> Any:
    def reset(self: Engine, now: float) -> Any:
        hold, change = self.hold, shipped(self, now)
        self.hold = hold
        return change

    return reset


def _reset_and_remember(shipped: Any) -> Any:
    def reset(self: Engine, now: float) -> Any:
        run, change = self.failure_streak, shipped(self, now)
        self.period._streak = run  # type: ignore[union-attr]
        return change

    return reset


def _open_unless_half_open(shipped: Any) -> Any:
    return lambda self, now: None if isinstance(self.period, HalfOpen) else shipped(self, now)


def _count_though_forced(engine: Engine, trial: Any) -> bool:
    return trial.period is engine.period


def _succeed_and_let_go(engine: Engine, change: object) -> object:
    engine.hold = None
    return change


def _refuse_for_good(engine: Engine, decided: Any) -> Any:
    return (*decided[:2], None) if isinstance(decided, tuple) else decided


_plant("reset() keeps the hold", "M1", PLAIN, (Engine, "reset", _reset_and_hold))
_plant("reset() keeps the run of failures", "C2", PLAIN, (Engine, "reset", _reset_and_remember))
_plant(
    "the first open period is as long as the second",
    "M1",
    GROWING,
    (LocalRules, "open_for", lambda shipped: lambda self, opening, error: shipped(self, max(opening, 2), error)),
)
_plant("open() does nothing to a half-open circuit", "M1", PLAIN, (Engine, "open", _open_unless_half_open))
_plant("outcomes move a forced circuit", "M2", PLAIN, (Engine, "_counts", _instead(_count_though_forced)))
_plant("a trial that succeeds ends a hold", "M2", PLAIN, (Engine, "succeed", _then(_succeed_and_let_go)))
_plant("a circuit in shadow refuses calls", "M2", PLAIN, (Engine, "decide", _then(_refuse_for_good)))
_plant(
    "a circuit forced open admits trials",
    "M2",
    PLAIN,
    (
        Engine,
        "decide",
        lambda shipped: lambda self, now: None if self.hold is Hold.FORCED_OPEN else shipped(self, now),
    ),
)


# What only the graph shows: the account is made to believe these


def _open_by_a_success(engine: Engine, trial: Any, now: float) -> Any:
    engine._count_success(now)
    return engine._open(now, "a trial succeeded", None) if engine._counts(trial) else None


def _expect_opening(shipped: Any) -> Any:
    def take_verdict(self: Account, verdict: int, held: bool) -> None:
        if verdict == IGNORED:
            shipped(self, verdict, held)
        else:
            self._open()

    return take_verdict


def _name_more(decided: Any) -> Any:
    return (decided[0], decided[1] + 1, *decided[2:]) if isinstance(decided, tuple) else decided


def _refuse_longer(shipped: Any) -> Any:
    return lambda self, wait, because: shipped(self, wait + 1, because)


_plant(
    "a trial that never returns blocks the circuit, and nobody promised otherwise",
    "liveness",
    ALONE,
    (HalfOpen, "admit", _never_hand_on),
    (HalfOpen, "wait", _instead(_wait_for_ever)),
    (Account, "_lease", _then(lambda self, left: max(1, left))),
)
_plant(
    "refusals name one unit too much, and nobody promised otherwise",
    "wait",
    ALONE,
    (Engine, "decide", _then(lambda self, refusal: _name_more(refusal))),
    (Engine, "wait", _then(lambda self, wait: wait + 1 if wait else wait)),
    (Account, "_refuse", _refuse_longer),
)
_plant(
    "a trial that succeeds opens the circuit, and nobody promised otherwise",
    "liveness",
    ALONE,
    (Engine, "succeed", _instead(_open_by_a_success)),
    (Account, "_take_verdict", _expect_opening),
)
