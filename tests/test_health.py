"""The circuits of a registry as a document, and what a probe is told."""

from __future__ import annotations

import hmac
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from circuitbreaker import CircuitBreaker, ManualClock, Registry
from circuitbreaker.health import SCHEMA, Health
from circuitbreaker.stores.memory import MemoryStore
from circuitbreaker.stores.redis import RedisStore

from .servers import until
from .support import Boom, succeed, trip

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


KEYWORDS = {"$ref", "enum", "type", "pattern", "minimum", "required", "properties", "items"}
NOTES = {"$schema", "$id", "$defs", "title", "description"}


def check(value: Any, schema: dict[str, Any], path: str = "$") -> None:
    """Whether `value` is what the schema says, and has nothing that it does not name. It knows what our schema uses."""
    assert schema.keys() <= KEYWORDS | NOTES, path
    if "$ref" in schema:
        check(value, json.loads(SCHEMA)["$defs"][schema["$ref"].removeprefix("#/$defs/")], path)
    if "enum" in schema:
        assert value in schema["enum"], path
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        assert type(value) in [TYPES[name] for name in names], path
    if isinstance(value, str) and "pattern" in schema:
        assert re.search(schema["pattern"], value), path
    if isinstance(value, int) and "minimum" in schema:
        assert value >= schema["minimum"], path
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= value.keys() <= schema["properties"].keys(), path
        for name, each in value.items():
            check(each, schema["properties"][name], f"{path}.{name}")
    if isinstance(value, list) and "items" in schema:
        for number, each in enumerate(value):
            check(each, schema["items"], f"{path}[{number}]")


def document(health: Health, status: int = 200) -> Any:
    """What a probe gets, which is as the schema says."""
    answer = health.answer()
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Cache-Control"] == "no-store"
    said = json.loads(answer.body)
    check(said, json.loads(SCHEMA))
    return said


def in_every_state(clock: ManualClock) -> list[CircuitBreaker]:
    """Breakers in every state and hold, which the caller keeps."""
    made: list[CircuitBreaker] = []
    for hold in (None, "force_open", "force_closed", "shadow"):
        for state in ("closed", "open", "due", "half_open"):
            breaker = CircuitBreaker(f"{state}, {hold}", clock=clock, failure_threshold=1, reset_timeout=30)
            made.append(breaker)
            if state != "closed":
                breaker.open() if state == "open" else trip(breaker)
    clock.advance(30)
    for breaker in made:
        if breaker.name.startswith("half_open"):
            breaker.acquire()  # and forget it: its attempt is given back
        if breaker.name.startswith("open"):
            breaker.reset()
            breaker.open()
        hold = breaker.name.partition(", ")[2]
        if hold != "None":
            getattr(breaker, hold)()
    return made


def test_every_circuit_is_there_in_the_order_of_names(clock: ManualClock) -> None:
    made = in_every_state(clock)
    said = document(Health())
    assert [each["name"] for each in said["circuits"]] == sorted(breaker.name for breaker in made)
    for breaker in made:
        told = next(each for each in said["circuits"] if each["name"] == breaker.name)
        state = breaker.name.partition(",")[0].replace("due", "open")
        assert (told["state"], told["hold"]) == (state, breaker.hold and breaker.hold.value)
    assert {each["state"] for each in said["circuits"]} == {"closed", "open", "half_open"}


def test_a_circuit_is_told_with_its_numbers_and_moments(clock: ManualClock) -> None:
    breaker = CircuitBreaker("payments", clock=clock, failure_threshold=2, reset_timeout=20)
    breaker.call(succeed)
    clock.advance(0.5)
    trip(breaker)
    clock.advance(10)
    with pytest.raises(Exception, match="open"):
        breaker.call(succeed)
    [told] = document(Health())["circuits"]
    assert told == {
        "name": "payments",
        "state": "open",
        "hold": None,
        "critical": False,
        "refuses": True,
        "reason": "2 consecutive failures, threshold 2",
        "opened_at": "1970-01-01T00:16:40.500Z",
        "next_attempt_at": "1970-01-01T00:17:00.500Z",
        "last_success_at": "1970-01-01T00:16:40.000Z",
        "last_failure": {"type": "Boom", "at": "1970-01-01T00:16:40.500Z"},
        "counts": {
            "failure_count": 2,
            "success_count": 0,
            "total_calls": 4,
            "total_successes": 1,
            "total_failures": 2,
            "total_rejections": 1,
            "total_ignored": 0,
            "shadow_rejections": 0,
        },
        "store": None,
    }


