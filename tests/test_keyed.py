"""One breaker per key."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker import (
    CircuitOpenError,
    CircuitState,
    ExponentialBackoff,
    KeyedBreakers,
    ManualClock,
    Registry,
    circuit,
)

from .support import (
    Boom,
    attempt,
    collect_on_pypy,
    fail,
    frequent_switches,
    in_threads,
    no_cyclic_collector,
    succeed,
    trip,
)


def by_host(**options: Any) -> Any:
    @circuit(key=lambda host, **_: host, name="fetch", failure_threshold=1, **options)
    def fetch(host: str, *, fails: bool = False) -> str:
        if fails:
            raise Boom
        return host

    return fetch


def attempt_at(fetch: Any, host: str) -> None:
    with pytest.raises(Boom):
        fetch(host, fails=True)


def test_there_is_one_breaker_per_key_made_on_first_use() -> None:
    fetch = by_host()
    assert isinstance(fetch.breakers, KeyedBreakers)
    assert len(fetch.breakers) == 0
    assert [fetch("a"), fetch("b"), fetch("a")] == ["a", "b", "a"]
    assert list(fetch.breakers) == ["b", "a"]
    assert fetch.breakers["a"].metrics().total_successes == 2
    assert fetch.breakers["a"].name == "fetch[a]"
    assert "c" not in fetch.breakers
    with pytest.raises(KeyError):
        fetch.breakers["c"]
    assert repr(fetch.breakers) == "<KeyedBreakers, 2 of at most 1024>"
    assert not hasattr(fetch, "breaker")


def test_one_keys_failures_are_not_anothers() -> None:
    fetch = by_host()
    with pytest.raises(Boom):
        fetch("a", fails=True)
    with pytest.raises(CircuitOpenError, match=r"fetch\[a\]"):
        fetch("a")
    assert fetch("b") == "b"


def test_keys_that_look_alike_have_breakers_of_their_own() -> None:
    guarded = circuit(key=lambda value: value, name="same")(succeed)
    guarded(1)
    guarded("1")
    assert [breaker.name for breaker in guarded.breakers.values()] == ["same[1]", "same[1]#2"]


def test_the_least_recently_used_closed_breaker_is_dropped() -> None:
    fetch = by_host(maxsize=2)
    for host in ("a", "b", "a", "c"):
        fetch(host)
    assert list(fetch.breakers) == ["a", "c"]


def test_looking_is_not_use() -> None:
    fetch = by_host(maxsize=2)
    fetch("a")
    fetch("b")
    assert fetch.breakers["a"].state is CircuitState.CLOSED
    fetch("c")
    assert list(fetch.breakers) == ["b", "c"]


@pytest.mark.parametrize("keep", ["open", "half_open", "force_open", "force_closed", "shadow"])
def test_one_that_is_open_half_open_or_held_is_never_dropped(clock: ManualClock, keep: str) -> None:
    """An LRU that drops an open circuit reopens the flood."""
    fetch = by_host(maxsize=1, clock=clock)
    fetch("a")
    breaker = fetch.breakers["a"]
    if keep == "half_open":
        trip(breaker)
        clock.advance(30)
        trial = breaker.acquire()
    elif keep == "open":
        trip(breaker)
    else:
        getattr(breaker, keep)()
    for host in ("b", "c", "d"):
        fetch(host)
    assert list(fetch.breakers) == ["a", "d"]
    assert fetch.breakers["a"] is breaker
    breaker.reset()
    fetch("e")
    assert list(fetch.breakers) == ["e"]
    if keep == "half_open":
        trial.success()


def test_one_that_was_open_for_twice_its_wait_is_dropped_as_one_that_is_closed(clock: ManualClock) -> None:
    """E7: a host that is dead and never asked for again does not stay for ever."""
    fetch = by_host(maxsize=2, clock=clock, reset_timeout=10)
    for host in "ab":
        attempt_at(fetch, host)
    clock.advance(19.99)
    fetch("c")
    assert list(fetch.breakers) == ["a", "b", "c"], "they are within their time: the mapping has grown"
    clock.advance(0.01)
    fetch("d")
    assert list(fetch.breakers) == ["c", "d"]


def test_the_wait_of_the_growing_round_counts(clock: ManualClock) -> None:
    fetch = by_host(maxsize=1, clock=clock, reset_timeout=ExponentialBackoff(10, factor=3))
    attempt_at(fetch, "a")
    clock.advance(10)
    attempt_at(fetch, "a")  # a trial, which fails: now it is open for 30 s
    clock.advance(59)
    fetch("b")
    assert "a" in fetch.breakers
    clock.advance(1)
    fetch("c")
    assert list(fetch.breakers) == ["c"]


def test_thousands_of_dead_keys_do_not_grow_it(clock: ManualClock, sandbox: Registry) -> None:
    """E7"""
    hosts = KeyedBreakers("crawl", maxsize=10, failure_threshold=1, reset_timeout=5, clock=clock)
    for number in range(500):
        attempt(hosts.use(number), fail)
        clock.advance(1)
    assert len(hosts) == len(sandbox) <= 12, "those that failed in the last 10 s, and an eighth"


@given(
    uses=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["ok", "fail", "reset"])), max_size=60),
    size=st.integers(1, 5),
)
@settings(deadline=None, max_examples=200)
def test_it_keeps_what_a_naive_one_would(uses: list[tuple[int, str]], size: int) -> None:
    with Registry().as_default():
        fetch = by_host(maxsize=size)
        order: dict[int, bool] = {}  # the key, and whether its circuit is open; the least recently used first
        for key, what in uses:
            if what == "reset":
                if key in order:
                    fetch.breakers[key].reset()
                    order[key] = False
                continue
            is_open = order.pop(key, False)
            is_new = key not in fetch.breakers
            try:
                fetch(key, fails=what == "fail")
            except (Boom, CircuitOpenError):
                is_open = True
            while is_new and len(order) >= size and False in order.values():
                del order[next(each for each in order if not order[each])]
            order[key] = is_open
            assert list(fetch.breakers) == list(order)


def test_a_dropped_breaker_frees_its_name_while_a_call_is_still_inside(sandbox: Registry) -> None:
    fetch = by_host(maxsize=1)
    fetch("a")
    old = fetch.breakers["a"]
    permit = old.acquire()
    fetch("b")
    fetch("a")
    assert fetch.breakers["a"] is not old
    assert sandbox.get("fetch[a]") is fetch.breakers["a"]
    permit.success()
    assert old.metrics().total_successes == 2


def test_a_function_guarded_by_key_disappears_with_its_breakers() -> None:
    """E7: by reference count alone."""
    with no_cyclic_collector():
        fetch = by_host()
        fetch("a")
        gone = weakref.ref(fetch.breakers["a"])
        del fetch
        collect_on_pypy()
        assert gone() is None


def test_a_key_that_changes_its_hash_does_no_harm() -> None:
    class Odd:
        def __init__(self) -> None:
            self.hash = 1

        def __hash__(self) -> int:
            return self.hash

    guarded: Any = circuit(key=lambda value: value, maxsize=1)(succeed)
    odd = Odd()
    guarded(odd)
    odd.hash = 2
    for number in range(3):
        assert guarded(number) == number
    assert guarded.breakers[2].state is CircuitState.CLOSED


def test_a_strategy_may_look_at_the_breakers_while_one_is_dropped(sandbox: Registry) -> None:
    """No two locks are waited for crosswise."""
    inside, dropping = threading.Event(), threading.Event()
    sandbox.on("state_change", lambda change: None)

    def strategy(opening: object) -> float:
        inside.set()
        dropping.wait(1)
        return 1.0 + len(list(fetch.breakers.values()))

    fetch = by_host(maxsize=1, reset_timeout=strategy)
    fetch("a")
    opening = threading.Thread(target=fetch.breakers["a"].open)
    opening.start()
    assert inside.wait(10)
    other = threading.Thread(target=lambda: (fetch("b"), dropping.set()))
    other.start()
    for thread in (opening, other):
        thread.join(10)
        assert not thread.is_alive()


def test_an_async_fallback_of_a_plain_function_is_a_type_error_by_key_too() -> None:
    async def fallback(value: str) -> str:
        return value

    with pytest.raises(TypeError, match="fallback of the plain function"):
        circuit(key=lambda value: value, fallback=fallback)(succeed)


def test_every_kind_of_callable_can_be_guarded_by_key() -> None:
    key: Callable[[str], str] = lambda value: value  # noqa: E731 - short

    def steps(value: str) -> Iterator[str]:
        yield value

    class Service:
        @circuit(key=lambda self, value: value)
        def method(self, value: str) -> str:
            return value

        @circuit(key=lambda cls, value: value)
        @classmethod
        def of_class(cls, value: str) -> str:
            return value

        def __call__(self, value: str) -> str:
            return value

    assert Service().method("a") == Service().of_class("a") == circuit(key=key)(Service())("a") == "a"
    assert Service.method.breakers["a"].metrics().total_successes == 1
    assert list(circuit(key=key)(steps)("a")) == ["a"]
    guarded = circuit(key=key)(Service())
    guarded("b")
    assert list(guarded.breakers) == ["b"]
    assert circuit(key=key)(max)([1, 2].__class__([3])[0:] and "b") == "b"


async def test_every_kind_of_async_callable_can_be_guarded_by_key() -> None:
    async def work(value: str) -> str:
        return value

    async def steps(value: str) -> AsyncIterator[str]:
        yield value

    guarded = circuit(key=lambda value: value)(work)
    guarded_steps = circuit(key=lambda value: value)(steps)
    assert inspect.iscoroutinefunction(guarded)
    assert await guarded("a") == "a"
    assert [each async for each in guarded_steps("a")] == ["a"]
    assert list(guarded.breakers) == list(guarded_steps.breakers) == ["a"]


def test_what_the_key_function_raises_is_the_callers_and_nothing_runs() -> None:
    ran: list[str] = []

    @circuit(key=lambda value: value["host"])
    def fetch(value: Any) -> None:
        ran.append(value)

    with pytest.raises(KeyError):
        fetch({})
    with pytest.raises(TypeError, match="unhashable"):
        fetch({"host": []})
    assert ran == []
    assert len(fetch.breakers) == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maxsize": 0}, ValueError, "maxsize must be at least 1, got 0"),
        ({"maxsize": 1.5}, TypeError, "maxsize must be a whole number, got 1.5"),
        ({"key": None, "maxsize": 5}, TypeError, "maxsize goes with key, got maxsize=5 alone"),
        ({"key": None, "maxsize": 5000}, TypeError, "maxsize goes with key, got maxsize=5000 alone"),
        ({"key": "host"}, TypeError, "key must be callable, got 'host'"),
        ({"key": str}, TypeError, "key must be a function, got the class"),
    ],
)
def test_wrong_keys_and_sizes_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        circuit(**{"key": lambda value: value, **options})


def test_a_mapping_of_ones_own_wants_a_size_too() -> None:
    with pytest.raises(ValueError, match=r"^maxsize must be at least 1, got 0$"):
        KeyedBreakers("shop", maxsize=0)


def test_a_mapping_of_ones_own_guards_by_key(sandbox: Registry) -> None:
    hosts = KeyedBreakers("shop", failure_threshold=1)
    assert attempt(hosts.use("a"), fail) == "Boom"
    assert [attempt(hosts.use(key)) for key in "ab"] == ["CircuitOpenError", "fine"]
    assert hosts.use("a") is sandbox.get("shop[a]") is hosts["a"]


def test_a_mapping_full_of_open_circuits_is_not_looked_through_for_each_new_key() -> None:
    """E7: it grows beyond its size, and is looked through when it has grown by an eighth, not before."""
    hosts = KeyedBreakers("shop", maxsize=10, registry=None, failure_threshold=1)
    looked: list[int] = []
    by_age = hosts._by_age
    hosts._by_age = lambda: looked.append(len(hosts)) or by_age()  # type: ignore[func-returns-value,method-assign]
    for number in range(40):
        attempt(hosts.use(number), fail)
    assert looked == [11, 13, 15, 17, 20, 23, 26, 30, 34, 39]
    for number in range(40):
        hosts[number].reset()
    for number in range(40, 50):
        hosts.use(number)
    assert len(hosts) == 10


def test_a_mapping_of_no_registry_is_bounded_too() -> None:
    hosts = KeyedBreakers("shop", maxsize=1, registry=None)
    assert hosts.use("a").name == "shop[a]"
    hosts.use("b")
    assert list(hosts) == ["b"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (None, {}, "name must be a string, got None"),
        ("shop", {"threshold": 5}, "there is no option 'threshold'; here it is called failure_threshold"),
    ],
)
def test_a_mapping_of_ones_own_checks_its_options(name: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        KeyedBreakers(name, **options)


def test_threads_that_meet_at_a_new_key_get_one_breaker() -> None:
    guarded: Any = circuit(key=lambda value: value, maxsize=50)(succeed)

    def work() -> None:
        for number in range(120):
            guarded(number % 40)

    with frequent_switches():
        in_threads(8, work)
    assert len(guarded.breakers) == 40
    assert all(breaker.metrics().total_successes == 24 for breaker in guarded.breakers.values())


def test_threads_that_fill_it_leave_no_more_than_its_size(sandbox: Registry) -> None:
    guarded: Any = circuit(key=lambda value: value, maxsize=10)(succeed)

    def work() -> None:
        for number in range(200):
            guarded(number % 37)

    with frequent_switches():
        in_threads(8, work)
    assert len(guarded.breakers) == 10
    assert len(sandbox) == 10
