"""Real threads of which one runs at a time, and a schedule that says which.

A schedule is a list of turns: (step, thread). At every point that `SwitchPoints` names, the running thread counts one
step, and goes on unless the schedule has a turn at that step. A thread that waits for a lock, or has ended, makes way
for the first that can go on, again unless the schedule names another. So a schedule is short, and replays exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, Thread
from types import CodeType, FrameType

from .locks import Abandoned, CooperativeLock, locks_made_by
from .points import SwitchPoints
from .tracing import tracing

__all__ = ["Choice", "Run", "Schedule", "Scheduler", "Stop"]

Schedule = tuple[tuple[int, int], ...]
"""Turns: at this step, this thread goes on."""

_LIMIT = 20_000
_PATIENCE = 30
_ENDLESS = f"it does not end: {_LIMIT} steps"
_NEVER = sys.maxsize


@dataclass(frozen=True)
class Stop:
    """A thread no longer went on, why, and before which instruction; without one it had ended."""

    thread: int
    why: str
    code: CodeType | None = None
    line: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Choice:
    """From the step `first` on, these other threads could have gone on; at that step alone if nobody was preempted."""

    first: int
    others: tuple[int, ...]
    preempts: bool


@dataclass
class Run:
    """What one schedule led to."""

    ends: list[object]
    steps: int = 0
    problem: str = ""
    stops: list[Stop] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)


class _Worker:
    """One of the threads."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.gate = Lock()  # open when it is this thread's turn
        self.gate.acquire()
        self.operation: Callable[[], object] | None = None
        self.busy = False
        self.waits_for: CooperativeLock | None = None

    @property
    def ready(self) -> bool:
        return self.busy and (self.waits_for is None or self.waits_for.free)


