"""requests, as the contract in test_clients.py uses it."""

from __future__ import annotations

from typing import Any

import requests

from circuitbreaker import KeyedBreakers
from circuitbreaker.integrations.requests import CircuitBreakerAdapter, CircuitOpenConnectionError, judge

from .guarded import Answer, Client


class _Answer(Answer):
    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status = response.status_code

    def read_some(self) -> bytes:
        self._parts = self._response.iter_content(10)
        part: bytes = next(self._parts)
        return part

    def read(self) -> bytes:
        return self._response.content

    def close(self) -> None:
        self._response.close()


class Requests(Client):
    name, kind, refusal = "requests", requests.RequestException, CircuitOpenConnectionError
    judge = staticmethod(judge)
    takes_cut_heads = True

    def __init__(self, **options: Any) -> None:
        self.adapter = CircuitBreakerAdapter(**options)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", self.adapter)
        self.session.mount("nowhere://", self.adapter)

    @property
    def breakers(self) -> KeyedBreakers:
        return self.adapter.breakers

    def begin(self, url: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 5.0) -> Answer:
        answer = self.session.request(method, url, data=body, timeout=timeout, stream=True, allow_redirects=False)
        return _Answer(answer)

    def get_plainly(self, url: str) -> tuple[int, bytes]:
        response = self.session.get(url)
        return response.status_code, response.content

    def close(self) -> None:
        self.session.close()
