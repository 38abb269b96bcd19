"""What an error says about the dependency: groups, causes, refusals, and what is no failure of anyone's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, KeyedBreakers, ManualClock, circuit
from circuitbreaker.problems import refusal_in
from circuitbreaker.retries import refusal_cause

from .support import BaseExceptionGroup, Boom, ExceptionGroup, attempt, fail, make_due, raiser


def caused(error: BaseException, *causes: BaseException) -> BaseException:
    """`error`, raised from the first of `causes`, which was raised from the second, and so on."""
    chain = (error, *causes)
    for outer, inner in pairwise(chain):
        outer.__cause__ = inner
    return error


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("several", errors)


class ShapedLikeOne(Exception):
    """As a group from another package."""

    def __init__(self, *exceptions: BaseException) -> None:
        super().__init__("several")
        self.exceptions = exceptions


class SDKError(Exception):
    """As SDKs raise it from an error of their client."""


def refusal(retry_after: float = 30.0) -> CircuitOpenError:
    return CircuitOpenError("other", CircuitState.OPEN, retry_after, circuit_id=1)


def verdict(error: BaseException, **options: Any) -> str:
    """How a call counts that ends with `error`."""
    breaker = CircuitBreaker(failure_threshold=100, **options)
    with pytest.raises(type(error)) as caught:
        breaker.call(raiser(error))
    assert caught.value is error
    metrics = breaker.metrics()
    counts = {
        "success": metrics.total_successes,
        "failure": metrics.total_failures,
        "ignored": metrics.total_ignored,
    }
    assert sum(counts.values()) == 1
    return next(name for name, count in counts.items() if count)


# Groups


@pytest.mark.parametrize("make", [group, ShapedLikeOne])
def test_a_group_is_a_failure_if_one_of_it_is(make: Callable[..., Exception]) -> None:
    """E11: of types, however deep in it."""
    assert verdict(make(ConnectionError(), KeyError()), is_failure=ConnectionError) == "failure"
    assert verdict(make(KeyError(), make(make(ConnectionError()))), is_failure=(OSError, EOFError)) == "failure"
    assert verdict(make(KeyError(), make(ValueError())), is_failure=ConnectionError) == "success"
    assert verdict(make(KeyError(), ValueError()), ignore=KeyError) == "failure"


@pytest.mark.parametrize("make", [group, ShapedLikeOne])
def test_a_group_is_ignored_only_if_all_of_it_is(make: Callable[..., Exception]) -> None:
    """E11"""
    assert verdict(make(KeyError(), make(ValueError())), ignore=(KeyError, ValueError)) == "ignored"
    assert verdict(make(KeyError(), OSError()), ignore=KeyError, is_failure=ConnectionError) == "success"
    assert verdict(make(refusal(), make(refusal()))) == "ignored"
    assert verdict(make(refusal(), Boom())) == "failure"


def test_the_type_of_a_group_can_be_named_too() -> None:
    """E11"""
    assert verdict(group(KeyError()), is_failure=ExceptionGroup) == "failure"
    assert verdict(group(KeyError()), ignore=ExceptionGroup) == "ignored"


def test_an_interrupt_in_a_group_does_not_hide_a_failure() -> None:
    """E3, E11: nor is it one."""
    assert verdict(BaseExceptionGroup("", [KeyboardInterrupt(), Boom()])) == "failure"
    assert verdict(BaseExceptionGroup("", [KeyboardInterrupt(), BaseExceptionGroup("", [SystemExit()])])) == "ignored"
    assert verdict(BaseExceptionGroup("", [KeyboardInterrupt(), Boom()]), is_failure=lambda error: True) == "ignored"


def test_predicates_get_the_error_as_it_is_and_once() -> None:
    """E11"""
    asked: list[Exception] = []

    def ask(error: Exception) -> bool:
        asked.append(error)
        return False

    error = group(KeyError(), caused(Boom(), ValueError()), ValueError())  # type: ignore[arg-type]
    assert verdict(error, is_failure=ask) == "success"
    assert verdict(error, ignore=ask, is_failure=ConnectionError) == "success"
    assert asked == [error, error]
    assert verdict(error, is_failure=lambda error: isinstance(error, ExceptionGroup)) == "failure"
    assert verdict(error, ignore=lambda error: isinstance(error, ExceptionGroup)) == "ignored"


@pytest.mark.parametrize("exceptions", [(), "no group", [Boom()], ("no error",), None])
def test_what_only_looks_like_a_group_is_an_error_like_any_other(exceptions: Any) -> None:
    """E11"""
    error = caused(Boom(), ConnectionError())
    error.exceptions = exceptions  # type: ignore[attr-defined]
    assert verdict(error, is_failure=ConnectionError) == "failure"
    assert verdict(error, is_failure=Boom) == "failure"
    assert verdict(error, is_failure=KeyError) == "success"


def test_an_error_whose_attributes_raise_is_judged_by_its_type() -> None:
    """E4"""

    class Hostile(Exception):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert verdict(Hostile(), is_failure=Hostile) == "failure"
    assert verdict(Hostile(), is_failure=OSError) == "success"


# Causes


def test_a_cause_counts_as_the_error_does_that_was_raised_from_it() -> None:
    """E11"""
    assert verdict(caused(SDKError(), ConnectionError()), is_failure=ConnectionError) == "failure"
    assert verdict(caused(SDKError(), SDKError(), ConnectionError()), is_failure=ConnectionError) == "failure"
    assert verdict(caused(SDKError(), ValueError()), ignore=ValueError) == "ignored"
    assert verdict(caused(SDKError(), group(ValueError(), OSError())), is_failure=OSError) == "failure"
    assert verdict(caused(SDKError(), group(ValueError(), OSError())), ignore=ValueError) == "failure"
    assert verdict(group(caused(SDKError(), ConnectionError())), is_failure=ConnectionError) == "failure"  # type: ignore[arg-type]


def test_the_outermost_error_that_an_option_names_decides() -> None:
    """E11: `Exception` names nothing, it stands for the rest. For one error, `ignore` comes first."""
    both: dict[str, Any] = {"is_failure": ConnectionError, "ignore": ValueError}
    assert verdict(caused(ConnectionError(), ValueError()), **both) == "failure"
    assert verdict(caused(ValueError(), ConnectionError()), **both) == "ignored"
    assert verdict(caused(SDKError(), KeyError(), ConnectionError(), ValueError()), **both) == "failure"
    assert verdict(caused(ConnectionError(), ValueError()), is_failure=OSError, ignore=ConnectionError) == "ignored"
    assert verdict(caused(ConnectionError(), ValueError()), is_failure=(Exception,), ignore=ValueError) == "ignored"


def test_what_was_raised_while_another_error_was_handled_is_not_about_that_one() -> None:
    """E11: the service that one falls back to has failed."""

    def fall_back() -> None:
        try:
            raise refusal()
        except CircuitOpenError:
            raise Boom("the other one too")  # noqa: B904

    breaker = CircuitBreaker(failure_threshold=1, ignore=CircuitOpenError)
    assert attempt(breaker, fall_back) == "Boom"
    assert breaker.state is CircuitState.OPEN


def test_a_timeout_that_came_from_a_cancellation_is_a_failure() -> None:
    """E3, E11: `asyncio.timeout` raises the one from the other."""
    error = caused(TimeoutError(), asyncio.CancelledError())
    assert verdict(error) == "failure"
    assert verdict(error, is_failure=TimeoutError, ignore=asyncio.CancelledError) == "failure"
    assert verdict(error, ignore=asyncio.CancelledError) == "failure"
    assert verdict(caused(TimeoutError(), concurrent.futures.CancelledError())) == "failure"


def test_knots_come_to_an_end() -> None:
    """E11: an error that is its own cause, groups that contain each other, and chains without end."""
    own = Boom()
    caused(own, own)
    first, second = Boom(), SDKError()
    caused(first, second, first)
    knot = ShapedLikeOne()
    knot.exceptions = (knot, Boom(), knot)
    only_itself = ShapedLikeOne()
    only_itself.exceptions = (only_itself,)
    for error in (own, first, knot, only_itself):
        assert verdict(error) == "failure"
        assert verdict(error, is_failure=OSError) == "success"
        assert refusal_in(error) is None
    many: Exception = KeyError()
    for _ in range(60):
        many = group(many, many)
    assert verdict(many, is_failure=OSError) == "success"
    wide: Exception = KeyError()
    for _ in range(5):
        wide = group(*[wide] * 10)
    assert verdict(wide, is_failure=OSError) == "success"
    long = caused(*(Boom() for _ in range(100)), ConnectionError())
    assert verdict(long, is_failure=ConnectionError) == "success"
    assert verdict(caused(*(Boom() for _ in range(9)), ConnectionError()), is_failure=ConnectionError) == "failure"


# Every way in


def steps(error: BaseException) -> Iterator[None]:
    yield
    raise error


def by_function(breaker: CircuitBreaker, error: BaseException) -> None:
    breaker(raiser(error))()


def by_call(breaker: CircuitBreaker, error: BaseException) -> None:
    breaker.call(raiser(error))


def by_block(breaker: CircuitBreaker, error: BaseException) -> None:
    with breaker:
        raise error


def by_permit(breaker: CircuitBreaker, error: BaseException) -> None:
    with breaker.acquire():
        raise error


def by_generator(breaker: CircuitBreaker, error: BaseException) -> None:
    list(breaker(steps)(error))


def by_coroutine(breaker: CircuitBreaker, error: BaseException) -> None:
    @breaker
    async def work() -> None:
        raise error

    asyncio.run(work())


def by_async_generator(breaker: CircuitBreaker, error: BaseException) -> None:
    @breaker
    async def work() -> Any:
        yield
        raise error

    async def main() -> None:
        async for _ in work():
            pass

    asyncio.run(main())


class Service:
    def __init__(self, breaker: CircuitBreaker) -> None:
        self.ask = breaker(self._ask)

    def _ask(self, error: BaseException) -> None:
        raise error


def by_method(breaker: CircuitBreaker, error: BaseException) -> None:
    Service(breaker).ask(error)


WAYS = [by_function, by_call, by_block, by_permit, by_generator, by_coroutine, by_async_generator, by_method]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("listened", [False, True])
def test_groups_are_judged_whatever_the_way_in(way: Callable[..., None], listened: bool) -> None:
    """E11: with permits and without."""
    breaker = CircuitBreaker(failure_threshold=2, is_failure=ConnectionError, ignore=KeyError)
    if listened:
        breaker.on("failure", lambda event: None)
    for error in (group(ValueError(), ConnectionError()), group(KeyError()), group(group(ConnectionError()))):
        with pytest.raises(ExceptionGroup):
            way(breaker, error)
    metrics = breaker.metrics()
    assert (metrics.total_failures, metrics.total_ignored, metrics.state) == (2, 1, CircuitState.OPEN)


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_by_another_circuit_says_nothing_whatever_the_way_in(way: Callable[..., None]) -> None:
    """E3: one tenant's refusals must not open the circuit of all."""
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(SDKError):
        way(breaker, caused(SDKError(), refusal()))
    with pytest.raises(CircuitOpenError):
        way(breaker, refusal())
    assert breaker.metrics().total_ignored == 2


