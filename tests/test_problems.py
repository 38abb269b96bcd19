"""A refusal as an HTTP answer: its status, its headers, its body, and which form that has."""

from __future__ import annotations

import json
import math
import re
import time
from datetime import datetime, timezone
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState, Hold, LastFailure
from circuitbreaker.problems import Answer, answer, problem, refusal_details, refusal_in, timestamp

from .support import Boom

AT = datetime(2030, 1, 2, 3, 4, 5, 678901, timezone.utc)
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def refusal(retry_after: float = 20.0, name: str = "payments", **options: Any) -> CircuitOpenError:
    reason = "a trial failed: Boom: the password is 1234"
    failure = LastFailure("Boom", "the password is 1234", AT)
    return CircuitOpenError(name, CircuitState.OPEN, retry_after, reason, AT, failure, **options)


def kind(answer: Answer) -> str:
    return answer.headers["Content-Type"].partition(";")[0]


def test_a_refusal_is_503_as_problem_details() -> None:
    """RFC 9457"""
    status, headers, body = problem(refusal())
    assert status == 503
    assert headers == {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Vary": "Accept",
        "Retry-After": "20",
    }
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "This needs a service that is not available at the moment. Try again in 20 seconds.",
    }


@pytest.mark.parametrize(
    ("retry_after", "header"),
    [(20.0, "20"), (19.001, "20"), (1.0, "1"), (0.2, "1"), (0.0, "1"), (-5.0, "1"), (1e300, str(2**31))],
)
def test_retry_after_is_in_whole_seconds_rounded_up_and_at_least_one(retry_after: float, header: str) -> None:
    """RFC 9110, 10.2.3"""
    answer = problem(refusal(retry_after))
    assert answer.headers["Retry-After"] == header
    assert json.loads(answer.body)["detail"].endswith(f"in {header} second{'' if header == '1' else 's'}.")


@pytest.mark.parametrize("retry_after", [math.inf, math.nan])
def test_there_is_no_retry_after_when_nobody_knows(retry_after: float) -> None:
    """While it is forced open."""
    answer = problem(refusal(retry_after, hold=Hold.FORCED_OPEN))
    assert "Retry-After" not in answer.headers
    assert json.loads(answer.body)["detail"].endswith("Try again later.")
    assert refusal_details(refusal(retry_after))["retry_after"] is None


@pytest.mark.parametrize("accept", [None, CHROMIUM])
def test_it_names_no_internals_unless_told_to(accept: str | None) -> None:
    inside = re.compile(r"payments|trial|Boom|1234|2030|circuit|open")
    answer = problem(refusal(), accept=accept)
    assert not inside.search(answer.body.decode() + str(answer.headers))
    assert len(set(inside.findall(problem(refusal(), accept=accept, details=True).body.decode()))) > 5


def test_with_details_it_says_what_there_is_to_know() -> None:
    body = json.loads(problem(refusal(19.99999), details=True).body)
    assert {name: body[name] for name in refusal_details(refusal())} == {
        "circuit": "payments",
        "state": "open",
        "hold": None,
        "reason": "a trial failed: Boom: the password is 1234",
        "opened_at": "2030-01-02T03:04:05.678Z",
        "retry_after": 20.0,
        "last_failure": {"type": "Boom", "text": "the password is 1234", "at": "2030-01-02T03:04:05.678Z"},
    }
    bare = CircuitOpenError("search", CircuitState.CLOSED, math.inf, hold=Hold.FORCED_OPEN)
    assert refusal_details(bare) == {
        "circuit": "search",
        "state": "closed",
        "hold": "force_open",
        "reason": "",
        "opened_at": None,
        "retry_after": None,
        "last_failure": None,
    }
    page = problem(bare, accept="text/html", details=True).body.decode()
    assert re.findall("<dt>(.*)</dt><dd>(.*)</dd>", page) == [
        ("circuit", "search"),
        ("state", "closed"),
        ("hold", "force_open"),
    ]


