"""Windows and combined policies against lists of calls: calls that overlap, in several periods, dense and sparse.

The shipped windows see hardly any success. The lists here keep every call, and are searched anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker import (
    AllOf,
    AnyOf,
    CircuitBreaker,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    ManualClock,
    Outcome,
    Permit,
    SlowCallRate,
    TripPolicy,
)

from .support import Boom

twice = settings(max_examples=2 * settings.default.max_examples)


class Call(NamedTuple):
    """One call: when it begins and ends, and how."""

    start: float
    end: float
    failed: bool

    @property
    def duration(self) -> float:
        return self.end - self.start


Past = list[Call]
"""The calls of one closed period, in the order in which they ended; the last one has just ended."""
Naive = Callable[[Past], bool]
"""Whether the circuit should open now."""


class Pair(NamedTuple):
    """A policy, and what should be the same."""

    policy: TripPolicy
    naive: Naive


def share(window: Past, hit: Callable[[Call], bool], threshold: float, minimum: int) -> bool:
    return len(window) >= minimum and sum(map(hit, window)) / len(window) >= threshold


def failed(call: Call) -> bool:
    return call.failed


def longer_than(seconds: float) -> Callable[[Call], bool]:
    return lambda call: call.duration > seconds


# Random policies, and random calls


def run_of(threshold: int) -> Pair:
    return Pair(
        ConsecutiveFailures(threshold),
        lambda past: len(past) >= threshold and all(map(failed, past[-threshold:])),
    )


def rate_of_calls(slower_than: float | None, threshold: float, calls: int, minimum: int) -> Pair:
    minimum = min(minimum, calls)
    window = {"calls": calls, "minimum_calls": minimum}
    return rate(slower_than, threshold, window, lambda past: past[-calls:])


def rate_in_seconds(slower_than: float | None, threshold: float, seconds: float, minimum: int) -> Pair:
    window = {"seconds": seconds, "minimum_calls": minimum}
    return rate(slower_than, threshold, window, lambda past: [c for c in past if past[-1].end - c.end <= seconds])


def rate(slower_than: float | None, threshold: float, window: dict[str, float], last: Callable[[Past], Past]) -> Pair:
    policy: TripPolicy
    if slower_than is None:
        policy, hit = FailureRate(threshold, **window), failed  # type: ignore[arg-type]
    else:
        policy = SlowCallRate(threshold, slower_than=slower_than, **window)  # type: ignore[arg-type]
        hit = longer_than(slower_than)
    return Pair(policy, lambda past: share(last(past), hit, threshold, int(window["minimum_calls"])))


class FourthFailure:
    """A policy of the user's own, which wants to see every call in its place (C2)."""

    def watch(self) -> FourthFailure.Watch:
        return self.Watch()

    class Watch:
        def __init__(self) -> None:
            self.seen: list[Outcome] = []

        def see(self, outcome: Outcome) -> str | None:
            self.seen.append(outcome)
            assert [each.number for each in self.seen] == list(range(1, len(self.seen) + 1))
            return "the fourth" if outcome.failed and sum(each.failed for each in self.seen) >= 4 else None


def fourth_failure() -> Pair:
    return Pair(FourthFailure(), lambda past: past[-1].failed and sum(map(failed, past)) >= 4)


slowness = st.sampled_from([None, None, 1.0, 2.5])
thresholds = st.sampled_from([0.2, 1 / 3, 0.5, 0.75, 1.0])
minima = st.integers(1, 6)
LEAVES: dict[str, st.SearchStrategy[Pair]] = {
    "consecutive failures": st.builds(run_of, st.integers(1, 5)),
    "calls": st.builds(rate_of_calls, slowness, thresholds, st.integers(1, 8), minima),
    "seconds": st.builds(rate_in_seconds, slowness, thresholds, st.integers(3, 20).map(float), minima),
    "the user's own": st.builds(fourth_failure),
}
leaves = st.one_of(*LEAVES.values())


def combined(pairs: list[Pair], any_of: bool) -> Pair:
    kind, agree = (AnyOf, any) if any_of else (AllOf, all)
    return Pair(kind(*(pair.policy for pair in pairs)), lambda past: agree([pair.naive(past) for pair in pairs]))


trees = st.recursive(
    leaves, lambda inner: st.builds(combined, st.lists(inner, min_size=2, max_size=3), st.booleans()), max_leaves=6
)


