"""The contract of every store: what several processes see of one circuit. Each test runs in each place of `fleets`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from circuitbreaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    ExponentialBackoff,
    FailureRate,
    Outcome,
    Registry,
    RetryAfter,
    SlowCallRate,
    circuit,
)
from circuitbreaker.stores import Store
from circuitbreaker.stores.memory import MemoryServer, MemoryStore
from circuitbreaker.stores.redis import RedisStore

from .fleets import PLACES, Fleet, Member
from .servers import until
from .support import Boom, attempt, fail, in_threads, succeed

SOON = 0.05
"""An open period that is over at once."""


@pytest.fixture(params=list(PLACES), scope="module")
def make_store(request: pytest.FixtureRequest) -> Iterator[Callable[..., Store]]:
    with PLACES[request.param]() as make_store:
        yield make_store


@pytest.fixture
def fleet(make_store: Callable[..., Store], request: pytest.FixtureRequest) -> Iterator[Fleet]:
    made = Fleet(make_store)
    adding = made.add
    made.add = lambda name=request.node.name, **options: adding(name, **options)  # type: ignore[method-assign]
    yield made
    made.close()


def half_open(fleet: Fleet, member: Member) -> None:
    """Have `member` be leased a trial."""

    def leased() -> bool:
        if member.state is not CircuitState.HALF_OPEN:
            assert member.call() in (["CircuitOpenError"], ["fine"])
            member.store.sync()
        return member.state is not CircuitState.OPEN

    until(leased, "a trial is leased")


# Counting together


def test_failures_of_several_processes_add_up(fleet: Fleet) -> None:
    """S2: none of them sees more than two."""
    members = fleet.grow(4, failure_threshold=8)
    for member in members[:3]:
        member.call(fail, 2)
    fleet.sync()
    assert fleet.states() == ["closed"] * 4
    members[3].call(fail, 2)
    fleet.sync()
    assert fleet.states() == ["open"] * 4
    assert [member.changes for member in members] == [["open"]] * 4
    assert members[3].call() == ["CircuitOpenError"]


def test_a_success_of_one_process_ends_the_run_of_all(fleet: Fleet) -> None:
    """S2, S10"""
    one, other = fleet.grow(2, failure_threshold=4)
    one.call(fail, 3)
    fleet.sync()
    other.call()
    fleet.sync()
    other.call(fail, 3)
    fleet.sync()
    assert fleet.states() == ["closed"] * 2
    one.call(fail)
    fleet.sync()
    assert fleet.states() == ["open"] * 2


@pytest.mark.parametrize("window", [{"calls": 20}, {"seconds": 60}], ids=["calls", "seconds"])
def test_a_failure_rate_is_that_of_the_fleet(fleet: Fleet, window: dict[str, Any]) -> None:
    """S2, S10: half of all calls, though all of one process and few of another."""
    bad, good = fleet.grow(2, trip=FailureRate(0.5, minimum_calls=10, **window))
    good.call(times=8)
    fleet.sync()
    bad.call(fail, 8)
    fleet.sync()
    assert fleet.states() == ["closed"] * 2, "8 of 18"
    bad.call(fail, 2)
    fleet.sync()
    assert fleet.states() == ["open"] * 2
    assert "50 % of 20 calls" in str(good.breaker.metrics().reason)


def test_slow_calls_are_counted_together(fleet: Fleet) -> None:
    """S2, S10"""
    members = fleet.grow(2, trip=SlowCallRate(0.5, slower_than=0.001, calls=10, minimum_calls=4))

    def slow() -> str:
        Event().wait(0.003)  # It is what the call takes.
        return "slow"

    for member in members:
        member.call(slow)
        fleet.sync()
    assert fleet.states() == ["open"] * 2, "2 of 4"


def test_a_slow_trial_of_any_process_opens_again_what_slow_calls_of_another_opened(fleet: Fleet) -> None:
    """S10, E12"""
    one, other = fleet.grow(
        2,
        trip=SlowCallRate(0.5, slower_than=0.05, calls=4, minimum_calls=2),
        reset_timeout=SOON,
        success_threshold=2,
    )

    def slow() -> None:
        Event().wait(0.07)  # It is what the call takes.

    one.call(slow, 2)
    fleet.sync()
    assert fleet.states() == ["open"] * 2
    half_open(fleet, other)
    other.call(slow)
    assert other.state is CircuitState.OPEN
    fleet.sync()
    assert "a trial took 0." in one.breaker.metrics().reason
    assert one.changes[-1] == other.changes[-1] == "open"


def test_combined_policies_see_the_fleet(fleet: Fleet) -> None:
    """S10"""
    trip = ConsecutiveFailures(4) & FailureRate(0.5, calls=8, minimum_calls=8) | ConsecutiveFailures(20)
    one, other = fleet.grow(2, trip=trip)
    one.call(times=2)
    fleet.sync()
    other.call(fail, 2)
    fleet.sync()
    one.call(fail, 1)
    fleet.sync()
    assert fleet.states() == ["closed"] * 2
    other.call(fail, 1)
    fleet.sync()
    assert fleet.states() == ["open"] * 2


def test_a_policy_of_the_users_own_sees_what_all_processes_see(fleet: Fleet) -> None:
    """S10"""

    class Total:
        def watch(self) -> Any:
            seen: list[Outcome] = []
            outcomes.append(seen)

            class Watch:
                def see(self, outcome: Outcome) -> str | None:
                    seen.append(outcome)
                    return "enough" if sum(each.failed for each in seen) >= 6 else None

            return Watch()

    outcomes: list[list[Outcome]] = []
    one, other = fleet.grow(2, trip=Total())
    one.call(fail, 3)
    other.call(times=2)
    fleet.sync()
    other.call(fail, 2)
    fleet.sync()
    assert fleet.states() == ["closed"] * 2
    one.call(fail)
    fleet.sync()
    assert fleet.states() == ["open"] * 2
    first = next(seen for seen in outcomes if seen)
    assert [each.number for each in first] == list(range(1, len(first) + 1)), "each call once, in one order"


def test_a_new_process_counts_on_from_what_the_fleet_saw(fleet: Fleet) -> None:
    """S8, S2: lives may be shorter than windows."""
    for _ in range(4):
        member = fleet.add(trip=FailureRate(0.5, seconds=60, minimum_calls=5))
        member.call(fail)
        fleet.sync()
        assert member.state is CircuitState.CLOSED
        member.store.close()
        fleet.members.clear()
    last = fleet.add(trip=FailureRate(0.5, seconds=60, minimum_calls=5))
    last.call(fail)
    fleet.sync()
    assert last.state is CircuitState.OPEN


# Opening


def test_a_trip_is_told_to_all_with_its_reason_and_its_origin(fleet: Fleet) -> None:
    """S3, O2, E5"""
    one, other = fleet.grow(2, failure_threshold=2, reset_timeout=60)
    one.call(fail, 2)
    fleet.sync()
    with pytest.raises(CircuitOpenError) as caught:
        other.breaker.call(succeed)
    assert caught.value.reason == "2 consecutive failures, threshold 2"
    assert str(caught.value.last_failure) == "Boom: out of order"
    assert 50 < caught.value.retry_after <= 60
    assert caught.value.opened_at == pytest.approx(one.breaker.metrics().opened_at, abs=timedelta(seconds=1))
    assert one.origins == [""]
    assert other.origins[0] not in ("", other.store)


def test_a_trip_spreads_without_being_asked_for(fleet: Fleet) -> None:
    """S3: the others are idle, and hear of it all the same."""
    members = fleet.grow(3, failure_threshold=1)
    members[0].call(fail)
    until(lambda: fleet.states() == ["open"] * 3, "all are open")


def test_two_that_trip_at_once_open_once(fleet: Fleet) -> None:
    """S2, S6"""
    members = fleet.grow(4, failure_threshold=3)
    waiting = iter(members)
    in_threads(4, lambda: next(waiting).call(fail, 3))
    fleet.sync()
    assert fleet.states() == ["open"] * 4
    assert [member.changes for member in members] == [["open"]] * 4


def test_the_length_of_an_open_period_grows_over_the_fleet(fleet: Fleet) -> None:
    """S10, O4: one fails the trial, and another draws the next."""
    one, other = fleet.grow(2, failure_threshold=1, reset_timeout=ExponentialBackoff(SOON, factor=1000.0, maximum=900))
    one.call(fail)
    fleet.sync()
    half_open(fleet, other)
    assert other.call(fail) == ["Boom"]
    fleet.sync()
    assert fleet.states() == ["open"] * 2
    for member in (one, other):
        assert 40 < seconds_left(member.breaker) <= 50


def seconds_left(breaker: CircuitBreaker) -> float:
    try:
        breaker.call(succeed)
    except CircuitOpenError as error:
        return error.retry_after
    return 0.0


def test_what_a_failure_asks_for_is_asked_of_the_fleet(fleet: Fleet) -> None:
    """S10, O4"""

    class Busy(Exception):
        retry_after = 77

    def busy() -> None:
        raise Busy

    one, other = fleet.grow(2, failure_threshold=1, reset_timeout=RetryAfter(30))
    one.call(busy)
    fleet.sync()
    assert 70 < seconds_left(other.breaker) <= 77


# Trials


def test_trials_of_all_processes_share_one_budget(fleet: Fleet) -> None:
    """S4, H1"""
    members = fleet.grow(4, failure_threshold=1, reset_timeout=SOON, half_open_max_attempts=2, half_open_timeout=60)
    members[0].call(fail)
    fleet.sync()
    permits: list[Any] = []

    def ask() -> bool:
        for member in members:
            with suppress(CircuitOpenError):
                permits.append(member.breaker.acquire())
        fleet.sync()
        return len(permits) >= 2

    until(ask, "both trials are out")
    for _ in range(5):
        ask()
    assert len(permits) == 2
    assert fleet.states() == ["half_open"] * 4
    permits[0].release()
    until(lambda: ask() and len(permits) == 3, "the attempt that was given back is out again")
    assert len(permits) == 3
    permits[1].success()
    fleet.sync()
    assert fleet.states() == ["closed"] * 4


def test_successes_of_several_processes_close_the_circuit(fleet: Fleet) -> None:
    """S4, H2"""
    members = fleet.grow(2, failure_threshold=1, reset_timeout=SOON, success_threshold=2)
    members[0].call(fail)
    fleet.sync()
    for member in members:
        half_open(fleet, member)
    until(
        lambda: not any(each.call() and fleet.sync() for each in members) and "half_open" not in fleet.states(),
        "it closes",
    )
    fleet.sync()
    assert fleet.states() == ["closed"] * 2
    assert [member.changes for member in members] == [["open", "half_open", "closed"]] * 2


def test_a_trial_that_fails_opens_the_circuit_for_all(fleet: Fleet) -> None:
    """S4, H2"""
    one, other = fleet.grow(2, failure_threshold=1, reset_timeout=SOON)
    one.call(fail)
    fleet.sync()
    half_open(fleet, other)
    assert other.call(fail) == ["Boom"]
    fleet.sync()
    assert one.changes[-1] == other.changes[-1] == "open"
    assert one.changes == ["open", "half_open", "open"]


def test_a_lease_that_ran_out_goes_to_another_process(fleet: Fleet) -> None:
    """S4, H4: its own verdict still counts."""
    slow, quick = fleet.grow(
        2, failure_threshold=1, reset_timeout=SOON, half_open_max_attempts=1, half_open_timeout=SOON
    )
    slow.call(fail)
    fleet.sync()
    half_open(fleet, slow)
    permit = slow.breaker.acquire()

    def taken() -> bool:
        fleet.sync()
        try:
            quick.breaker.acquire().release()
        except CircuitOpenError:
            return False
        return True

    until(taken, "the other one is leased the attempt")
    permit.success()
    fleet.sync()
    assert fleet.states() == ["closed"] * 2


def test_a_result_that_comes_when_the_fleet_moved_on_changes_nothing(fleet: Fleet) -> None:
    """S6, E1"""
    one, other = fleet.grow(2, failure_threshold=1, reset_timeout=SOON)
    one.call(fail)
    fleet.sync()
    half_open(fleet, one)
    permit = one.breaker.acquire()
    other.breaker.force_open()
    other.breaker.reset()
    fleet.sync()
    permit.failure(Boom())
    fleet.sync()
    assert fleet.states() == ["closed"] * 2


# Orders


@pytest.mark.parametrize("order", ["force_open", "force_closed", "shadow"])
def test_a_hold_is_the_fleets(fleet: Fleet, order: str) -> None:
    """S10, M2: until it is reset, by whomever, and for those that come later."""
    one, other = fleet.grow(2)
    getattr(one.breaker, order)()
    fleet.sync()
    late = fleet.add()
    late.call()
    fleet.sync()
    assert [str(member.breaker.hold) for member in fleet.members] == [order] * 3
    late.breaker.reset()
    fleet.sync()
    assert [member.breaker.hold for member in fleet.members] == [None] * 3
    assert other.call() == ["fine"]


def test_open_and_reset_are_the_fleets(fleet: Fleet) -> None:
    """S10, M1"""
    one, other = fleet.grow(2)
    one.breaker.open()
    fleet.sync()
    assert fleet.states() == ["open"] * 2
    assert other.breaker.metrics().reason == "open() was called"
    other.breaker.reset()
    fleet.sync()
    assert fleet.states() == ["closed"] * 2
    assert one.changes == ["open", "closed"]


def test_open_for_a_time_is_the_fleets(fleet: Fleet) -> None:
    """S10, M1: also if it is open already."""
    one, other = fleet.grow(2)
    for member, seconds in ((one, 60), (other, timedelta(seconds=90))):
        member.breaker.open(seconds)
        fleet.sync()
        assert fleet.states() == ["open"] * 2
        for each in (one, other):
            with pytest.raises(CircuitOpenError) as refused:
                each.breaker.acquire()
            assert refused.value.retry_after == pytest.approx(60 if member is one else 90, abs=15)
    assert one.changes == other.changes == ["open"]


def test_after_no_time_the_next_call_is_a_trial(fleet: Fleet) -> None:
    """S4, O1: once it is leased, for as long as any trial may take."""
    one, other = fleet.grow(2, failure_threshold=1, reset_timeout=0, success_threshold=2)
    one.call(fail)
    fleet.sync()
    half_open(fleet, other)
    permits = [other.breaker.acquire()]
    until(lambda: bool(fleet.sync() or other.call() == ["fine"]), "another trial is leased")  # type: ignore[func-returns-value]
    permits[0].success()
    fleet.sync()
    assert fleet.states() == ["closed"] * 2


def test_reset_forgets_what_the_fleet_counted(fleet: Fleet) -> None:
    """M1, S10"""
    one, other = fleet.grow(2, failure_threshold=4)
    one.call(fail, 3)
    fleet.sync()
    other.breaker.reset()
    fleet.sync()
    one.call(fail, 3)
    fleet.sync()
    assert fleet.states() == ["closed"] * 2


def test_an_order_before_the_first_call_reaches_the_fleet(fleet: Fleet) -> None:
    """M2"""
    one = fleet.add()
    one.breaker.force_open()
    assert one.store.sync()
    other = fleet.add()
    other.call()
    fleet.sync()
    assert str(other.breaker.hold) == "force_open"


# Quorum


def test_below_the_quorum_a_circuit_opens_for_its_own_process_alone(fleet: Fleet) -> None:
    """One process with a broken network poisons nobody, and is closed again by its own trial."""
    broken, *others = fleet.grow(3, failure_threshold=2, reset_timeout=SOON, quorum=2)
    broken.call(fail, 2)
    fleet.sync()
    assert fleet.states() == ["open", "closed", "closed"]
    assert others[0].call() == ["fine"]
    until(lambda: broken.call() == ["fine"], "it tries alone")
    fleet.sync()
    assert broken.changes == ["open", "half_open", "closed"]
    assert [member.changes for member in others] == [[], []]


def test_at_the_quorum_a_circuit_opens_for_all(fleet: Fleet) -> None:
    members = fleet.grow(3, failure_threshold=4, quorum=2)
    members[0].call(fail, 3)
    fleet.sync()
    assert fleet.states() == ["closed"] * 3
    members[1].call(fail)
    fleet.sync()
    assert fleet.states() == ["open"] * 3


# What is around it


def test_metrics_say_whether_the_store_answers(fleet: Fleet) -> None:
    """S7"""
    member = fleet.add()
    assert member.breaker.metrics().store == "connecting"
    member.call()
    fleet.sync()
    assert member.breaker.metrics().store == "connected"
    member.store.close()
    assert member.breaker.metrics().store == "unreachable: it was closed"
    assert member.call() == ["fine"]


def test_a_store_that_is_closed_leaves_the_circuit_to_itself(fleet: Fleet) -> None:
    """S7: what was counted is told before."""
    one, other = fleet.grow(2, failure_threshold=2)
    one.call(fail)
    one.store.close()
    other.call(fail)
    assert other.store.sync()
    assert other.state is CircuitState.OPEN
    one.call(fail)
    assert one.state is CircuitState.OPEN, "alone"
    fleet.members.remove(one)


def test_processes_with_different_options_are_warned(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    one, other = fleet.add(failure_threshold=5), fleet.add(failure_threshold=7)
    for _ in range(3):
        for member in (one, other):
            member.call()
            fleet.sync()
    said = [record.getMessage() for record in caplog.records if "different options" in record.getMessage()]
    assert len(said) == 2, "once each"
    assert "ConsecutiveFailures(threshold=5)" in said[0]
    assert "ConsecutiveFailures(threshold=7)" in said[0]


def test_a_registry_may_give_all_its_breakers_a_store(make_store: Callable[..., Store]) -> None:
    with closing(make_store(interval=0.02)) as store:
        services = Registry(store=store, failure_threshold=1)

        @circuit(registry=services, name="decorated")
        def work() -> None:
            raise Boom

        with pytest.raises(Boom):
            work()
        assert store.sync()
        assert services.get_or_create("other").metrics().store == "connecting"
        twin_store = make_store(interval=0.02)
        twin = CircuitBreaker("decorated", registry=None, store=twin_store, failure_threshold=1)
        attempt(twin)
        until(lambda: twin.state is CircuitState.OPEN, "the other store knows it")
        twin_store.close()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"interval": 0}, ValueError, "interval must be more than 0 seconds"),
        ({"quorum": 0}, ValueError, "quorum must be at least 1, got 0"),
        ({"expire": 0}, ValueError, "expire must be at least 1 and finite, got 0"),
        ({"interval": "1"}, TypeError, "interval must be a number of seconds"),
    ],
)
def test_wrong_options_are_refused(
    make_store: Callable[..., Store], options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make_store(**options)


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(TypeError, match="store must be a store"):
        CircuitBreaker("shop", registry=None, store="redis://localhost")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="store must be a store"):
        CircuitBreaker("shop", registry=None, store=RedisStore)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a name"):
        CircuitBreaker(store=MemoryStore())
    with pytest.raises(TypeError, match="client must be a URL, or a client of redis-py"):
        RedisStore(42)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prefix must be a string that is not empty"):
        RedisStore("redis://localhost", prefix="")


def test_an_outage_of_the_reference_is_one_outage() -> None:
    """S7"""
    server = MemoryServer()
    fleet = Fleet(lambda **options: MemoryStore(server, **options))
    one, other = fleet.grow(2, failure_threshold=2, reset_timeout=60)
    heard: list[bool] = []
    one.breaker.on("store", lambda change: heard.append(change.reachable))
    server.error = ConnectionError("gone")
    one.call(fail, 2)
    until(lambda: heard == [False], "it is noticed")
    assert one.state is CircuitState.OPEN
    assert one.breaker.metrics().store == "unreachable: ConnectionError: gone"
    assert other.state is CircuitState.CLOSED
    server.error = None
    until(lambda: heard == [False, True], "it heals")
    until(lambda: other.state is CircuitState.OPEN, "what was decided meanwhile is told")
    fleet.close()
