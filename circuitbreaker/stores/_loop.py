"""The main function of a store's thread: exchange what is due, listen, and again.

It lets go of the courier while it listens, so that a store that nothing holds disappears, and its thread ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING
from weakref import ref

from .._log import log
from ..fleet.messages import Snapshot
from .backend import Backend

if TYPE_CHECKING:
    from .courier import Courier

__all__ = ["loop", "wake_up"]


def loop(reference: ref[Courier], backend: Backend, woken: Event) -> None:
    """Run until the courier is closed or gone."""
    while (courier := reference()) is not None:
        try:
            timeout = courier.until_listening()
            away = courier.error is not None
            del courier
            if timeout is None:
                break
            news, error = _listen(backend, woken, timeout, away)
            courier = reference()
            if courier is not None:
                courier.listened(news, error)
                del courier
        except BaseException as error:  # Nothing may end the thread, not even what a listener exits by.
            log("error", "a store failed in a way that it should not; it goes on", error=error)
            woken.wait(1.0)
    with suppress(Exception):
        backend.close()


def _listen(backend: Backend, woken: Event, timeout: float, away: bool) -> tuple[Sequence[Snapshot], Exception | None]:
    """What others decided, or why it cannot be heard. A backend that is `away` is not listened to."""
    if away:
        woken.wait(timeout)
        return (), None
    try:
        return backend.listen(timeout), None
    except Exception as error:
        return (), error


def wake_up(backend: Backend, woken: Event) -> None:
    """Let the thread go on at once, wherever it waits. Never blocks."""
    woken.set()
    backend.wake()
