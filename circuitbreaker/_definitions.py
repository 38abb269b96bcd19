"""Where breakers are defined: by what name a module is known, and whether a module's lines are executed again.

A notebook's cell that is run again, `importlib.reload` and a script that its server runs anew define the same breakers
once more. The code of such an execution is another than before, or the module that it fills; two definitions in one
execution have both in common.
"""

from __future__ import annotations

import sys
from os.path import basename, dirname, splitext
from types import CodeType, FrameType, ModuleType
from weakref import ref

__all__ = ["Execution", "execution", "module_name"]


class Execution:
    """One execution of a module's lines. It keeps neither the code nor the module alive."""

    __slots__ = ("_code", "_filled", "module")

    def __init__(self, frame: FrameType) -> None:
        self.module: object = frame.f_globals.get("__name__")
        filled = sys.modules.get(self.module) if isinstance(self.module, str) else None
        self._code: ref[CodeType] = ref(frame.f_code)
        self._filled: ref[ModuleType] | None = None if filled is None else ref(filled)

    def repeats(self, earlier: Execution | None) -> bool:
        """Whether the lines that ran as `earlier` are run again as this: those of the same module, but not the same."""
        if earlier is None or earlier.module != self.module:
            return False
        return earlier._code() is not self._code() or earlier._filled != self._filled


def execution() -> Execution | None:
    """The execution of a module's lines that is under way in this thread; the innermost, if imports are nested."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        # IPython 8 names its cells like this.
        if frame.f_code.co_name == "<module>" or frame.f_code.co_name.startswith("<cell "):
            return Execution(frame)
        frame = frame.f_back
    return None  # In a thread or a greenlet, all modules have been executed.


def module_name(module: str) -> str:
    """The name by which others import `module`, which in the process that runs it is `__main__`."""
    if module not in ("__main__", "__mp_main__"):  # The latter is what multiprocessing calls it in its workers.
        return module
    main = getattr(sys.modules.get(module), "__dict__", {})
    named = getattr(main.get("__spec__"), "name", None)
    if isinstance(named, str) and named not in ("__main__", "__mp_main__"):
        return named  # python -m package.module
    file = main.get("__file__")
    if not isinstance(file, str) or file.startswith("<"):
        return module  # A prompt, a notebook, python -c, or what comes from standard input.
    stem = splitext(basename(file))[0]
    return stem if stem != "__main__" else basename(dirname(file)) or module  # python folder
