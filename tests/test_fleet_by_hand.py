"""What becomes of a fleet when its processes hear of each other at the worst moments."""

from __future__ import annotations

from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, ExponentialBackoff, FailureRate, Outcome, SlowCallRate

from .simulated_fleet import Process, World
from .support import attempt, fail


@pytest.fixture
def world() -> World:
    return World()


def states(world: World) -> set[str]:
    return {world.record.state, *(member.state for member in world.members)}


# Who may open it


class FourCalls:
    """A policy of one's own that needs no failure."""

    def watch(self) -> Any:
        class Watch:
            seen = 0

            def see(self, outcome: Outcome) -> str | None:
                self.seen += 1
                return "four calls" if self.seen == 4 else None

        return Watch()


def test_calls_that_are_slow_and_succeed_open_the_fleets_circuit(world: World) -> None:
    """S2, S10: also the record's, which those learn of who start later."""
    one, _ = world.grow(2, trip=SlowCallRate(0.5, slower_than=1, calls=10, minimum_calls=4))
    for _ in range(4):
        attempt(one.breaker, lambda: one.clock.advance(2))
    world.exchange_all()
    assert states(world) == {"open"}


def give_up(process: Process, times: int) -> None:
    for _ in range(times):
        with pytest.raises(KeyboardInterrupt), process.breaker:
            process.clock.advance(2)
            raise KeyboardInterrupt


@pytest.mark.parametrize("quorum", [1, 2])
def test_calls_that_were_given_up_too_late_open_their_own_process(world: World, quorum: int) -> None:
    """S10, E12: they are not reported. The opening is, which without a quorum is the fleet's."""
    trip = SlowCallRate(0.5, slower_than=1, calls=20, minimum_calls=6)
    one, other = world.grow(2, trip=trip, quorum=quorum)
    world.exchange_all()
    counted = world.record.calls
    give_up(one, 3)
    world.exchange_all()
    give_up(other, 3)
    world.exchange_all()
    assert states(world) == {"closed"}
    assert world.record.calls == counted
    while one.state == "closed":
        give_up(one, 1)
    world.exchange_all()
    assert one.state == "open"
    assert states(world) == ({"open"} if quorum == 1 else {"open", "closed"})
    assert world.record.slow_trial == (1 if quorum == 1 else None)


def test_a_policy_that_needs_no_failure_opens_the_fleets_circuit(world: World) -> None:
    """S10"""
    one, _ = world.grow(2, trip=FourCalls())
    for _ in range(3):
        attempt(one.breaker)
    world.exchange_all()
    assert states(world) == {"open"}


def test_a_success_completes_a_minimum_that_others_reached_while_an_answer_was_under_way(world: World) -> None:
    """S2, C2: it is shown to the policy, though another one was shown since the report."""
    one, other = world.grow(2, trip=FailureRate(0.5, calls=100, minimum_calls=10))
    one.fail(5)
    one.exchange()
    attempt(other.breaker)
    other.send()
    attempt(other.breaker)
    other.hear()
    assert other.state == "closed", "nine calls, five of which failed"
    attempt(other.breaker)
    assert other.state == "open"


def test_failures_of_long_ago_count_in_a_window_of_calls(world: World) -> None:
    """S2: their process is not among the failing any more."""
    one, other = world.grow(2, trip=FailureRate(0.5, calls=100, minimum_calls=10))
    one.fail(5)
    world.exchange_all()
    world.advance(70)
    for _ in range(3):
        attempt(other.breaker)
    world.exchange_all()
    assert states(world) == {"open"}


def test_a_trip_that_is_told_after_a_long_outage_opens_the_fleets_circuit(world: World) -> None:
    """S7: its counts are too old, and not told any more."""
    one, _ = world.grow(2, failure_threshold=2, reset_timeout=600)
    one.fail(2)
    assert one.collect() is not None
    world.advance(90)
    world.exchange_all()
    assert states(world) == {"open"}


