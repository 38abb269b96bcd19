"""Texts that come from outside (errors, reasons, keys) are cut and on one line, wherever they go.

Whoever can choose the text of an error could otherwise forge lines of a log, or fill it.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitbreaker import CircuitBreaker, CircuitOpenError, KeyedBreakers, ManualClock, Outcome, Registry, circuit
from circuitbreaker._values import one_line, quoted
from circuitbreaker.health import Health
from circuitbreaker.problems import problem
from circuitbreaker.stores.memory import MemoryServer, MemoryStore

from .support import Boom, attempt, fail, raiser

FORGED = "no\nERROR root: admin logged in\r\x1b[2J\u202e\x85\u2028\ud800" + "x" * 10_000
HARMLESS = r"no\nERROR root: admin logged in\r\x1b[2J\u202e\x85\u2028\ud800" + "x" * 10_000


def visible(text: str) -> bool:
    return all(each.isprintable() or each in "\xa0\u202f\u3000" for each in text)


@given(st.text() | st.text(alphabet="a\n\ud800\u3000", max_size=300))
def test_any_text_becomes_one_visible_line(text: str) -> None:
    shown = one_line(text)
    assert len(shown) <= 200
    assert len(shown.splitlines()) <= 1
    shown.encode()
    if text.isprintable() and len(text) <= 200:
        assert shown == text
    assert len(quoted(text).splitlines()) == 1


@pytest.mark.parametrize("text", ["Größe 5\xa0MB", "5\u202f%", "接続\u3000失敗", "🙂", ""])
def test_letters_and_spaces_of_all_languages_stay(text: str) -> None:
    assert one_line(text) == text


def test_a_text_is_cut_after_it_is_escaped() -> None:
    assert one_line("\n" * 100) == r"\n" * 100
    assert one_line("\n" * 101) == (r"\n" * 101)[:197] + "..."
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 197 + "..."
    assert one_line("x" * 30, most=10) == "x" * 7 + "..."


class Named(type):
    def __new__(cls, name: str) -> Any:
        return super().__new__(cls, name, (Exception,), {})

    def __init__(cls, name: str) -> None: ...


def everything_shown(breaker: CircuitBreaker, events: list[Any]) -> list[str]:
    """All texts in which a failure's text may be found."""
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    error, metrics = caught.value, breaker.metrics()
    failure = metrics.last_failure
    assert failure is not None
    return [
        str(error),
        error.reason,
        repr(breaker),
        metrics.reason,
        str(failure),
        failure.text,
        failure.type,
        *(text for event in events for text in (getattr(event, "reason", ""), str(getattr(event, "last_failure", "")))),
    ]


@pytest.mark.parametrize("trip", ["an error", "a type", "a trial", "a policy", "a result"])
def test_what_is_kept_of_a_failure_is_one_short_line(clock: ManualClock, trip: str) -> None:
    """O2, E7: in errors, metrics, events and reprs"""

    class Telling:
        def watch(self) -> Telling:
            return self

        def see(self, outcome: Outcome) -> str | None:
            return FORGED if outcome.failed else None

    class Answer:
        def __repr__(self) -> str:
            return FORGED

    events: list[Any] = []
    options: dict[str, Any] = {"trip": Telling()} if trip == "a policy" else {"failure_threshold": 1}
    breaker = CircuitBreaker("shop", clock=clock, is_failure_result=lambda result: True, **options)
    for event in ("state_change", "rejected"):
        breaker.on(event, events.append)  # type: ignore[call-overload]
    error: BaseException = Named(FORGED[:200].replace("\ud800", ""))("text") if trip == "a type" else Boom(FORGED)

    def forge() -> object:
        if trip == "a result":
            return Answer()
        raise error

    attempt(breaker, forge)
    if trip == "a trial":
        clock.advance(30)
        attempt(breaker, forge)
    for text in everything_shown(breaker, events):
        assert visible(text), text
        assert len(text) < 1000
    assert (
        trip == "a type"
        or HARMLESS[:100] in breaker.metrics().reason + str(breaker.metrics().last_failure)
        or (trip == "a result")
    )


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_it_is_so_in_responses_and_the_health_document(clock: ManualClock, accept: str) -> None:
    breaker = CircuitBreaker("shop", clock=clock, failure_threshold=1)
    attempt(breaker, raiser(Boom(FORGED)))
    clock.advance(30)
    attempt(breaker, raiser(Boom(FORGED)))
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    body = problem(caught.value, accept=accept, details=True).body.decode()
    assert all(visible(line) for line in body.splitlines())
    assert len(body) < 5000
    said = Health(details=True).document()["circuits"][0]
    assert visible(said["reason"] + said["last_failure"]["text"])
    assert len(json.dumps(said)) < 2000


