"""The ear of a `RedisStore`: it waits for decisions on a channel, and for whoever wakes it, both at once."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from redis.exceptions import NoPermissionError

from .._log import log
from ..fleet.messages import Snapshot
from ._redis_clients import answering_node
from .encoding import decode_snapshot

__all__ = ["Listener"]

_SILENCE = 50.0
"""After this many seconds without a message, the server is asked whether it is still there."""
_GRACE = 0.05
"""Seconds between two looks for messages where a socket cannot be waited for."""


class Listener:
    """Subscribes when it first listens, and again after `stop`. All but `wake` is for the store's thread."""

    def __init__(self, client: Any, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._subscription: Any = None
        self._pair: tuple[socket.socket, socket.socket] | None = None  # `wake` sends, `listen` receives
        self._woken = False
        self._forbidden = False  # The client has no right to the channel.
        self._heard_at = 0.0
        self._pinged = False

    def listen(self, timeout: float) -> Sequence[Snapshot]:
        """What was published; waits for it at most `timeout` seconds, and no longer than until `wake` is called."""
        try:
            if self._subscription is None and not self._forbidden:
                self._subscribe()
            if not self._woken and not self._can_read():
                self._wait(timeout)
            self._woken = False
            return self._read()
        except NoPermissionError:
            self._forbidden = True
            self.stop()
            log("warning", "decisions of other processes come late, for the channel %r is forbidden", self._channel)
            return []
        except Exception:
            self.stop()
            if answering_node(self._client) is not None:
                return []  # The next time, it listens to that node.
            raise

    def wake(self) -> None:
        """Let `listen` return. Never blocks; any thread calls it."""
        self._woken = True
        if self._pair is not None:
            with suppress(OSError):  # It is full, so it wakes already; or closed.
                self._pair[1].send(b"!")

    def stop(self) -> None:
        """End the subscription: when there is a server again, it may be another one."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with suppress(Exception):
                subscription.close()

    def close(self) -> None:
        """End the subscription, and close the sockets that `wake` uses."""
        self.stop()
        self._close_pair()

    def renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: the subscription is the parent's. The client's pool notices the fork by itself."""
        self._subscription = None
        self._close_pair()

    def _close_pair(self) -> None:
        pair, self._pair = self._pair, None
        for each in pair or ():
            each.close()

    # The subscription

    def _subscribe(self) -> None:
        node = answering_node(self._client)
        self._subscription = self._client.pubsub() if node is None else self._client.pubsub(node=node)
        self._heard_at, self._pinged = monotonic(), False
        self._subscription.subscribe(self._channel)

    def _can_read(self) -> bool:
        return self._subscription is not None and bool(self._subscription.connection.can_read(timeout=0))

    def _read(self) -> list[Snapshot]:
        news: list[Snapshot] = []
        while self._can_read():
            message = self._subscription.get_message(timeout=0)
            self._heard_at, self._pinged = monotonic(), False
            if message is not None and message["type"] == "message":
                news.append(decode_snapshot(message["data"]))
        if self._subscription is not None and monotonic() - self._heard_at > _SILENCE:
            self._ping()
        return news

    def _ping(self) -> None:
        """Ask a server that has been silent for long whether it is still there."""
        if self._pinged:
            raise TimeoutError(f"the server has said nothing for {_SILENCE:g} seconds, and did not answer a ping")
        self._pinged = True
        self._subscription.ping()

    # The wait

    def _wait(self, timeout: float) -> None:
        """Wait for the server or for `wake`."""
        ear = self._ear()
        if self._woken:  # before there was a socket to send to
            return
        with selectors.DefaultSelector() as selector:
            selector.register(ear, selectors.EVENT_READ)
            if self._subscription is not None:
                server = getattr(
                    self._subscription.connection, "_sock", None
                )  # There is no public way to wait for two.
                if server is None:  # pragma: no cover - a redis-py that keeps it elsewhere
                    timeout = min(timeout, _GRACE)
                else:
                    selector.register(server, selectors.EVENT_READ)
            selector.select(timeout)
        with suppress(BlockingIOError):
            while ear.recv(4096):
                pass

    def _ear(self) -> socket.socket:
        if self._pair is None:
            self._pair = socket.socketpair()
            for each in self._pair:
                each.setblocking(False)
        return self._pair[0]
