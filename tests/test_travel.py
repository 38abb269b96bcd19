"""V: values travel: copies, pickles, JSON; and what they are equal to."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import inspect
import itertools
import json
import math
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

import circuitbreaker
from circuitbreaker import (
    CallFailed,
    CallIgnored,
    CallSucceeded,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    Hold,
    KeyedBreakers,
    LastFailure,
    ManualClock,
    Metrics,
    Registry,
    StateChange,
    circuit,
    get_breaker,
)
from circuitbreaker._calls.results import Results
from circuitbreaker.problems import problem

from .support import attempt, collect_on_pypy, fail, succeed

AT = datetime(2026, 3, 1, 12, 30, 15, 250, timezone.utc)

# V1: copies and pickles of breakers, and of what holds one


@dataclasses.dataclass
class Client:
    """Holds a breaker, as clients do."""

    url: str
    breaker: CircuitBreaker


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_of_a_breaker_is_that_breaker(twin: Callable[[Any], Any]) -> None:
    """V1: alone, in what holds it, and in what is bound to it."""
    breaker = CircuitBreaker("bank")
    assert twin(breaker) is breaker
    assert twin([breaker])[0] is breaker
    assert twin(Client("u", breaker)).breaker is breaker
    assert twin(functools.partial(breaker.call, succeed))("x") == "x"
    assert dataclasses.asdict(Client("u", breaker))["breaker"] is breaker
    assert breaker.metrics().total_successes == 1


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy])
def test_registries_and_breakers_by_key_are_copied_as_themselves(twin: Callable[[Any], Any]) -> None:
    """V1"""
    for one in (Registry(), KeyedBreakers("shop"), CircuitBreaker()):
        assert twin(one) is one
        assert twin({"it": one})["it"] is one


def test_the_default_registry_is_pickled_by_name_and_no_other_one() -> None:
    """V1"""
    assert pickled(circuitbreaker.registry) is circuitbreaker.registry
    with pytest.raises(TypeError, match="cannot pickle <Registry of 0 breakers>: another process could not find it"):
        pickle.dumps(Registry())


def test_breakers_by_key_are_not_pickled() -> None:
    """V1"""
    with pytest.raises(TypeError, match="cannot pickle the breakers of 'shop' by key"):
        pickle.dumps(KeyedBreakers("shop"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: CircuitBreaker(failure_threshold=2),
        lambda: CircuitBreaker("bank", registry=None),
        lambda: CircuitBreaker("bank", registry=Registry()),
    ],
)
def test_a_breaker_that_no_other_process_could_find_is_not_pickled(make: Callable[[], CircuitBreaker]) -> None:
    """V1: the error names it, and says what to do."""
    breaker = make()
    for what in (breaker, Client("u", breaker), breaker(len)):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(what)
        assert f"cannot pickle a breaker: the default registry does not know {breaker!r}" in str(caught.value)
        assert "Give it a name there" in str(caught.value)


def test_where_the_name_is_unknown_a_breaker_with_the_same_options_is_made(sandbox: Registry) -> None:
    """V1: as in a worker that has not imported what made it. It is held, for what refers to it comes and goes."""
    options: Any = {
        "trip": FailureRate(0.5, calls=10) | ConsecutiveFailures(3),
        "reset_timeout": 7,
        "is_failure": (OSError, KeyError),
        "fallback": succeed,
        "half_open_timeout": 3,
    }
    breaker = CircuitBreaker("bank", **options)
    data = pickle.dumps(breaker)
    sandbox.clear()
    again = pickle.loads(data)
    assert again is not breaker
    assert again is pickle.loads(data) is get_breaker("bank") is sandbox.get_or_create("bank", **options)


def test_options_that_cannot_travel_leave_an_error_that_names_the_breaker(sandbox: Registry) -> None:
    """V1"""
    kept = CircuitBreaker("bank", ignore=lambda error: False)
    data = pickle.dumps(kept)
    assert pickle.loads(data) is kept
    sandbox.clear()
    with pytest.raises(pickle.UnpicklingError, match="no breaker is called 'bank' in this process"):
        pickle.loads(data)


def here() -> None: ...


def test_options_that_mean_nothing_there_leave_an_error_too(sandbox: Registry, monkeypatch: Any) -> None:
    """V1: a function of the other process's `__main__`, for example."""
    kept = CircuitBreaker("bank", fallback=here)
    data = pickle.dumps(kept)
    monkeypatch.delattr(f"{__name__}.here")
    assert pickle.loads(data) is kept
    sandbox.clear()
    with pytest.raises(pickle.UnpicklingError, match="import the module that makes it") as caught:
        pickle.loads(data)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_permits_of_what_was_copied_are_those_of_the_one_circuit(clock: ManualClock) -> None:
    """V1"""
    breaker = CircuitBreaker("bank", failure_threshold=1, clock=clock)
    attempt(copy.deepcopy(Client("u", breaker)).breaker, fail)
    assert breaker.state is CircuitState.OPEN


