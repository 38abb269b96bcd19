"""What a run shows while it lasts: a line for each file when its tests are done, and each failure at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence

import pytest


class Progress:
    """Replaces pytest's dots by lines like `[ 37%] tests/test_grpc.py: 376 passed in 10.4 s`.

    The seconds are those of the file's tests added up. With several workers, files end in any order.
    """

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        reporter.showfspath = False  # no line that begins with a file's name, for dots to follow
        reporter._show_progress_info = False  # type: ignore[assignment]  # no percentage at its end
        self._total = 0
        self._left: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """With workers, each of them collects all tests, and this process collects none."""
        self._expect(ids)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, tuple[str, str, object], tuple[str, str, object]]:
        category, _letter, word = yield
        return category, "", word

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        path = report.nodeid.partition("::")[0]
        self._seconds[path] += report.duration
        if report.when == "call" or not report.passed:
            self._outcomes[path][report.outcome] += 1
        if report.failed:
            self._reporter.write_line(f"FAILED {report.nodeid}", red=True)
        if report.when == "teardown":
            self._left[path] -= 1
            if not self._left[path]:
                self._show(path)

    def _expect(self, ids: Sequence[str]) -> None:
        if not self._total:
            self._total = len(ids)
            self._left = Counter(each.partition("::")[0] for each in ids)

    def _show(self, path: str) -> None:
        done = self._total - sum(self._left.values())
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._outcomes[path].items()))
        self._reporter.write_line(f"[{100 * done // self._total:3}%] {path}: {outcomes} in {self._seconds[path]:.1f} s")