# Refusals


def test_one_tenants_refusals_do_not_open_the_circuit_of_all() -> None:
    """E3"""
    service = CircuitBreaker(failure_threshold=5)
    tenants = KeyedBreakers("tenant", failure_threshold=1, registry=None)
    attempt(tenants.use("bad"), fail)
    for _ in range(10):
        with pytest.raises(CircuitOpenError), service, tenants.use("bad"):
            pass
    assert service.state is CircuitState.CLOSED
    assert service.metrics().total_ignored == 10


def test_refusals_count_if_is_failure_names_them() -> None:
    """E3"""
    assert verdict(refusal(), is_failure=CircuitOpenError) == "failure"
    assert verdict(refusal(), is_failure=(Exception, CircuitOpenError)) == "failure"
    assert verdict(caused(SDKError(), refusal()), is_failure=(Exception, CircuitOpenError)) == "failure"
    assert verdict(refusal(), is_failure=CircuitOpenError, ignore=CircuitOpenError) == "ignored"
    assert verdict(refusal(), is_failure=lambda error: True) == "ignored"
    assert verdict(refusal(), is_failure=OSError) == "ignored"


def test_a_clients_refusal_is_not_named_by_the_clients_own_type() -> None:
    """E3: it is an error of both kinds."""

    class Refused(CircuitOpenError, OSError):
        pass

    error = Refused("other", CircuitState.OPEN, 1.0)
    assert verdict(error, is_failure=OSError) == "ignored"
    assert verdict(error, is_failure=(OSError, CircuitOpenError)) == "failure"