def test_a_newcomer_does_not_overrule_what_it_has_not_heard_of(world: World) -> None:
    """S6, S8: it tripped before its first exchange, and follows."""
    options: dict[str, Any] = {"failure_threshold": 2, "reset_timeout": ExponentialBackoff(10, maximum=1000)}
    (one,) = world.grow(1, **options)
    one.fail(2)
    for _ in range(3):
        one.exchange()
        world.advance(world.record.length + 1)
        attempt(one.breaker)
        one.exchange()
        one.fail()
    one.exchange()
    before = (world.record.round, world.record.length, world.record.until)
    assert before[:2] == (4, 80)
    newcomer = Process(world, **options)
    world.members.append(newcomer)
    newcomer.fail(2)
    assert newcomer.state == "open"
    newcomer.exchange()
    assert (world.record.round, world.record.length, world.record.until) == before
    assert newcomer.breaker.metrics().reason.startswith("a trial failed")


# What comes too late


@pytest.mark.parametrize("outage", [46.0, 100.0])
def test_an_opening_that_is_over_when_it_can_be_told_is_not_told(world: World, outage: float) -> None:
    """S7: it closed again, for its own process alone."""
    one, _ = world.grow(2, failure_threshold=2, reset_timeout=10)
    one.fail(2)
    one.error = "it is away"
    assert one.collect() is not None
    world.advance(11)
    assert attempt(one.breaker) == "fine"
    one.collect()
    world.advance(outage - 11)
    one.error = None
    world.exchange_all()
    assert states(world) == {"closed"}
    assert world.record.version == 0
    assert world.record.streak == 0, "what led to it has ended with it"


def test_an_opening_that_was_heard_and_whose_reply_was_lost_is_followed_by_its_end(world: World) -> None:
    """S7: the fleet learns both."""
    one, other = world.grow(2, failure_threshold=2, reset_timeout=10)
    one.fail(2)
    one.exchange(lost=True)
    other.listen()
    assert other.state == world.record.state == "open"
    one.error = "it is away"
    world.advance(11)
    assert attempt(one.breaker) == "fine"
    one.error = None
    world.exchange_all()
    assert states(world) == {"closed"}
    assert world.record.version == 2


def test_an_opening_lasts_for_what_is_left_of_it_when_it_can_be_told(world: World) -> None:
    """S7: also when its process has gone on to trials."""
    one, _ = world.grow(2, failure_threshold=2, reset_timeout=10)
    one.fail(2)
    one.error = "it is away"
    assert one.collect() is not None
    world.advance(12)
    trial = one.breaker.acquire()
    one.error = None
    world.exchange_all()
    assert world.record.until <= world.now
    trial.release()


def test_an_order_that_was_overruled_is_not_sent_as_a_copy_of_what_was_followed(world: World) -> None:
    """S6"""
    one, other = world.grow(2, reset_timeout=10, half_open_max_attempts=1)
    other.breaker.open()
    other.exchange()
    world.advance(11)
    attempt(other.breaker)
    other.exchange()
    trial = other.breaker.acquire()
    one.breaker.force_closed()
    one.listen()
    version = world.record.version
    one.exchange()
    assert (world.record.version, world.record.state) == (version, "half_open")
    trial.success()
    world.exchange_all()
    assert states(world) == {"closed"}


@pytest.mark.parametrize("order", ["shadow", "force_closed"])
def test_a_hold_in_a_half_open_circuit_leaves_all_of_one_mind(world: World, order: str) -> None:
    """M2, S10"""
    one, other = world.grow(2, failure_threshold=1, reset_timeout=30, half_open_max_attempts=1)
    one.fail()
    world.exchange_all()
    world.advance(31)
    attempt(one.breaker)
    world.exchange_all()
    getattr(other.breaker, order)()
    world.exchange_all()
    assert len(states(world)) == 1
    assert {str(member.breaker.hold) for member in world.members} == {order}


