"""The redis-py client of a store: made from a URL, or given; a single server's, Sentinel's, or a cluster's."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

__all__ = ["answering_node", "as_client"]

_TIMEOUT = 1.0
"""Seconds that an exchange may take with a client that is made from a URL."""


def as_client(client: Any) -> Any:
    """`client`, or the client for that URL.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(client, str):
        return cast("Any", redis.Redis).from_url(
            client,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            **_driver(),
        )
    if not isinstance(client, redis.Redis | RedisCluster):
        raise TypeError(f"client must be a URL, or a client of redis-py that is not an async one, got {client!r}")
    return client


def _driver() -> dict[str, Any]:
    """What redis-py from 8.1 on tells the server about itself. By default it looks its version up per connection.

    That takes 4 ms, of the first calls' time too.
    """
    try:
        from redis.driver_info import DriverInfo
    except ImportError:  # pragma: no cover - an older redis-py
        return {}
    return {"driver_info": DriverInfo()}


def answering_node(client: Any) -> Any:
    """A node of a cluster that answers, if any does: others may be down, which concerns their circuits alone.

    `None` for a client of a single server.
    """
    if isinstance(client, RedisCluster):
        cluster: Any = client
        for node in cluster.get_primaries():
            with suppress(Exception):
                cluster.ping(target_nodes=node)
                return node
    return None