def test_the_inside_of_a_breaker_is_found_by_its_name() -> None:
    """V2: as functions have it that are pickled by value."""
    kept = [CircuitBreaker(name) for name in ("bank", "stock")]
    for breaker in kept:
        for inside in (breaker._circuit, breaker._engine):
            assert pickled(inside) is inside
    assert pickled(Results("x", left=5)).left == -1


# V2: guarded functions, by value


cloudpickle = pytest.importorskip("cloudpickle")

SCRIPT = """
import sys, pickle, cloudpickle, contextlib
from circuitbreaker import circuit, CircuitBreaker

bank = CircuitBreaker("bank", failure_threshold=3)

@circuit(failure_threshold=2)
def plain(x):
    return x

@circuit(failure_threshold=2)
async def coroutine(x):
    return x

@circuit(failure_threshold=2)
def steps(x):
    yield x

@circuit(failure_threshold=2)
@contextlib.contextmanager
def session(x):
    yield x

class Service:
    @circuit(failure_threshold=2)
    def method(self, x):
        return x

def user(x):
    return bank.call(lambda: x)

functions = plain, coroutine, steps, session, Service().method, user
for function in functions:
    again = pickle.loads(cloudpickle.dumps(function))
    assert getattr(again, "breaker", None) is getattr(function, "breaker", None), function
sys.stdout.buffer.write(cloudpickle.dumps(functions))
"""


def test_guarded_functions_of_main_travel_to_a_process_that_never_saw_them(sandbox: Registry) -> None:
    """V2: as joblib, Dask, Ray and Spark send them. They find their breakers by name, or make them."""
    paths = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    sent = subprocess.run([sys.executable, "-"], input=SCRIPT.encode(), env=paths, check=True, capture_output=True)
    plain, coroutine, steps, session, method, user = pickle.loads(sent.stdout)
    assert plain(1) == method(1) == user(1) == 1
    assert list(steps(1)) == [1]
    with session(1) as value:
        assert value == 1
    assert inspect.iscoroutinefunction(coroutine)
    assert plain.breaker is get_breaker("__main__.plain")
    assert plain.breaker.metrics().total_successes == get_breaker("bank").metrics().total_successes == 1
    for _ in range(200):  # past the results that are looked at
        plain(None)
    plain.breaker.open()
    with pytest.raises(CircuitOpenError):
        plain(1)


def test_a_guarded_function_that_no_other_process_could_guard_is_not_pickled() -> None:
    """V2: the error names the breaker."""
    local = CircuitBreaker("local", registry=None)(lambda: None)
    with pytest.raises(TypeError, match="'local'"):
        cloudpickle.dumps(local)
    vars(local).clear()
    with pytest.raises(TypeError, match="cannot pickle what is guarded by the breaker 'local'"):
        cloudpickle.dumps(local)
    with pytest.raises(TypeError, match=r"cannot pickle the breakers of '.*' by key"):
        cloudpickle.dumps(circuit(key=lambda: 1)(lambda: None))


# V3: errors


def refusals() -> list[CircuitOpenError]:
    last = LastFailure("ConnectionError", "refused", AT)
    return [
        CircuitOpenError("bank", CircuitState.OPEN, 12.5, "5 failures", AT, last, None, 17),
        CircuitOpenError("bank", CircuitState.HALF_OPEN, 0.5, "5 failures", AT, LastFailure("E", "", AT), None, 17),
        CircuitOpenError("bank", CircuitState.CLOSED, math.inf, hold=Hold.FORCED_OPEN),
        CircuitOpenError("bank", CircuitState.OPEN, math.inf, "x", AT, last, Hold.FORCED_OPEN, 17),
    ]


def strict(text: str) -> Any:
    """JSON as strict encoders write it."""
    return json.loads(text.replace("Infinity", "null"))


@pytest.mark.parametrize("loads", [json.loads, strict])
@pytest.mark.parametrize("error", refusals(), ids=str)
def test_a_refusal_comes_back_whole_from_json(error: CircuitOpenError, loads: Callable[[str], Any]) -> None:
    """V3, O2: as Celery sends it, by its class and `args`."""
    args = loads(json.dumps(error.args))
    again = type(error)(*args)
    assert vars(again) == vars(error)
    assert type(again.state) is CircuitState
    assert str(again) == str(error)
    assert again.args == error.args
    assert problem(again, details=True).body == problem(error, details=True).body


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, pickled])
def test_a_refusal_is_pickled_and_copied_whole(twin: Callable[[Any], Any]) -> None:
    """V3"""
    for error in refusals():
        assert vars(twin(error)) == vars(error)
        assert twin(error).args == error.args


def test_the_args_of_a_refusal_can_be_set_as_those_of_any_error() -> None:
    """V3"""
    error = refusals()[0]
    error.args = ("other", 1)
    assert error.args == pickled(error).args == ("other", 1)


def test_a_subclass_that_does_not_initialise_itself_has_no_args() -> None:
    """V3"""

    class Own(CircuitOpenError):
        def __init__(self) -> None:
            pass

    assert Own().args == ()


# V4: what is equal to what