def test_a_registry_that_is_empty_is_well() -> None:
    assert document(Health()) == {"status": "pass", "missing": [], "omitted": 0, "circuits": []}


def test_a_breaker_without_calls_is_well() -> None:
    breaker = CircuitBreaker("idle")
    said = document(Health())
    assert said["status"] == "pass"
    assert said["circuits"][0]["last_success_at"] is said["circuits"][0]["last_failure"] is None
    assert breaker.metrics().total_calls == 0


def test_asking_changes_nothing(clock: ManualClock) -> None:
    """O3"""
    breaker = CircuitBreaker("due", clock=clock, failure_threshold=1)
    trip(breaker)
    clock.advance(1000)
    before = breaker.metrics()
    assert document(Health()) == document(Health())
    assert breaker.metrics() == before


def test_the_registry_is_the_default_one_of_the_moment_or_that_which_is_given(sandbox: Registry) -> None:
    ours, other, default = Registry(), Registry(), Health()
    ours.get_or_create("a")
    sandbox.get_or_create("b")
    other.get_or_create("c")
    assert [each["name"] for each in document(Health(ours))["circuits"]] == ["a"]
    assert [each["name"] for each in document(default)["circuits"]] == ["b"]
    with other.as_default():
        assert [each["name"] for each in document(default)["circuits"]] == ["c"]


@pytest.mark.parametrize("order", ["open", "force_open", "force_closed", "shadow"])
def test_a_circuit_that_is_not_closed_or_is_held_is_a_warning(order: str) -> None:
    breaker = CircuitBreaker("search")
    getattr(breaker, order)()
    assert document(Health())["status"] == "warn"
    breaker.reset()
    assert document(Health())["status"] == "pass"


def test_a_critical_circuit_fails_only_while_it_refuses_every_call(clock: ManualClock) -> None:
    """A probe that keeps calls away from a circuit that needs a trial would keep it open for ever."""
    made = in_every_state(clock)
    refusing = set()
    for breaker in made:
        answer = Health(critical=[breaker.name]).answer()
        said = json.loads(answer.body)
        assert said["status"] == ("fail" if answer.status == 503 else "warn")
        assert [each["name"] for each in said["circuits"] if each["critical"]] == [breaker.name]
        if answer.status == 503:
            refusing.add(breaker.name)
            with pytest.raises(Exception, match="open"):
                breaker.call(succeed)
        else:
            breaker.call(succeed)
    assert refusing == {"open, None", *(f"{state}, force_open" for state in ("closed", "open", "due", "half_open"))}


def test_a_critical_circuit_by_the_systems_clock(clock: ManualClock) -> None:
    breaker = CircuitBreaker("payments", reset_timeout=60)
    breaker.open()
    document(Health(critical=["payments"]), status=503)
    breaker.reset()
    document(Health(critical=["payments"]))
    quick = CircuitBreaker("quick", reset_timeout=1e-6)
    quick.open()
    document(Health(critical=["quick"]))


def test_what_is_critical_may_be_said_by_a_predicate() -> None:
    made = [CircuitBreaker(f"{kind}.{number}") for kind in ("db", "mail") for number in range(2)]
    made[1].open()
    health = Health(critical=lambda name: name.startswith("db."))
    said = document(health, status=503)
    assert [each["name"] for each in said["circuits"] if each["critical"]] == ["db.0", "db.1"]
    assert said["missing"] == []
    made[1].reset()
    made[2].open()
    document(health)


