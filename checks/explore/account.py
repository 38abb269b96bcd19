"""What the promises say of every move, kept beside the engine without looking at it.

The account knows when the circuit opened and for how long, which call began in which period, which trials hold an
attempt, and every outcome that a policy may count. From that it says how each move must end. `because` names the
promise that is broken if the move ends otherwise.
"""

from __future__ import annotations

import math
from typing import Any

from .subject import HOLDS, STATES, Totals
from .worlds import World

__all__ = ["LATE", "SETTLED", "TRIAL", "Account"]

CLOSED, OPEN, HALF_OPEN = range(3)
FREE, FORCED_OPEN, FORCED_CLOSED, SHADOW = range(4)

# Where a call belongs; TRIAL + n is a trial that holds an attempt and may stay out for n units yet
PRESENT, LATE, HANDED_ON, SETTLED, TRIAL = range(5)

SUCCESS, FAILURE, IGNORED, REJECTED, SHADOWED = range(5)
_VERDICTS = {"success": SUCCESS, "failure": FAILURE, "release": IGNORED}


class Account:
    """What must be so in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._naive = world.naive
        self.put(bytes(8) + bytes(self._naive.empty), [])
        self.watched = 1

    def put(self, row: bytes, calls: list[int]) -> None:
        """Take up the account where `row` and `calls` left it."""
        self.state, self.hold, self.opening, self.left, self.length = row[:5]
        self.used, self.successes, self.watched = row[5:8]
        self.seen = tuple(row[8:])
        self.calls = calls
        self.begin()

    def begin(self) -> None:
        """Expect anew from here."""
        self.wait: float | None = None  # what the refusal must name, if there must be one
        self.told: list[tuple[Any, ...]] = []
        self._counted = [0, 0, 0, 0, 0]
        self.because = ""

    def row(self) -> list[int]:
        """The account's part of the state."""
        return [
            *(self.state, self.hold, self.opening, self.left, self.length, self.used, self.successes, self.watched),
            *self.seen,
        ]

    @property
    def totals(self) -> Totals:
        """What this move must have counted (E6)."""
        return tuple(self._counted)

    @property
    def out(self) -> int:
        """Calls that are out."""
        return len(self.calls) - (SETTLED in self.calls)

    @property
    def full(self) -> bool:
        """Whether the bounds of the world allow no more outcomes to be seen before time passes."""
        return self.watched == 1 and self.state == CLOSED and self._naive.full(self.seen)

    @property
    def forced(self) -> bool:
        """Whether no outcome may move the circuit (M2)."""
        return self.hold in (FORCED_OPEN, FORCED_CLOSED)

    # Calls begin

    def admit(self) -> None:
        """A call asks to be admitted."""
        if self.hold == FORCED_OPEN:
            self._refuse(math.inf, "M2")
        elif self.state == CLOSED:
            self._let_in(PRESENT, "M2" if self.hold == FORCED_CLOSED else "C1")
        elif self.hold == FORCED_CLOSED:
            self._let_in(LATE, "M2")  # It runs because of the hold, and counts in no period.
        elif self.state == OPEN and self.left > 0:
            self._refuse(self.left, "O1")
        else:
            self._admit_trial()

    def _admit_trial(self) -> None:
        if self.state == OPEN:
            self._move(HALF_OPEN, 0)
            self.used = self.successes = 0
        held = [call for call in self.calls if call >= TRIAL]
        because = "H3"  # An attempt is free: it was not taken yet, or was given back.
        if self.used + len(held) >= self._world.attempts:
            first = min(held)
            if wait := self._lease(first):
                self._refuse(wait, "H1")
                return
            self.calls[self.calls.index(first)] = HANDED_ON
            because = "H4"
        timeout = self.length if self._world.timeout is None else self._world.timeout
        self._let_in(TRIAL + timeout, because)

    def _lease(self, trial: int) -> int:
        """How long a trial may stay out yet before its attempt goes to another call."""
        return trial - TRIAL

    def _let_in(self, call: int, because: str) -> None:
        self.calls.append(call)
        self.because = because

    def _refuse(self, wait: float, because: str) -> None:
        self.wait = wait
        self.because = because
        shadow = self.hold == SHADOW
        self._counted[SHADOWED if shadow else REJECTED] += 1
        self.told.append(("rejected", STATES[self.state], wait, shadow))
        if shadow:
            self._let_in(LATE, "M2")

    # Calls end

    def call(self) -> None:
        """A call that succeeds at once."""
        before = len(self.calls)
        self.admit()
        if len(self.calls) > before:
            begun = self.because
            self.settle(before, "success")
            self.because = begun if self.wait is not None else self.because

    def call_within(self, which: int) -> None:
        """A call that succeeds at once, made inside a trial: it rides on that while the trial holds its attempt."""
        if self.forced or self._lease(self.calls[which]) == 0:
            self.call()
        else:
            self._counted[SUCCESS] += 1
            self.because = "H5"

    def settle(self, which: int, how: str) -> None:
        """A call that is out ends."""
        call, verdict = self.calls.pop(which), _VERDICTS[how]
        self._counted[verdict] += 1
        if call == LATE:
            self.because = "E1"
        elif self.forced:
            self.because = "M2"
        elif call == PRESENT:
            self._see(verdict)
        else:
            self._take_verdict(verdict, held=call != HANDED_ON)

    def _see(self, verdict: int) -> None:
        self.because = "C2"
        if verdict == IGNORED:
            return
        self.seen, trips = self._naive.take(self.seen, verdict == FAILURE)
        if trips:
            self._open()

    def _take_verdict(self, verdict: int, held: bool) -> None:
        """The end of a trial. Its attempt is free again if it is no longer among the calls, and is not used."""
        self.because = "H3" if verdict == IGNORED else "H2" if held else "H4"
        if verdict == FAILURE:
            self._open()
        elif verdict == SUCCESS:
            self.successes += 1
            self.used += held
            if self.successes >= self._world.successes:
                self._close()

    def settle_again(self, which: int) -> None:
        """A permit is settled that was settled before."""
        self.calls.append(self.calls.pop(which))
        self.because = "E2"

    # Time, orders, questions

    def tick(self) -> None:
        """One unit of time passes."""
        self.because = "O3"
        self.left = max(0, self.left - 1)
        self.calls[:] = [call - 1 if call > TRIAL else call for call in self.calls]
        self.seen = self._naive.tick(self.seen)

    def read(self) -> None:
        """Somebody looks."""
        self.because = "O3"

    def order(self, what: str) -> None:
        """`open`, `reset` or a hold."""
        if what == "open":
            self.because = "M1"
            if self.state != OPEN:
                self._open()
        elif what == "reset":
            self.because = "M1"
            self.hold = FREE
            self._close()
        else:
            self.because = "M2"
            self._force([str(hold) for hold in HOLDS].index(what))

    def _force(self, hold: int) -> None:
        was_forced, self.hold = self.forced, hold
        if self.state == CLOSED and (was_forced or self.forced):
            self._begin_closed()

    # Transitions

    def _open(self) -> None:
        self.opening = min(self.opening + 1, len(self._world.lengths))
        self.length = self.left = self._world.length(self.opening)
        self._move(OPEN, self.length)
        self._forget()

    def _close(self) -> None:
        if self.state != CLOSED:
            self._move(CLOSED, 0)
        self._begin_closed()

    def _begin_closed(self) -> None:
        self._forget()
        self.opening = self.left = self.length = 0
        self.watched = 0 if self.forced else 1

    def _forget(self) -> None:
        """A period ends: the calls that are out belong to no present period (E1), and nothing of it is kept."""
        self.calls[:] = [call if call == SETTLED else LATE for call in self.calls]
        self.used = self.successes = self.watched = 0
        self.seen = self._naive.empty

    def _move(self, state: int, retry_after: float) -> None:
        self.told.append((STATES[self.state], STATES[state], retry_after))
        self.state = state
