from __future__ import annotations

import gc
import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from circuitbreaker import ManualClock, Registry

from .progress import Progress

QUICK = {
    *("async_libraries", "backoff", "backoff_model", "blocks", "breaker_model", "closed", "control", "definitions"),
    *("every_state", "half_open", "house", "keyed", "keyed_model", "listeners", "open", "options", "policies"),
    *("registry", "results", "slow_calls", "snapshots", "stress", "suite", "travel", "verdicts", "window_models"),
    "wrapping",
}
"""The files whose tests `python -m pytest -m quick` runs: the core's, in one process each, without servers."""

# In CI the same examples each time; `--hypothesis-profile=long`, or HYPOTHESIS_PROFILE=long, looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("long", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.hookimpl(trylast=True)  # when there is something to report to
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and config.get_verbosity() == 0 and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(reporter))


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """How many processes run the tests, unless `-n` says so: one more than there are cores, since many tests wait.

    With `--pdb`, `--trace`, `-s`, or files or tests on the command line, all run in this process.
    """
    cores = yield
    if config.option.capture == "no" or config.option.trace or not all(Path(each).is_dir() for each in config.args):
        return 0
    return cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores + 1


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is not quick before it is imported, which takes longer than the quick tests."""
    left_out = config.option.markexpr == "quick" and collection_path.stem.removeprefix("test_") not in QUICK
    return True if left_out and collection_path.suffix == ".py" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem.removeprefix("test_") in QUICK:
            item.add_marker(pytest.mark.quick)


def pytest_collection_finish() -> None:
    """Spare the collections of garbage, of which some tests need many, what was imported: it made each take 0.2 s."""
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy has none
        gc.freeze()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def broken_logging(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The program's logging raises, whatever it is given."""

    def refuse(record: logging.LogRecord) -> bool:
        raise ValueError(record.getMessage())

    caplog.handler.addFilter(refuse)
    yield
    caplog.handler.removeFilter(refuse)


@pytest.fixture(autouse=True)
def sandbox() -> Iterator[Registry]:
    """Every test has a default registry of its own."""
    with Registry().as_default() as registry:
        yield registry
