"""The bytecodes that one operation executes, counted by tracing. Their number, unlike their cost, is exact.

They are shown as compiled, before the interpreter specialises them.
"""

from __future__ import annotations

import dis
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from . import loops
from .loops import Loop

__all__ = ["Step", "executed"]


class Step(NamedTuple):
    """Bytecodes with one opcode on one line."""

    file: str
    line: int
    opcode: str


def executed(loop: Loop, many: int = 100) -> Counter[Step]:
    """How often each step is executed per operation, without those of the surrounding loop."""
    _traced(loop, many)  # In the first run some steps are not traced, and others are done only once.
    once, twice = _traced(loop, many), _traced(loop, 2 * many)
    twice.subtract(once)
    steps: Counter[Step] = Counter()
    for (code, offset), count in twice.items():
        steps[_step(code, offset)] += count / many  # type: ignore[assignment]  # a mean
    return +steps


def _traced(loop: Loop, many: int) -> Counter[tuple[CodeType, int]]:
    counts: Counter[tuple[CodeType, int]] = Counter()

    def on_call(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename == loops.__file__:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return on_opcode

    def on_opcode(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "opcode":
            counts[frame.f_code, frame.f_lasti] += 1
        return on_opcode

    before = sys.gettrace()  # for example that of a coverage measurement
    sys.settrace(on_call)
    try:
        loop(many)
    finally:
        sys.settrace(before)
    return counts


def _step(code: CodeType, offset: int) -> Step:
    line = 0
    for start, _, number in code.co_lines():
        if start > offset:
            break
        line = number or line
    return Step(code.co_filename, line, dis.opname[code.co_code[offset]])
