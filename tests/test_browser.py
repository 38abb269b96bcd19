"""The built wheel in Pyodide, which is Python for browsers: in node, and in Chromium behind the page that people press.

    python -m pytest -m browser

These tests are left out unless they are asked for, as here. They need npm, node, Chromium, and the extra `browser`, and
they fail where one is missing.
"""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
SERVE = HERE.parent / "examples" / "browser" / "serve.py"

# Without these, Chromium looks for hosts of its maker's at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# In node

PROGRAM = """
import asyncio, json, sys, warnings
warnings.simplefilter("error")
from circuitbreaker import CircuitOpenError, ManualClock, circuit

clock, well, running, most = ManualClock(), False, 0, 0
options = dict(failure_threshold=2, reset_timeout=30, half_open_max_attempts=3, success_threshold=3, clock=clock)

@circuit(name="sync", **options)
def ask():
    if not well:
        raise ConnectionError("down")
    return "fine"

@circuit(name="async", **options)
async def ask_async():
    await asyncio.sleep(0)
    return ask.__wrapped__()

async def attempt(function):
    try:
        result = function()
        return await result if asyncio.iscoroutine(result) else result
    except (ConnectionError, CircuitOpenError) as error:
        return type(error).__name__

async def story(function):
    global well
    well = False
    told = [await attempt(function) for _ in range(3)]
    clock.advance(30)
    told.append(str(function.breaker.state))
    told.append(await attempt(function))
    well = True
    told.append(await attempt(function))
    clock.advance(30)
    told += await asyncio.gather(*(attempt(function) for _ in range(5)))
    told.append(str(function.breaker.state))
    return told

print(json.dumps([sys.platform, await story(ask), await story(ask_async)]))
"""


def test_the_wheel_trips_refuses_and_recovers_in_node(parts: Any) -> None:
    """C2, C3, O1, O3, H1, H2, E8"""
    down, refused = "ConnectionError", "CircuitOpenError"
    until_well = [down, down, refused, "open", down, refused]
    platform, sync, by_tasks = json.loads(run_in_node(parts, PROGRAM))
    assert platform == "emscripten"
    # One after the other, three trials close the circuit for those that follow; all at once, three may go.
    assert sync == [*until_well, "fine", "fine", "fine", "fine", "fine", "closed"]
    assert by_tasks == [*until_well, "fine", "fine", "fine", refused, refused, "closed"]


def run_in_node(parts: Any, program: str) -> str:
    node = shutil.which("node")
    assert node, "these tests need node"
    command = [node, HERE / "in_pyodide.mjs", parts.pyodide, parts.kit, parts.wrapt]
    ended = subprocess.run(command, input=program, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


# In Chromium: what a reader of the page does, and what they see


def test_the_page_shows_one_circuit_for_sync_and_async_that_trips_refuses_and_recovers(page: Page) -> None:
    """C2, C3, O1, O2, O3, H2, E8"""
    call(page, "async", "success")
    page.check("input[value=failing]")
    call(page, "async", "failure")
    call(page, "sync", "failure")
    call(page, "async", "failure")
    wait_for_state(page, "open")
    call(page, "async", "refused")
    call(page, "sync", "refused")
    assert re.fullmatch(
        r"circuit 'prices' is open since .* UTC: 3 consecutive failures, threshold 3; "
        r"last failure ConnectionError: the service answered 503; next trial in [\d.]+ s",
        page.inner_text("#refusal"),
    )
    page.check("input[value=well]")
    page.wait_for_selector("body[data-waiting=false]")
    wait_for_state(page, "open")
    assert totals(page) == {"calls": 6, "successes": 1, "failures": 3, "rejections": 2, "requests": 4}
    call(page, "sync", "success.trial")
    wait_for_state(page, "half_open")
    call(page, "async", "success.trial")
    wait_for_state(page, "closed")
    call(page, "sync", "success:not(.trial)")
    assert totals(page) == {"calls": 9, "successes": 4, "failures": 3, "rejections": 2, "requests": 7}
    assert page.locator("#changes b").all_inner_texts() == ["closed", "half-open", "open"]


def test_the_page_shows_a_stream_of_calls_and_obeys_the_keyboard_alone(page: Page) -> None:
    """H2: a failed trial opens the circuit again."""
    press(page, "Tab", "ArrowRight")  # the service: failing
    press(page, "Tab", "Tab", "Tab", "Space")  # past the kind of call and the single call to the stream
    wait_for_state(page, "open")
    page.wait_for_selector("#calls .refused")
    page.wait_for_selector("#calls .failure.trial")
    wait_for_state(page, "open")
    press(page, "Shift+Tab", "Shift+Tab", "Shift+Tab", "ArrowLeft")  # back to the service: well
    wait_for_state(page, "closed")
    page.wait_for_selector("#calls .success:not(.trial) + .success:not(.trial)")
    press(page, "Tab", "Tab", "Tab", "Space")
    assert page.get_attribute("#stream", "aria-pressed") == "false"


def test_the_page_shows_a_slow_service_cut_off_and_a_reset(page: Page) -> None:
    """C2, M1"""
    page.check("input[value=slow]")
    for _ in range(4):
        page.click("#once")
    wait_for_state(page, "open")
    assert "slow" in page.inner_text("#changes")
    assert page.locator("#calls .success").count() == 4  # They were slow, and did not fail.
    page.click("#reset")
    wait_for_state(page, "closed")


def test_the_page_says_why_it_did_not_start(chromium: Browser, address: str) -> None:
    page = chromium.new_page()
    page.goto(f"{address}?reset_timeout=-1")
    page.wait_for_selector("body[data-state=broken]", timeout=90_000)
    assert re.fullmatch(r"It did not start: ValueError: reset_timeout .*-1.*", page.inner_text("#says"))
    page.close()


def call(page: Page, kind: str, outcome: str) -> None:
    """Call once, and wait until the new dot shows the outcome."""
    page.check(f"input[value={kind}]")
    place = page.locator("#calls li").count() + 1
    page.click("#once")
    page.wait_for_selector(f"#calls li:nth-child({place}).{outcome}")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def wait_for_state(page: Page, state: str) -> None:
    page.wait_for_selector(f"body[data-state={state}]")


def totals(page: Page) -> dict[str, int]:
    cells = page.locator("[data-total]").all()
    return {str(cell.get_attribute("data-total")): int(cell.inner_text()) for cell in cells}


# What they need


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    """The page, when Python has started. It complains of nothing, and asks nobody but its own server."""
    page = chromium.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}?reset_timeout=4")
    page.wait_for_selector("body:not([data-state=loading])", timeout=90_000)
    assert page.get_attribute("body", "data-state") == "closed", page.inner_text("#says")
    yield page
    page.close()
    assert {urlsplit(url)[:2] for url in asked} <= {urlsplit(address)[:2], ("data", "")}
    assert len(asked) > 5
    assert complaints == []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # an extra, and this file is collected without it, too

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    assert program, "these tests need Chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(parts: Any) -> Iterator[str]:
    """The page's address, as the example prints it."""
    with subprocess.Popen([sys.executable, SERVE], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture(scope="module")
def parts() -> Any:
    """Pyodide and the two wheels, fetched and built as the example does it."""
    return runpy.run_path(str(SERVE))["parts"]()
