"""The rule of the record: what it promises under any order of reports, and that the server's script is the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker.fleet.record import Record, take_in
from circuitbreaker.stores import UNKNOWN, Counts, Decision, Report, Terms, View
from circuitbreaker.stores.memory import MemoryServer, MemoryStore
from circuitbreaker.stores.redis import RedisStore

from .servers import Server

TERMS = Terms(attempts=3, successes=2, lease=30.0, quorum=1, span=0.0, calls=0, expire=60, digest="the same")
PROCESSES = ["one", "two", "three"]
OVER, LONG = 1e-6, 1000.0
"""A time that has passed when it is looked at, and one that will not."""


def report(
    process: str = "one", number: int = 1, version: int = UNKNOWN, terms: Terms = TERMS, **fields: Any
) -> Report:
    return Report("shop", process, number, version, fields.pop("orders", 0), terms, **fields)


def told_to(record: Record, report: Report, now: float) -> tuple[View, bool]:
    return take_in(record, report, 0, now)


def counts(successes: int, failures: int, head: int = 0, tail: int = 0) -> Counts:
    return Counts((successes, failures), (0.0, 0.0), head, tail)


def opening(left: float = 30.0, ordered: bool = False) -> Decision:
    return Decision("open", "", ordered, "it did", 30.0, left, 1, ("Boom", "out of order", 1.0))


def opened(now: float = 0.0, left: float = 30.0) -> Record:
    record = Record()
    told_to(record, report(counts=counts(0, 1, 1, 1), decision=opening(left)), now)
    assert record.state == "open"
    return record


# The rule, case by case


def test_counts_are_added_and_the_run_goes_on_across_processes() -> None:
    """S2"""
    record = Record()
    told_to(record, report("one", counts=counts(3, 2, tail=2)), 0.0)
    view, _ = told_to(record, report("two", counts=counts(0, 2, head=2, tail=2)), 1.0)
    assert (view.numbers, view.run, view.peak) == ((3, 4), 4, 4)
    view, _ = told_to(record, report("one", 2, 0, counts=counts(1, 2, head=1, tail=1)), 2.0)
    assert (view.peak, view.run) == (5, 1), "five in a row, then a success, then one"


def test_counts_of_another_period_come_to_nothing() -> None:
    """S6, E1"""
    record = opened()
    view, told = told_to(record, report("two", version=0, counts=counts(0, 9)), 1.0)
    assert view.numbers == ()
    assert not told


def test_of_two_decisions_on_one_version_the_first_counts() -> None:
    """S6"""
    record = opened()
    view, told = told_to(record, report("two", version=0, decision=opening(99.0)), 1.0)
    assert (view.version, view.origin, told) == (1, "one", False)
    assert view.left == pytest.approx(29.0)


def test_an_order_counts_whatever_happened_unless_another_came_first() -> None:
    """S6, M1"""
    record = opened()
    closing = Decision("closed", "", True, "reset() was called", 0.0, 0.0, 0, None)
    view, told = told_to(record, report("two", version=0, decision=closing), 1.0)
    assert (view.state, view.orders, told) == ("closed", 1, True)
    view, told = told_to(record, report("three", version=1, decision=opening(ordered=True)), 1.0)
    assert (view.state, told) == ("closed", False)


def test_no_trial_is_leased_before_its_time() -> None:
    """O1, S5"""
    record = opened()
    view, _ = told_to(record, report("two", version=1, wanted=1), 29.9)
    assert (view.state, view.leases, view.wait) == ("open", (), pytest.approx(0.1))
    view, told = told_to(record, report("two", 2, version=1, wanted=1), 30.0)
    assert (view.state, len(view.leases or ()), told) == ("half_open", 1, True)


def test_leases_are_bounded_over_all_processes_and_run_out() -> None:
    """S4, H1, H4"""
    record = opened()
    granted = [len(told_to(record, report(process, 2, 1, wanted=2), 31.0)[0].leases or ()) for process in PROCESSES]
    assert granted == [2, 1, 0]
    view, _ = told_to(record, report("three", 3, 2, wanted=2), 40.0)
    assert view.wait == pytest.approx(21.0)
    view, _ = told_to(record, report("three", 4, 2, wanted=2), 61.0)
    assert len(view.leases or ()) == 2


def test_a_lease_that_is_given_back_is_free_and_one_that_succeeded_is_used_up() -> None:
    """S4, H3, H1"""
    record = opened()
    view, _ = told_to(record, report("two", 1, 1, wanted=3), 31.0)
    first, second, _ = [lease for lease, _ in view.leases or ()]
    told_to(record, report("two", 2, 2, succeeded=(first,)), 32.0)
    assert (record.used, record.successes, record.state) == (1, 1, "half_open")
    view, _ = told_to(record, report("three", 1, 2, wanted=3), 32.0)
    assert view.leases == ()
    told_to(record, report("two", 3, 2, returned=(second,)), 32.0)
    view, _ = told_to(record, report("three", 2, 2, wanted=3), 32.0)
    assert len(view.leases or ()) == 1


def test_enough_successes_close_it_also_late_ones() -> None:
    """H2, H4: whose leases have gone to others."""
    record = opened()
    view, _ = told_to(record, report("two", 1, 1, wanted=2), 31.0)
    leases = tuple(lease for lease, _ in view.leases or ())
    told_to(record, report("three", 1, 2, wanted=3), 62.0)
    view, told = told_to(record, report("two", 2, 2, succeeded=leases), 63.0)
    assert (view.state, view.reason, told) == ("closed", "2 trials succeeded", True)


def test_a_record_that_was_lost_is_taken_from_who_knows_it() -> None:
    """S7: with the hold, and no more trials than there may be."""
    known = Decision("half_open", "shadow", False, "it did", 30.0, -1.0, 2, None)
    record = Record()
    view, _ = told_to(record, report("one", 5, 7, orders=2, known=known, wanted=3), 0.0)
    assert (view.version, view.orders, view.state, view.hold, view.round) == (7, 2, "half_open", "shadow", 2)
    assert view.leases == (), "all may be out"
    assert view.wait == pytest.approx(30.0)
    view, _ = told_to(record, report("two", 1, 6, orders=2, known=known), 1.0)
    assert view.version == 7, "who knows less changes nothing"


def test_the_quorum_counts_processes_that_failed_lately() -> None:
    record, terms = Record(), TERMS._replace(quorum=2)
    told_to(record, report("one", terms=terms, counts=counts(0, 3)), 0.0)
    view, _ = told_to(record, report("one", 2, 0, terms=terms, counts=counts(0, 3), decision=opening()), 1.0)
    assert (view.state, view.failing) == ("closed", 1)
    view, _ = told_to(record, report("two", 1, 0, terms=terms, counts=counts(3, 0)), 2.0)
    assert view.failing == 1
    view, _ = told_to(record, report("two", 2, 0, terms=terms, counts=counts(0, 1), decision=opening()), 70.0)
    assert (view.state, view.failing) == ("closed", 1), "the first one's is long ago"
    view, _ = told_to(record, report("one", 3, 0, terms=terms, counts=counts(0, 1), decision=opening()), 71.0)
    assert view.state == "open"


def test_who_is_new_is_told_what_is_in_the_window() -> None:
    """S8, S2"""
    record, terms = Record(), TERMS._replace(span=20.0)
    for second in range(100):
        told_to(record, report("one", second + 1, 0, terms=terms, counts=counts(1, 1)), float(second))
    view, _ = told_to(record, report("two", terms=terms), 99.0)
    assert sum(sum(numbers) for _, numbers in view.history) == pytest.approx(2 * 21, abs=4)
    assert [ago for ago, _ in view.history] == sorted((ago for ago, _ in view.history), reverse=True)
    assert len(record.history) <= 22
    view, _ = told_to(record, report("two", 2, 0, terms=terms), 99.0)
    assert view.history == (), "once"


def test_the_history_of_a_window_of_calls_is_short() -> None:
    """S8, E7"""
    record, terms = Record(), TERMS._replace(calls=100)
    for number in range(1, 2001):
        told_to(record, report("one", number, 0, terms=terms, counts=counts(1, 0)), 0.0)
    view, _ = told_to(record, report("two", terms=terms), 0.0)
    assert 100 <= sum(sum(numbers) for _, numbers in view.history) <= 110
    assert len(record.history) <= 22


# Any order of reports

decisions = st.builds(
    Decision,
    state=st.sampled_from(["open", "closed"]),
    hold=st.sampled_from(["", "", "force_open"]),
    ordered=st.booleans(),
    reason=st.just("it did"),
    length=st.sampled_from([OVER, LONG]),
    left=st.sampled_from([-1.0, LONG]),
    round=st.integers(1, 3),
    failure=st.sampled_from([None, ("Boom", "out of order", 1.0)]),
)
batches = st.builds(counts, st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))
terms = st.builds(
    Terms,
    attempts=st.integers(1, 3),
    successes=st.integers(1, 2),
    lease=st.sampled_from([None, LONG]),
    quorum=st.integers(1, 2),
    span=st.sampled_from([0.0, LONG]),
    calls=st.sampled_from([0, 5]),
    expire=st.just(60),
    digest=st.sampled_from(["a", "b"]),
)


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Reports as processes make them that know more or less, some of them twice."""
    step = st.fixed_dictionaries(
        {
            "process": st.sampled_from(PROCESSES),
            "behind": st.sampled_from([0, 0, 0, 1, None]),
            "again": st.booleans(),
            "counts": st.none() | batches,
            "decision": st.none() | decisions,
            "knows": st.sampled_from([False, False, True]),
            "wanted": st.integers(0, 3),
            "succeed": st.integers(0, 2),
            "give_back": st.integers(0, 1),
        }
    )
    return draw(st.lists(step, min_size=1, max_size=25))


