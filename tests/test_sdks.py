"""SDKs that are built on these clients need nothing special: one line passes a guarded transport in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession

from circuitbreaker import CircuitBreaker, CircuitOpenError, CircuitState
from circuitbreaker.clients import FAILURE_STATUSES
from circuitbreaker.integrations import httpx as ours_for_httpx
from circuitbreaker.integrations import httpx2 as ours_for_httpx2
from circuitbreaker.integrations.requests import CircuitBreakerAdapter, CircuitOpenConnectionError

from .websites import BODY, Hangup, Request, Site, answer

Send = Callable[[bytes], None]
QUESTION: Any = [{"role": "user", "content": "How are you?"}]


class Model:
    """A language model that answers well, is overloaded, stalls, or breaks off, as it is told to."""

    def __init__(self) -> None:
        self.mood = "well"
        self.asked = 0
        self.over = Event()

    def page(self, whole: dict[str, Any], parts: list[tuple[str, dict[str, Any]]]) -> Callable[[Request, Send], None]:
        def answer_it(request: Request, send: Send) -> None:
            self.asked += 1
            if self.mood == "overloaded":
                send(answer(529, b'{"error": {"type": "overloaded_error", "message": "later"}}', **JSON))
            elif self.mood == "failing":
                send(answer(503, b'{"error": {"message": "no"}}', **JSON, **{"Retry-After": "90"}))
            elif self.mood == "stalling":
                self.over.wait(30)
                raise Hangup
            elif not json.loads(request.body).get("stream"):
                send(answer(200, json.dumps(whole).encode(), **JSON))
            else:
                send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                for event, data in parts:
                    text = f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
                    send(f"{len(text):x}\r\n".encode() + text + b"\r\n")
                if self.mood == "breaking off":
                    raise Hangup
                end = b"data: [DONE]\n\n"
                send(f"{len(end):x}\r\n".encode() + end + b"\r\n0\r\n\r\n")

        return answer_it


JSON = {"Content-Type": "application/json"}
CHOICE = {"index": 0, "finish_reason": "stop"}
COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{**CHOICE, "message": {"role": "assistant", "content": "Well."}}],
}
CHUNK = {**COMPLETION, "object": "chat.completion.chunk", "choices": [{**CHOICE, "delta": {"content": "Well."}}]}
MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Well."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Well."}}
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("message_start", {"type": "message_start", "message": {**MESSAGE, "content": []}}),
    ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    ("content_block_delta", DELTA),
]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def site(model: Model) -> Iterator[Site]:
    pages = {
        "/v1/chat/completions": model.page(COMPLETION, [("message", CHUNK)]),
        "/v1/messages": model.page(MESSAGE, EVENTS),
    }
    with Site(pages) as site:
        yield site
        model.over.set()


def ours_for(client_class: type) -> Any:
    """Our module for the client that an SDK is built on."""
    return ours_for_httpx if issubclass(client_class, httpx.Client | httpx.AsyncClient) else ours_for_httpx2


class OpenAI:
    """openai's client."""

    errors = openai.APIConnectionError

    def __init__(self, url: str, **options: Any) -> None:
        self.transport = ours_for(openai.DefaultHttpxClient).CircuitBreakerTransport(**options)
        self._client = openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="none",
            max_retries=0,
            timeout=0.5,
            http_client=openai.DefaultHttpxClient(transport=self.transport),
        )

    def ask(self) -> Any:
        return self._client.chat.completions.create(model="m", messages=QUESTION).choices[0].message.content

    def stream(self) -> Iterator[str | None]:
        for chunk in self._client.chat.completions.create(model="m", messages=QUESTION, stream=True):
            yield chunk.choices[0].delta.content

    def close(self) -> None:
        self._client.close()


class Anthropic:
    """anthropic's client."""

    errors = anthropic.APIConnectionError

    def __init__(self, url: str, **options: Any) -> None:
        self.transport = ours_for(anthropic.DefaultHttpxClient).CircuitBreakerTransport(**options)
        self._client = anthropic.Anthropic(
            base_url=url,
            api_key="none",
            max_retries=0,
            timeout=0.5,
            http_client=anthropic.DefaultHttpxClient(transport=self.transport),
        )

    def ask(self) -> Any:
        found: Any = self._client.messages.create(model="m", max_tokens=9, messages=QUESTION).content[0]
        return found.text

    def stream(self) -> Iterator[str | None]:
        events: Any = self._client.messages.create(model="m", max_tokens=9, messages=QUESTION, stream=True)
        for event in events:
            if event.type == "content_block_delta":
                yield event.delta.text

    def close(self) -> None:
        self._client.close()


