"""Runs the tests in forks of a process that has imported pytest and the tests' other needs, but not the package.

Only tests that enter the mutated function are run, the quick ones first. A fork ends at the first that fails. A test
that takes ten times as long as it does without a mutation ends it too: by processor time, so that a busy machine kills
nothing, or, if it waits for ever, by the clock.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from coverage import Coverage

__all__ = ["Run", "Runner"]

_NEEDED = ["anyio", "asyncio", "freezegun", "hypothesis", "redis", "trio", "wrapt"]
_PLUGINS = ["_hypothesis_pytestplugin", "pytest_asyncio.plugin"]
_TIMES, _LEAST, _IMPORTS, _WALL = 10, 3.0, 20.0, 120.0
_QUICK = 0.1
"""A test that takes less than this many seconds is quick."""
_MEMORY = 4 << 30
_PACKAGE = Path("circuitbreaker").resolve()


class Run(NamedTuple):
    """How the tests ended: the last test that ran, and the exit code of pytest, or the signal as a negative one."""

    code: int
    last: str


class Runner:
    """Runs test modules of the checkout in the present directory."""

    def __init__(self, scratch: Path) -> None:
        for name in [*_NEEDED, *_PLUGINS]:
            importlib.import_module(name)
        hypothesis = importlib.import_module("hypothesis")
        phases = [
            hypothesis.Phase.explicit,
            hypothesis.Phase.generate,
        ]  # A failure is enough: nobody reads the example.
        hypothesis.settings.register_profile("mutants", derandomize=True, deadline=None, database=None, phases=phases)
        self._last, self._learnt, self.output = scratch / "last", scratch / "learnt", scratch / "output"
        self._usual: dict[str, float] = {}
        self._reached: dict[str, dict[str, list[str]]] = {}
        gc.collect()
        gc.freeze()  # or each collection in each fork would go through all of it

    def learn(self, names: list[str], slow: list[str]) -> Run:
        """Run the tests without a mutation, and note what each takes, and but for the slow ones what it reaches."""
        sys.dont_write_bytecode = False  # this once, or each fork would rewrite the assertions of all tests
        run = self._fork([*names, *slow], _Times(self._last, self._learnt))
        sys.dont_write_bytecode = True
        if run.code == 0:
            self._usual = json.loads(self._learnt.read_text())
            run = self._fork(names, _Lines(self._last, self._learnt))
        if run.code == 0:
            self._reached = json.loads(self._learnt.read_text())
        return run

    def reaching(self, module: str, lines: range) -> tuple[set[str], set[str]]:
        """The tests that reach one of these lines, the quick ones and the others.

        All tests, if there are no lines, or they are reached before a test begins.
        """
        reached = self._reached.get(f"{module}.py", {})
        tests = {test for line in lines for test in reached.get(str(line), ())}
        if not lines or "" in tests:
            tests = set(self._usual)
        quick = {test for test in tests if self._usual.get(test, 0.0) < _QUICK}
        return quick, tests - quick

    def run(self, names: list[str], chosen: set[str] | None = None) -> Run:
        """Run the chosen tests, or all, of the test modules up to the first that fails."""
        if chosen is not None:
            names = [name for name in names if any(each.startswith(f"tests/{name}::") for each in chosen)]
        return self._fork(names, _Limits(self._last, self._usual, chosen)) if names else Run(0, "")

    def _fork(self, names: list[str], watch: _Watch) -> Run:
        self._last.write_text("")
        child = get_context("fork").Process(target=self._in_child, args=(names, watch))
        child.start()
        child.join()
        with suppress(ProcessLookupError):
            os.killpg(child.pid or 0, signal.SIGKILL)  # what it left running
        return Run(child.exitcode or 0, self._last.read_text())

    def _in_child(self, names: list[str], watch: _Watch) -> None:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        with self.output.open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        files = [f"tests/{name}" for name in names]
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # Loading all that are installed takes most of the time.
        options = ["-x", "-q", "--tb=short", "-o", "addopts=", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        options += ["-k", "not eventlet and not gevent"]  # They change the standard library for all tests after them.
        options += [f"-p{name}" for name in [*_PLUGINS, "no:cacheprovider"]]
        watch.begin()
        code = pytest.main([*options, "--hypothesis-profile=mutants", *files], plugins=[watch])
        watch.end()
        sys.stdout.flush()
        os._exit(code)


class _Watch:
    """A plugin of pytest's that notes which test runs."""

    def __init__(self, last: Path) -> None:
        self._last = last

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, Any, Any]:
        """Around each test."""
        self._last.write_text(item.nodeid)
        with self.during(item.nodeid):
            return (yield)

    def during(self, test: str) -> AbstractContextManager[None]:
        """What is done around a test."""
        return nullcontext()

    def begin(self) -> None:
        """What is done first."""

    def end(self) -> None:
        """What is done after all."""


class _Times(_Watch):
    """Notes what each test takes, in seconds of processor time."""

    def __init__(self, last: Path, learnt: Path) -> None:
        super().__init__(last)
        self._learnt = learnt
        self._seconds: dict[str, float] = {}

    @contextmanager
    def during(self, test: str) -> Iterator[None]:
        """Measure it."""
        began = time.process_time()
        yield
        self._seconds[test] = time.process_time() - began

    def end(self) -> None:
        """Write it down."""
        self._learnt.write_text(json.dumps(self._seconds))


class _Lines(_Watch):
    """Notes which lines of the package each test reaches, in this process."""

    def __init__(self, last: Path, learnt: Path) -> None:
        super().__init__(last)
        self._learnt = learnt
        self._coverage = Coverage(data_file=None, source=["circuitbreaker"], messages=False)

    def begin(self) -> None:
        """Before the package is imported."""
        self._coverage.start()

    @contextmanager
    def during(self, test: str) -> Iterator[None]:
        """Put its lines down to it."""
        self._coverage.switch_context(test)
        yield
        self._coverage.switch_context("")

    def end(self) -> None:
        """Write it down."""
        self._coverage.stop()
        data = self._coverage.get_data()
        files = {str(Path(file).relative_to(_PACKAGE)): file for file in data.measured_files()}
        self._learnt.write_text(json.dumps({name: data.contexts_by_lineno(file) for name, file in files.items()}))


class _Limits(_Watch):
    """Runs the chosen tests, the quick ones first, and ends the process if one takes far longer than usual."""

    def __init__(self, last: Path, usual: dict[str, float], chosen: set[str] | None) -> None:
        super().__init__(last)
        self._usual = usual
        self._chosen = chosen

    def begin(self) -> None:
        """Limit the imports too."""
        _limit(_IMPORTS)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Choose and sort."""
        if self._chosen is not None:
            items[:] = [item for item in items if item.nodeid in self._chosen]
        items.sort(key=lambda item: self._usual.get(item.nodeid, 0.0))

    @contextmanager
    def during(self, test: str) -> Iterator[None]:
        """Signals that nobody handles end the process."""
        _limit(max(_LEAST, _TIMES * self._usual.get(test, 0.0)))
        yield
        _limit(_IMPORTS)


def _limit(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, max(_WALL, seconds))