def test_a_refusal_by_the_same_circuit_never_counts(clock: ManualClock) -> None:
    """H3: behind an error that was raised from it, or in a group of nothing else, though they are named."""
    breaker = make_due(clock, is_failure=(Exception, CircuitOpenError))
    trial = breaker.acquire()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    trial.release()
    own = caught.value.with_traceback(None)
    for error in (own, caused(SDKError(), own), group(own, group(own))):
        assert attempt(breaker, raiser(error)) == type(error).__name__
        assert breaker.state is CircuitState.HALF_OPEN
    assert attempt(breaker, raiser(group(own, Boom()))) == "ExceptionGroup"
    assert breaker.state is CircuitState.OPEN


def test_an_explicit_failure_is_ignored_for_the_same_reasons() -> None:
    """W5, E3, E11"""
    breaker = CircuitBreaker(failure_threshold=100, ignore=KeyError)
    for error in (refusal(), group(KeyError()), caused(SDKError(), KeyError()), concurrent.futures.CancelledError()):
        breaker.acquire().failure(error)
    assert breaker.metrics().total_ignored == 4
    for error in (StopIteration(), group(KeyError(), Boom()), SDKError()):
        breaker.acquire().failure(error)
    assert breaker.metrics().total_failures == 3
    breaker = CircuitBreaker(is_failure=CircuitOpenError, ignore=lambda error: isinstance(error, KeyError))
    breaker.acquire().failure(refusal())
    breaker.acquire().failure(KeyError())
    assert (breaker.metrics().total_failures, breaker.metrics().total_ignored) == (1, 1)


