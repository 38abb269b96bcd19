"""The pages: their code runs and prints what they say, their links lead somewhere, and their lists are complete."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any, get_args

import pytest

from circuitbreaker import CircuitOpenError, Event, EventName, Options, registry

ROOT = Path(__file__).parent.parent
MORE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(page for page in map(ROOT.joinpath, MORE) if page.exists())])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"\n\nIt prints[^\n]*:\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INTERNAL = {"test", "dev", "browser", "mutants"}
"""Extras for those who work on the package."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
in_the_source = pytest.mark.skipif(not (ROOT / "circuitbreaker").is_dir(), reason="needs the whole source tree")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


# Code


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Handlers that frameworks add, and breakers that a page makes in the default registry, go with the page."""
    root, names = logging.getLogger(), {breaker.name for breaker in registry}
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    for breaker in registry:
        if breaker.name not in names:
            registry.discard(breaker)


@each_page
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        source = "\n" * line + block[1]  # so that a traceback names the line of the page
        exec(compile(source, str(page), "exec"), namespace)
        printed = capsys.readouterr().out
        if (said := PRINTED.match(text, block.end())) is not None:
            assert printed == said[1]


def test_the_pages_have_code_to_run() -> None:
    many = {page: len(BLOCK.findall(read(page))) for page in ("README.md", "docs/guide.md", "docs/testing.md")}
    assert many["README.md"] >= 8
    assert many["docs/guide.md"] >= 15
    assert many["docs/testing.md"] > 8
    assert len(PRINTED.findall(read("docs/production.md"))) == 4


def test_the_first_two_shell_commands_of_the_readme_run_the_quickstart_and_the_tests() -> None:
    """CI runs them, and knows them by their place."""
    first, second = re.findall(r"^```sh\n(.*?)\n```$", read("README.md"), re.MULTILINE | re.DOTALL)[:2]
    venv = "python3 -m venv .venv && .venv/bin/pip install"
    assert first == f"{venv} . && .venv/bin/python examples/quickstart.py"
    assert second == f"{venv} -e '.[test]' && .venv/bin/python -m pytest"


# Links

HOME = "https://github.com/circuitbreaker-kit/circuitbreaker-kit"
RAW = "https://raw.githubusercontent.com/circuitbreaker-kit/circuitbreaker-kit/main/"


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-")
        found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return set(found)


def in_the_repository(link: str, page: Path) -> str | None:
    """Where in the repository a link leads, as path#anchor; `None` if it leads elsewhere."""
    for start in (f"{HOME}/blob/main/", f"{HOME}/tree/main/", RAW):
        if link.startswith(start):
            return link.removeprefix(start)
    if re.match(r"\w+:", link):
        return None
    target = page if link.startswith("#") else page.parent / link.partition("#")[0]
    return f"{target.resolve().relative_to(ROOT.resolve()).as_posix()}#{link.partition('#')[2]}"


@in_the_source
@each_page
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = (in_the_repository(link, page) or ".").partition("#")
        assert (ROOT / path).exists(), link
        assert not anchor or anchor in anchors(ROOT / path), link


def test_the_links_of_the_readme_work_where_it_is_shown_alone() -> None:
    """It is the package's description on PyPI, which knows neither our files nor anchors."""
    found = links(ROOT / "README.md")
    assert len(found) > 15
    assert [link for link in found if not link.startswith("https://")] == []


@in_the_source
def test_the_urls_of_the_project_lead_somewhere() -> None:
    """The built package names them, and a package index links to them."""
    table = read("pyproject.toml").partition("[project.urls]\n")[2].partition("\n\n")[0]
    urls = dict(re.findall(r'^(\w+) = "(.*)"$', table, re.MULTILINE))
    assert urls.keys() == {"Homepage", "Source", "Documentation", "Changelog", "Issues"}
    assert urls["Homepage"] == urls["Source"] == HOME
    assert urls["Issues"] == f"{HOME}/issues"
    for name in ("Documentation", "Changelog"):
        assert (ROOT / str(in_the_repository(urls[name], ROOT))).is_file()


@each_page
def test_every_footnote_of_a_page_is_there_and_used(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    notes = re.findall(r"^\[\^(\w+)\]:", text, re.MULTILINE)
    assert sorted(notes) == sorted(set(re.findall(r"\[\^(\w+)\](?!:)", text)))


# Lists


def column(page: str, heading: str, place: int = 0) -> list[str]:
    """A column of the first table under a heading, without backticks and header."""
    section = read(page).partition(f"## {heading}\n")[2]
    table = section[section.index("\n|") :].strip().split("\n\n")[0].splitlines()[2:]
    return [re.split(r"(?<!\\)\|", line)[place + 1].strip().replace("`", "") for line in table]


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_the_table_of_options_is_complete(page: str) -> None:
    assert sorted(column(page, "Options")) == sorted(Options.__annotations__)


def test_the_table_of_events_is_complete() -> None:
    kinds: dict[str, Any] = {re.sub(r"Call|Change", "", kind.__name__).lower(): kind for kind in get_args(Event)}
    names = {"succeeded": "success", "failed": "failure", "state": "state_change"}
    fields = {names.get(name, name): kind._fields for name, kind in kinds.items()}
    listed = dict(zip(column("docs/guide.md", "Events"), column("docs/guide.md", "Events", 1), strict=True))
    assert listed == {f'"{name}"': ", ".join(fields[name]) for name in get_args(EventName)}


def test_the_table_of_what_a_rejection_says_is_complete() -> None:
    listed = ", ".join(column("docs/guide.md", "Rejections and fallbacks")).split(", ")
    assert sorted(listed) == sorted(CircuitOpenError.__annotations__)


def test_the_readme_names_every_extra() -> None:
    listed = read("README.md").partition("The extras are ")[2].partition(". ")[0]
    assert (
        set(re.findall(r"`(\w+)`", listed))
        == set(metadata("circuitbreaker-kit").get_all("Provides-Extra") or []) - INTERNAL
    )


def test_the_index_of_the_examples_names_each() -> None:
    files = [path.name for path in (ROOT / "examples").glob("*.py") if not path.name.startswith("_")]
    rows = re.findall(r"^\| \[([\w/]+\.py)\]\(\1\) \|", read("examples/README.md"), re.MULTILINE)
    assert sorted(rows) == sorted([*files, "browser/serve.py"])


def test_the_picture_says_in_words_what_it_shows() -> None:
    picture = read("docs/images/states.svg")
    title, words = (re.findall(rf"<{tag} [^>]*>(.*?)</{tag}>", picture)[0] for tag in ("title", "desc"))
    assert f"![{title}. {words}]({RAW}docs/images/states.svg)" in read("README.md")
