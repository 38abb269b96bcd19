"""The shell around a `Member`: it runs the member's steps for a circuit, each in the circuit's turn.

The circuit holds its link; the link has a weak reference to the circuit, so a circuit that nobody holds disappears. The
steps of an exchange come from the store's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Protocol
from weakref import ref

from .._circuit.circuit import Circuit
from .._circuit.rules import LocalRules
from .._engine.engine import Engine, Transition
from .._log import log
from .._values import one_line, quoted
from ..options import Settings
from .member import Member
from .messages import Quotas, Report, Snapshot
from .rules import FleetRules

__all__ = ["Carrier", "Link"]

_RETRY = 5
"""A record that cannot be used is tried again after this many intervals."""


class Carrier(Protocol):
    """What carries reports and answers: a store's thread."""

    interval: float
    """Seconds between reports while calls come."""
    error: str | None
    """Why the store cannot be reached; `None` if it can, as far as is known."""

    def report_within(self, link: Link, seconds: float) -> None:
        """Have `link.report` called within this many seconds. Never blocks."""
        ...


class Link:
    """Ties a circuit to a store. To the circuit it is its `Membership`, to the member its `Host`."""

    def __init__(
        self, circuit: Circuit, rules: LocalRules, settings: Settings, quotas: Quotas, carrier: Carrier, process: str
    ) -> None:
        self.name: str = circuit.name
        self._circuit = ref(circuit)
        self._carrier = carrier
        self.member: Member = Member(circuit.name, process, rules, settings, quotas, carrier.interval, self)
        self._error: str | None = None  # why this record alone cannot be used
        self._announced = True  # whether listeners know the store as reachable
        self._warned = False
        self._waiters: list[Event] = []  # for what is to be reported
        self._answered: list[Event] = []  # for the answer to the report under way

    # To the circuit

    def rules(self) -> FleetRules:
        """The rules for the circuit's engine."""
        return self.member.rules()

    @property
    def unused(self) -> bool:
        """Whether no call and no override came yet."""
        return self.member.unused

    def begin(self, engine: Engine) -> None:
        """The first call comes."""
        self.member.begin(engine)

    def share_override(self, engine: Engine) -> None:
        """A person ordered something. Runs in the circuit's turn."""
        self.member.note_override(engine)

    @property
    def status(self) -> str:
        """`"connecting"`, `"connected"`, or `"unreachable: "` and why."""
        error = self._carrier.error or self._error
        if error is not None:
            return f"unreachable: {error}"
        return "connecting" if self.member.snapshot is None else "connected"

    # To the member

    @property
    def unreachable(self) -> bool:
        """Whether the record cannot be reached or used, as far as is known."""
        return self._carrier.error is not None or self._error is not None

    def report_within(self, seconds: float) -> None:
        """Have a report made within this many seconds."""
        self._carrier.report_within(self, seconds)

    # To the store

    def report(self) -> Report | None:
        """The next report, if there is anything to report; one that was not answered comes again before."""
        circuit = self._circuit()
        if circuit is None:  # pragma: no cover - it disappeared since it had something to report
            _set_all(self._waiters)
            return None
        return circuit.turns.run_now(self._report, circuit)

    def _report(self, circuit: Circuit) -> Report | None:
        repeated = self.member.awaits_answer
        report = self.member.report(circuit.engine, circuit.clock.monotonic(), circuit.clock.time())
        if report is None:
            _set_all(self._waiters)
        elif not repeated:
            self._answered, self._waiters = self._waiters, []
        return report

    def apply_answer(self, snapshot: Snapshot) -> None:
        """Take in the answer to the last report."""
        if self._error is not None:
            self._error = None
            self.store_changed()
        self._change(self._apply_answer, snapshot)
        self._warn_of_other_options(snapshot)
        _set_all(self._answered)

    def _apply_answer(self, circuit: Circuit, snapshot: Snapshot, now: float) -> Transition | None:
        change = self.member.apply_answer(circuit.engine, snapshot, now, circuit.clock.time())
        if self._waiters:
            self.report_within(0.0)
        return change

    def apply_news(self, snapshot: Snapshot) -> None:
        """Take in a decision that is published to all."""
        self._change(self._apply_news, snapshot)

    def _apply_news(self, circuit: Circuit, snapshot: Snapshot, now: float) -> Transition | None:
        return self.member.apply_news(circuit.engine, snapshot, now, circuit.clock.time())

    def _change(self, step: Callable[[Circuit, Snapshot, float], Transition | None], snapshot: Snapshot) -> None:
        circuit = self._circuit()
        if circuit is not None:
            circuit.follow(partial(step, circuit, snapshot))

    def apply_error(self, error: Exception) -> None:
        """The record of this circuit alone cannot be used. The circuit goes on alone, and tries again."""
        if self._error is None:
            self._error = one_line(f"{type(error).__name__}: {error}")
            log("error", "circuit %s: its record cannot be used; it goes on alone: %s", quoted(self.name), self._error)
            self.store_changed()
        self.report_within(_RETRY * self._carrier.interval)

    def _warn_of_other_options(self, snapshot: Snapshot) -> None:
        mine = self.member.quotas.digest
        if snapshot.digest != mine and not self._warned:
            self._warned = True
            message = "circuit %s is shared by processes with different options: %s there, %s here"
            log("warning", message, quoted(self.name), one_line(snapshot.digest, 1000), one_line(mine, 1000))

    def store_changed(self) -> None:
        """Notify listeners to `"store"`, if it became reachable or unreachable since they were notified."""
        circuit, error = self._circuit(), self._carrier.error or self._error
        if circuit is not None and not self.unused and (error is None) != self._announced:
            self._announced = error is None
            circuit.store_changed(error is None, error or "")

    def when_exchanged(self) -> Event:
        """An event that is set once all that has happened until now is exchanged."""
        done = Event()
        if self.unused:
            done.set()
        else:
            self._waiters.append(done)
            self.member.ask_within(0.0)
        return done

    def ask_soon(self) -> None:
        """Ask for the fleet's circuit within an interval, even if there is nothing to report."""
        if not self.unused:
            self.member.ask_within(self._carrier.interval)

    def renew(self, process: str) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: it is another process, and whoever waits is in the parent."""
        self._waiters, self._answered = [], []
        self.member.renew(process)


def _set_all(waiters: list[Event]) -> None:
    while waiters:
        waiters.pop().set()