def test_a_forked_child_goes_on_from_what_its_parent_knew(world: World) -> None:
    """S8: as another process, which reports nothing that the parent saw."""
    one, other = world.grow(2, failure_threshold=5)
    one.fail(2)
    one.link.renew("child")
    attempt(one.breaker, fail)
    one.exchange()
    assert (world.record.streak, world.record.failing.keys()) == (1, {"child"})
    other.fail(4)
    world.exchange_all()
    assert states(world) == {"open"}


# Who may try


def test_a_process_that_calls_no_more_leaves_the_trials_to_others(world: World) -> None:
    """S4: it asked once, and would be leased the only trial again and again."""
    idle, caller = world.grow(2, failure_threshold=1, half_open_max_attempts=1)
    idle.fail()
    world.exchange_all()
    world.advance(31)
    attempt(idle.breaker)
    idle.exchange()
    assert world.record.trials.leases
    assert world.run(300, caller, step=0.25) is not None


@pytest.mark.parametrize(("many", "every", "attempts"), [(2, 5, 1), (6, 7, 1), (20, 20, 3)])
def test_a_fleet_of_seldom_callers_heals(world: World, many: int, every: float, attempts: int) -> None:
    """S4: a lease is kept for the next call of who asked for it, unless calls wait elsewhere."""
    members = world.grow(many, failure_threshold=1, half_open_max_attempts=attempts)
    members[0].fail()
    world.exchange_all()
    world.advance(31)
    calls = [(index + 1) * every / many for index in range(many)]
    passed = 0.0
    while world.record.state != "closed" and passed < 400:
        for index, member in enumerate(members):
            if calls[index] <= passed:
                attempt(member.breaker)
                calls[index] += every
        passed += 0.1
        world.run(0.1)
    assert world.record.state == "closed"


# The server's clock


@pytest.mark.parametrize("when", ["open", "half-open"])
def test_a_server_whose_clock_is_set_back_prolongs_nothing(world: World, when: str) -> None:
    """S5, S7: by hand, or by a failover to a host whose clock is behind."""
    lost: list[object] = []
    one, other = world.grow(2, failure_threshold=1, reset_timeout=30, half_open_max_attempts=1)
    one.fail()
    world.exchange_all()
    if when == "half-open":
        world.advance(31)
        attempt(one.breaker)
        one.exchange()
        lost.append(one.breaker.acquire())  # and it is never heard of again
    world.members.remove(one)
    world.now -= 3600
    healed = world.run(100, other, step=0.25)
    assert healed is not None
    assert healed < 62


def test_a_server_whose_clock_is_set_back_forgets_no_counts(world: World) -> None:
    """S5: of a circuit that has never been open."""
    one, other = world.grow(2, failure_threshold=3)
    one.fail()
    one.exchange()
    world.now -= 3600
    other.fail(2)
    world.exchange_all()
    assert states(world) == {"open"}


def test_a_step_of_a_moment_is_let_be(world: World) -> None:
    """S5: clocks are adjusted all the time."""
    (one,) = world.grow(1, failure_threshold=1, reset_timeout=30)
    one.fail()
    one.exchange()
    until = world.record.until
    world.now -= 0.5
    one.breaker.force_open()
    one.exchange()
    assert world.record.until <= until


# The thread


def test_what_came_after_a_lost_reply_is_told_at_the_end(world: World) -> None:
    """S7"""
    from circuitbreaker.stores.memory import MemoryServer, MemoryStore

    server = MemoryServer()
    store = MemoryStore(server, interval=60)
    breaker = CircuitBreaker("shop", registry=None, store=store, failure_threshold=3)
    attempt(breaker)
    assert store.sync()
    attempt(breaker, fail)
    server.error = ConnectionError("it is away")
    assert not store.sync(0.2)
    attempt(breaker, fail)
    attempt(breaker, fail)
    server.error = None
    store.close()
    assert server.record("shop").state == "open"


def test_nobody_waits_for_a_store_that_is_closed() -> None:
    from circuitbreaker.stores.memory import MemoryServer, MemoryStore

    store = MemoryStore(MemoryServer())
    breaker = CircuitBreaker("shop", registry=None, store=store)
    attempt(breaker)
    store.close()
    assert not store.sync(timeout=600)