class Play:
    """The processes, in one place where records are."""

    def __init__(self, tell: Any, terms: Terms) -> None:
        self._tell = tell
        self._terms = terms
        self._last: dict[str, View] = {}
        self._numbers = dict.fromkeys(PROCESSES, 0)
        self._sent: dict[str, Report] = {}

    def step(self, step: dict[str, Any], name: str) -> View:
        process = step["process"]
        last = self._last.get(process)
        if step["again"] and process in self._sent:
            sent = self._sent[process]
        else:
            self._numbers[process] += 1
            known = last is not None and step["behind"] is not None
            leases = sorted(lease for lease, _ in (last.leases or ())) if last else []
            sent = Report(
                name,
                process,
                self._numbers[process],
                max(0, last.version - step["behind"]) if known and last else UNKNOWN,
                last.orders if last else 0,
                self._terms,
                counts=step["counts"],
                decision=step["decision"],
                known=_known(last) if step["knows"] and known and last else None,
                succeeded=tuple(leases[: step["succeed"]]),
                returned=tuple(leases[step["succeed"] : step["succeed"] + step["give_back"]]),
                wanted=step["wanted"],
            )
        self._sent[process] = sent
        view: View = self._tell(sent)
        self._last[process] = view
        return view


def _known(view: View) -> Decision:
    return Decision(view.state, view.hold, False, view.reason, view.length, view.left, view.round, view.failure)


