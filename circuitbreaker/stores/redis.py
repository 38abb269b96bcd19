"""RedisStore: circuits shared through Redis or Valkey, 6.2 and newer: a single server, Sentinel or Cluster.

A script that runs in the server, `circuit.lua`, keeps the records. An exchange is one pipeline with one call of the
script per circuit; decisions come by pub/sub. The keys of a circuit share a hash slot, and expire.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from importlib.resources import files
from itertools import compress
from time import monotonic
from typing import Any, cast

import redis  # noqa: TC002 - annotations can be evaluated
from redis.cluster import RedisCluster  # noqa: TC002
from redis.exceptions import NoScriptError, ResponseError

from ..fleet.messages import Report, Snapshot
from ..fleet.record import peek
from ._redis_clients import answering_node, as_client
from ._redis_listener import Listener
from .encoding import decode_record, decode_snapshot, encode_report, encode_text
from .store import Store

__all__ = ["RedisStore"]

_SCRIPT = files("circuitbreaker.stores").joinpath("circuit.lua").read_text(encoding="utf-8")
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RedisStore(Store):
    """Shares circuits through Redis or Valkey.

    Args:
        client: a redis-py client (`redis.Redis`, one of Sentinel's, or `redis.RedisCluster`), which is not changed; or
            a URL, for which a client is made with timeouts of one second and no retries. Give your own client a
            `socket_timeout`: without one, a server that hangs is not noticed for as long as it does.
        prefix: what all keys, and the channel, begin with.
        interval: seconds between exchanges while calls come. Failures are reported within a fifth of it, decisions at
            once.
        quorum: how many processes must have seen failures before a circuit opens for all of them.
        expire: seconds without any report after which a circuit's keys expire.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of the wrong type.
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
        backend = _RedisBackend(as_client(client), prefix, owns_client=isinstance(client, str))
        super().__init__(backend, interval=interval, quorum=quorum, expire=expire)


class _RedisBackend:
    """The records in a server: `stores.Backend`."""

    def __init__(self, client: Any, prefix: str, owns_client: bool) -> None:
        self._client = client
        self._owns_client = owns_client
        self._prefix = prefix
        self._channel = f"{prefix}:decisions"
        self._listener = Listener(client, self._channel)
        self._index = _Index(client, f"{prefix}:names")

    # Exchanging

    def exchange(self, reports: Sequence[Report]) -> Sequence[Snapshot | Exception]:
        try:
            answers = self._run(reports)
        except Exception:
            if answering_node(self._client) is None:
                self._listener.stop()
                raise
            answers = [self._run_alone(report) for report in reports]
        self._run_again_with_script(reports, answers)
        self._raise_outage(answers)
        answered = [not isinstance(answer, Exception) for answer in answers]
        self._index.note(compress(reports, answered))
        return [decode_snapshot(answer) if well else answer for answer, well in zip(answers, answered, strict=True)]

    def _run(self, reports: Sequence[Report]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        try:
            for report in reports:
                pipeline.execute_command(*self._command(report))
            return list(pipeline.execute(raise_on_error=False))
        finally:
            pipeline.reset()

    def _run_alone(self, report: Report) -> Any:
        """The answer to one report: the pipeline of a cluster fails as a whole when one of its nodes does."""
        try:
            return self._client.execute_command(*self._command(report))
        except Exception as error:
            return error

    def _command(self, report: Report) -> tuple[object, ...]:
        key = self._key(report.name)
        keys = encode_text(key), encode_text(f"{key}:{report.process}")
        return "EVALSHA", _SHA, 2, *keys, encode_report(report), self._channel

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{{{_escaped(name)}}}"

    def _run_again_with_script(self, reports: Sequence[Report], answers: list[Any]) -> None:
        """Load the script where it is missing: in a server, or a node of a cluster, that is new or was flushed."""
        missing = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            self._client.script_load(_SCRIPT)
            again = self._run([reports[index] for index in missing])
            for index, answer in zip(missing, again, strict=True):
                answers[index] = answer

    def _raise_outage(self, answers: list[Any]) -> None:
        """Raise what is an outage of the server. Otherwise it answers, and single records cannot be used."""
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        outage = next((error for error in errors if type(error) is not ResponseError), None)
        if outage is not None and len(errors) == len(answers) and answering_node(self._client) is None:
            self._listener.stop()
            raise outage

    # Listening

    def listen(self, timeout: float) -> Sequence[Snapshot]:
        self._index.write()
        return self._listener.listen(timeout)

    def wake(self) -> None:
        self._listener.wake()

    # Reading

    def names(self) -> Collection[str]:
        """See `Backend.names`. Raises what redis-py raises."""
        names = self._index.read()
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.execute_command("EXISTS", encode_text(self._key(name)))
        return [name for name, exists in zip(names, pipeline.execute(), strict=True) if exists]

    def peek(self, name: str) -> Snapshot | None:
        """See `Backend.peek`. Raises what redis-py raises."""
        (seconds, microseconds), text = self._client.execute_command("EVAL", _PEEK, 1, encode_text(self._key(name)))
        if text is None:
            return None
        return peek(decode_record(text), name, int(seconds) + int(microseconds) / 1_000_000)

    # Ending

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        self._listener.renew()

    def close(self) -> None:
        self._index.write()
        self._listener.close()
        if self._owns_client:
            self._client.close()


_PEEK = "return {redis.call('TIME'), redis.call('GET', KEYS[1])}"
"""A record, and the server's time at which it was read."""


class _Index:
    """The names of the circuits in a server, with when each of them may be dropped.

    A name is written about once a minute, between exchanges, so that no answer waits for it. An error is ignored: it
    is no outage, and the names are written again.
    """

    def __init__(self, client: Any, key: str) -> None:
        self._client = client
        self._key = key
        self._recent: set[str] = set()  # written, or to be written, since then:
        self._since = monotonic()
        self._unwritten: dict[str, int] = {}  # with the seconds after which the record expires

    def note(self, reports: Iterable[Report]) -> None:
        """Let the names of these reports be written, unless they were lately."""
        now = monotonic()
        if now - self._since >= _EVERY:
            self._recent, self._since = set(), now
        new = {report.name: report.quotas.expire for report in reports if report.name not in self._recent}
        self._recent.update(new)
        self._unwritten.update(new)

    def write(self) -> None:
        """Write the names that were noted."""
        names, self._unwritten = self._unwritten, {}
        if names:
            seconds = max(names.values()) + 2 * _EVERY
            with suppress(Exception):
                self._client.execute_command("EVAL", _WRITE_NAMES, 1, self._key, seconds, *map(json.dumps, names))

    def read(self) -> list[str]:
        """All names, also those of records that have expired lately."""
        return [json.loads(name) for name in self._client.zrange(self._key, 0, -1)]


_EVERY = 60
_WRITE_NAMES = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], 'GT', now + ARGV[1], ARGV[index]) end
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
"""


def _escaped(name: str) -> str:
    """`name` within braces: what stands there decides the hash slot, unless it is empty."""
    return name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") or "%"