def schedules(unit: float, longest_gap: int, longest_call: int, many: int) -> st.SearchStrategy[list[Call]]:
    """So many calls or more that overlap, on a grid of `unit` seconds; a third of them fail."""
    one = st.tuples(st.integers(0, longest_gap), st.integers(0, longest_call), st.sampled_from([False, False, True]))
    return st.lists(one, min_size=many, max_size=2 * many).map(lambda drawn: _on_grid(drawn, unit))


def _on_grid(drawn: list[tuple[int, int, bool]], unit: float) -> list[Call]:
    calls, start = [], 0
    for gap, duration, fails in drawn:
        start += gap
        calls.append(Call(start * unit, (start + duration) * unit, fails))
    return calls


# Both, through a breaker that is reset when it opens


def trips(policy: TripPolicy, calls: list[Call]) -> list[int]:
    """The calls whose ends open the circuit, as indices into the calls in the order of their ends."""
    clock, out = ManualClock(), dict[Call, list[Permit]]()
    breaker, tripped, ended = CircuitBreaker(trip=policy, clock=clock), [], 0
    for call, at_end in moments(calls):
        clock.advance((call.end if at_end else call.start) - clock.monotonic())
        if not at_end:
            out.setdefault(call, []).append(breaker.acquire())
            continue
        permit = out[call].pop(0)
        permit.failure(Boom()) if call.failed else permit.success()
        if breaker.state is CircuitState.OPEN:
            tripped.append(ended)
            breaker.reset()
        ended += 1
    return tripped


def should_trip(naive: Naive, calls: list[Call]) -> list[int]:
    """The same, from the list of all calls that began and ended in the present period."""
    out: dict[Call, list[int]] = {}
    past: Past = []
    tripped: list[int] = []
    ended = 0
    for call, at_end in moments(calls):
        if not at_end:
            out.setdefault(call, []).append(len(tripped))
            continue
        if out[call].pop(0) == len(tripped):  # else it is late (E1)
            past.append(call)
            if naive(past):
                tripped.append(ended)
                past = []
        ended += 1
    return tripped


def moments(calls: list[Call]) -> list[tuple[Call, bool]]:
    """Beginnings and ends in their order; of one moment, as the calls were given."""
    both = [(call.start, index, False) for index, call in enumerate(calls)]
    both += [(call.end, index, True) for index, call in enumerate(calls)]
    return [(calls[index], at_end) for _, index, at_end in sorted(both)]


@pytest.mark.parametrize("kind", LEAVES)
@given(data=st.data())
def test_a_policy_opens_at_the_same_calls_as_a_list_of_all_calls(kind: str, data: st.DataObject) -> None:
    """C2, E1: calls overlap, and those of an earlier period are late."""
    pair, calls = data.draw(LEAVES[kind]), data.draw(schedules(0.25, 12, 12, 30))
    assert trips(pair.policy, calls) == should_trip(pair.naive, calls)


@twice
@given(pair=trees, calls=schedules(0.25, 12, 12, 30))
def test_policies_combine_as_their_answers_do(pair: Pair, calls: list[Call]) -> None:
    """C2: any tree of `|` and `&`, with policies of the user's own in it."""
    assert trips(pair.policy, calls) == should_trip(pair.naive, calls)


class Window(NamedTuple):
    """What a rate in seconds is made with."""

    slower_than: float | None
    threshold: float
    minimum: int


@given(
    window=st.builds(Window, st.sampled_from([None, 0.2]), thresholds, st.integers(1, 30)),
    calls=schedules(0.01, 60, 30, 60),
)
def test_a_window_in_seconds_is_at_most_a_hundredth_short_and_never_long(window: Window, calls: list[Call]) -> None:
    """What shares a hundredth of the span may leave together: it opens when all such windows say so, if not before."""
    span = 10.0
    policy = rate_in_seconds(window.slower_than, window.threshold, span, window.minimum).policy
    hit = failed if window.slower_than is None else longer_than(window.slower_than)

    def says(past: Past, shortest: float) -> list[bool]:
        """What each window says that reaches as far back as the span, or less by a hundredth at most."""
        now = past[-1].end
        certain = [call for call in past if now - call.end < shortest]
        perhaps = [call for call in past if shortest <= now - call.end <= span]
        windows = [perhaps[skipped:] + certain for skipped in range(len(perhaps) + 1)]
        return [share(window_, hit, window.threshold, window.minimum) for window_ in windows]

    earliest = should_trip(lambda past: any(says(past, span * 0.99)), calls)
    latest = should_trip(lambda past: all(says(past, span * 0.99)), calls)
    assert first_of(earliest) <= first_of(trips(policy, calls)) <= first_of(latest)


def first_of(tripped: list[int]) -> float:
    return tripped[0] if tripped else math.inf