@given(steps(), terms)
@settings(max_examples=300)
def test_no_order_of_reports_breaks_a_promise_of_the_record(play: list[dict[str, Any]], terms: Terms) -> None:
    """S4, S6, H1: versions only grow, by what is told to all; leases and used attempts are within the budget."""
    server = MemoryServer()
    told = Play(lambda report: server.take_in(report, None), terms)
    before = Record()
    for step in play:
        again = step["again"] and step["process"] in told._sent
        told.step(step, "shop")
        record = server.record("shop")
        assert record.version >= before.version
        if record.version == before.version:
            assert (record.state, record.hold, record.origin) == (before.state, before.hold, before.origin)
        if again and before.version:
            assert record == before, "what comes twice changes nothing"
        if record.state == "half_open":
            assert len(record.leases) + record.used <= max(terms.attempts, record.used + 1)
            assert record.successes < terms.successes
        else:
            assert not record.leases
        assert len(record.failing) <= max(terms.quorum, 1)
        before = record


# The same in the server


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with Server() as server:
        yield server.client()


_names = count()


@given(steps(), terms)
@settings(max_examples=150)
def test_the_script_in_the_server_does_what_the_reference_does(
    client: Any, play: list[dict[str, Any]], terms: Terms
) -> None:
    """S6: any third store must pass this too."""
    name = f"circuit {next(_names)}"
    server, store = MemoryServer(), RedisStore(client)
    here = Play(lambda report: server.take_in(report, None), terms)
    there = Play(lambda report: store.backend.exchange([report])[0], terms)
    for step in play:
        assert _timeless(there.step(step, name)) == _timeless(here.step(step, name)), step


def _timeless(view: View) -> Any:
    """What can be compared between two clocks that were read one after the other: times are close to 0 or to 1000."""
    spans = {field: round(getattr(view, field), -2) + 0.0 for field in ("left", "age", "wait", "length")}
    return view._replace(
        **spans,
        leases=tuple((lease, round(left, -2)) for lease, left in sorted(view.leases or ())),
        failure=view.failure and view.failure[:2],
        history=tuple(numbers for _, numbers in view.history),
    )


def test_the_reference_is_a_store_of_its_own() -> None:
    assert MemoryStore().server is not MemoryStore().server
