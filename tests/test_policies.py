"""Trip policies, against a naive model that keeps every call."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple
from weakref import ref

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
    SlowCallRate,
    TripPolicy,
    Watch,
)
from circuitbreaker._engine.periods import Closed

from .support import (
    Boom,
    attempt,
    collect_on_pypy,
    fail,
    frequent_switches,
    in_threads,
    no_cyclic_collector,
    succeed,
    succeed_async,
)


class Call(NamedTuple):
    """One call of a schedule: how long after the one before it ends, how long it takes, how it ends."""

    gap: float
    duration: float
    failed: bool


Model = Callable[[list[tuple[float, Call]]], bool]
"""Says of all calls up to now, with the times at which they ended, whether the circuit should open."""


def run_of(threshold: int) -> Model:
    return lambda calls: len(calls) >= threshold and all(call.failed for _, call in calls[-threshold:])


def rate_of(hit: Callable[[Call], bool], threshold: float, minimum: int, calls: int = 0, seconds: float = 0) -> Model:
    def trips(past: list[tuple[float, Call]]) -> bool:
        now = past[-1][0]
        window = past[-calls:] if calls else [each for each in past if now - each[0] <= seconds]
        hits = sum(hit(call) for _, call in window)
        return len(window) >= minimum and hits / len(window) >= threshold

    return trips


def failed(call: Call) -> bool:
    return call.failed


def slow(call: Call) -> bool:
    return call.duration > 2


POLICIES: dict[str, tuple[TripPolicy, Model]] = {
    "run": (ConsecutiveFailures(3), run_of(3)),
    "calls": (FailureRate(0.5, calls=6, minimum_calls=4), rate_of(failed, 0.5, 4, calls=6)),
    "all calls": (FailureRate(1.0, calls=3, minimum_calls=3), rate_of(failed, 1.0, 3, calls=3)),
    "one call": (FailureRate(1.0, calls=1), rate_of(failed, 1.0, 1, calls=1)),
    "seconds": (FailureRate(0.5, seconds=10, minimum_calls=4), rate_of(failed, 0.5, 4, seconds=10)),
    "few": (FailureRate(0.25, seconds=5, minimum_calls=1), rate_of(failed, 0.25, 1, seconds=5)),
    "slow calls": (SlowCallRate(0.5, slower_than=2, calls=5, minimum_calls=3), rate_of(slow, 0.5, 3, calls=5)),
    "slow seconds": (
        SlowCallRate(0.4, slower_than=2.0, seconds=8, minimum_calls=3),
        rate_of(slow, 0.4, 3, seconds=8),
    ),
}


def pairs() -> dict[str, tuple[TripPolicy, Model]]:
    combined: dict[str, tuple[TripPolicy, Model]] = {}
    for one, (a, of_a) in POLICIES.items():
        for other, (b, of_b) in POLICIES.items():
            if one < other:
                combined[f"{one} | {other}"] = (
                    a | b,  # type: ignore[operator]
                    lambda past, of_a=of_a, of_b=of_b: of_a(past) or of_b(past),
                )
                combined[f"{one} & {other}"] = (
                    a & b,  # type: ignore[operator]
                    lambda past, of_a=of_a, of_b=of_b: of_a(past) and of_b(past),
                )
    return combined


# Gaps and durations are whole quarters, so that sums are exact; no two calls but those of one moment share a slot.
calls_strategy = st.lists(
    st.builds(
        Call,
        gap=st.integers(0, 24).map(lambda quarters: quarters / 4),
        duration=st.integers(0, 16).map(lambda quarters: quarters / 4),
        failed=st.booleans(),
    ),
    max_size=40,
)


def when_it_trips(policy: TripPolicy, calls: list[Call]) -> int | None:
    """The index of the call that trips, when the calls are made one after the other through a breaker."""
    clock = ManualClock()
    breaker = CircuitBreaker(trip=policy, clock=clock)
    for index, call in enumerate(calls):
        clock.advance(call.gap)
        permit = breaker.acquire()
        clock.advance(call.duration)
        permit.failure(Boom()) if call.failed else permit.success()
        if breaker.state is CircuitState.OPEN:
            return index
    return None


def when_it_should(model: Model, calls: list[Call]) -> int | None:
    now = 0.0
    past: list[tuple[float, Call]] = []
    for index, call in enumerate(calls):
        now += call.gap + call.duration
        past.append((now, call))
        if model(past):
            return index
    return None


@pytest.mark.parametrize("name", POLICIES)
@given(calls=calls_strategy)
@settings(deadline=None, max_examples=150)
def test_a_policy_trips_at_the_call_at_which_a_naive_one_would(name: str, calls: list[Call]) -> None:
    """C2: though it never sees most of the successes."""
    policy, model = POLICIES[name]
    assert when_it_trips(policy, calls) == when_it_should(model, calls)


@given(name=st.sampled_from(sorted(pairs())), calls=calls_strategy)
@settings(deadline=None, max_examples=600)
def test_combined_policies_trip_when_the_naive_ones_would(name: str, calls: list[Call]) -> None:
    """C2"""
    policy, model = pairs()[name]
    assert when_it_trips(policy, calls) == when_it_should(model, calls)


@pytest.mark.parametrize("seconds", [1, 30, 86400])
def test_dense_calls_are_never_counted_too_long_and_hardly_too_short(seconds: float) -> None:
    """What shares a hundredth of the window leaves it together."""
    clock = ManualClock()
    watch = FailureRate(1.0, seconds=seconds, minimum_calls=10**9)._begin(lambda *args: None)
    times: list[float] = []
    for number in range(1, 5000):
        clock.advance(seconds / 1500)
        times.append(clock.monotonic())
        watch.see(Outcome(number, times[-1], True, number, 0.0))
        counted = watch._window._hits  # type: ignore[attr-defined]
        age = times[-1] - times[-counted]
        assert age <= seconds * (1 + 1e-9)
        if number > 1500:
            assert age > seconds * 0.98


def test_a_time_window_drops_what_is_old_however_long_nothing_happened() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(trip=FailureRate(0.5, seconds=5, minimum_calls=2), clock=clock)
    attempt(breaker, fail)
    clock.advance(3600)
    attempt(breaker, fail)
    assert breaker.state is CircuitState.CLOSED
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN


@pytest.mark.parametrize(("offset", "leaves"), [(0.995, True), (1.0, False), (1.005, False)])
def test_calls_within_a_hundredth_of_the_window_leave_it_together(offset: float, leaves: bool) -> None:
    clock = ManualClock(1000)
    breaker = CircuitBreaker(trip=FailureRate(1.0, seconds=100, minimum_calls=2), clock=clock)
    for _ in range(3):
        attempt(breaker, succeed)
        clock.advance(1)
    attempt(breaker, succeed)
    clock.advance(offset)
    attempt(breaker, fail)
    clock.advance(100.5 - offset)
    attempt(breaker, fail)
    assert breaker.state is (CircuitState.CLOSED if leaves else CircuitState.OPEN)


def by_block(breaker: CircuitBreaker) -> None:
    with breaker:
        pass


SUCCEED_BY = {
    "function": lambda breaker: breaker(succeed)(),
    "coroutine function": lambda breaker: asyncio.run(breaker(succeed_async)()),
    "permit": lambda breaker: breaker.acquire().success(),
    "block": by_block,
}


@pytest.mark.parametrize("way", SUCCEED_BY)
def test_a_success_at_the_end_of_a_hundredth_belongs_to_the_next(way: str) -> None:
    """C2: so it is still in the window when those a hundredth before it have left."""
    clock = ManualClock(1000)
    breaker = CircuitBreaker(trip=FailureRate(1.0, seconds=100, minimum_calls=2), clock=clock)
    by_block(breaker)
    by_block(breaker)
    clock.advance(1)
    SUCCEED_BY[way](breaker)
    clock.advance(0.5)
    attempt(breaker, fail)
    clock.advance(99.2)
    attempt(breaker, fail)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize(
    ("policy", "most"),
    [
        (ConsecutiveFailures(3), 0),
        (FailureRate(0.5, calls=100), 1),
        (SlowCallRate(0.5, slower_than=1, calls=100), 1),
        (FailureRate(0.5, calls=100) & ConsecutiveFailures(3), 1),
        (FailureRate(0.5, seconds=100), 550),
        (FailureRate(0.5, seconds=50), 1100),
        (FailureRate(0.5, seconds=100, minimum_calls=50) | ConsecutiveFailures(3), 550),
    ],
)
def test_a_policy_asks_for_hardly_any_success(policy: Any, most: int) -> None:
    """A window of calls for that which completes the minimum, one of seconds for two in each hundredth of it."""
    assert len(asked_for(policy, [1000 + number / 100 for number in range(25_000)])) <= most


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        (FailureRate(0.5, calls=100), [10]),
        (FailureRate(0.5, calls=100, minimum_calls=50), [50]),
        (FailureRate(0.5, seconds=100), [1, 10]),
    ],
)
def test_of_successes_at_one_moment_a_policy_asks_for_those_that_can_tip_the_balance(
    policy: Any, numbers: list[int]
) -> None:
    """The one that completes the minimum; and the first, to note the time."""
    assert asked_for(policy, [1000.0] * 200) == numbers


@pytest.mark.parametrize("failed", [False, True])
def test_a_minimum_that_is_completed_out_of_order_is_complete(failed: bool) -> None:
    """Threads may show the eleventh call before the tenth."""
    period = Closed(FailureRate(0.5, calls=100)._begin(lambda *args: None))
    period.see(Outcome(11, 0.0, failed, int(failed), 0.0))
    assert period.next_number > 1000


def asked_for(policy: Any, times: list[float]) -> list[int]:
    """The numbers of the successes that a policy asks to see, of successes at these times."""
    period = Closed(policy._begin(lambda *args: None))
    numbers: list[int] = []
    for at in times:
        number = next(period.tally)
        if number >= period.next_number or at >= period.next_time:
            assert period.see(Outcome(number, at, False, 0, 0.0)) is None
            numbers.append(number)
    return numbers


@pytest.mark.parametrize("window", [{"calls": 10}, {"seconds": 10}])
@pytest.mark.parametrize("combined", [False, True])
@pytest.mark.parametrize("way", SUCCEED_BY)
def test_a_success_that_completes_the_minimum_can_trip_it(window: dict[str, Any], combined: bool, way: str) -> None:
    policy = FailureRate(0.5, **window, minimum_calls=4)
    breaker = CircuitBreaker(trip=policy | ConsecutiveFailures(9) if combined else policy, clock=ManualClock())
    for function in (fail, fail, succeed):
        attempt(breaker, function)
    assert breaker.state is CircuitState.CLOSED
    SUCCEED_BY[way](breaker)
    assert breaker.state is CircuitState.OPEN
    assert breaker.metrics().reason.startswith("failure rate 50 % of 4 calls")


@pytest.mark.parametrize("way", SUCCEED_BY)
def test_old_successes_that_leave_the_window_can_tip_the_balance(way: str) -> None:
    """C2: at the very next call, though that is a success and its slot has begun before."""
    clock = ManualClock(1000)
    breaker = CircuitBreaker(trip=FailureRate(0.5, seconds=100, minimum_calls=2), clock=clock)
    for _ in range(3):
        SUCCEED_BY[way](breaker)
    clock.advance(99.5)
    attempt(breaker, fail)
    clock.advance(0.7)
    SUCCEED_BY[way](breaker)
    assert breaker.metrics().reason == "failure rate 50 % of 2 calls in 100 s, threshold 50 %"


async def test_an_async_success_that_completes_the_minimum_can_trip_it() -> None:
    breaker = CircuitBreaker(trip=FailureRate(0.5, calls=10, minimum_calls=2))
    attempt(breaker, fail)
    assert await breaker(succeed_async)() == "fine"
    assert breaker.state is CircuitState.OPEN


def test_slow_calls_count_when_they_succeed_and_when_they_fail() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(trip=SlowCallRate(1.0, slower_than=2, calls=2), clock=clock)
    with breaker:
        clock.advance(2.5)
    with pytest.raises(Boom), breaker:
        clock.advance(2.5)
        raise Boom
    assert breaker.metrics().reason == "slow call rate (over 2 s) 100 % of 2 calls, threshold 100 %"


def test_slow_calls_count_in_every_closed_period() -> None:
    """C2: also after the circuit was reset, and after it recovered."""
    clock = ManualClock()
    breaker = CircuitBreaker(trip=SlowCallRate(1.0, slower_than=2, calls=2), reset_timeout=10, clock=clock)
    slowly = breaker(lambda: clock.advance(2.5))
    for again in (breaker.reset, lambda: attempt(breaker), breaker.reset):
        slowly()
        slowly()
        assert breaker.state is CircuitState.OPEN
        clock.advance(10)
        again()
        assert breaker.state is CircuitState.CLOSED


def test_a_fast_call_that_completes_the_minimum_is_not_slow() -> None:
    """C2: though the limit is a fraction of a second."""
    clock = ManualClock()
    breaker = CircuitBreaker(trip=SlowCallRate(0.5, slower_than=0.1, calls=10, minimum_calls=3), clock=clock)
    breaker.call(clock.advance, 0.2)
    for _ in range(2):
        breaker.call(clock.advance, 0.05)
    assert breaker.state is CircuitState.CLOSED
    breaker.call(clock.advance, 0.2)
    assert breaker.metrics().reason == "slow call rate (over 0.1 s) 50 % of 4 calls, threshold 50 %"


def test_a_call_of_exactly_the_limit_is_not_slow() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(trip=SlowCallRate(1.0, slower_than=timedelta(seconds=2), calls=1), clock=clock)
    with breaker:
        clock.advance(2)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("window", [{"calls": 20}, {"seconds": 60}], ids=str)
@pytest.mark.parametrize("combined", [False, True])
def test_successes_that_were_not_shown_count_in_the_rate(window: dict[str, Any], combined: bool) -> None:
    """C2, S2: ten calls, of which two failed, though the minimum of four is reached only now."""
    policy = FailureRate(0.25, minimum_calls=4, **window)
    watch: Any = (policy | ConsecutiveFailures(9) if combined else policy).watch()
    for number in (1, 2):
        assert watch.see(Outcome(number, 5.0, True, number, 0.0)) is None
    watch.count_unseen(10, 5.0)
    assert watch.see(Outcome(10, 5.0, False, 0, 0.0)) is None
    assert watch.see(Outcome(11, 5.0, True, 1, 0.0)) is not None, "3 of 11"


def test_reasons_have_the_numbers() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(
        trip=FailureRate(0.5, seconds=30, minimum_calls=5) & ConsecutiveFailures(3) | ConsecutiveFailures(100),
        clock=clock,
    )
    for function in (succeed, succeed, fail, fail, fail):
        attempt(breaker, function)
    assert breaker.metrics().reason == (
        "failure rate 60 % of 5 calls in 30 s, threshold 50 % and 3 consecutive failures, threshold 3"
    )


def test_a_run_that_is_longer_than_its_threshold_is_long_enough() -> None:
    """C2: combined by `&`, the other policy may agree later."""
    breaker = CircuitBreaker(trip=ConsecutiveFailures(2) & FailureRate(1.0, calls=3))
    for _ in range(2):
        attempt(breaker, fail)
    assert breaker.state is CircuitState.CLOSED
    attempt(breaker, fail)
    assert breaker.metrics().reason.startswith("3 consecutive failures, threshold 2 and failure rate 100 % of 3 calls")


@pytest.mark.parametrize(("kind", "trips"), [(AnyOf, [False, True, True]), (AllOf, [False, False, True])])
def test_more_than_two_policies_combine(kind: Callable[..., TripPolicy], trips: list[bool]) -> None:
    watch = kind(ConsecutiveFailures(3), ConsecutiveFailures(2), FailureRate(1.0, calls=3, minimum_calls=2)).watch()
    reasons = [watch.see(Outcome(number, 0.0, True, number, 0.0)) for number in (1, 2, 3)]
    assert [reason is not None for reason in reasons] == trips


def test_a_policy_may_be_shared_by_breakers() -> None:
    """It is a recipe: what it learns is in its watches."""
    policy = FailureRate(1.0, calls=2, minimum_calls=2)
    one, other = CircuitBreaker(trip=policy), CircuitBreaker(trip=policy)
    attempt(one, fail)
    attempt(other, fail)
    assert one.state is other.state is CircuitState.CLOSED
    attempt(one, fail)
    assert (one.state, other.state) == (CircuitState.OPEN, CircuitState.CLOSED)


def test_a_watch_can_be_had_without_a_breaker() -> None:
    watch = (ConsecutiveFailures(2) | FailureRate(1.0, calls=5)).watch()
    assert watch.see(Outcome(1, 0.0, True, 1, 0.0)) is None
    assert watch.see(Outcome(2, 0.0, True, 2, 0.0)) == "2 consecutive failures, threshold 2"


def test_all_policies_that_agree_are_named() -> None:
    breaker = CircuitBreaker(trip=FailureRate(0.5, calls=2) | ConsecutiveFailures(2) | ConsecutiveFailures(3))
    attempt(breaker, fail)
    attempt(breaker, fail)
    assert breaker.metrics().reason == (
        "failure rate 100 % of 2 calls, threshold 50 % and 2 consecutive failures, threshold 2"
    )


def test_reasons_show_shares_to_three_digits() -> None:
    breaker = CircuitBreaker(trip=FailureRate(1 / 3, calls=3))
    for function in (succeed, succeed, fail):
        attempt(breaker, function)
    assert breaker.metrics().reason == "failure rate 33.3 % of 3 calls, threshold 33.3 %"


def test_policies_have_the_documented_defaults() -> None:
    assert ConsecutiveFailures() == ConsecutiveFailures(threshold=5)
    assert FailureRate() == FailureRate(threshold=0.5, calls=100, minimum_calls=10)
    assert FailureRate(calls=3) == FailureRate(calls=3, minimum_calls=3)
    assert FailureRate(seconds=30) == FailureRate(seconds=timedelta(seconds=30), minimum_calls=10)
    assert SlowCallRate(slower_than=2) == SlowCallRate(threshold=0.5, slower_than=2.0, calls=100, minimum_calls=10)


class TotalFailures:
    """The documented example of a policy of one's own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def watch(self) -> TotalFailuresWatch:
        return TotalFailuresWatch(self.limit)


