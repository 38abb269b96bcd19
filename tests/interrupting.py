"""What an interrupt, or a signal handler, may do at each single point of this package at which it can hit.

CPython looks for what is pending when a function begins, when a call of C code has ended, and when a loop goes back. A
trace function finds these points, and leaves something pending just before the chosen one. (To act from the trace
function would also hit places that no signal can, as between the end of a `with` block and its exit.)
"""

from __future__ import annotations

import ctypes
import dis
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from types import CodeType, FrameType
from typing import Any

import circuitbreaker

PACKAGE = str(Path(circuitbreaker.__file__).parent)
LOOKING = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")


def interrupted_everywhere(make: Callable[[], Callable[[], object]]) -> Iterator[str]:
    """Run `make()()` again and again, each time hit by `KeyboardInterrupt` one point later; yield where that was."""
    at = 0
    while (where := _run(make(), at, map(_raise_later, (get_ident(),), (KeyboardInterrupt,)))) is not None:
        yield where
        at += 1


def handled_everywhere(make: Callable[[], tuple[Callable[[], object], Callable[[], object]]]) -> Iterator[str]:
    """With `work, handler = make()`, run `work()` with `handler()` called in its middle, each time one point later.

    It is called as a signal's handler would be. What it raises is raised.
    """
    at = 0
    raised: list[BaseException] = []
    while True:
        work, handler = make()
        pending = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _, handler=handler: _catch(handler, raised))
        where = _run(work, at, map(_call_later, (pending,), (None,)))
        if raised:
            raise raised[0]
        if where is None:
            return
        yield where
        at += 1


def _catch(handler: Callable[[], object], raised: list[BaseException]) -> int:
    try:
        handler()
    except BaseException as error:
        raised.append(error)
    return 0


def _run(work: Callable[[], object], at: int, pending: Iterator[object]) -> str | None:
    """Run `work`, with `pending` left at its point number `at`; say where that is, if there are so many."""
    watcher = _Watcher(at, pending)
    watch = _monitored if sys.version_info >= (3, 12) else _traced
    begun = False
    with suppress(BaseException), watch(watcher):
        begun = True
        work()
    with suppress(BaseException):
        for _ in range(9):  # What is pending still is raised here.
            _nothing()
    assert begun
    return watcher.where


class _Watcher:
    """Sees each bytecode of this package before it is run, and finds the point number `at`."""

    def __init__(self, at: int, pending: Iterator[object]) -> None:
        self.left = at
        self.pending = pending
        self.where: str | None = None

    def finds(self, code: CodeType, offset: int) -> bool:
        """Whether this is the point. Then `(_,) = pending`, at once and by unpacking, which does not look itself."""
        if self.where is not None or not dis.opname[code.co_code[offset]].startswith(LOOKING):
            return False
        self.left -= 1
        if self.left < 0:
            self.where = f"{Path(code.co_filename).name}:{_line(code, offset)} {code.co_name}"
        return self.left < 0


def _line(code: CodeType, offset: int) -> int | None:
    return next((line for start, end, line in code.co_lines() if start <= offset < end), None)


@contextmanager
def _traced(watcher: _Watcher) -> Iterator[None]:
    def enter(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return step

    def step(frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode" and watcher.finds(frame.f_code, frame.f_lasti):
            (_,) = watcher.pending
        return step

    before = sys.gettrace()  # perhaps a measurement of coverage
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _monitored(watcher: _Watcher) -> Iterator[None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]

    def step(code: CodeType, offset: int) -> object:
        if not code.co_filename.startswith(PACKAGE):
            return monitoring.DISABLE
        if watcher.finds(code, offset):
            (_,) = watcher.pending
        return None

    monitoring.use_tool_id(_TOOL, "interrupting")
    monitoring.register_callback(_TOOL, monitoring.events.INSTRUCTION, step)
    monitoring.set_events(_TOOL, monitoring.events.INSTRUCTION)
    try:
        yield
    finally:
        monitoring.set_events(_TOOL, 0)
        monitoring.free_tool_id(_TOOL)


_TOOL = 4  # one that no kind of tool has by custom


def _nothing() -> None:
    pass


if sys.implementation.name == "cpython":
    _raise_later: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc
    _raise_later.argtypes = (ctypes.c_ulong, ctypes.py_object)
    _call_later: Any = ctypes.pythonapi.Py_AddPendingCall
    _call_later.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
