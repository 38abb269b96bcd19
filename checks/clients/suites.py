"""The clients' own tests: what they need, which of them make requests, and how all their clients come by a guard."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SUITES", "Suite"]


class Suite(NamedTuple):
    """One client's tests."""

    needs: list[str]
    plugin: str
    """A plugin of pytest that guards every client that the tests make."""
    tests: tuple[str, ...] = ("tests",)
    options: tuple[str, ...] = ()
    files: tuple[str, ...] = ("tests",)
    """What to take out of the source."""


_HTTPX = Suite(
    needs=["httpx[brotli,http2,socks,zstd]", "pytest<9", "trio", "trustme", "uvicorn", "cryptography", "chardet"],
    plugin="""
import httpx
from circuitbreaker.integrations.httpx import AsyncCircuitBreakerTransport, CircuitBreakerTransport


def guard(client, transport):
    plain = client.__init__

    def guarded(self, *args, **options):
        plain(self, *args, **options)
        self._transport = transport(self._transport, registry=None)
        self._mounts = {url: each and transport(each, registry=None) for url, each in self._mounts.items()}

    client.__init__ = guarded


guard(httpx.Client, CircuitBreakerTransport)
guard(httpx.AsyncClient, AsyncCircuitBreakerTransport)
""",
    # They look into the transport, and find ours.
    options=("--ignore=tests/client/test_proxies.py",),
    files=("tests", "pyproject.toml", "README.md", "CHANGELOG.md"),
)

_REQUESTS = Suite(
    needs=["urllib3>=2.0.2", "pytest<9", "pytest-httpbin>=2.1", "httpbin~=0.10.0", "pytest-mock", "trustme", "PySocks"],
    # Every adapter that a session or a test has made sends through a guard of its own.
    plugin="""
from circuitbreaker.integrations.requests import CircuitBreakerAdapter
from requests.adapters import BaseAdapter, HTTPAdapter

plain = HTTPAdapter.send


class Plain(BaseAdapter):
    def __init__(self, adapter):
        self.adapter = adapter

    def send(self, *args, **kwargs):
        return plain(self.adapter, *args, **kwargs)


def send(self, *args, **kwargs):
    if not hasattr(self, "guard"):
        self.guard = CircuitBreakerAdapter(Plain(self), registry=None)
    return self.guard.send(*args, **kwargs)


HTTPAdapter.send = send
""",
    # Some of its tests read its own source.
    files=("tests", "src", "pyproject.toml"),
)

_AIOHTTP = Suite(
    needs=[
        *("pytest", "pytest-mock", "pytest-timeout", "pytest-xdist", "pytest-codspeed"),
        *("re-assert", "trustme", "freezegun", "blockbuster", "proxy.py", "isal", "zlib-ng"),
    ],
    plugin="""
import aiohttp
from circuitbreaker.integrations.aiohttp import CircuitBreakerMiddleware

plain = aiohttp.ClientSession.__init__


def guarded(self, *args, middlewares=(), **options):
    guard = CircuitBreakerMiddleware(failure_threshold=10**9, registry=None)
    plain(self, *args, middlewares=(*middlewares, guard), **options)


aiohttp.ClientSession.__init__ = guarded
""",
    tests=(
        *("tests/test_client_functional.py", "tests/test_client_session.py", "tests/test_client_ws_functional.py"),
        *("tests/test_client_middleware.py", "tests/test_client_middleware_digest_auth.py"),
        "tests/test_proxy_functional.py",
    ),
    options=(
        *("--timeout=60", "--numprocesses=2", "-k"),
        # They send no request but a mock of one, whose URL is no URL: there is nothing to find a circuit by.
        "not (test_ws_connect_allowed_protocols or test_ws_connect_unix_socket_allowed_protocols)",
    ),
)

SUITES: dict[str, Suite] = {"aiohttp": _AIOHTTP, "httpx": _HTTPX, "requests": _REQUESTS}
