"""The tie between one process's circuit and the fleet's.

It looks at the engine from time to time, in the store's thread: what was counted, what was decided since, is reported;
what the answer says that others decided, the engine follows. So calls are never held up (S1), and decisions made while
the store was away are told when it is back (S7).

A decision made here stands at once for this process. The fleet takes it if nobody decided before (S6), and if not,
this process follows the other one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from logging import getLogger
from threading import Event
from typing import TYPE_CHECKING, cast
from weakref import ref

from .._circuit.rules import LocalRules
from .._engine.engine import Engine, Transition
from .._engine.periods import Closed, HalfOpen, Open, Period, opened_by, total
from .._values import format_seconds
from ..clock import utc
from ..events import Hold, LastFailure
from ..options import Settings
from .leases import Leases
from .messages import UNKNOWN, Counts, Decision, Report, View
from .quotas import bounds, terms
from .rules import LeasedHalfOpen, SharedRules
from .watch import SharedWatch

if TYPE_CHECKING:
    from .._circuit.circuit import Circuit
    from ..stores.store import Store

__all__ = ["Link"]

_logger = getLogger("circuitbreaker")
_SAFETY = 5
"""While a circuit is open, half-open or held, so many intervals pass before it is looked at without an occasion."""
_MEMORY = 60.0
"""Counts that could not be told for so many seconds are forgotten, if the policy does not look at time."""


class Link:
    """One circuit's share in its fleet. All but `poke` and `status` is called inside a change of the circuit."""

    def __init__(self, circuit: Circuit, store: Store, process: str) -> None:
        self._circuit = ref(circuit)
        self._store = store
        self.name: str = circuit.name
        self.process: str = process
        self.new: bool = True  # no call came yet
        self.due: float = math.inf  # when the next report is due, on the store's clock
        self.quorum: int = store.quorum
        self.interval: float = store.interval
        self.soon: float = store.interval / 5
        self.bounds: tuple[float, ...] = ()
        self._warned = False
        self._error: str | None = None
        self._reachable = True  # as far as was told
        self._waiters: list[Event] = []  # who wait for what is to be reported
        self._answered: list[Event] = []  # ... and for the answer to the pending report
        self._known: View | None = None  # the last decision that is known
        self._known_at = 0.0
        self._followed: Period | None = None  # what the engine had when it followed that
        self._own: Period | None = None  # an open period that the fleet did not agree to
        self._number = 0
        self._pending: Report | None = None
        self._counted_at = 0.0
        self._asked_at = 0.0
        self._proposed: Period | None = None  # what the pending report's decision is about
        self._proposal = ""
        self._ordered = False
        self._calls = 0  # all that came, up to the last report
        self._looks = False  # somebody wants to know how the fleet's circuit stands
        self._forget_trials()

    def _forget_trials(self) -> None:
        self.leases: Leases = Leases(_SAFETY * self.interval, self.soon)

    def rules(self, rules: LocalRules, settings: Settings) -> SharedRules:
        """The rules for the engine."""
        self.bounds = bounds(settings.trip)
        self._terms = terms(settings, self.quorum, self._store.expire)
        self._rules = rules
        return SharedRules(rules, self)

    # What happens here

    def begin(self, circuit: Circuit) -> None:
        """The first call has come."""
        self.new = False
        # As far as anybody knows, the fleet's circuit is like a new one.
        self._followed = self._followed or circuit.engine.period
        self.poke(0.0)

    def poke(self, within: float) -> None:
        """Have a report made within so many seconds."""
        self._store.poke(self, within)

    def share_order(self, circuit: Circuit) -> None:
        """Somebody ordered something: tell the fleet, if it made a difference."""
        engine = circuit.engine
        if engine.period is not self._followed or _text(engine.hold) != (self._known.hold if self._known else ""):
            self._ordered = True
            self.new = False
            self.poke(0.0)

    def propose(self, reason: str) -> None:
        """The policy would open the circuit by what all processes saw."""
        self._proposal = reason

    def want(self, now: float) -> None:
        """A call is waiting to go."""
        self.poke(self.leases.want(now))

    def is_alone(self) -> bool:
        """Whether to decide here, for the store cannot be reached or does not answer, or the fleet did not agree."""
        failed = self._store.error is not None or self._error is not None
        return failed or self.leases.in_vain or self._own is not None

    @property
    def status(self) -> str:
        """Whether the store can be reached."""
        error = self._store.error or self._error
        if error is not None:
            return f"unreachable: {error}"
        return "connecting" if self._known is None else "connected"

    # What is reported

    def collect(self) -> Report | None:
        """What to report, if there is anything; what was reported and not answered comes first."""
        circuit = self._circuit()
        if circuit is None:  # pragma: no cover - it disappeared since it had something to say
            _set_all(self._waiters)
            return None
        return circuit.turns.run_now(self._collect, circuit)

    def _collect(self, circuit: Circuit) -> Report | None:
        now, period = circuit.clock.monotonic(), circuit.engine.period
        if self._pending is not None:
            self._repeat(self._pending, circuit, now)
        else:
            decision = self._decision(circuit, now, self._ordered)  # first: by it the fleet's period may have ended
            counts = self._counts()
            wanted = 0 if isinstance(period, Closed) else self.leases.wish(now, self._terms.attempts)
            told = self.leases.succeeded or self.leases.returned
            if counts or decision or wanted or told or self._known is None:
                self._report(counts, decision, wanted, now)
            elif self._looks or self._calls != _calls(circuit.engine):
                self._report(None, None, 0, now)  # Calls come: does the fleet still say what is known here?
            self._looks = False
        self._calls = _calls(circuit.engine)
        self._asked_at = now
        if self._pending is None:
            self._schedule(now)
            _set_all(self._waiters)
        return self._pending

    def _report(self, counts: Counts | None, decision: Decision | None, wanted: int, now: float) -> None:
        known = self._known
        self._number += 1
        self._pending = Report(
            self.name,
            self.process,
            self._number,
            UNKNOWN if known is None else known.version,
            0 if known is None else known.orders,
            self._terms,
            counts,
            decision,
            self._restorable(now),
            "" if known is None else known.origin,
            *self.leases.tell(),
            wanted,
        )
        self._counted_at = now
        self._answered, self._waiters = self._waiters, []
        self._ordered = False

    def _repeat(self, pending: Report, circuit: Circuit, now: float) -> None:
        """Say it again, and nothing new: if it did arrive the first time, nobody would hear that."""
        decision, proposed, period = pending.decision, self._proposed, circuit.engine.period
        if decision is not None and proposed is period:
            decision = self._decided(circuit, period, now, decision.ordered)  # Less of it is left.
        elif decision is not None and isinstance(proposed, Open) and not decision.ordered:
            if isinstance(period, Closed):  # It opened and closed again for this process alone, unless this was heard.
                decision = None
                pending = pending._replace(counts=None)
            else:
                decision = decision._replace(left=max(0.0, proposed.until - now))
        if now - self._counted_at > (self._terms.span or _MEMORY):
            pending = pending._replace(counts=None)
        self._pending = pending._replace(decision=decision, known=self._restorable(now))

    def _counts(self) -> Counts | None:
        """What was seen of the fleet's closed period, also if it has ended here."""
        period = self._followed
        if not isinstance(period, Closed) or not isinstance(period.watch, SharedWatch):
            return None
        counts = period.watch.collect(period)
        period.refresh()
        return counts

    def _decision(self, circuit: Circuit, now: float, ordered: bool) -> Decision | None:
        """What was decided here that the fleet does not know of."""
        period, known = circuit.engine.period, self._known
        self._proposed = None
        if not ordered:
            if isinstance(period, Closed) and self._proposal:
                return self._proposed_opening(circuit)
            if self._is_told(period):
                return None
            if isinstance(period, Closed) and (known is None or known.state == "closed"):
                self._followed, self._own = period, None  # It opened and closed again for this process alone.
                cast("SharedWatch", period.watch).skip()  # One that is not watched was ordered.
                return None
        self._proposed = period
        return self._decided(circuit, period, now, ordered)

    def _decided(self, circuit: Circuit, period: Period, now: float, ordered: bool) -> Decision:
        hold, wall = _text(circuit.engine.hold), circuit.clock.time()
        opened = opened_by(period)
        if opened is None:
            reason = (hold and f"{hold}() was called") or ("reset() was called" if ordered else "a trial succeeded")
            return Decision("closed", hold, ordered, reason, 0.0, 0.0, 0, None)
        left = max(0.0, opened.until - now)
        failure = _failure(opened.last_failure, wall)
        return Decision("open", hold, ordered, opened.reason, opened.length, left, opened.round, failure)

    def _proposed_opening(self, circuit: Circuit) -> Decision:
        """The policy says so by what all saw. It is the quorum that decides, so the circuit is closed here as yet."""
        reason, self._proposal = self._proposal, ""
        length = self._rules.open_for(1, None)
        failure = _failure(circuit.engine.last_failure, circuit.clock.time())
        return Decision("open", _text(circuit.engine.hold), False, reason, length, length, 1, failure)

    def _restorable(self, now: float) -> Decision | None:
        """The last decision, in case that the store has lost it."""
        known = self._known
        if known is None or known.version == 0:
            return None
        left = known.left - (now - self._known_at)
        return Decision(known.state, known.hold, False, known.reason, known.length, left, known.round, known.failure)

    def _schedule(self, now: float) -> None:
        """While the circuit is not closed, look again some time, and when there may be a trial to be had."""
        if self._known is None or (self._known.state == "closed" and not self._known.hold and self._own is None):
            return
        self.poke(_SAFETY * self.interval)
        if self.leases.idle:
            self._looks = True  # Perhaps others wait for what nobody uses here.
        if (within := self.leases.look_in(now)) is not None:
            self.poke(within)

    # What is answered

    def answered(self, view: View) -> None:
        """Take in the answer to the pending report."""
        if self._error is not None:
            self._error = None
            self.store_changed()
        self._have_followed(lambda circuit, now: self._take_answer(circuit, view, now))
        if view.digest != self._terms.digest and not self._warned:
            self._warned = True
            _logger.warning(
                "circuit %r is shared by processes with different options: %s there, %s here",
                self.name,
                view.digest,
                self._terms.digest,
            )
        _set_all(self._answered)

    def told(self, view: View) -> None:
        """Take in what somebody decided, as everybody is told."""
        self._have_followed(lambda circuit, now: self._take_news(circuit, view, now))

    def failed(self, error: Exception) -> None:
        """The record of this circuit alone is beyond use: it goes on alone, and asks again."""
        if self._error is None:
            self._error = f"{type(error).__name__}: {error}"
            _logger.error("circuit %r: its record cannot be used; it goes on alone: %s", self.name, self._error)
            self.store_changed()
        self.poke(_SAFETY * self.interval)

    def store_changed(self) -> None:
        """Tell those who listen to `"store"`, if there is something new to tell."""
        circuit, error = self._circuit(), self._store.error or self._error
        if circuit is not None and not self.new and (error is None) != self._reachable:
            self._reachable = error is None
            circuit.store_changed(error is None, error or "")

    def when_exchanged(self) -> Event:
        """An event that is set when all that has happened until now is exchanged."""
        done = Event()
        if self.new:
            done.set()
        else:
            self._waiters.append(done)
            self._looks = True
            self.poke(0.0)
        return done

    def look(self) -> None:
        """Ask before long how the fleet's circuit stands, also if there is nothing to report."""
        if not self.new:
            self._looks = True
            self.poke(self.interval)

    def _have_followed(self, step: Callable[[Circuit, float], Transition | None]) -> None:
        circuit = self._circuit()
        if circuit is not None:
            circuit.follow(partial(step, circuit))

    def _take_news(self, circuit: Circuit, view: View, now: float) -> Transition | None:
        if self._known is None or not self._is_news(view):
            return None
        change = self._follow(circuit, view, now)
        self._schedule(now)
        return change

    def _is_news(self, view: View) -> bool:
        known = self._known
        if known is None or view.version > known.version:
            return True
        return view.version == known.version and view.origin != known.origin

    def _take_answer(self, circuit: Circuit, view: View, now: float) -> Transition | None:
        report, self._pending = self._pending, None
        assert report is not None
        self.leases.answered()
        decision, change = report.decision, None
        if not self._is_news(view):
            self._refuse(circuit, view, report, now)
        elif view.origin == self.process and self._has_said(decision, view.state):
            change = self._agree(circuit, view, now)
        elif self._is_as_new(circuit, view) and not self._was_granted(decision):
            self._join(circuit, view, report, now)
        else:
            change = self._follow(circuit, view, now)
        change = change or self._learn(circuit, view, report, now)
        self._take_leases(circuit, view, report, now)
        self._schedule(now)
        if self._ordered or self._waiters or not self._is_told(circuit.engine.period):
            self.poke(0.0)  # Something came while the answer was under way.
        return change

    def _has_said(self, decision: Decision | None, state: str) -> bool:
        """Whether the pending report asks for `state`, or did when it was said for the first time."""
        if decision is None:
            return self._proposed is not None and state == "open"
        return decision.state == state

    def _is_as_new(self, circuit: Circuit, view: View) -> bool:
        """Whether this is the first answer, and nothing in it contradicts what is here."""
        return self._known is None and view.state == "closed" and view.hold == _text(circuit.engine.hold)

    def _was_granted(self, decision: Decision | None) -> bool:
        """Whether a first report's decision was taken over: always, but for want of a quorum."""
        return decision is not None and (decision.ordered or self.quorum == 1)

    def _is_told(self, period: Period) -> bool:
        """Whether the fleet knows of `period`, or need not."""
        return period is self._followed or period is self._own or isinstance(period, HalfOpen)

    def _know(self, view: View, now: float) -> None:
        self._known, self._known_at = view, now

    def _join(self, circuit: Circuit, view: View, report: Report, now: float) -> None:
        """The first answer: the fleet's circuit is closed, as a new one is. What happened here until now counts."""
        if isinstance(circuit.engine.period, Closed):
            self._followed = circuit.engine.period
        self._refuse(circuit, view, report, now)

    def _refuse(self, circuit: Circuit, view: View, report: Report, now: float) -> None:
        """Nothing new was decided. An opening that was asked for has no quorum: it is for this process alone."""
        self._know(view, now)
        asked = report.decision is not None and report.decision.state == "open" and self._proposed is not None
        if asked and report.version in (UNKNOWN, view.version) and circuit.engine.period is self._proposed:
            self._own = self._proposed
            self._forget_trials()

    def _agree(self, circuit: Circuit, view: View, now: float) -> Transition | None:
        """The fleet took over what was decided here."""
        if self._proposed is None or isinstance(self._proposed, HalfOpen):  # That one is told as an open one.
            return self._follow(circuit, view, now)
        self._know(view, now)
        self._followed, self._own = self._proposed, None
        self._forget_trials()
        return None

    def _follow(self, circuit: Circuit, view: View, now: float) -> Transition | None:
        """Take over what was decided elsewhere."""
        engine, known = circuit.engine, self._known
        self._know(view, now)
        if self._ordered and view.orders == (0 if known is None else known.orders):
            return None  # What was ordered here comes after it.
        self._ordered = False
        hold = Hold(view.hold) if view.hold else None
        self._forget_trials()
        failure = _last_failure(view, circuit.clock.time())
        self._followed = period = self._period(circuit, view, hold, failure, now)
        self._own, self._proposal = None, ""
        reason = f"{format_seconds(view.length)} s have passed" if view.state == "half_open" else view.reason
        origin = "" if view.origin == self.process else view.origin
        return engine.follow(period, hold, now, reason, failure, origin)

    def _period(
        self, circuit: Circuit, view: View, hold: Hold | None, failure: LastFailure | None, now: float
    ) -> Period:
        if view.state == "closed":
            return circuit.engine.new_closed(hold)
        opened = Open(now + view.left - view.length, view.length, view.reason, failure, view.round)
        if view.state == "open":
            return opened
        timeout = view.length if self._terms.lease is None else self._terms.lease
        return LeasedHalfOpen(opened, self._terms.attempts, timeout, self._terms.successes, self)

    def _learn(self, circuit: Circuit, view: View, report: Report, now: float) -> Transition | None:
        """Show the policy what others saw."""
        engine = circuit.engine
        period = engine.period
        if period is not self._followed or not isinstance(period, Closed) or not isinstance(period.watch, SharedWatch):
            return None
        counts = report.counts if report.version in (UNKNOWN, view.version) else None
        reason = period.watch.learn(period, view, counts, now)
        engine.refresh()
        if reason is None:
            return None
        if self.quorum == 1:
            return engine.trip(period, now, reason)
        if view.failing >= self.quorum:
            self._proposal = reason
            self.poke(0.0)
        return None

    def _take_leases(self, circuit: Circuit, view: View, report: Report, now: float) -> None:
        period = circuit.engine.period
        if isinstance(period, LeasedHalfOpen) and period is self._followed:
            period.successes = view.successes + len(self.leases.succeeded)
            self.leases.take_in(view, report.wanted, self._asked_at, now)
        elif view.state == "open":
            self.leases.take_in(view, report.wanted, self._asked_at, now)

    def renew(self, process: str) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: it is another process. What the parent saw and was leased, the parent tells and uses."""
        self.process, self.new, self.due = process, True, math.inf
        pending = self._pending
        self._number, self._pending, self._waiters, self._answered = 0, None, [], []
        self._ordered, self._proposal = False, ""
        self._forget_trials()
        period = self._followed
        if isinstance(period, Closed) and isinstance(period.watch, SharedWatch):
            period.watch.renew(period, None if pending is None else pending.counts)


def _calls(engine: Engine) -> int:
    return engine.successes + engine.failures + engine.ignored + total(engine.rejections)


def _set_all(waiters: list[Event]) -> None:
    while waiters:
        waiters.pop().set()


def _text(hold: Hold | None) -> str:
    return "" if hold is None else hold.value


def _failure(failure: LastFailure | None, wall: float) -> tuple[str, str, float] | None:
    return None if failure is None else (failure.type, failure.text, wall - failure.at.timestamp())


def _last_failure(view: View, wall: float) -> LastFailure | None:
    if view.failure is None:
        return None
    kind, text, ago = view.failure
    return LastFailure(kind, text, utc(wall - ago))