def test_head_has_the_headers_and_no_body() -> None:
    """RFC 9110, 9.3.2"""
    for accept in (None, CHROMIUM):
        get, head = problem(refusal(), accept=accept), problem(refusal(), accept=accept, method="HEAD")
        assert (head.headers, head.body) == (get.headers, b"")
        assert int(head.headers["Content-Length"]) == len(get.body) > 100


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (CHROMIUM, "text/html"),
        (FIREFOX, "text/html"),
        ("text/html", "text/html"),
        ("TEXT/HTML ; Q=0.1", "text/html"),
        ("text/*", "text/html"),
        ("text/html;charset=utf-8", "text/html"),
        ('text/html;a="x,application/json;q=1", image/png', "text/html"),
        ("application/json;q=0.5, text/html;q=0.6", "text/html"),
        ("application/*;q=0.2, text/html;q=0.3, */*", "text/html"),
        ("text/html;q=0.2;level=1, text/html;q=0.9, */*;q=0.8", "text/html"),
        ("application/problem+json;q=0, application/json;q=0, */*", "text/html"),
        ("text/html;q=0.9, text/html;q=0.1, */*;q=0.5", "text/html"),
        ("text/html;q=1;q=nonsense, */*;q=0.5", "text/html"),
        (None, "application/problem+json"),
        ("", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("application/json, text/html", "application/problem+json"),
        ("text/html;q=0.9, application/json", "application/problem+json"),
        ("text/html;q=0.500, application/json;q=0.501", "application/problem+json"),
        ("text/html;q=0", "application/problem+json"),
        ("text/html;q=0, */*", "application/problem+json"),
        ("text/*;q=1, text/html;q=0.3, application/json;q=0.4", "application/problem+json"),
        ("image/png", "application/problem+json"),
        ("text/plain", "application/problem+json"),
        ("text/html;q=1.5", "application/problem+json"),
        ("text/html;q=-1", "application/problem+json"),
        ("text/html;q=nan", "application/problem+json"),
        ("text/html;q=1e0", "application/problem+json"),
        ("text/html;q=0.1234", "application/problem+json"),
        ("text/html;q=", "application/problem+json"),
        ("text/html;q=\u0661", "application/problem+json"),
        ('text/html;q="1"', "application/problem+json"),
        ("text/html q=1", "application/problem+json"),
        (";,;;, ,q=1,/,*", "application/problem+json"),
        ('"text/html', "application/problem+json"),
    ],
)
def test_who_prefers_html_gets_a_page_and_everybody_else_json(accept: str | None, expected: str) -> None:
    """RFC 9110, 12.5.1: the most specific range decides, a malformed one is none, a tie is JSON's."""
    answer = problem(refusal(), accept=accept)
    assert kind(answer) == expected
    assert answer.status == 503
    assert answer.headers["Vary"] == "Accept"


@given(st.text(st.sampled_from('text/html,;q=01."\\ *apljson+\x00é'), max_size=60) | st.text(max_size=60))
@settings(max_examples=300)
def test_no_accept_header_breaks_it(accept: str) -> None:
    assert kind(problem(refusal(), accept=accept)) in {"text/html", "application/problem+json"}


@pytest.mark.parametrize("part", ['"\\"', '"', ",", ";", "text/html;q=1,", "q=;", ' \t"', "\\", ';q="', "a", '"\\'])
def test_a_huge_accept_header_takes_no_more_than_linear_time(part: str) -> None:
    """As long as servers let through at most."""
    for accept in (part * (60_000 // len(part)), '"' + part * (60_000 // len(part))):
        began = time.process_time()
        problem(refusal(), accept=accept)
        assert time.process_time() - began < 1


def test_the_page_stands_alone_and_is_well_formed() -> None:
    class Check(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href", "onclick", "action"} & dict(attrs).keys()
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

        def handle_data(self, data: str) -> None:
            self.text += data

    for details in (False, True):
        check = Check()
        check.feed(problem(refusal(), accept="text/html", details=details).body.decode())
        check.close()
        assert check.open == []
        assert "Service Unavailable" in check.text
        assert "Try again in 20 seconds." in check.text
        assert ("the password is 1234" in check.text) is details


def test_everything_in_the_page_is_escaped() -> None:
    name = "<script>alert('&\"')</script>{text}%s\ud800"
    body = problem(refusal(name=name), accept="text/html", details=True).body.decode()
    assert "<script" not in body
    assert "&lt;script&gt;alert(&#x27;&amp;&quot;&#x27;)&lt;/script&gt;{text}%s&#55296;" in body
    assert json.loads(problem(refusal(name=name), details=True).body)["circuit"] == name


def test_other_answers_say_no_more_than_their_status() -> None:
    said = answer(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    assert said.status == 401
    assert said.headers["WWW-Authenticate"] == "Bearer"
    assert said.headers["Cache-Control"] == "no-store"
    assert json.loads(said.body) == {"type": "about:blank", "title": "Unauthorized", "status": 401}


class Group(Exception):
    """A group by its shape, as Python 3.10 has them from a package."""

    def __init__(self, *exceptions: BaseException) -> None:
        self.exceptions = exceptions


def test_a_group_of_nothing_but_refusals_is_the_longest_of_them() -> None:
    """So that the client does not come before all that it needs is back."""
    short, long, forced = refusal(1.0), refusal(50.0), refusal(math.inf)
    assert refusal_in(short) is short
    assert refusal_in(Group(short, Group(long), short)) is long
    assert refusal_in(Group(short, forced, long)) is forced


def test_a_group_with_anything_else_in_it_is_no_refusal() -> None:
    """A fault must not pass for a service that is away."""
    odd = Boom()
    odd.exceptions = "no group"  # type: ignore[attr-defined]
    for error in (Boom(), Group(), Group(refusal(), Boom()), Group(Group(refusal(), KeyboardInterrupt())), odd):
        assert refusal_in(error) is None


def test_the_refusal_of_a_real_circuit_is_answered() -> None:
    breaker = CircuitBreaker(reset_timeout=2.5)
    breaker.open()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(print)
    assert problem(caught.value).headers["Retry-After"] == "3"
    breaker.force_open()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(print)
    assert "Retry-After" not in problem(caught.value).headers


def test_moments_are_written_in_utc() -> None:
    assert timestamp(AT) == "2030-01-02T03:04:05.678Z"
    assert timestamp(AT.replace(microsecond=0)) == "2030-01-02T03:04:05.000Z"
    assert timestamp(None) is None
