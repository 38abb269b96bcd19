"""Where a thread may be stopped: before every instruction of the package's own code that may touch what threads share.

An instruction that only moves values within its own frame is passed over: what others do before it or after it comes to
the same. So is the reading of an attribute that is set when its object is made and never again, and that setting
itself, for nobody else has the object yet. `every=True` passes over nothing.

That a bytecode instruction is one step is the model: `next()` of a count, `append` and `pop` of a list and `get` of a
dict are single calls into C, which nothing can interrupt, with or without a GIL. Nothing else is assumed of a GIL.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType

import circuitbreaker

__all__ = ["SwitchPoints", "nested"]

_NAMES = """
    BUILD_CONST_KEY_MAP BUILD_LIST BUILD_MAP BUILD_TUPLE CACHE CHECK_EXC_MATCH COMPARE_OP COPY COPY_FREE_VARS DUP_TOP
    DUP_TOP_TWO END_FOR EXTENDED_ARG GEN_START IS_OP JUMP_ABSOLUTE JUMP_BACKWARD JUMP_BACKWARD_NO_INTERRUPT JUMP_FORWARD
    JUMP_IF_NOT_EXC_MATCH KW_NAMES LIST_TO_TUPLE LOAD_ASSERTION_ERROR LOAD_CLOSURE LOAD_CONST LOAD_DEREF LOAD_FAST
    LOAD_FAST_AND_CLEAR LOAD_FAST_CHECK LOAD_FAST_LOAD_FAST LOAD_GLOBAL MAKE_CELL MAKE_FUNCTION NOP POP_BLOCK POP_EXCEPT
    POP_JUMP_BACKWARD_IF_NONE POP_JUMP_BACKWARD_IF_NOT_NONE POP_JUMP_FORWARD_IF_NONE POP_JUMP_FORWARD_IF_NOT_NONE
    POP_JUMP_IF_NONE POP_JUMP_IF_NOT_NONE POP_TOP PRECALL PUSH_EXC_INFO PUSH_NULL RAISE_VARARGS RERAISE RESUME
    RETURN_CONST RETURN_GENERATOR RETURN_VALUE ROT_FOUR ROT_N ROT_THREE ROT_TWO SETUP_FINALLY SET_FUNCTION_ATTRIBUTE
    STORE_FAST STORE_FAST_LOAD_FAST STORE_FAST_STORE_FAST SWAP
    """
_LOCAL = frozenset(_NAMES.split())
_READ = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_SET = frozenset({"STORE_ATTR", "DELETE_ATTR"})
_GIVES_BOOL = frozenset({"CHECK_EXC_MATCH", "COMPARE_OP", "CONTAINS_OP", "IS_OP", "TO_BOOL", "UNARY_NOT"})


class SwitchPoints:
    """The points of each function of `circuitbreaker`, and of further modules if given."""

    def __init__(self, *more: ModuleType, every: bool = False) -> None:
        assert circuitbreaker.__file__ is not None
        package = Path(circuitbreaker.__file__).parent
        files = [*package.rglob("*.py"), *(Path(str(module.__file__)) for module in more)]
        self._files = {str(file) for file in files}
        self._every = every
        self._changing = {name for file in files for name in _changed_later(file)}

    def modules(self) -> list[ModuleType]:
        """The modules whose functions have points."""
        return [each for each in list(sys.modules.values()) if getattr(each, "__file__", None) in self._files]

    def of(self, code: CodeType) -> frozenset[int]:
        """The offsets in `code` before which a thread may be stopped."""
        return frozenset(self._of(code)) if code.co_filename in self._files else frozenset()

    def _of(self, code: CodeType) -> Iterator[int]:
        before = ""
        start: int | None = None  # of an instruction whose prefixes come first
        for each in dis.get_instructions(code):
            start = each.offset if start is None else start
            if each.opname == "EXTENDED_ARG":
                continue
            if self._every or self._touches(each, before, code.co_name == "__init__"):
                yield start
            before, start = each.opname, None

    def _touches(self, each: dis.Instruction, before: str, making: bool) -> bool:
        if each.opname in _READ:
            return each.argval in self._changing
        if each.opname in _SET:
            return not making
        if "JUMP" in each.opname and before in _GIVES_BOOL and not each.is_jump_target:
            return False
        return each.opname not in _LOCAL


@cache
def _changed_later(file: Path) -> frozenset[str]:
    """The attributes that the code in `file` sets after their objects are made."""
    codes = nested(compile(file.read_text(encoding="utf-8"), str(file), "exec"))
    setting = [dis.get_instructions(code) for code in codes if code.co_name != "__init__"]
    return frozenset(str(each.argval) for instructions in setting for each in instructions if each.opname in _SET)


def nested(code: CodeType) -> Iterator[CodeType]:
    """The code, and that of every function within."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from nested(inner)
