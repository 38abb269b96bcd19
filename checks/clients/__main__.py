"""A client's own tests, plainly and with every client guarded: each must end the same way in both.

    python -m checks.clients httpx [VERSION]      or requests, or aiohttp

It makes a virtual environment in a temporary folder, and gets the client's source and what its tests need from the
package index. Without a VERSION it is the newest. It takes about three minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from .suites import SUITES, Suite

_ROOT = Path(__file__).parent.parent.parent

Ends = dict[str, str]
"""By test, how it ended."""


def main() -> None:
    name, *version = sys.argv[1:] or [""]
    if name not in SUITES:
        raise SystemExit(f"which client? One of {', '.join(SUITES)}")
    which = "==".join([name, *version])
    with TemporaryDirectory() as folder:
        here = Path(folder)
        python, release = _prepare(here, name, which, SUITES[name])
        plain = _ends(here, python, SUITES[name])
        guarded = _ends(here, python, SUITES[name], "-p", "guard_all")
    for way, ends in {"plain": plain, "guarded": guarded}.items():
        print(f"{way:<8}", ", ".join(f"{many} {end}" for end, many in sorted(Counter(ends.values()).items())))
    changed = [f"{test}: {end}, then {guarded.get(test)}" for test, end in plain.items() if guarded.get(test) != end]
    if changed or not plain:
        raise SystemExit("\n".join([f"{release}: guarded, these end otherwise:", *changed]))
    print(f"{release}: each of {len(plain)} tests ends the same way in both.")


def _prepare(here: Path, name: str, which: str, suite: Suite) -> tuple[Path, str]:
    """A Python that has all that is needed, and the release whose tests lie beside it."""
    venv.create(here / "venv", with_pip=True)
    python = here / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", which, *suite.needs, f"circuitbreaker-kit[{name}] @ {_ROOT.as_uri()}"], check=True)
    subprocess.run([*pip, "download", "--no-deps", "--no-binary", name, "-d", here, which], check=True)
    (archive,) = here.glob(f"{name}-*.tar.gz")
    release = archive.name.removesuffix(".tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(here, filter="data")
    for each in suite.files:  # away from the source, so that what is installed is tested
        (here / release / each).rename(here / each)
    (here / "guard_all.py").write_text(suite.plugin)
    return python, release


def _ends(here: Path, python: Path, suite: Suite, *options: str) -> Ends:
    """How each test ends, run with these options of pytest."""
    report = here / "report.xml"
    command = [python, "-m", "pytest", "-q", "--no-header", "--tb=no", f"--junitxml={report}", *suite.options, *options]
    env = {**os.environ, "PYTHONPATH": str(here)}
    subprocess.run([*command, *suite.tests], cwd=here, env=env, stdout=subprocess.DEVNULL, check=False)
    cases = ElementTree.parse(report).iter("testcase")
    return {f"{case.get('classname')}.{case.get('name')}": _end(case) for case in cases}


def _end(case: ElementTree.Element) -> str:
    ends = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    return next((ends[part.tag] for part in case if part.tag in ends), "passed")


if __name__ == "__main__":
    main()