class Scheduler:
    """Runs operations in threads of its own, by schedules. While it is open, the package's new locks tell it all."""

    def __init__(self, points: SwitchPoints, threads: int = 3) -> None:
        self._tracing = tracing(points, self._point)
        self._fine, self._lenient = True, False
        self._workers = [_Worker(number) for number in range(threads)]
        self._current: _Worker | None = None
        self._over = Lock()
        self._over.acquire()
        self._begin((), 0)

    @contextmanager
    def open(self) -> Iterator[Scheduler]:
        """Have the threads ready within the block."""
        threads = [Thread(target=self._work, args=[worker], daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        try:
            with self._tracing.open(), locks_made_by(self):
                yield self
        finally:
            for worker in self._workers:
                worker.operation = None
                worker.gate.release()
            for thread in threads:
                thread.join(_PATIENCE)

    def run(
        self,
        operations: Sequence[Callable[[], object]],
        schedule: Schedule = (),
        *,
        fine: bool = True,
        lenient: bool = False,
    ) -> Run:
        """Run each of `operations` in a thread of its own, by `schedule`.

        Args:
            operations: what the threads run.
            schedule: the turns.
            fine: whether threads may be stopped in the package's code, or only where they `pause`.
            lenient: whether to skip turns that cannot be.
        """
        self._fine, self._lenient = fine, lenient
        run = self._begin(schedule, len(operations))
        for worker, operation in zip(self._workers, operations, strict=False):
            worker.operation, worker.busy = operation, True
        self._resume(self._choose(self._ready()))
        if not self._over.acquire(timeout=_PATIENCE):  # Before Python 3.12 only its first `Abandoned` hits a thread.
            raise AssertionError(f"a thread does not end within {_PATIENCE} s, not even when it is abandoned")
        if self._next != _NEVER and not (run.problem or lenient):
            run.problem = f"the schedule does not replay: there is no step {self._next}"
        run.steps = self._steps
        return run

    def pause(self) -> None:
        """A point in the caller's own code where a thread may be stopped."""
        if self._current is not None:
            self._steps += 1
            if self._steps >= self._stop_at:
                self._preempt(sys._getframe(1))

    # What the locks tell

    def wait(self, lock: CooperativeLock) -> None:
        """The running thread cannot go on before `lock` is free."""
        me = self._current
        assert me is not None, "a lock was left held"
        if self._abandoned:
            raise Abandoned
        self._note_stop(me, "waits for a lock", _who_asks())
        me.waits_for = lock
        ready = self._ready()
        if not ready:
            me.waits_for = None
            self._abandon("deadlock: no thread can go on")
            raise Abandoned
        self._waiting += 1
        self._steps += 1
        try:
            self._resume(self._choose(ready))
            self._await_turn(me)
        finally:
            self._waiting -= 1
            me.waits_for = None

    def lock_changed(self) -> None:
        """A lock was taken or released, so other threads can go on."""
        if self._waiting and self._current is not None:
            self._note_choice(True, self._others(self._current))

    # One run

    def _begin(self, schedule: Schedule, threads: int) -> Run:
        self._run = Run([None] * threads)
        self._steps = 0
        self._passed = 0  # points where no thread may be stopped
        self._waiting = 0
        self._abandoned = False
        self._turns = iter(schedule)
        self._plan()
        return self._run

    def _plan(self) -> None:
        self._next, self._next_thread = next(self._turns, (_NEVER, 0))
        self._stop_at = min(self._next, _LIMIT)

    def _point(self) -> None:
        """The running thread has come to a point in the package's code."""
        if self._current is None:
            return
        if self._fine:
            self._steps = steps = self._steps + 1
            if steps >= self._stop_at:
                self._preempt(sys._getframe(2))
        else:
            self._passed += 1
            if self._passed >= _LIMIT:
                self._abandon(_ENDLESS)
                raise Abandoned

    def _preempt(self, frame: FrameType) -> None:
        me = self._current
        assert me is not None
        if self._steps >= _LIMIT:
            self._abandon(_ENDLESS)
        if self._abandoned:
            raise Abandoned
        other = self._turn(self._others(me))
        if other is not None:
            self._note_stop(me, "is stopped", frame)
            self._resume(other)
            self._await_turn(me)

    def _choose(self, ready: list[_Worker]) -> _Worker:
        """Who goes on when the running thread cannot."""
        chosen = self._turn(ready) if self._steps == self._next else None
        if chosen is None:
            chosen = ready[0]
            self._note_choice(False, ready[1:])
        return chosen

    def _turn(self, ready: list[_Worker]) -> _Worker | None:
        """Who goes on by the schedule."""
        wanted, step = self._workers[self._next_thread], self._next
        self._plan()
        if wanted in ready:
            return wanted
        if not self._lenient:
            self._abandon(f"the schedule does not replay: thread {wanted.number} cannot go on at step {step}")
        return None

    def _resume(self, worker: _Worker) -> None:
        self._current = worker
        self._note_choice(True, self._others(worker))
        worker.gate.release()

    def _await_turn(self, me: _Worker) -> None:
        me.gate.acquire()
        if self._abandoned:
            raise Abandoned

    def _end(self, me: _Worker, end: object) -> None:
        self._run.ends[me.number] = end
        me.busy, me.operation = False, None
        self._note_stop(me, "ends", None)
        ready = [worker for worker in self._workers if worker.busy] if self._abandoned else self._ready()
        if not ready and any(worker.busy for worker in self._workers):
            self._abandon("deadlock: no thread can go on")
            ready = [worker for worker in self._workers if worker.busy]
        self._steps += 1
        if ready:
            self._resume(self._choose(ready))
        else:
            self._current = None
            self._over.release()

    def _abandon(self, why: str) -> None:
        self._run.problem = self._run.problem or why
        self._abandoned = True
        self._next, self._stop_at, self._turns = _NEVER, 0, iter(())

    def _ready(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.ready]

    def _others(self, me: _Worker) -> list[_Worker]:
        return [worker for worker in self._workers if worker.ready and worker is not me]

    def _note_choice(self, preempts: bool, others: list[_Worker]) -> None:
        first = self._steps + preempts  # the next step, if somebody runs
        self._run.choices.append(Choice(first, tuple(worker.number for worker in others), preempts))

    def _note_stop(self, me: _Worker, why: str, frame: FrameType | None) -> None:
        if not self._abandoned:
            where = (frame.f_code, frame.f_lineno, frame.f_lasti) if frame else ()
            self._run.stops.append(Stop(me.number, why, *where))

    # In the threads

    def _work(self, me: _Worker) -> None:
        before = sys.gettrace()  # perhaps a coverage tool's, which begins with each thread
        while me.gate.acquire() and me.operation is not None:
            self._tracing.watch_this_thread()
            try:
                end: object = me.operation()
            except Abandoned:
                end = "abandoned"
            except BaseException as error:
                end = error
            self._end(me, end)
        sys.settrace(before)


def _who_asks() -> FrameType | None:
    """The frame that wants the lock."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == CooperativeLock.acquire.__code__.co_filename:
        frame = frame.f_back
    return frame