class TotalFailuresWatch:
    def __init__(self, limit: int) -> None:
        self.left = limit

    def see(self, outcome: Outcome) -> str | None:
        self.left -= outcome.failed
        return "too many failures" if self.left <= 0 else None


@pytest.mark.parametrize(
    "policy",
    [
        TotalFailures(2),
        TotalFailures(2) | ConsecutiveFailures(9),
        ConsecutiveFailures(9) | TotalFailures(2),
        TotalFailures(2) & ConsecutiveFailures(1),
        ConsecutiveFailures(1) & TotalFailures(2),
        AnyOf(TotalFailures(2), TotalFailures(3)),
        AllOf(TotalFailures(2), TotalFailures(1)),
    ],
)
def test_a_policy_of_ones_own_works_alone_and_combined(policy: TripPolicy) -> None:
    breaker = CircuitBreaker(trip=policy)
    for function in (fail, succeed):
        attempt(breaker, function)
    assert breaker.state is CircuitState.CLOSED
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN
    assert "too many failures" in breaker.metrics().reason


def test_a_built_in_policy_with_a_watch_of_ones_own_is_asked_by_that() -> None:
    """C2"""

    class Sooner(ConsecutiveFailures):
        __slots__ = ()

        def watch(self) -> Watch:
            return TotalFailuresWatch(self.threshold - 1)

    breaker = CircuitBreaker(trip=Sooner(3))
    for function in (fail, succeed, fail):
        assert breaker.state is CircuitState.CLOSED
        attempt(breaker, function)
    assert breaker.metrics().reason == "too many failures"


