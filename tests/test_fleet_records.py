"""The rule of the record: what it promises under any order of reports, and that the server's script is the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker.fleet.record import Record, apply_report
from circuitbreaker.fleet.tallies import count as count_calls
from circuitbreaker.stores import UNKNOWN, Counts, Decision, Quotas, Report, Snapshot, Tally
from circuitbreaker.stores.memory import MemoryServer, MemoryStore
from circuitbreaker.stores.redis import RedisStore

from .servers import Server

QUOTAS = Quotas(attempts=3, successes=2, lease=30.0, quorum=1, span=0.0, calls=0, expire=60, digest="the same")
PROCESSES = ["one", "two", "three"]
OVER, LONG = 1e-6, 1000.0
"""A time that has passed when it is looked at, and one that will not."""


def report(
    process: str = "one", number: int = 1, version: int = UNKNOWN, quotas: Quotas = QUOTAS, **fields: Any
) -> Report:
    return Report("shop", process, number, version, fields.pop("overrides", 0), quotas, **fields)


def apply(record: Record, report: Report, now: float) -> tuple[Snapshot, bool]:
    return apply_report(record, report, 0, now)


def counts(successes: int, failures: int, leading: int = 0, trailing: int = 0) -> Counts:
    return Counts((Tally(successes, failures),), (Tally(0.0, 0.0),), leading, trailing)


def opening(left: float = 30.0, override: bool = False) -> Decision:
    return Decision("open", "", override, "it did", 30.0, left, 1, ("Boom", "out of order", 1.0))


def opened(now: float = 0.0, left: float = 30.0) -> Record:
    record = Record()
    apply(record, report(counts=counts(0, 1, 1, 1), decision=opening(left)), now)
    assert record.state == "open"
    return record


# The rule, case by case


def test_counts_are_added_and_the_run_goes_on_across_processes() -> None:
    """S2"""
    record = Record()
    apply(record, report("one", counts=counts(3, 2, trailing=2)), 0.0)
    snapshot, _ = apply(record, report("two", counts=counts(0, 2, leading=2, trailing=2)), 1.0)
    assert (snapshot.calls, snapshot.streak, snapshot.streak_at_success) == (((3, 4),), 4, 4)
    snapshot, _ = apply(record, report("one", 2, 0, counts=counts(1, 2, leading=1, trailing=1)), 2.0)
    assert (snapshot.streak_at_success, snapshot.streak) == (5, 1), "five in a row, then a success, then one"


def test_counts_of_another_period_come_to_nothing() -> None:
    """S6, E1"""
    record = opened()
    snapshot, told = apply(record, report("two", version=0, counts=counts(0, 9)), 1.0)
    assert snapshot.calls == ()
    assert not told


def test_of_two_decisions_on_one_version_the_first_counts() -> None:
    """S6"""
    record = opened()
    snapshot, told = apply(record, report("two", version=0, decision=opening(99.0)), 1.0)
    assert (snapshot.version, snapshot.origin, told) == (1, "one", False)
    assert snapshot.left == pytest.approx(29.0)


def test_an_order_counts_whatever_happened_unless_another_came_first() -> None:
    """S6, M1"""
    record = opened()
    closing = Decision("closed", "", True, "reset() was called", 0.0, 0.0, 0, None)
    snapshot, told = apply(record, report("two", version=0, decision=closing), 1.0)
    assert (snapshot.state, snapshot.overrides, told) == ("closed", 1, True)
    snapshot, told = apply(record, report("three", version=1, decision=opening(override=True)), 1.0)
    assert (snapshot.state, told) == ("closed", False)


def test_no_trial_is_leased_before_its_time() -> None:
    """O1, S5"""
    record = opened()
    snapshot, _ = apply(record, report("two", version=1, wanted=1), 29.9)
    assert (snapshot.state, snapshot.leases, snapshot.wait) == ("open", (), pytest.approx(0.1))
    snapshot, told = apply(record, report("two", 2, version=1, wanted=1), 30.0)
    assert (snapshot.state, len(snapshot.leases or ()), told) == ("half_open", 1, True)


def test_leases_are_bounded_over_all_processes_and_run_out() -> None:
    """S4, H1, H4"""
    record = opened()
    granted = [len(apply(record, report(process, 2, 1, wanted=2), 31.0)[0].leases or ()) for process in PROCESSES]
    assert granted == [2, 1, 0]
    snapshot, _ = apply(record, report("three", 3, 2, wanted=2), 40.0)
    assert snapshot.wait == pytest.approx(21.0)
    snapshot, _ = apply(record, report("three", 4, 2, wanted=2), 61.0)
    assert len(snapshot.leases or ()) == 2


def test_after_an_open_period_of_no_time_leases_last_for_30_seconds() -> None:
    """S4, O1"""
    record, quotas = Record(), QUOTAS._replace(lease=None)
    apply(record, report("one", quotas=quotas, decision=opening(0.0)._replace(length=0.0)), 0.0)
    snapshot, _ = apply(record, report("one", 2, 1, quotas, wanted=1), 0.0)
    assert snapshot.leases == (("one/2.0", 30.0),)


def test_a_lease_that_is_given_back_is_free_and_one_that_succeeded_is_used_up() -> None:
    """S4, H3, H1"""
    record = opened()
    snapshot, _ = apply(record, report("two", 1, 1, wanted=3), 31.0)
    first, second, _ = [lease for lease, _ in snapshot.leases or ()]
    apply(record, report("two", 2, 2, succeeded=(first,)), 32.0)
    assert (record.trials.used, record.trials.successes, record.state) == (1, 1, "half_open")
    snapshot, _ = apply(record, report("three", 1, 2, wanted=3), 32.0)
    assert snapshot.leases == ()
    apply(record, report("two", 3, 2, returned=(second,)), 32.0)
    snapshot, _ = apply(record, report("three", 2, 2, wanted=3), 32.0)
    assert len(snapshot.leases or ()) == 1


def test_enough_successes_close_it_also_late_ones() -> None:
    """H2, H4: whose leases have gone to others."""
    record = opened()
    snapshot, _ = apply(record, report("two", 1, 1, wanted=2), 31.0)
    leases = tuple(lease for lease, _ in snapshot.leases or ())
    apply(record, report("three", 1, 2, wanted=3), 62.0)
    snapshot, told = apply(record, report("two", 2, 2, succeeded=leases), 63.0)
    assert (snapshot.state, snapshot.reason, told) == ("closed", "2 trials succeeded", True)


def test_a_record_that_was_lost_is_taken_from_who_knows_it() -> None:
    """S7: with the hold, and no more trials than there may be."""
    known = Decision("half_open", "shadow", False, "it did", 30.0, -1.0, 2, None)
    record = Record()
    snapshot, _ = apply(record, report("one", 5, 7, overrides=2, known=known, wanted=3), 0.0)
    assert (snapshot.version, snapshot.overrides, snapshot.state, snapshot.hold, snapshot.round) == (
        7,
        2,
        "half_open",
        "shadow",
        2,
    )
    assert snapshot.leases == (), "all may be out"
    assert snapshot.wait == pytest.approx(30.0)
    snapshot, _ = apply(record, report("two", 1, 6, overrides=2, known=known), 1.0)
    assert snapshot.version == 7, "who knows less changes nothing"


def test_the_quorum_counts_processes_that_failed_lately() -> None:
    record, quotas = Record(), QUOTAS._replace(quorum=2)
    apply(record, report("one", quotas=quotas, counts=counts(0, 3)), 0.0)
    snapshot, _ = apply(record, report("one", 2, 0, quotas=quotas, counts=counts(0, 3), decision=opening()), 1.0)
    assert (snapshot.state, snapshot.failing) == ("closed", 1)
    snapshot, _ = apply(record, report("two", 1, 0, quotas=quotas, counts=counts(3, 0)), 2.0)
    assert snapshot.failing == 1
    snapshot, _ = apply(record, report("two", 2, 0, quotas=quotas, counts=counts(0, 1), decision=opening()), 70.0)
    assert (snapshot.state, snapshot.failing) == ("closed", 1), "the first one's is long ago"
    snapshot, _ = apply(record, report("one", 3, 0, quotas=quotas, counts=counts(0, 1), decision=opening()), 71.0)
    assert snapshot.state == "open"


def test_who_is_new_is_told_what_is_in_the_window() -> None:
    """S8, S2"""
    record, quotas = Record(), QUOTAS._replace(span=20.0)
    for second in range(100):
        apply(record, report("one", second + 1, 0, quotas=quotas, counts=counts(1, 1)), float(second))
    snapshot, _ = apply(record, report("two", quotas=quotas), 99.0)
    assert sum(count_calls(calls) for _, calls in snapshot.history) == pytest.approx(2 * 21, abs=4)
    assert [ago for ago, _ in snapshot.history] == sorted((ago for ago, _ in snapshot.history), reverse=True)
    assert len(record.history) <= 22
    snapshot, _ = apply(record, report("two", 2, 0, quotas=quotas), 99.0)
    assert snapshot.history == (), "once"


def test_the_history_of_a_window_of_calls_is_short() -> None:
    """S8, E7"""
    record, quotas = Record(), QUOTAS._replace(calls=100)
    for number in range(1, 2001):
        apply(record, report("one", number, 0, quotas=quotas, counts=counts(1, 0)), 0.0)
    snapshot, _ = apply(record, report("two", quotas=quotas), 0.0)
    assert 100 <= sum(count_calls(calls) for _, calls in snapshot.history) <= 110
    assert len(record.history) <= 22


# Any order of reports

decisions = st.builds(
    Decision,
    state=st.sampled_from(["open", "closed"]),
    hold=st.sampled_from(["", "", "force_open"]),
    override=st.booleans(),
    reason=st.just("it did"),
    length=st.sampled_from([0.0, OVER, LONG]),
    left=st.sampled_from([-1.0, LONG]),
    round=st.integers(1, 3),
    failure=st.sampled_from([None, ("Boom", "out of order", 1.0)]),
    slow_trial=st.sampled_from([None, 2.5]),
)
tallies = st.lists(st.builds(Tally, st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3).map(tuple)
batches = st.builds(Counts, tallies, tallies, st.integers(0, 2), st.integers(0, 2))
all_quotas = st.builds(
    Quotas,
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

    def __init__(self, tell: Any, quotas: Quotas) -> None:
        self._tell = tell
        self._quotas = quotas
        self._last: dict[str, Snapshot] = {}
        self._numbers = dict.fromkeys(PROCESSES, 0)
        self._sent: dict[str, Report] = {}

    def step(self, step: dict[str, Any], name: str) -> Snapshot:
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
                last.overrides if last else 0,
                self._quotas,
                counts=step["counts"],
                decision=step["decision"],
                known=_known(last) if step["knows"] and known and last else None,
                succeeded=tuple(leases[: step["succeed"]]),
                returned=tuple(leases[step["succeed"] : step["succeed"] + step["give_back"]]),
                wanted=step["wanted"],
            )
        self._sent[process] = sent
        snapshot: Snapshot = self._tell(sent)
        self._last[process] = snapshot
        return snapshot


def _known(last: Snapshot) -> Decision:
    return Decision(last.state, last.hold, False, last.reason, last.length, last.left, last.round, last.failure)


@given(steps(), all_quotas)
@settings(max_examples=300)
def test_no_order_of_reports_breaks_a_promise_of_the_record(play: list[dict[str, Any]], quotas: Quotas) -> None:
    """S4, S6, H1: versions only grow, by what is told to all; leases and used attempts are within the budget."""
    server = MemoryServer()
    told = Play(lambda report: server.receive(report, None), quotas)
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
            trials = record.trials
            assert len(trials.leases) + trials.used <= max(quotas.attempts, trials.used + 1)
            assert trials.successes < quotas.successes
        else:
            assert not record.trials.leases
        assert len(record.failing) <= max(quotas.quorum, 1)
        before = record


# The same in the server


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with Server() as server:
        yield server.client()


_names = count()


@given(steps(), all_quotas)
@settings(max_examples=150)
def test_the_script_in_the_server_does_what_the_reference_does(
    client: Any, play: list[dict[str, Any]], quotas: Quotas
) -> None:
    """S6: any third store must pass this too."""
    name = f"circuit {next(_names)}"
    server, store = MemoryServer(), RedisStore(client)
    here = Play(lambda report: server.receive(report, None), quotas)
    there = Play(lambda report: store.backend.exchange([report])[0], quotas)
    for step in play:
        assert _timeless(there.step(step, name)) == _timeless(here.step(step, name)), step


def _timeless(snapshot: Snapshot) -> Any:
    """What can be compared between two clocks that were read one after the other: times are close to 0 or to 1000."""
    spans = {field: round(getattr(snapshot, field), -2) + 0.0 for field in ("left", "age", "wait", "length")}
    return snapshot._replace(
        **spans,
        leases=tuple((lease, round(left, -2)) for lease, left in sorted(snapshot.leases or ())),
        failure=snapshot.failure and snapshot.failure[:2],
        history=tuple(calls for _, calls in snapshot.history),
    )


def test_the_reference_is_a_store_of_its_own() -> None:
    assert MemoryStore().server is not MemoryStore().server
