"""A trip policy of your own, alone and combined with a built-in one.

    python examples/own_policy.py

A policy is a recipe with one method, `watch()`, which starts an observer of one closed period. The observer's one
method, `see()`, is shown each outcome and returns why the circuit should open, or `None`. It runs under the breaker's
lock: keep it quick, and read time from the outcome.
"""

from dataclasses import dataclass

from circuitbreaker import CircuitBreaker, ConsecutiveFailures, ManualClock, Outcome, TripPolicy


@dataclass(frozen=True)  # Equal policies make equal options: the same name with these is the same breaker.
class FailureBudget:
    """Put up with `size` failures, and earn one more with every `seconds` that pass."""

    size: int
    seconds: float

    def watch(self) -> "BudgetWatch":
        """Start with a full budget."""
        return BudgetWatch(self)


class BudgetWatch:
    """What is left of a budget. It belongs to one closed period, so breakers can share the policy."""

    def __init__(self, budget: FailureBudget) -> None:
        self.budget = budget
        self.left = float(budget.size)
        self.since: float | None = None

    def see(self, outcome: Outcome) -> str | None:
        """Add what was earned, take off what was spent."""
        earned = 0.0 if self.since is None else (outcome.at - self.since) / self.budget.seconds
        self.left = min(self.budget.size, self.left + earned) - outcome.failed
        self.since = outcome.at
        return f"a budget of {self.budget.size} failures is spent" if self.left < 0 else None


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

    either = budget | ConsecutiveFailures(2)  # `&` for both at once
    print(f"\n{either}")
    run(either, "+-+-+-++++")
    run(either, "+-+-+-+-++")
    run(either, "++--++++++")


if __name__ == "__main__":
    main()