def test_a_predicate_that_raises_is_logged_and_says_no(caplog: pytest.LogCaptureFixture) -> None:
    """E4"""
    breaker = CircuitBreaker("payments")
    breaker.open()

    def predicate(name: str) -> bool:
        raise Boom

    assert document(Health(critical=predicate))["status"] == "warn"
    assert [(each.name, "payments" in each.getMessage()) for each in caplog.records] == [("circuitbreaker", True)]


def test_a_critical_name_that_no_circuit_has_is_told_and_fails_nothing() -> None:
    """A breaker may be made on its first use: a service that fails until then never gets there."""
    breaker = CircuitBreaker("payments")
    said = document(Health(critical=iter(["paymnets", "absent", "payments"])))
    assert (said["status"], said["missing"]) == ("warn", ["absent", "paymnets"])
    assert said["circuits"][0]["critical"] is True
    assert breaker.state.value == "closed"


@pytest.mark.parametrize("details", [False, True])
def test_the_texts_of_errors_are_told_only_with_details(clock: ManualClock, details: bool) -> None:
    def fail() -> None:
        raise Boom("password: 1234")

    store = MemoryStore()
    breaker = CircuitBreaker("payments", clock=clock, failure_threshold=1)
    shared = CircuitBreaker("shared", store=store)
    for _ in range(2):
        with pytest.raises(Boom):
            breaker.call(fail)
        clock.advance(30)
    said = document(Health(details=details))
    assert ("1234" in json.dumps(said)) is details
    payments = said["circuits"][0]
    assert payments["reason"] == "a trial failed" + (": Boom: password: 1234" if details else "")
    assert payments["last_failure"].get("text") == ("password: 1234" if details else None)
    assert said["circuits"][1]["store"] == shared.metrics().store == "connecting"


def test_why_a_store_cannot_be_reached_is_told_only_with_details() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: who connects is refused
        port = taken.getsockname()[1]
        breaker = CircuitBreaker("payments", store=RedisStore(f"redis://127.0.0.1:{port}"))
        breaker.call(succeed)
        until(lambda: breaker.metrics().store != "connecting", "it has found out")
    assert document(Health())["circuits"][0]["store"] == "unreachable"
    assert str(port) in document(Health(details=True))["circuits"][0]["store"]