@pytest.fixture(params=[OpenAI, Anthropic])
def make(request: pytest.FixtureRequest, site: Site) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(request.param(site.url, **{"failure_threshold": 1, **options}))
        return made[-1]

    yield make
    for sdk in made:
        sdk.close()


def only(sdk: Any) -> CircuitBreaker:
    breaker: CircuitBreaker
    (breaker,) = sdk.transport.breakers.values()
    return breaker


def test_it_answers_as_without_us(make: Callable[..., Any]) -> None:
    sdk = make()
    assert sdk.ask() == "Well."
    assert list(sdk.stream()) == ["Well."]
    assert only(sdk).metrics().total_successes == 2


def test_a_model_that_fails_is_left_alone_as_long_as_it_asks_for(make: Callable[..., Any], model: Model) -> None:
    sdk, model.mood = make(), "failing"
    with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
        sdk.ask()
    with pytest.raises(sdk.errors) as caught:
        sdk.ask()
    assert isinstance(caught.value.__cause__, CircuitOpenError)
    assert caught.value.__cause__.retry_after == pytest.approx(90, abs=1)
    assert model.asked == 1


def test_a_model_that_stalls_is_a_failure(make: Callable[..., Any], model: Model) -> None:
    sdk, model.mood = make(), "stalling"
    with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)):
        sdk.ask()
    assert only(sdk).state is CircuitState.OPEN


def test_an_answer_that_breaks_off_is_a_failure(make: Callable[..., Any], model: Model) -> None:
    """Although the first words have arrived, which is enough for other libraries to count a success."""
    sdk, model.mood = make(), "breaking off"
    with pytest.raises(Exception, match=r"peer closed|incomplete|broken|Connection"):
        list(sdk.stream())
    assert only(sdk).state is CircuitState.OPEN


def test_a_reader_who_has_heard_enough_is_no_failure(make: Callable[..., Any]) -> None:
    sdk = make()
    words = sdk.stream()
    assert next(words) == "Well."
    words.close()
    del words
    assert only(sdk).state is CircuitState.CLOSED


def test_overload_by_a_status_of_its_own_is_for_the_judge_to_know(make: Callable[..., Any], model: Model) -> None:
    """529 is in no standard."""

    def judge(end: Any) -> bool | None:
        status = getattr(end, "status_code", None)
        return status in {*FAILURE_STATUSES, 529} if status else True

    sdk, model.mood = make(judge=judge), "overloaded"
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
        sdk.ask()
    assert only(sdk).state is CircuitState.OPEN


@pytest.mark.parametrize("sdk", [openai, anthropic])
def test_the_client_that_an_sdk_makes_is_guarded_as_it_is(sdk: Any, site: Site, model: Model) -> None:
    """With the SDK's own transports and limits."""
    ours = ours_for(sdk.DefaultHttpxClient)
    with ours.guarded(sdk.DefaultHttpxClient(), failure_threshold=1) as client:
        for status in (200, 503):
            assert client.get(f"{site.url}/status/{status}").status_code == status
        with pytest.raises(ours.CircuitOpenTransportError):
            client.get(f"{site.url}/ok")


def test_the_guard_of_the_library_that_an_sdk_is_not_built_on_says_so(site: Site) -> None:
    theirs = ours_for(openai.DefaultHttpxClient)
    other = ours_for_httpx2 if theirs is ours_for_httpx else ours_for_httpx
    http_client = openai.DefaultHttpxClient(transport=other.CircuitBreakerTransport())
    with (
        openai.OpenAI(base_url=f"{site.url}/v1", api_key="none", max_retries=0, http_client=http_client) as client,
        pytest.raises((TypeError, openai.APIConnectionError)) as caught,
    ):
        client.models.list()
    assert f"take it from {theirs.__name__}" in str(caught.value.__cause__ or caught.value)
    assert site.requests == []


def test_a_session_of_googles_libraries_takes_the_guard_of_requests(site: Site) -> None:
    guard = CircuitBreakerAdapter(failure_threshold=1)
    with AuthorizedSession(AnonymousCredentials()) as session:  # type: ignore[no-untyped-call]
        session.mount(site.url, guard)
        assert session.get(f"{site.url}/ok").content == BODY
        assert session.get(f"{site.url}/status/500").status_code == 500
        with pytest.raises(CircuitOpenConnectionError):
            session.get(f"{site.url}/ok")
