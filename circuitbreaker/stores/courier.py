"""The thread of a store: it carries reports to the backend, and answers and news back to the circuits' links.

It is started by the first call of the first circuit. It makes one exchange at a time, for all circuits that have
something to report (S1): at once after a trip, an override or the end of a trial, soon after a failure, otherwise once
per interval. In between it listens for decisions of other processes. Whatever the backend does, no call waits for it,
and no call sees its errors (S7).
"""

from __future__ import annotations

import math
import os
import random
import socket
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Event, RLock, Thread, current_thread
from time import monotonic

from .._fork import renew_in_child
from .._log import log
from .._values import one_line
from ..fleet.link import Link
from ..fleet.messages import Report, Snapshot
from ._at_exit import close_at_exit
from ._loop import loop, wake_up
from .backend import Backend

__all__ = ["Courier"]


def _now(read: Callable[[], float] = monotonic) -> float:
    """Seconds on the real clock, even while freezegun freezes that of the circuits: servers are not frozen."""
    return read()


_LONGEST_WAIT = 60.0
"""Seconds that one `listen` lasts at most."""
_LONGEST_PAUSE = 2.0
"""A backend that cannot be reached is tried again at least this often, in seconds."""
_MOST_REPORTS = 500
"""Reports in one exchange."""


class Courier:
    """Carries the reports of all links of one store: their `Carrier`."""

    def __init__(self, backend: Backend, interval: float) -> None:
        self.interval: float = interval
        self.error: str | None = None
        self._backend = backend
        self._links: weakref.WeakValueDictionary[str, Link] = weakref.WeakValueDictionary()
        self._numbers = count(1)
        self._lock = RLock()  # for the start of the thread alone
        self._closed = False
        self._begin_life()
        renew_in_child(self)
        close_at_exit(self)

    def _begin_life(self) -> None:
        self._process = f"{socket.gethostname()}:{os.getpid()}:{random.SystemRandom().getrandbits(32):08x}"
        self._thread: Thread | None = None
        self._due: dict[Link, float] = {}  # links that are to report, and when
        self._asleep_until = -math.inf
        self._woken = Event()
        self._begins = True
        self._failures = 0
        self._resting_until = -math.inf

    # What links and people ask for

    def new_process(self) -> str:
        """A name for one link's reports. Unique per process and circuit, also across restarts."""
        return f"{self._process}:{next(self._numbers)}"

    def add(self, link: Link) -> None:
        """Carry the reports of `link`, as long as it lives."""
        self._links[link.member.process] = link

    def _alive(self) -> list[Link]:
        found = [reference() for reference in self._links.valuerefs()]  # a copy: other threads add and drop links
        return [link for link in found if link is not None]

    def report_within(self, link: Link, seconds: float) -> None:
        """Have `link` report within this many seconds. Never blocks, except to start the thread."""
        due = _now() + seconds
        if due >= self._due.get(link, math.inf):
            return
        self._due[link] = due
        if self._thread is None:
            self._start()
        if due < self._asleep_until:
            self._wake()

    def sync(self, timeout: float) -> bool:
        """Wait until all that has happened until now is exchanged; whether it was, within `timeout` seconds."""
        if self._closed or current_thread() is self._thread:
            return False
        done = [link.when_exchanged() for link in self._alive()]
        return all(each.wait(timeout) for each in done)

    def close(self) -> None:
        """Report what is left, stop the thread and close the backend. Waits at most a second."""
        with self._lock:
            self._closed, thread = True, self._thread
            if thread is None:
                self.error = "it was closed"
        self._wake()
        if thread is not None and thread is not current_thread():
            thread.join(1.0)

    # The thread

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                wake = partial(wake_up, self._backend, self._woken)  # when nothing holds this courier any more
                work = [weakref.ref(self, lambda _: wake()), self._backend, self._woken]
                thread = Thread(target=loop, args=work, name="circuitbreaker store", daemon=True)
                with suppress(RuntimeError):  # The interpreter is shutting down.
                    thread.start()
                self._thread = thread

    def _wake(self) -> None:
        wake_up(self._backend, self._woken)

    def until_listening(self) -> float | None:
        """Exchange what is due. Returns for how many seconds to listen; `None` once this is closed."""
        if self._closed:
            self._exchange_all()
            self.error = "it was closed"
            return None
        if self._begins:  # The first call waits for nothing, but the next one should know: ask before listening.
            self._begins = False
            self._exchange_due()
            self._ask_all()  # again soon, for what was decided before this process listened
        now = _now()
        self._woken.clear()
        self._asleep_until = math.inf  # From here on, a new report wakes; one that came before is seen below.
        due = min((self._due.get(link, math.inf) for link in list(self._due)), default=math.inf)
        self._asleep_until = until = max(due, self._resting_until)
        return 0.0 if self._closed else min(max(0.0, until - now), _LONGEST_WAIT)

    def listened(self, news: Sequence[Snapshot], error: Exception | None) -> None:
        """Hand out what was heard, and exchange what is due."""
        self._asleep_until = -math.inf
        if error is not None:
            self._fail(error)
        self._spread(news)
        self._exchange_due()

    def _spread(self, news: Sequence[Snapshot]) -> None:
        if not news:
            return
        links: dict[str, list[Link]] = {}
        for link in self._alive():
            links.setdefault(link.name, []).append(link)
        for snapshot in news:
            for link in links.get(snapshot.name, ()):
                link.apply_news(snapshot)

    # Exchanges

    def _exchange_due(self) -> None:
        now = _now()
        if now < self._resting_until:
            return
        waiting = [(link, self._due.get(link, math.inf)) for link in list(self._due)]
        if not any(due <= now for _, due in waiting):
            return
        links = [link for link, due in waiting if due <= now + self.interval]  # also those that are due before long
        for first in range(0, len(links), _MOST_REPORTS):
            if now >= self._resting_until:
                self._exchange(links[first : first + _MOST_REPORTS])

    def _exchange_all(self) -> None:
        with suppress(Exception):
            for _ in range(2):  # A report that was not answered comes first, then the rest.
                self._exchange([link for link in self._alive() if not link.unused])

    def _exchange(self, links: list[Link]) -> None:
        reports = self._collect(links)
        if not reports:
            return
        try:
            answers = self._backend.exchange([report for _, report in reports])
        except Exception as error:
            self._fail(error)
            for link, _ in reports:
                self.report_within(link, self.interval)
            return
        self._recover()
        for (link, _), answer in zip(reports, answers, strict=True):
            if isinstance(answer, Snapshot):
                link.apply_answer(answer)
            else:
                link.apply_error(answer)

    def _collect(self, links: list[Link]) -> list[tuple[Link, Report]]:
        reports: list[tuple[Link, Report]] = []
        for link in links:
            self._due.pop(link, None)
            report = link.report()
            if report is not None:
                reports.append((link, report))
        return reports

    # Outages

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        pause = min(_LONGEST_PAUSE, self.interval * 2 ** min(self._failures, 10))
        self._resting_until = _now() + pause * random.uniform(0.5, 1.0)
        if self.error is None:
            self.error = one_line(f"{type(error).__name__}: {error}")
            log("error", "a store cannot be reached; its circuits go on alone meanwhile: %s", self.error)
            self._notify_all()
            self._ask_all()

    def _recover(self) -> None:
        self._failures, self._resting_until = 0, -math.inf
        if self.error is not None:
            self.error = None
            log("warning", "a store can be reached again")
            self._notify_all()
            self._ask_all()  # once more, for what was published before this process listens again

    def _ask_all(self) -> None:
        for link in self._alive():
            link.ask_soon()

    def _notify_all(self) -> None:
        for link in self._alive():
            link.store_changed()

    # Other processes

    def _renew(self) -> None:  # pragma: no cover - runs in forked children, where nothing collects
        """In a forked child: it is another process, with a thread and a connection of its own (S8)."""
        self._lock = RLock()
        self._begin_life()
        self._backend.renew()
        alive = self._alive()
        self._links = weakref.WeakValueDictionary()
        for link in alive:
            link.renew(self.new_process())
            self.add(link)