def test_states_and_holds_are_strings_too() -> None:
    """V4: in JSON, in formats, in comparisons and as keys; and still what they were."""
    for member in (*CircuitState, *Hold):
        assert isinstance(member, str)
        assert member == member.value == str(member) == f"{member}" == f"{member:s}"
        assert f"{member:>12}" == f"{member.value:>12}"
        assert json.loads(json.dumps({"it": member})) == {"it": member.value}
        assert {member.value: 1}[member] == 1
        assert type(member)(member.value) is member is pickled(member)
        assert repr(member) == f"<{type(member).__name__}.{member.name}: {member.value!r}>"
        assert isinstance(member, enum.Enum)
    assert len({*CircuitState, *Hold}) == 6


def test_events_of_different_kinds_are_never_equal() -> None:
    """V4: though their fields are."""
    alike = [
        CallSucceeded("x", 1.0),
        CallFailed("x", 1.0, None),
        CallIgnored("x", 1.0, None),
        ("x", 1.0),
        ("x", 1.0, None),
    ]
    for one, other in itertools.combinations(alike, 2):
        assert one != other
        assert other != one
        assert not one == other  # noqa: SIM201 - both operators
        assert len({one, other}) == 2
    for each in alike[:3]:
        again = type(each)(*each)
        assert each == again
        assert not each != again  # noqa: SIM202 - both operators
        assert hash(each) == hash(again)
        assert each == pickled(each)
        assert each == ANY
        assert each != "x"
        assert each._replace(name="y") != each


def test_an_empty_registry_is_true() -> None:
    """V4: `registry or default` takes it."""
    assert Registry()
    assert not list(Registry())


class Whole:
    """A whole number like numpy's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __le__(self, other: Any) -> bool:
        return self.value <= other

    def __gt__(self, other: Any) -> bool:
        return self.value > other

    def __ge__(self, other: Any) -> bool:
        return self.value >= other

    def __float__(self) -> float:
        return float(self.value)


def test_whole_numbers_are_whatever_has_an_index() -> None:
    """V4: and are kept as numbers of Python."""
    number: Any = Whole(3)
    breaker = CircuitBreaker(failure_threshold=number, half_open_max_attempts=number, reset_timeout=number)
    assert type(breaker._settings.half_open_max_attempts) is int
    assert breaker._settings == CircuitBreaker(failure_threshold=3, half_open_max_attempts=3, reset_timeout=3)._settings
    assert FailureRate(0.5, calls=number, minimum_calls=number) == FailureRate(0.5, calls=3, minimum_calls=3)
    assert KeyedBreakers("x", maxsize=number).maxsize == 3
    for wrong in (True, 3.0, "3", None, int):
        with pytest.raises(TypeError, match="failure_threshold must be a whole number"):
            CircuitBreaker(failure_threshold=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        CircuitBreaker(failure_threshold=Whole(0))  # type: ignore[arg-type]


def test_numpys_numbers_are_numbers() -> None:
    """V4"""
    numpy: Any = pytest.importorskip("numpy")
    for kind in (numpy.int8, numpy.int64, numpy.uint16):
        assert CircuitBreaker(failure_threshold=kind(3), reset_timeout=kind(9))._settings.reset_timeout is not None


# V5: annotations


def public_things() -> list[Any]:
    found: list[Any] = []
    for name in circuitbreaker.__all__:
        thing = getattr(circuitbreaker, name)
        if inspect.isfunction(thing):
            found.append(pytest.param(thing, id=name))
        if not isinstance(thing, type) or hasattr(thing, "__origin__"):
            continue
        found.append(pytest.param(thing, id=name))
        for part, value in vars(thing).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(function) and (part in ("__init__", "__call__") or not part.startswith("_")):
                found.append(pytest.param(function, id=f"{name}.{part}"))
    return found


@pytest.mark.parametrize("thing", public_things())
def test_type_hints_of_what_is_public_can_be_read(thing: Any) -> None:
    """V5: FastAPI, pydantic and containers of dependencies read them, and one that fails breaks a whole schema."""
    assert isinstance(typing.get_type_hints(thing), dict)


def test_type_hints_are_the_types() -> None:
    """V5"""
    assert typing.get_type_hints(Metrics)["state"] is CircuitState
    assert typing.get_type_hints(Metrics)["opened_at"] == datetime | None
    assert typing.get_type_hints(StateChange)["last_failure"] == LastFailure | None
    assert typing.get_type_hints(get_breaker)["return"] is CircuitBreaker


def test_a_fastapi_application_may_return_metrics() -> None:
    """V5: the schema of the whole application is made, and the answer is the metrics."""
    fastapi = pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    app = fastapi.FastAPI()
    breaker = CircuitBreaker("bank")

    def metrics() -> Metrics:
        return breaker.metrics()

    app.get("/metrics")(metrics)
    client = testclient.TestClient(app)
    assert client.get("/openapi.json").status_code == 200
    assert client.get("/metrics").json()[:2] == ["bank", "closed"]


def test_a_breaker_that_was_dropped_is_not_kept_by_pickling_it(sandbox: Registry) -> None:
    """E7"""
    pickle.dumps(CircuitBreaker("bank"))
    collect_on_pypy()
    assert len(sandbox) == 0