def test_a_refusal_is_found_behind_the_errors_of_sdks() -> None:
    """E11: for servers, and for retries."""
    short, long, forced = refusal(1.0), refusal(50.0), refusal(math.inf)
    for find in (refusal_in, refusal_cause):
        assert find(caused(SDKError(), SDKError(), short)) is short
        assert find(group(short, caused(SDKError(), long))) is long  # type: ignore[arg-type]
        assert find(caused(SDKError(), group(short, group(forced, long)))) is forced
        assert find(group(short, Boom())) is None
        assert find(caused(SDKError(), group(short, Boom()))) is None
    assert refusal_cause(None) is None


# Answers and cancellations


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_the_end_of_an_iteration_is_an_answer(kind: type[Exception]) -> None:
    """E3: unless an option names it."""
    assert verdict(kind()) == "success"
    assert verdict(kind(), is_failure=lambda error: True) == "success"
    assert verdict(kind(), is_failure=kind) == "failure"
    assert verdict(kind(), ignore=kind) == "ignored"
    assert verdict(caused(Boom(), kind())) == "failure"


def test_guarded_iterators_come_to_their_ends() -> None:
    """E3: by `next`, as methods, and in a block."""
    breaker = CircuitBreaker(failure_threshold=1)

    class Pages:
        @circuit(failure_threshold=1)
        def __next__(self) -> int:
            raise StopIteration

        def __iter__(self) -> Pages:
            return self

        @circuit(failure_threshold=1)
        async def __anext__(self) -> int:
            raise StopAsyncIteration

        def __aiter__(self) -> Pages:
            return self

    async def main() -> list[int]:
        return [page async for page in Pages()]

    with pytest.raises(StopIteration):
        breaker.call(next, iter(()))
    with pytest.raises(StopIteration), breaker:
        next(iter(()))
    assert list(Pages()) == asyncio.run(main()) == []
    assert breaker.metrics().total_successes == 2
    assert Pages.__next__.breaker.metrics().total_successes == 1
    assert Pages.__anext__.breaker.metrics().total_successes == 1


