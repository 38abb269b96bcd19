"""What people read of a circuit: its metrics, a summary of it, its last failure; and clock readings as dates.

Everything is measured by the monotonic clock. A date is worked out once, when it is first read, and kept: two clocks
cannot be read at one instant, so a second time would give another date.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from .._engine.engine import Engine
from .._engine.periods import Closed, Open, opened_by, total
from .._values import counted, format_seconds, one_line
from ..clock import Clock, moment, utc
from ..events import LastFailure, Metrics
from ..outcomes import NO_RESULT
from .user_code import UserCode

if TYPE_CHECKING:
    from .circuit import Circuit

__all__ = ["metrics", "opened_at", "sum_up", "summary"]


def metrics(circuit: Circuit, now: float) -> Metrics:
    """The numbers of `circuit`, all of one moment. Called in a turn."""
    engine, clock = circuit.engine, circuit.clock
    opened = opened_by(engine.period)
    ended = (engine.successes, engine.failures, total(engine.rejections), engine.ignored)
    # After the successes: each sets its time, then takes its number.
    next_attempt, last_success = engine.next_attempt(now), engine.last_success_at
    return Metrics(
        circuit.name,
        engine.period.state,
        engine.hold,
        engine.failure_streak,
        engine.trial_successes,
        sum(ended),
        *ended,
        shadow_rejections=engine.shadow_rejections,
        last_failure_time=engine.last_failure.at if engine.last_failure else None,
        last_success_time=None if last_success is None else _last_success_time(circuit, last_success),
        next_attempt_time=None if next_attempt is None else moment(clock, next_attempt),
        opened_at=opened_at(opened, clock) if opened else None,
        reason=opened.reason if opened else "",
        last_failure=engine.last_failure,
        store=None if circuit.membership is None else circuit.membership.status,
    )


def summary(engine: Engine, now: float) -> str:
    """State, hold, and what matters in that state, for a `repr`. Called in a turn."""
    period, hold = engine.period, engine.hold
    held = f", held by {hold}" if hold else ""
    if isinstance(period, Closed):
        return f"closed{held}, {counted(engine.failure_streak, 'consecutive failure')}"
    opened = opened_by(period)
    why = f" because {opened.reason}" if opened else ""
    return f"{period.state}{held}{why}, next trial in {format_seconds(engine.wait(now))} s"


def sum_up(user_code: UserCode, clock: Clock, error: BaseException | None, result: object) -> LastFailure:
    """What is kept of a failure: the type and the text of `error`, or the type of `result`, and when it happened.

    A result itself is not shown: its `repr` may be huge, ask a database, or show a caller what is another's.
    """
    at = utc(clock.time())
    if error is not None:
        return LastFailure(_name_of(type(error)), one_line(user_code("error", "", str, error)), at)
    return LastFailure("failure", "", at) if result is NO_RESULT else LastFailure("result", _name_of(type(result)), at)


def _name_of(kind: type) -> str:
    """A type's `__name__`, whatever a metaclass of the user's makes of that."""
    name = _NAME(kind)
    return name if len(name) <= 200 and name.isidentifier() else one_line(name)


_NAME: Callable[[type], str] = type.__dict__["__name__"].__get__


# Dates


def opened_at(opened: Open, clock: Clock) -> datetime:
    """When the circuit opened."""
    if opened.moment is None:
        opened.moment = moment(clock, opened.since)
    return opened.moment


def _last_success_time(circuit: Circuit, at: float) -> datetime:
    if circuit.last_success[0] != at:
        circuit.last_success = (at, moment(circuit.clock, at))
    return circuit.last_success[1]
