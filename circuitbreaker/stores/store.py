"""A store: one thread that exchanges news between the circuits of this process and a backend.

The thread is started by the first call of the first circuit. It makes one exchange at a time, for all circuits that
have something to say (S1): at once after a trip, an order or the end of a trial; soon after a failure; otherwise once
in an interval. In between it listens to what others decide. Whatever the backend does, no call waits for it, and no
call sees its errors (S7).
"""

from __future__ import annotations

import atexit
import math
import multiprocessing.util
import os
import random
import socket
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from logging import getLogger
from threading import Event, RLock, Thread, current_thread
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from .._fork import renew_in_child
from .._values import at_least, positive_count, seconds
from ..fleet.link import Link
from ..fleet.messages import Report, View

if TYPE_CHECKING:
    from .._circuit.circuit import Circuit

__all__ = ["Backend", "Store"]

_logger = getLogger("circuitbreaker")


def _now(read: Callable[[], float] = monotonic) -> float:
    """Seconds on the real clock, also while freezegun freezes that of the circuits: servers are not frozen."""
    return read()


_LONG = 60.0
"""Nothing waits for longer than this many seconds."""
_LONGEST_PAUSE = 2.0
"""A store that cannot be reached is tried again at least so often, in seconds."""
_AT_ONCE = 500
"""So many reports make one exchange."""


class Backend(Protocol):
    """Where the records are. Write your own for another engine with these five, and give it to `Store`.

    All but `wake` are called by one thread only. What they raise is an outage: it is logged once, and tried again.
    """

    def exchange(self, reports: Sequence[Report]) -> Sequence[View | Exception]:
        """Take each report in by the rule of `circuitbreaker.fleet.record`, atomically, and answer it.

        In the place of an answer there may be an exception, if the record of that circuit alone is beyond use. Of
        reports with one name and process, one whose number was taken in before is answered and changes nothing. If a
        decision was made, let every other process's `listen` return what the circuit is now, soon.
        """
        ...

    def listen(self, timeout: float) -> Sequence[View]:
        """What others decided meanwhile. Wait for it, at most `timeout` seconds; less if `wake` is called."""
        ...

    def wake(self) -> None:
        """Have the `listen` that is under way, or else the next, return at once. Never blocks; any thread calls it."""
        ...

    def renew(self) -> None:
        """In a forked child: let nothing be used that belongs to the parent."""
        ...

    def close(self) -> None:
        """Give back whatever is held."""
        ...


