"""A custom trip policy, alone and combined with a built-in one.

    python examples/own_policy.py

A policy has one method, `watch()`, which returns an observer for one closed period. The observer has one method,
`see()`, which receives each outcome and returns the reason to open the circuit, or `None`. It runs under the breaker's
lock, so keep it fast, and take the time from the outcome.
"""

from dataclasses import dataclass

from circuitbreaker import CircuitBreaker, ConsecutiveFailures, ManualClock, Outcome, TripPolicy


@dataclass(frozen=True)  # `get_or_create` compares options, so equal policies must compare equal.
class FailureBudget:
    """Tolerate `size` failures, and one more for every `seconds` that pass."""

    size: int
    seconds: float

    def watch(self) -> "BudgetWatch":
        """Start with a full budget."""
        return BudgetWatch(self)


class BudgetWatch:
    """What remains of a budget. It belongs to one closed period, so breakers can share the policy."""

    def __init__(self, budget: FailureBudget) -> None:
        self.budget = budget
        self.left = float(budget.size)
        self.since: float | None = None

    def see(self, outcome: Outcome) -> str | None:
        """Add what was earned, subtract what was spent."""
        earned = 0.0 if self.since is None else (outcome.at - self.since) / self.budget.seconds
        self.left = min(self.budget.size, self.left + earned) - outcome.failed
        self.since = outcome.at
        return f"the budget of {self.budget.size} failures is spent" if self.left < 0 else None


def run(policy: TripPolicy, calls: str) -> None:
    """Make one call a second: `+` succeeds, `-` fails."""
    clock = ManualClock()
    breaker = CircuitBreaker(trip=policy, clock=clock)
    for call in calls:
        permit = breaker.acquire()
        if call == "+":
            permit.success()
        else:
            permit.failure()
        clock.advance(1)
        if reason := breaker.metrics().reason:
            print(f"{calls}  opens after {clock.monotonic():.0f} calls: {reason}")
            return
    print(f"{calls}  stays closed")


def main() -> None:
    budget = FailureBudget(3, seconds=10)
    print(budget)
    run(budget, "+-+-+-++++")
    run(budget, "+-+-+-+-++")
    run(budget, "++----++++")

    either = budget | ConsecutiveFailures(2)  # `&` requires both.
    print(f"\n{either}")
    run(either, "+-+-+-++++")
    run(either, "+-+-+-+-++")
    run(either, "++--++++++")


if __name__ == "__main__":
    main()