# Who may ask


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer s3cret+/=", 200),
        ("bearer s3cret+/=", 200),
        ("BEARER   s3cret+/= ", 200),
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("s3cret+/=", 401),
        ("Basic s3cret+/=", 401),
        ("Bearer s3cret+/", 401),
        ("Bearer s3cret+/==", 401),
        ("Bearer s3cret+/= x", 401),
        ("Bearer S3CRET+/=", 401),
        ("Bearer s3cr\xe9t+/=", 401),
        ("Bearer s3cr\u20act+/=", 401),
        ("Bearer \ud800", 401),
        ("Bearer\ts3cret+/=", 401),
        ("Bearer " + "x" * 1_000_000, 401),
    ],
)
def test_with_a_token_only_who_has_it_is_answered(authorization: str | None, status: int) -> None:
    """RFC 6750"""
    breaker = CircuitBreaker("payments")
    health = Health(token="s3cret+/=")
    answer = health.answer(authorization=authorization)
    assert answer.status == status
    assert (b"payments" in answer.body) is (status == 200)
    assert answer.headers.get("WWW-Authenticate") == (None if status == 200 else "Bearer")
    assert answer.headers["Cache-Control"] == "no-store"
    assert breaker.name == "payments"


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `hmac.compare_digest`, on bytes, whatever the scheme."""
    compared: list[tuple[object, object]] = []
    real = hmac.compare_digest

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return real(given, expected)

    monkeypatch.setattr("hmac.compare_digest", compare)
    for authorization in ("Bearer right", "Bearer wrong", "Basic right", None):
        Health(token="right").answer(authorization=authorization)
    assert compared == [(b"right", b"right"), (b"wrong", b"right"), (b"right", b"right"), (b"", b"right")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", ""])
def test_other_methods_than_get_and_head_are_refused(method: str) -> None:
    """RFC 9110, 15.5.6"""
    answer = Health().answer(method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_the_headers_and_no_body() -> None:
    breaker = CircuitBreaker("payments")
    health = Health(critical=["payments"], token="right")
    for authorization in ("Bearer right", None):
        get = health.answer(authorization=authorization)
        head = health.answer(authorization=authorization, method="HEAD")
        assert head == (get.status, get.headers, b"")
    breaker.open()
    assert health.answer(method="HEAD", authorization="Bearer right").status == 503


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"token": ""}, ValueError, "token must be letters, digits .* and not empty"),
        ({"token": "a b"}, ValueError, "token must be"),
        ({"token": "gehe\xefm"}, ValueError, "token must be"),
        ({"token": "a\n"}, ValueError, "token must be"),
        ({"token": b"secret"}, TypeError, "token must be a string, got bytes"),
        ({"critical": "payments"}, TypeError, "critical must be names of circuits or a predicate, got 'payments'"),
        ({"critical": None}, TypeError, "critical must be names of circuits or a predicate, got None"),
        ({"critical": ["a", 1]}, TypeError, "critical must contain only names of circuits, got 1"),
        ({"critical": str}, TypeError, "critical must be a function, got the class"),
        ({"details": "no"}, TypeError, "details must be True or False, got 'no'"),
        ({"limit": 0}, ValueError, "limit must be at least 1, got 0"),
        ({"limit": None}, TypeError, "limit must be a whole number, got None"),
        ({"registry": None}, TypeError, "registry must be a Registry, got None"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Health(**options)
    assert "gehe" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_ten_thousand_circuits_are_told_in_bounded_time(sandbox: Registry) -> None:
    for number in range(10_000):
        sandbox.get_or_create(f"host-{number:05}")
    began = time.process_time()
    said = Health(critical=["host-00000"], limit=10_000).answer()
    assert time.process_time() - began < 5
    assert said.status == 200
    assert said.body.count(b'"name"') == 10_000


def test_beyond_the_limit_the_important_circuits_are_listed(sandbox: Registry) -> None:
    """E7: critical ones, then those that are not closed or have a hold; the others are only counted."""
    for name in "abcdefgh":
        sandbox.get_or_create(name)
    sandbox.get("g").open()
    sandbox.get("e").force_closed()
    for limit, listed in ((8, "abcdefgh"), (4, "aegh"), (3, "egh"), (2, "eh"), (1, "h")):
        said = document(Health(critical=["h"], limit=limit))
        assert "".join(each["name"] for each in said["circuits"]) == listed
        assert said["omitted"] == 8 - limit
        assert said["status"] == "warn"
    sandbox.get("g").reset()
    sandbox.get("e").reset()
    assert document(Health(limit=1))["status"] == "pass"


def test_the_status_covers_the_circuits_that_are_not_listed(sandbox: Registry) -> None:
    for name in "abc":
        sandbox.get_or_create(name)
    sandbox.get("c").open()
    sandbox.get("a").shadow()
    said = document(Health(critical="abc".__contains__, limit=1), status=503)
    assert (said["status"], [each["name"] for each in said["circuits"]]) == ("fail", ["a"])
    sandbox.get("a").reset()
    assert document(Health(critical=["a"], limit=1))["status"] == "warn"


def test_the_documents_in_the_docs_are_as_the_schema_says() -> None:
    page = (Path(__file__).parent.parent / "docs" / "servers.md").read_text(encoding="utf-8")
    shown = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S)]
    healths = [each for each in shown if "circuits" in each]
    assert healths
    for each in healths:
        check(each, json.loads(SCHEMA))
    assert "circuitbreaker/health.schema.json" in page


def test_the_schema_describes_every_member() -> None:
    """`check` finds what a document has and the schema does not; this, what the schema has and no document."""
    breaker = CircuitBreaker("payments")
    trip(breaker)
    circuit = document(Health(details=True))["circuits"][0]
    schema = json.loads(SCHEMA)["$defs"]["circuit"]["properties"]
    assert circuit.keys() == schema.keys()
    assert circuit["last_failure"].keys() == schema["last_failure"]["properties"].keys()
    assert circuit["counts"].keys() == schema["counts"]["properties"].keys()
