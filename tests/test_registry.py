"""Breakers by name."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import circuitbreaker
from circuitbreaker import (
    CircuitBreaker,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    ManualClock,
    Registry,
    StateChange,
    Watch,
    circuit,
    get_breaker,
)

from .support import attempt, collect_on_pypy, fail, frequent_switches, in_threads, no_cyclic_collector, succeed, trip


def test_a_named_breaker_is_found_for_as_long_as_somebody_holds_it(sandbox: Registry) -> None:
    with no_cyclic_collector():
        breaker = CircuitBreaker("search")
        assert get_breaker("search") is breaker
        assert "search" in sandbox
        assert list(sandbox) == [breaker]
        assert len(sandbox) == 1
        del breaker
        collect_on_pypy()
        assert "search" not in sandbox
        assert len(sandbox) == 0


def test_an_unknown_name_is_a_key_error_that_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="no breaker is called 'x'; known: none"):
        get_breaker("x")
    kept = [CircuitBreaker("b"), CircuitBreaker("a")]
    with pytest.raises(KeyError, match="no breaker is called 'x'; known: 'a', 'b'"):
        get_breaker("x")
    assert len(kept) == 2


def test_a_taken_name_is_a_value_error() -> None:
    kept = CircuitBreaker("search")
    with pytest.raises(ValueError, match="name 'search' is taken by <CircuitBreaker 'search' closed"):
        CircuitBreaker("search")
    assert get_breaker("search") is kept


def test_a_taken_name_is_a_value_error_even_if_its_breaker_goes_meanwhile() -> None:
    """E8: as it may in another thread."""

    class Name(str):
        __slots__ = ()

        def __repr__(self) -> str:
            kept.clear()
            return str.__repr__(self)

    kept = [CircuitBreaker("search")]
    with pytest.raises(ValueError, match="name 'search' is taken by <CircuitBreaker 'search' closed"):
        CircuitBreaker(Name("search"))


def test_a_breaker_can_be_kept_out_of_every_registry(sandbox: Registry) -> None:
    kept = [CircuitBreaker("search", registry=None), CircuitBreaker("search", registry=None), CircuitBreaker()]
    assert len(sandbox) == 0
    assert [breaker.name for breaker in kept] == ["search", "search", "unnamed"]
    guarded = circuit(registry=None)(succeed)
    named = circuit(registry=None, name="apart")(succeed)
    by_key = circuit(registry=None, name="apart", key=lambda value: value)(succeed)
    assert by_key("a") == named("a") == guarded("a") == "a"
    assert len(sandbox) == 0
    assert guarded.breaker.name == f"{succeed.__module__}.succeed"
    assert named.breaker.name == "apart"
    assert by_key.breakers["a"].name == "apart[a]"


def test_those_made_by_get_or_create_and_by_name_are_held(sandbox: Registry) -> None:
    sandbox.get_or_create("one", failure_threshold=3)
    circuit(name="two")(succeed)
    gc.collect()
    assert sorted(breaker.name for breaker in sandbox) == ["one", "two"]


def test_a_circuit_without_a_name_is_named_after_its_function_and_lives_as_long(sandbox: Registry) -> None:
    def make() -> Any:
        @circuit(failure_threshold=2)
        def local() -> str:
            return "fine"

        return local

    with no_cyclic_collector():
        one, other = make(), make()
        name = f"{__name__}.test_a_circuit_without_a_name_is_named_after_its_function_and_lives_as_long.<locals>"
        assert one.breaker.name == f"{name}.make.<locals>.local"
        assert other.breaker.name == f"{name}.make.<locals>.local#2"
        assert one.breaker is not other.breaker
        del one, other
        collect_on_pypy()
        assert len(sandbox) == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"failure_threshold": 3},
        {"trip": FailureRate(0.5, calls=10) | ConsecutiveFailures(3), "reset_timeout": 5, "ignore": (KeyError,)},
        {"fallback": succeed, "is_failure": OSError, "half_open_timeout": 3},
    ],
)
def test_the_same_name_with_the_same_options_is_the_same_breaker(sandbox: Registry, options: dict[str, Any]) -> None:
    one, other = circuit(name="pay", **options)(succeed), circuit(name="pay", **options)(fail)
    assert one.breaker is other.breaker is sandbox.get_or_create("pay", **options)


def test_the_same_name_with_other_options_is_a_value_error_that_shows_the_difference(sandbox: Registry) -> None:
    sandbox.get_or_create("pay", failure_threshold=3, reset_timeout=10)
    message = (
        r"the name 'pay' is taken by a breaker with other options: trip ConsecutiveFailures\(threshold=3\) there, "
        r"ConsecutiveFailures\(threshold=4\) here; reset_timeout 10 s there, 30 s here"
    )
    with pytest.raises(ValueError, match=message):
        circuit(name="pay", failure_threshold=4)(succeed)
    with pytest.raises(ValueError, match="other options"):
        sandbox.get_or_create("pay")
    with pytest.raises(ValueError, match=r"options: is_failure <class 'OSError'> there, <class 'Exception'> here$"):
        sandbox.get_or_create(sandbox.get_or_create("other", is_failure=OSError).name)


def test_a_registrys_defaults_are_those_of_its_breakers(clock: ManualClock) -> None:
    registry = Registry(clock=clock, failure_threshold=2, reset_timeout=5)
    made = [
        registry.get_or_create("one"),
        CircuitBreaker("two", registry=registry),
        circuit(registry=registry)(succeed).breaker,
        circuit(registry=registry, key=lambda value: value)(succeed),
    ]
    made[3]("key")
    made[3] = made[3].breakers["key"]
    for breaker in made:
        trip(breaker)
        assert breaker.metrics().total_failures == 2
        clock.advance(5)
        assert attempt(breaker) == "fine"
    assert len(registry) == 3 + 1


@pytest.mark.parametrize("defaults", [{"failure_threshold": 9}, {"trip": ConsecutiveFailures(9)}])
@pytest.mark.parametrize("options", [{"failure_threshold": 1}, {"trip": ConsecutiveFailures(1)}])
def test_an_option_replaces_the_default_however_either_is_spelt(
    defaults: dict[str, Any], options: dict[str, Any]
) -> None:
    breaker = Registry(**defaults).get_or_create("x", **options)
    attempt(breaker, fail)
    assert breaker.state is CircuitState.OPEN


def test_wrong_defaults_are_refused_when_given() -> None:
    with pytest.raises(ValueError, match="failure_threshold must be at least 1, got 0"):
        Registry(failure_threshold=0)


def test_threads_may_create_the_same_name_at_once(sandbox: Registry) -> None:
    """One breaker comes out."""
    made: list[CircuitBreaker] = []
    with frequent_switches():
        for number in range(30):
            name = f"breaker {number}"
            in_threads(4, lambda name=name: made.append(sandbox.get_or_create(name, failure_threshold=2)))
    assert len(made) == 120
    assert len({id(breaker) for breaker in made}) == len(sandbox) == 30


def test_a_policy_may_ask_for_the_breaker_for_which_it_is_asked(sandbox: Registry) -> None:
    """One breaker comes out; with other options it is refused as ever."""
    asked: list[CircuitBreaker] = []

    class Policy:
        def watch(self) -> Watch:
            if not asking:
                asking.append(1)
                asked.append(sandbox.get_or_create("one", trip=policy))
            return ConsecutiveFailures(1).watch()

    asking: list[int] = []
    policy = Policy()
    assert [sandbox.get_or_create("one", trip=policy)] == asked == list(sandbox)
    with pytest.raises(ValueError, match="the name 'one' is taken by a breaker with other options: trip <"):
        sandbox.get_or_create("one")


def test_a_breaker_may_be_added_again(sandbox: Registry) -> None:
    """E5: it is heard of once all the same."""
    heard: list[StateChange] = []
    sandbox.on("state_change", heard.append)
    breaker = CircuitBreaker("one")
    sandbox.add(breaker)
    breaker.open()
    assert len(heard) == len(sandbox) == 1


def test_threads_may_decorate_functions_of_one_name_at_once(sandbox: Registry) -> None:
    """Each has a breaker and a name of its own."""
    made: list[Any] = []
    with frequent_switches():
        in_threads(20, lambda: made.append(circuit(succeed)))
    assert len({guarded.breaker.name for guarded in made}) == len(sandbox) == 20


def test_a_registry_can_be_iterated_while_breakers_come_and_go(sandbox: Registry) -> None:
    def work() -> None:
        for _ in range(100):
            guarded = circuit(succeed)
            assert guarded.breaker in list(sandbox)

    with frequent_switches():
        in_threads(6, work)


def test_an_unknown_name_is_a_key_error_while_others_create(sandbox: Registry) -> None:
    def work() -> None:
        for _ in range(100):
            guarded = circuit(succeed)
            with pytest.raises(KeyError):
                get_breaker("nobody")
            del guarded

    with frequent_switches():
        in_threads(6, work)


def test_a_registry_can_be_emptied(sandbox: Registry) -> None:
    kept = CircuitBreaker("kept")
    sandbox.get_or_create("held")
    sandbox.clear()
    assert len(sandbox) == 0
    assert attempt(kept) == "fine"
    again = CircuitBreaker("kept")
    sandbox.discard(kept)
    assert get_breaker("kept") is again
    sandbox.discard(again)
    assert "kept" not in sandbox


def test_what_a_registry_held_disappears_when_it_is_emptied(sandbox: Registry) -> None:
    """E7: by reference count alone."""
    with no_cyclic_collector():
        gone = weakref.ref(sandbox.get_or_create("held"))
        sandbox.clear()
        collect_on_pypy()
        assert gone() is None


def test_a_registry_can_be_swapped_in_for_a_block(sandbox: Registry) -> None:
    kept = CircuitBreaker("outside")
    with Registry(failure_threshold=1).as_default() as inner:
        with pytest.raises(KeyError):
            get_breaker("outside")
        inside = CircuitBreaker("inside")
        attempt(inside, fail)
        assert inside.state is CircuitState.OPEN
        assert list(inner) == [inside]
        with sandbox.as_default():
            assert "inside" not in circuitbreaker.registry
            assert get_breaker("outside") is kept
        assert get_breaker("inside") is inside
    assert get_breaker("outside") is kept
    with pytest.raises(KeyError):
        get_breaker("inside")


def test_the_default_registry_is_exported() -> None:
    assert isinstance(circuitbreaker.registry, Registry)
    assert repr(Registry()) == "<Registry of 0 breakers>"


def test_events_for_all_breakers_present_and_to_come(sandbox: Registry) -> None:
    heard: list[tuple[str, str]] = []
    before = CircuitBreaker("before", failure_threshold=1)
    undo = sandbox.on("state_change", lambda change: heard.append((change.name, change.new_state.value)))
    after = CircuitBreaker("after", failure_threshold=1)
    by_key: Any = circuit(name="keyed", key=lambda value: value, failure_threshold=1)(fail)
    for breaker in (before, after):
        trip(breaker)
    with pytest.raises(Exception, match="out of order"):
        by_key("a")
    assert heard == [("before", "open"), ("after", "open"), ("keyed[a]", "open")]
    undo()
    undo()
    for breaker in (before, after):
        breaker.reset()
    CircuitBreaker("later").open()
    assert len(heard) == 3


def test_a_breaker_that_left_the_registry_is_heard_of_no_longer(sandbox: Registry) -> None:
    heard: list[StateChange] = []
    sandbox.on("state_change", heard.append)
    breaker = CircuitBreaker("x")
    sandbox.clear()
    breaker.open()
    assert heard == []


def test_a_strategy_may_look_into_the_registry_while_it_is_listened_to(sandbox: Registry) -> None:
    """No two locks are waited for crosswise."""
    inside, go_on = threading.Event(), threading.Event()

    def strategy(opening: object) -> float:
        inside.set()
        assert go_on.wait(10)
        return 1.0 + len(list(sandbox))

    breaker = CircuitBreaker("x", reset_timeout=strategy)
    opening = threading.Thread(target=breaker.open)
    opening.start()
    assert inside.wait(10)
    listening = threading.Thread(target=sandbox.on, args=("state_change", print))
    listening.start()
    go_on.set()
    for thread in (opening, listening):
        thread.join(10)
        assert not thread.is_alive()


def test_a_registrys_listener_works_as_a_decorator(sandbox: Registry) -> None:
    heard: list[StateChange] = []

    @sandbox.on("state_change")
    def listener(change: StateChange) -> None:
        heard.append(change)

    CircuitBreaker("x").open()
    listener(heard[0])
    assert len(heard) == 2


def test_a_registry_knows_the_events_that_there_are() -> None:
    with pytest.raises(ValueError, match="event must be one of state_change, success, "):
        Registry().on("opened", print)  # type: ignore[call-overload]


def test_registries_forget_listeners_breakers_have_of_their_own(sandbox: Registry) -> None:
    heard: list[object] = []
    breaker = CircuitBreaker("x", on_state_change=heard.append)
    sandbox.on("state_change", heard.append)()
    breaker.open()
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CircuitBreaker(3), "name must be a string, got 3"),
        (lambda: CircuitBreaker("x", registry="here"), "registry must be a Registry or None, got 'here'"),
        (lambda: circuit(registry="here"), "registry must be a Registry or None, got 'here'"),
        (lambda: circuit(name=3), "name must be a string, got 3"),
        (lambda: circuit("pay"), r"the name is a keyword argument: circuit\(name='pay'\)"),
        (lambda: Registry().on("state_change", "print"), "listener must be callable, got 'print'"),
        (lambda: Registry().get_or_create(3), "name must be a string, got 3"),
    ],
)
def test_wrong_names_and_registries_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()