def test_another_process_cannot_forge_lines_either() -> None:
    """S6: whatever is in a record"""
    server = MemoryServer()
    stores = [MemoryStore(server) for _ in range(2)]
    here, there = (CircuitBreaker("shop", registry=None, store=store, failure_threshold=1) for store in stores)
    changes: list[Any] = []
    here.on("state_change", changes.append)
    for breaker, store in ((here, stores[0]), (there, stores[1]), (here, stores[0])):
        attempt(breaker)
        assert store.sync()
    attempt(there, raiser(Boom(FORGED)))
    for store in reversed(stores):
        assert store.sync()
    assert [str(each.new_state) for each in changes] == ["open"]
    for text in everything_shown(here, changes):
        assert visible(text), text
    for store in stores:
        store.close()


def test_a_key_from_outside_makes_a_short_visible_name(sandbox: Registry) -> None:
    """E7: the name is still the key's own, the same in each process."""
    hosts = KeyedBreakers("shop", failure_threshold=1)
    keys = [FORGED, FORGED + "y", "a\nb", r"a\nb", "plain", "größe"]
    names = [hosts.use(key).name for key in keys]
    assert len(set(names)) == len(keys)
    assert all(visible(name) and len(name) < 300 for name in names)
    assert names[3:] == [r"shop[a\nb]", "shop[plain]", "shop[größe]"]
    assert names[2] == r"shop[a\nb~a76de9f2d561975f]"
    assert [KeyedBreakers("shop", registry=None).use(key).name for key in keys] == names


def test_a_name_is_cut_and_escaped_in_messages_and_logs(
    sandbox: Registry, caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    """E4"""
    name = "shop\n" + "x" * 10_000
    breaker = CircuitBreaker(name, clock=clock, failure_threshold=1, on_state_change=fail)
    attempt(breaker, fail)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    with pytest.raises(ValueError, match="is taken by") as taken:
        CircuitBreaker(name)
    texts = [str(caught.value), str(taken.value), repr(breaker), *(each.getMessage() for each in caplog.records)]
    assert [(each.name, each.levelno) for each in caplog.records] == [("circuitbreaker", logging.ERROR)]
    clock.advance(30)
    texts.append(repr(breaker.acquire()))
    assert len(texts) == 5
    for text in texts:
        assert visible(text)
        assert len(text) < 1000


def test_an_unknown_name_is_answered_with_those_most_like_it(sandbox: Registry) -> None:
    for number in range(20_000):
        sandbox.get_or_create(f"shop.host-{number:05}")
    for name in ("payments", "payouts", "search"):
        sandbox.get_or_create(name)
    with pytest.raises(KeyError) as caught:
        sandbox.get("paymnets")
    assert str(caught.value.args[0]) == "no breaker is called 'paymnets'; known: 'payments', 'payouts', and 20001 more"
    with pytest.raises(KeyError) as caught:
        sandbox.get("shop.host-10000x")
    assert "'shop.host-10000'" in caught.value.args[0]
    for odd in ("", "\n" * 100_000, "x" * 1_000_000):
        with pytest.raises(KeyError) as caught:
            sandbox.get(odd)
        assert len(caught.value.args[0]) < 1000
    with pytest.raises(KeyError) as caught:
        sandbox.get(5)  # type: ignore[arg-type]
    assert caught.value.args[0].startswith("no breaker is called 5; known: ")


def test_in_a_small_registry_the_known_names_are_listed(sandbox: Registry) -> None:
    with pytest.raises(KeyError, match=r"no breaker is called 'x'; known: none"):
        sandbox.get("x")
    kept = [CircuitBreaker(name) for name in ("b", "a")]
    with pytest.raises(KeyError) as caught:
        sandbox.get("payments")
    assert caught.value.args == ("no breaker is called 'payments'; known: 'a', 'b'",)
    assert len(kept) == 2


def test_a_guarded_functions_result_is_not_kept_nor_shown() -> None:
    """O2"""

    class Rows:
        asked = 0

        def __repr__(self) -> str:
            Rows.asked += 1
            return "the rows of another customer"

    @circuit(failure_threshold=1, is_failure_result=lambda rows: True)
    def rows() -> Rows:
        return Rows()

    rows()
    with pytest.raises(CircuitOpenError, match="last failure result: Rows"):
        rows()
    assert Rows.asked == 0
