"""All the guarded clients that the contract is for."""

from __future__ import annotations

from .guarded import Client
from .guarded_aiohttp import Aiohttp
from .guarded_httpx import AsyncHttpx, AsyncHttpx2, Httpx, Httpx2, TrioHttpx
from .guarded_requests import Requests

CLIENTS: dict[str, type[Client]] = {
    "aiohttp": Aiohttp,
    "httpx": Httpx,
    "httpx async": AsyncHttpx,
    "httpx trio": TrioHttpx,
    "httpx2": Httpx2,
    "httpx2 async": AsyncHttpx2,
    "requests": Requests,
}