def test_a_generator_that_lets_stop_iteration_out_has_failed() -> None:
    """W3: Python makes it a RuntimeError (PEP 479), because it is a mistake."""
    breaker = CircuitBreaker(failure_threshold=1)

    @breaker
    def work() -> Iterator[int]:
        yield next(iter(()))

    with pytest.raises(RuntimeError):
        list(work())
    assert breaker.state is CircuitState.OPEN


def test_a_cancelled_future_says_nothing() -> None:
    """E3: it is an `Exception`, unlike asyncio's."""
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.cancel()
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(concurrent.futures.CancelledError):
        breaker.call(future.result)
    assert breaker.metrics().total_ignored == 1
    assert verdict(concurrent.futures.CancelledError(), is_failure=lambda error: True) == "ignored"


def test_what_celery_raises_to_direct_a_task_says_nothing_if_it_is_ignored() -> None:
    """E3: as the guide says."""
    exceptions = pytest.importorskip("celery.exceptions")
    for kind in (exceptions.Ignore, exceptions.Retry, exceptions.Reject):
        assert verdict(kind(), ignore=exceptions.TaskPredicate) == "ignored"
    assert verdict(exceptions.SoftTimeLimitExceeded(), ignore=exceptions.TaskPredicate) == "failure"


# BaseException


class Timeout(BaseException):
    """As gevent's."""


class Cancelled(BaseException):
    """As trio's."""


Cancelled.__module__ = "trio"


@pytest.mark.parametrize("way", WAYS)
def test_a_base_exception_that_is_failure_names_counts(way: Callable[..., None]) -> None:
    """E3: gevent.Timeout is one."""
    breaker = CircuitBreaker(failure_threshold=1, is_failure=(Exception, Timeout))
    with pytest.raises(Timeout):
        way(breaker, Timeout())
    assert breaker.state is CircuitState.OPEN


def test_base_exceptions_are_named_by_their_own_types_only() -> None:
    """E3"""
    assert verdict(Timeout()) == "ignored"
    assert verdict(Timeout(), is_failure=BaseException) == "ignored"
    assert verdict(Timeout(), is_failure=(BaseException, OSError)) == "ignored"
    assert verdict(Timeout(), is_failure=lambda error: True) == "ignored"
    assert verdict(Timeout(), is_failure=Timeout) == "failure"
    assert verdict(Boom(), is_failure=Timeout) == "success"
    assert verdict(Boom(), is_failure=(BaseException, Timeout)) == "failure"
    assert verdict(caused(Boom(), Timeout()), is_failure=Timeout) == "failure"
    breaker = CircuitBreaker(is_failure=Timeout)
    breaker.acquire().failure(Timeout())
    assert breaker.metrics().total_failures == 1


@pytest.mark.parametrize(
    "kind",
    [
        KeyboardInterrupt,
        SystemExit,
        GeneratorExit,
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        Cancelled,
        type("Own", (asyncio.CancelledError,), {}),
        type("Own", (KeyboardInterrupt,), {}),
    ],
)
def test_what_comes_from_the_callers_side_cannot_be_named(kind: type[BaseException]) -> None:
    """E3"""
    rule = "is_failure must not name what comes from the caller's side, which is ignored: got <class"
    with pytest.raises(ValueError, match=rule):
        CircuitBreaker(is_failure=kind)
    with pytest.raises(ValueError, match=rule):
        CircuitBreaker(is_failure=(OSError, kind))
    assert verdict(Boom(), ignore=kind) == "failure"
