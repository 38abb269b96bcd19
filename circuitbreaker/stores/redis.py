"""RedisStore: circuits that meet in Redis or Valkey, 6.2 and newer: a single server, Sentinel or Cluster.

The records are kept by a script that runs in the server, `circuit.lua`. An exchange is one pipeline, one call of the
script for each circuit; decisions come by pub/sub. The keys of a circuit share a hash slot, and expire.
"""

from __future__ import annotations

import hashlib
import json
import selectors
import socket
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from logging import getLogger
from time import monotonic
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError
from redis.retry import Retry

from ..fleet.messages import Report, View
from .store import Store

__all__ = ["RedisStore"]

_logger = getLogger("circuitbreaker")
_SCRIPT = files("circuitbreaker.stores").joinpath("circuit.lua").read_text(encoding="utf-8")
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_TIMEOUT = 1.0
"""Seconds that an exchange may take with a client that was made from a URL."""
_SILENCE = 50.0
"""After so many seconds without any news, the server is asked whether it is still there."""
_GRACE = 0.05
"""How often to look for news, in seconds, where a socket cannot be waited for."""


class RedisStore(Store):
    """Shares circuits through Redis or Valkey.

    Args:
        client: a redis-py client (`redis.Redis`, one of Sentinel's, or `redis.RedisCluster`), which stays as it is; or
            a URL, for which a client is made whose timeouts are one second and which does not retry. Give a client of
            yours a `socket_timeout`: without one, a server that hangs is not noticed as long as it does.
        prefix: what all keys, and the channel, begin with.
        interval: seconds between exchanges while calls come; failures are told within a fifth of it, decisions at once.
        quorum: how many processes must have seen failures before a circuit opens for all of them.
        expire: seconds without any news after which a circuit's keys disappear.

    Raises:
        ValueError: an argument breaks its rule.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        client: redis.Redis | RedisCluster | str,
        *,
        prefix: str = "circuitbreaker",
        interval: float = 0.1,
        quorum: int = 1,
        expire: float = 86400.0,
    ) -> None:
        if not isinstance(cast("Any", prefix), str) or not prefix:
            raise ValueError(f"prefix must be a string that is not empty, got {prefix!r}")
        backend = _RedisBackend(_client(client), prefix, own=isinstance(client, str))
        super().__init__(backend, interval=interval, quorum=quorum, expire=expire)


def _client(client: Any) -> Any:
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
    """What redis-py from 8.1 on says of itself to the server. Left alone, it looks its version up for each connection.

    That takes 4 ms, of the first calls' time too.
    """
    try:
        from redis.driver_info import DriverInfo
    except ImportError:  # pragma: no cover - an older one
        return {}
    return {"driver_info": DriverInfo()}


class _RedisBackend:
    """The records in a server: `store.Backend`."""

    def __init__(self, client: Any, prefix: str, own: bool) -> None:
        self._client = client
        self._own = own  # made here
        self._prefix = prefix
        self._channel = f"{prefix}:decisions"
        self._listener: Any = None
        self._pair: tuple[socket.socket, socket.socket] | None = None  # what `wake` sends, `listen` hears
        self._woken = False
        self._deaf = False  # The client may not listen.
        self._heard_at = 0.0
        self._pinged = False

    # Exchanging

    def exchange(self, reports: Sequence[Report]) -> Sequence[View | Exception]:
        try:
            answers = self._run(reports)
        except Exception:
            if not self._answering_nodes():
                self._stop_listening()  # When there is a server again, it may be another one.
                raise
            answers = [self._run_alone(report) for report in reports]
        missing = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:  # A new server, or one that forgot: in a cluster each keeps its own scripts.
            self._client.script_load(_SCRIPT)
            again = self._run([reports[index] for index in missing])
            for index, answer in zip(missing, again, strict=True):
                answers[index] = answer
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        outage = next((error for error in errors if type(error) is not ResponseError), None)
        if outage is not None and len(errors) == len(answers) and not self._answering_nodes():
            self._stop_listening()
            raise outage  # Otherwise the server answers, and it is these records that cannot be used.
        return [answer if isinstance(answer, Exception) else _view(answer) for answer in answers]

    def _run(self, reports: Sequence[Report]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        try:
            for report in reports:
                pipeline.execute_command(*self._command(report))
            return list(pipeline.execute(raise_on_error=False))
        finally:
            pipeline.reset()

    def _command(self, report: Report) -> tuple[object, ...]:
        key = f"{self._prefix}:{{{_escaped(report.name)}}}"
        keys = _encoded(key), _encoded(f"{key}:{report.process}")
        return "EVALSHA", _SHA, 2, *keys, _json(report), self._channel

    def _run_alone(self, report: Report) -> Any:
        """The answer to one report, for the pipeline of a cluster fails whole when one of its nodes does."""
        try:
            return self._client.execute_command(*self._command(report))
        except Exception as error:
            return error

    def _answering_nodes(self) -> list[Any]:
        """Of a cluster, one node that answers, if there is any: others may be down, which concerns their circuits."""
        if isinstance(self._client, RedisCluster):
            client: Any = self._client
            for node in client.get_primaries():
                with suppress(Exception):
                    client.ping(target_nodes=node)
                    return [node]
        return []

    # Listening

    def listen(self, timeout: float) -> Sequence[View]:
        try:
            if self._listener is None and not self._deaf:
                self._subscribe()
            if not self._woken and not self._can_read():
                self._wait(timeout)
            self._woken = False
            return self._read()
        except NoPermissionError:
            self._deaf = True
            self._stop_listening()
            _logger.warning("decisions of other processes come late, for the channel %r is forbidden", self._channel)
            return []
        except Exception:
            self._stop_listening()
            if self._answering_nodes():
                return []  # The next time, it listens to that one.
            raise

    def _subscribe(self) -> None:
        nodes = self._answering_nodes()
        self._listener = self._client.pubsub(node=nodes[0]) if nodes else self._client.pubsub()
        self._heard_at, self._pinged = monotonic(), False
        self._listener.subscribe(self._channel)

    def _can_read(self) -> bool:
        return self._listener is not None and bool(self._listener.connection.can_read(timeout=0))

    def _read(self) -> list[View]:
        news: list[View] = []
        while self._can_read():
            message = self._listener.get_message(timeout=0)
            self._heard_at, self._pinged = monotonic(), False
            if message is not None and message["type"] == "message":
                news.append(_view(message["data"]))
        if self._listener is not None and monotonic() - self._heard_at > _SILENCE:
            self._ping()
        return news

    def _ping(self) -> None:
        """Ask a server that said nothing for long whether it is still there."""
        if self._pinged:
            raise TimeoutError(f"the server has said nothing for {_SILENCE:g} seconds, and did not answer a ping")
        self._pinged = True
        self._listener.ping()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(Exception):
                listener.close()

    def _wait(self, timeout: float) -> None:
        """Wait for the server or for `wake`."""
        if self._pair is None:
            self._pair = socket.socketpair()
            for each in self._pair:
                each.setblocking(False)
            if self._woken:
                return
        ear = self._pair[0]
        with selectors.DefaultSelector() as selector:
            selector.register(ear, selectors.EVENT_READ)
            if self._listener is not None:
                server = getattr(self._listener.connection, "_sock", None)  # It has no public way to wait for two.
                if server is None:  # pragma: no cover - a redis-py that keeps it elsewhere
                    timeout = min(timeout, _GRACE)
                else:
                    selector.register(server, selectors.EVENT_READ)
            selector.select(timeout)
        with suppress(BlockingIOError):
            while ear.recv(4096):
                pass

    def wake(self) -> None:
        self._woken = True
        if self._pair is not None:
            with suppress(OSError):  # It is full, so it wakes already; or closed.
                self._pair[1].send(b"!")

    # Ending

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        self._listener = None  # The client's pool sees by itself that this is another process.
        self._close_pair()

    def close(self) -> None:
        self._stop_listening()
        self._close_pair()
        if self._own:
            self._client.close()

    def _close_pair(self) -> None:
        pair, self._pair = self._pair, None
        for each in pair or ():
            each.close()


def _escaped(name: str) -> str:
    """`name` within braces: what stands there decides the hash slot, unless it is nothing."""
    return name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") or "%"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # Not all that Python takes for text is Unicode.


def _json(report: Report) -> bytes:
    return _encoded(json.dumps(_plain(report), ensure_ascii=False))


def _plain(value: Any) -> Any:
    """A named tuple as what JSON has, without what is `None`."""
    if not hasattr(value, "_asdict"):
        return value
    return {name: _plain(each) for name, each in value._asdict().items() if each is not None}


def _view(answer: str | bytes) -> View:
    fields: dict[str, Any] = json.loads(answer)
    for name in ("numbers", "seconds"):
        fields[name] = tuple(fields[name] or ())  # An empty table may have become {}.
    fields["failure"] = tuple(fields["failure"]) if fields.get("failure") else None
    leases: list[tuple[str, float]] = fields.get("leases") or []
    fields["leases"] = tuple((lease, left) for lease, left in leases) if "leases" in fields else None
    fields["history"] = tuple((ago, tuple(numbers or ())) for ago, numbers in fields.get("history") or ())
    return View(**fields)