def test_a_watch_that_includes_ones_own_can_be_had_without_a_breaker() -> None:
    watch = (ConsecutiveFailures(9) | TotalFailures(2)).watch()
    assert watch.see(Outcome(1, 0.0, True, 1, 0.0)) is None
    assert watch.see(Outcome(2, 0.0, True, 2, 0.0)) == "too many failures"


class FirstOf:
    """Opens at the first error of a kind."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def watch(self) -> FirstOf:
        return self

    def see(self, outcome: Outcome) -> str | None:
        return f"it raised {outcome.error!r}" if isinstance(outcome.error, self.kind) else None


def test_a_policy_of_ones_own_sees_what_failed(clock: ManualClock) -> None:
    """C2: the first error of a kind may be enough, and others not."""
    breaker = CircuitBreaker(trip=ConsecutiveFailures(5) | FirstOf(ConnectionError), clock=clock)
    for _ in range(4):
        attempt(breaker, fail)
    assert breaker.state is CircuitState.CLOSED
    with pytest.raises(ConnectionError), breaker:
        raise ConnectionError("refused")
    assert breaker.metrics().reason == ("5 consecutive failures, threshold 5 and it raised ConnectionError('refused')")


def test_an_outcome_without_an_error_says_none(clock: ManualClock) -> None:
    """C2: a success, a failed result, an explicit failure."""
    seen: list[BaseException | None] = []

    class Watching:
        def watch(self) -> Watching:
            return self

        def see(self, outcome: Outcome) -> None:
            seen.append(outcome.error)

    breaker = CircuitBreaker(trip=Watching(), is_failure_result=lambda result: result == "bad")
    for result in ("good", "bad"):
        breaker.call(lambda result: result, result)
    error = KeyError()
    breaker.acquire().failure()
    breaker.acquire().failure(error)
    assert seen == [None, None, None, error]


@pytest.mark.parametrize(
    "policy",
    [
        ConsecutiveFailures(9),
        FailureRate(0.9, calls=9),
        SlowCallRate(1.0, slower_than=1, seconds=9),
        ConsecutiveFailures(9) & FailureRate(0.9, seconds=9) | SlowCallRate(1.0, slower_than=1, calls=9),
    ],
)
def test_no_built_in_policy_keeps_an_error_alive(policy: TripPolicy) -> None:
    """E7, O2"""

    class Large(Exception):
        pass

    breaker = CircuitBreaker(trip=policy)
    error = Large()
    kept = ref(error)
    breaker.acquire().failure(error)
    with no_cyclic_collector():
        del error
        collect_on_pypy()
        assert kept() is None


def test_a_policy_of_ones_own_sees_every_success_with_its_duration() -> None:
    seen: list[Outcome] = []

    class Seeing:
        def watch(self) -> Seeing:
            return self

        def see(self, outcome: Outcome) -> str | None:
            seen.append(outcome)
            return None

    clock = ManualClock()
    breaker = CircuitBreaker(trip=Seeing() | ConsecutiveFailures(5), clock=clock)  # type: ignore[operator]
    guarded = breaker(lambda: clock.advance(1.5))
    guarded()
    guarded()
    assert seen == [Outcome(1, 1.5, False, 0, 1.5), Outcome(2, 3.0, False, 0, 1.5)]


@pytest.mark.parametrize(
    "policy",
    [
        ConsecutiveFailures(3),
        FailureRate(0.25, calls=50, minimum_calls=5),
        SlowCallRate(0.5, slower_than=1, seconds=10),
        ConsecutiveFailures(3) | FailureRate() & ConsecutiveFailures(2),
    ],
)
def test_policies_are_frozen_values(policy: Any) -> None:
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert hash(pickle.loads(pickle.dumps(policy))) == hash(policy)
    assert policy != ConsecutiveFailures(99)
    assert policy != "policy"
    with pytest.raises(AttributeError, match="frozen"):
        policy.threshold = 1
    with pytest.raises(AttributeError, match="frozen"):
        del policy.threshold


def test_policies_show_what_they_are() -> None:
    assert repr(ConsecutiveFailures(3)) == "ConsecutiveFailures(threshold=3)"
    assert repr(FailureRate(0.5, calls=20)) == "FailureRate(threshold=0.5, calls=20, minimum_calls=10)"
    assert repr(SlowCallRate(0.5, slower_than=2, seconds=9)) == (
        "SlowCallRate(threshold=0.5, seconds=9.0, minimum_calls=10, slower_than=2.0)"
    )
    a, b, c = (ConsecutiveFailures(number) for number in (1, 2, 3))
    shown = [f"ConsecutiveFailures(threshold={number})" for number in (1, 2, 3)]
    assert repr((a | b) & c) == f"({shown[0]} | {shown[1]}) & {shown[2]}"
    assert repr(a & b | c) == f"{shown[0]} & {shown[1]} | {shown[2]}"


def test_the_minimum_is_ten_or_the_window_if_that_is_less() -> None:
    assert FailureRate().minimum_calls == FailureRate(seconds=5).minimum_calls == 10
    assert FailureRate(calls=4).minimum_calls == 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ConsecutiveFailures(0), ValueError, "threshold must be at least 1, got 0"),
        (lambda: ConsecutiveFailures(2.5), TypeError, "threshold must be a whole number, got 2.5"),
        (lambda: ConsecutiveFailures(True), TypeError, "threshold must be a whole number, got True"),
        (lambda: FailureRate(0), ValueError, r"threshold must be in \(0, 1\], got 0"),
        (lambda: FailureRate(1.01), ValueError, r"threshold must be in \(0, 1\], got 1.01"),
        (lambda: FailureRate(float("nan")), ValueError, r"threshold must be in \(0, 1\], got nan"),
        (lambda: FailureRate(-0.5), ValueError, r"threshold must be in \(0, 1\], got -0.5"),
        (lambda: FailureRate("half"), TypeError, "threshold must be a number, got 'half'"),
        (lambda: FailureRate(calls=5, seconds=5), ValueError, "calls or seconds, not both: got calls=5 and seconds=5"),
        (lambda: FailureRate(calls=0), ValueError, "calls must be at least 1, got 0"),
        (lambda: FailureRate(seconds=0), ValueError, "seconds must be more than 0 seconds and finite, got 0"),
        (lambda: FailureRate(seconds=float("inf")), ValueError, "seconds must be more than 0 seconds and finite"),
        (lambda: FailureRate(calls=5, minimum_calls=6), ValueError, "minimum_calls must be at most calls, 5: got 6"),
        (lambda: FailureRate(seconds=5, minimum_calls=0), ValueError, "minimum_calls must be at least 1, got 0"),
        (lambda: FailureRate(calls=5, minimum_calls="2"), TypeError, "minimum_calls must be a whole number"),
        (lambda: SlowCallRate(slower_than=-1), ValueError, "slower_than must be more than 0 seconds"),
        (lambda: SlowCallRate(slower_than="1s"), TypeError, "slower_than must be a number of seconds or a timedelta"),
        (lambda: AnyOf(ConsecutiveFailures()), ValueError, "AnyOf combines two policies or more, got 1"),
        (lambda: ConsecutiveFailures() | 3, TypeError, r"what AnyOf combines must be a policy, with watch\(\), got 3"),
        (
            lambda: ConsecutiveFailures() & FailureRate,
            TypeError,
            "what AllOf combines must be a policy, got the class .*: call it",
        ),
    ],
)
def test_wrong_policies_are_refused_with_name_rule_and_value(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("policy", [FailureRate(0.9, calls=50), FailureRate(0.9, seconds=0.01)])
def test_windows_hold_under_threads(policy: TripPolicy) -> None:
    """E6, C2: no more hits than calls, whatever the order; a third of failures never makes ninety per cent."""
    breaker = CircuitBreaker(trip=policy | FailureRate(0.9, calls=1000))  # type: ignore[operator]
    guarded = breaker(succeed)

    def work() -> None:
        for _ in range(300):
            guarded()
            attempt(breaker, fail)
            guarded()

    with frequent_switches():
        in_threads(8, work)
    metrics = breaker.metrics()
    assert (metrics.total_successes, metrics.total_failures) == (8 * 600, 8 * 300)
