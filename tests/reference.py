"""A circuit breaker as the promises tell it: plain, for one caller, and sharing nothing with the one that is shipped.

Its sections say which promises they were written from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["closed", "open", "half_open"]
Verdict = Literal["success", "failure", "ignored"]
NOT_ADMITTED = None


@dataclass(eq=False)
class Call:
    """A call that was admitted: as what, in which period, and until when it holds an attempt."""

    kind: Literal["watched", "unwatched", "trial", "within"]
    period: int
    deadline: float = math.inf
    settled: bool = False


@dataclass
class Reference:
    """The circuit. Times are given to it; what it tells is in `told` and `changes`."""

    failure_threshold: int
    success_threshold: int
    attempts: int
    open_for: Callable[[int], float]
    trial_timeout: float | None
    state: State = "closed"
    hold: str | None = None
    period: int = 0  # the number of the present period
    run: int | None = 0  # consecutive failures; `None` where nothing is promised
    until: float = 0.0
    length: float = 0.0
    round: int = 0
    successful_trials: int = 0
    used_up: int = 0
    out: list[Call] = field(default_factory=list)  # the trials that hold an attempt, the oldest first
    totals: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("success", "failure", "ignored", "rejected", "shadowed"), 0)
    )
    changes: list[tuple[State, State]] = field(default_factory=list)

    # Admission: C1, O1, H1, H4, M2

    def admit(self, now: float) -> Call | None:
        """The call, or `None` if it is refused."""
        if self.hold == "force_closed":
            return Call("unwatched", self.period)
        if self.hold != "force_open":
            if self.state == "closed":
                return Call("watched", self.period)
            if self.state == "open" and now >= self.until:
                self.begin("half_open")
            if self.state == "half_open" and self.wait(now) == 0:
                return self.admit_trial(now)
        if self.hold == "shadow":
            self.totals["shadowed"] += 1
            return Call("unwatched", self.period)
        self.totals["rejected"] += 1
        return NOT_ADMITTED

    def admit_trial(self, now: float) -> Call:
        if self.used_up + len(self.out) == self.attempts:
            self.out.pop(0)  # H4
        timeout = self.length if self.trial_timeout is None else self.trial_timeout
        trial = Call("trial", self.period, now + timeout)
        self.out.append(trial)
        return trial

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted, if nothing else happens."""
        if self.hold == "force_open":
            return math.inf
        if self.state == "open":
            return max(0.0, self.until - now)
        if self.state == "half_open" and self.used_up + len(self.out) >= self.attempts:
            return max(0.0, self.out[0].deadline - now)
        return 0.0

    # Ends of calls: C2, H2, H3, H4, E1, E2, M2

    def settle(self, call: Call, verdict: Verdict, now: float) -> None:
        """The call has ended."""
        if call.settled:
            return
        call.settled = True
        self.totals[verdict] += 1
        forced = self.hold in ("force_open", "force_closed")
        if call.kind == "unwatched" and self.state == "closed" and forced:
            self.run = None
        if call.kind == "trial" and (forced or verdict == "ignored"):
            self.out = [each for each in self.out if each is not call]
        elif call.period == self.period and not forced and verdict != "ignored":
            if call.kind == "watched":
                self.settle_watched(verdict, now)
            elif call.kind == "trial":
                self.settle_trial(call, verdict, now)

    def settle_watched(self, verdict: Verdict, now: float) -> None:
        self.count(verdict)
        if self.run is None or self.run >= self.failure_threshold:
            self.begin("open", now)

    def settle_trial(self, trial: Call, verdict: Verdict, now: float) -> None:
        self.count(verdict)
        if verdict == "failure":
            self.begin("open", now)
            return
        self.successful_trials += 1
        self.used_up += trial in self.out
        self.out = [each for each in self.out if each is not trial]
        if self.successful_trials == self.success_threshold:
            self.begin("closed")

    def count(self, verdict: Verdict) -> None:
        if verdict == "success":
            self.run = 0
        elif self.run is not None:
            self.run += 1

    # Orders: M1, M2

    def open(self, now: float) -> None:
        if self.state != "open":
            self.begin("open", now)

    def reset(self) -> None:
        self.hold = None
        self.begin("closed")

    def force(self, hold: str) -> None:
        forced = ("force_open", "force_closed")
        if self.state == "closed" and (hold in forced or self.hold in forced):
            self.period += 1  # E1: what was out is not shown to the policy after it
            self.run = 0
        self.hold = hold

    # The one place where the state changes: O1, O4, H1

    def begin(self, state: State, now: float = 0.0) -> None:
        if state != self.state:
            self.changes.append((self.state, state))
        if state == "open":
            self.round = self.round + 1 if self.state == "half_open" else 1
            self.length = self.open_for(self.round)
            self.until = now + self.length
        elif state == "closed":
            self.run = 0
        self.state = state
        self.period += 1
        self.successful_trials = self.used_up = 0
        self.out = []
