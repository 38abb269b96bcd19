"""How a thread is stopped within the package: by a trace function, or by `sys.monitoring` where that exists.

A trace function for single instructions crashes Python 3.12.1 when several threads have one. Monitoring is also faster:
what is no point is asked about once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Protocol

from .points import SwitchPoints, nested

__all__ = ["Tracing", "tracing"]

Step = Callable[[], None]


class Tracing(Protocol):
    """Calls a function at each point that a thread comes to."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Do so within the block."""
        ...

    def watch_this_thread(self) -> None:
        """Called in each of the threads before it runs something."""
        ...


def tracing(points: SwitchPoints, step: Step) -> Tracing:
    """What this Python has."""
    if sys.version_info >= (3, 12):
        return _ByMonitoring(points, step)
    return _BySettrace(points, step)


class _BySettrace:
    def __init__(self, points: SwitchPoints, step: Step) -> None:
        self._points = points
        self._step = step
        self._tracers: dict[int, tuple[CodeType, Callable[..., Any] | None]] = {}
        self._trace = self._called

    @contextmanager
    def open(self) -> Iterator[None]:
        yield

    def watch_this_thread(self) -> None:
        if sys.gettrace() is not self._trace:  # It is dropped when a run is abandoned.
            sys.settrace(self._trace)

    def _called(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        code = frame.f_code
        known = self._tracers.get(id(code))
        if known is None:
            known = self._tracers[id(code)] = (code, self._tracer(code))
        if known[1] is not None:
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return known[1]

    def _tracer(self, code: CodeType) -> Callable[..., Any] | None:
        points, step = self._points.of(code), self._step

        def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
            if event == "opcode" and frame.f_lasti in points:
                step()
            return trace

        return trace if points else None


if sys.version_info >= (3, 12):
    _INSTRUCTION = sys.monitoring.events.INSTRUCTION
    _TOOL = 4  # none of those that are spoken for

    class _ByMonitoring:
        def __init__(self, points: SwitchPoints, step: Step) -> None:
            self._of_file = points
            self._step = step
            self._points: dict[CodeType, frozenset[int]] = {}

        @contextmanager
        def open(self) -> Iterator[None]:
            sys.monitoring.use_tool_id(_TOOL, "checks.schedules")
            sys.monitoring.register_callback(_TOOL, _INSTRUCTION, self._reached)
            codes = [code for code in _codes_of(self._of_file.modules()) if self._of_file.of(code)]
            for code in codes:
                sys.monitoring.set_local_events(_TOOL, code, _INSTRUCTION)
            try:
                yield
            finally:
                for code in codes:
                    sys.monitoring.set_local_events(_TOOL, code, 0)
                sys.monitoring.register_callback(_TOOL, _INSTRUCTION, None)
                sys.monitoring.free_tool_id(_TOOL)

        def watch_this_thread(self) -> None:
            pass

        def _reached(self, code: CodeType, offset: int) -> object:
            known = self._points.get(code)
            if known is None:
                known = self._points[code] = self._of_file.of(code)
            if offset not in known:
                return sys.monitoring.DISABLE
            self._step()
            return None


def _codes_of(modules: list[ModuleType]) -> Iterator[CodeType]:
    """The code of every function in `modules`, and of those within."""
    for module in modules:
        for value in list(vars(module).values()):
            if getattr(value, "__module__", None) == module.__name__:
                yield from _codes_in(value)


def _codes_in(value: Any) -> Iterator[CodeType]:
    if isinstance(value, type):
        for member in vars(value).values():
            yield from _codes_in(member)
    elif isinstance(value, property):
        yield from _codes_in(value.fget)
    elif isinstance(value, FunctionType):
        yield from nested(value.__code__)