class Store:
    """Shares the circuits that are made with it with those of the same names in other processes.

        store = RedisStore("redis://localhost")
        breaker = CircuitBreaker("payments", store=store)

    Args:
        backend: where the records are.
        interval: seconds between exchanges while calls come; failures are told within a fifth of it, decisions at once.
        quorum: how many processes must have seen failures before a circuit opens for all of them.
        expire: seconds without any news after which a circuit's record disappears.

    Raises:
        ValueError: an argument breaks its rule.
        TypeError: an argument is of the wrong kind.
    """

    def __init__(self, backend: Backend, *, interval: float = 0.1, quorum: int = 1, expire: float = 86400.0) -> None:
        self.backend: Backend = backend
        self.interval: float = seconds("interval", interval)
        self.quorum: int = positive_count("quorum", quorum)
        self.expire: int = math.ceil(at_least("expire", expire, 1))
        self.error: str | None = None
        """Why the backend cannot be reached; `None` if it can, as far as is known."""
        self._links: weakref.WeakValueDictionary[str, Link] = weakref.WeakValueDictionary()
        self._numbers = count(1)
        self._lock = RLock()  # around the start of the thread, and nothing else
        self._closed = False
        self._begin_life()
        renew_in_child(self)
        _open.add(self)

    def _begin_life(self) -> None:
        self._process = f"{socket.gethostname()}:{os.getpid()}:{random.SystemRandom().getrandbits(32):08x}"
        self._thread: Thread | None = None
        self._due: dict[Link, None] = {}  # links that have something to say, some time
        self._asleep_until = -math.inf
        self._woken = Event()
        self._begins = True
        self._failures = 0
        self._resting_until = -math.inf

    def attach(self, circuit: Circuit) -> Link:
        """Begin to share `circuit`. Nothing is sent before its first call."""
        link = Link(circuit, self, f"{self._process}:{next(self._numbers)}")
        self._links[link.process] = link
        return link

    def _alive(self) -> list[Link]:
        found = [reference() for reference in self._links.valuerefs()]  # all at once: others come and go meanwhile
        return [link for link in found if link is not None]

    def poke(self, link: Link, within: float) -> None:
        """Have `link` report within so many seconds. Never blocks, but to start the thread."""
        due = _now() + within
        if due >= link.due:
            return
        link.due = due
        self._due[link] = None
        if self._thread is None:
            self._start()
        if due < self._asleep_until:
            _wake(self.backend, self._woken)

    def sync(self, timeout: float = 5.0) -> bool:
        """Wait until all that happened so far was exchanged; whether it was, within `timeout` seconds.

        A store that is closed, and a listener that the store itself calls, wait in vain, and so not at all.
        """
        timeout = seconds("timeout", timeout)
        if self._closed or current_thread() is self._thread:
            return False
        done = [link.when_exchanged() for link in self._alive()]
        return all(each.wait(timeout) for each in done)

    def close(self) -> None:
        """Report what is left, stop the thread, and give back what is held.

        The circuits go on alone. Waits for the exchange that is under way, at most a second. It is called at the end of
        the process.
        """
        with self._lock:
            self._closed, thread = True, self._thread
            if thread is None:
                self.error = "it was closed"
        _wake(self.backend, self._woken)
        if thread is not None and thread is not current_thread():
            thread.join(1.0)

    # The thread

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                wake = partial(_wake, self.backend, self._woken)  # when nobody holds this store any more
                work = [weakref.ref(self, lambda _: wake()), self.backend, self._woken]
                thread = Thread(target=_run, args=work, name="circuitbreaker store", daemon=True)
                with suppress(RuntimeError):  # The interpreter is shutting down.
                    thread.start()
                self._thread = thread

    def _until_listening(self) -> float | None:
        """Exchange what is due; return for how many seconds to listen, or `None` when all is over."""
        if self._closed:
            self._exchange_all()
            self.error = "it was closed"
            return None
        if self._begins:  # The first call waits for nobody, but the next shall know: ask before listening.
            self._begins = False
            self._exchange_due()
            self._look()  # again soon, for what was decided before this process listens
        now = _now()
        self._woken.clear()
        self._asleep_until = math.inf  # From here on, what comes wakes; what came before is seen below.
        due = min((link.due for link in list(self._due)), default=math.inf)
        self._asleep_until = until = max(due, self._resting_until)
        return 0.0 if self._closed else min(max(0.0, until - now), _LONG)

    def _listened(self, news: Sequence[View], error: Exception | None) -> None:
        """Take in what was heard, and exchange what is due."""
        self._asleep_until = -math.inf
        if error is not None:
            self._fail(error)
        self._spread(news)
        self._exchange_due()

    def _spread(self, news: Sequence[View]) -> None:
        if not news:
            return
        links: dict[str, list[Link]] = {}
        for link in self._alive():
            links.setdefault(link.name, []).append(link)
        for view in news:
            for link in links.get(view.name, ()):
                link.told(view)

    def _exchange_due(self) -> None:
        now = _now()
        if now < self._resting_until:
            return
        waiting = list(self._due)
        if not any(link.due <= now for link in waiting):
            return
        due = [link for link in waiting if link.due <= now + self.interval]  # those too that would be due before long
        for first in range(0, len(due), _AT_ONCE):
            if now >= self._resting_until:
                self._exchange(due[first : first + _AT_ONCE])

    def _exchange_all(self) -> None:
        with suppress(Exception):
            for _ in range(2):  # What was said and not answered comes first, then the rest.
                self._exchange([link for link in self._alive() if not link.new])

    def _exchange(self, links: list[Link]) -> None:
        reports: list[tuple[Link, Report]] = []
        for link in links:
            self._due.pop(link, None)
            link.due = math.inf
            report = link.collect()
            if report is not None:
                reports.append((link, report))
        if not reports:
            return
        try:
            answers = self.backend.exchange([report for _, report in reports])
        except Exception as error:
            self._fail(error)
            for link, _ in reports:
                self.poke(link, self.interval)
            return
        self._recover()
        for (link, _), answer in zip(reports, answers, strict=True):
            if isinstance(answer, View):
                link.answered(answer)
            else:
                link.failed(answer)

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        pause = min(_LONGEST_PAUSE, self.interval * 2 ** min(self._failures, 10))
        self._resting_until = _now() + pause * random.uniform(0.5, 1.0)
        if self.error is None:
            self.error = f"{type(error).__name__}: {error}"
            _logger.error("a store cannot be reached; its circuits go on alone meanwhile: %s", self.error)
            self._tell()
            self._look()

    def _recover(self) -> None:
        self._failures, self._resting_until = 0, -math.inf
        if self.error is not None:
            self.error = None
            _logger.warning("a store can be reached again")
            self._tell()
            self._look()  # once more, for what was told to all before this process listens again

    def _look(self) -> None:
        for link in self._alive():
            link.look()

    def _tell(self) -> None:
        for link in self._alive():
            link.store_changed()

    def _renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: it is another process, with a thread and a connection of its own (S8)."""
        self._lock = RLock()
        self._begin_life()
        self.backend.renew()
        alive = self._alive()
        self._links = weakref.WeakValueDictionary()
        for link in alive:
            link.renew(f"{self._process}:{next(self._numbers)}")
            self._links[link.process] = link

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self.error or 'connected'}>"


def _wake(backend: Backend, woken: Event) -> None:
    woken.set()
    backend.wake()


_open: weakref.WeakSet[Store] = weakref.WeakSet()


def _close_all() -> None:  # pragma: no cover - at the end of the process, when nothing collects
    """At the end of the process, tell what is left to tell: a short life's failures count too."""
    for store in list(_open):
        store.close()


atexit.register(_close_all)


def _close_at_exit(_: object) -> None:
    multiprocessing.util.Finalize(None, _close_all, exitpriority=0)


# The children of multiprocessing end without atexit, and those that are forked forget what was registered before.
_close_at_exit(None)
multiprocessing.util.register_after_fork(_open, _close_at_exit)


def _run(reference: weakref.ref[Store], backend: Backend, woken: Event) -> None:
    """The thread. It lets go of the store while it listens, so that one that nobody holds disappears."""
    while (store := reference()) is not None:
        try:
            timeout = store._until_listening()
            away = store.error is not None
            del store
            if timeout is None:
                break
            news, error = _hear(backend, woken, timeout, away)
            store = reference()
            if store is not None:
                store._listened(news, error)
                del store
        except BaseException:  # It must not be the end of the thread, not even what a listener exits by.
            _logger.exception("a store failed in a way that it should not; it goes on")
            woken.wait(1.0)
    with suppress(Exception):
        backend.close()


def _hear(backend: Backend, woken: Event, timeout: float, away: bool) -> tuple[Sequence[View], Exception | None]:
    """What others decided, or why nothing could be heard. A server that is away is not listened to."""
    if away:
        woken.wait(timeout)
        return (), None
    try:
        return backend.listen(timeout), None
    except Exception as error:
        return (), error
