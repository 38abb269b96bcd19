"""A store whose server is reached by TLS, and wants a name and a password: as the user's client has them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from select import select
from threading import Thread
from typing import Any

import pytest
import redis
import trustme

from circuitbreaker import CircuitState
from circuitbreaker.stores.redis import RedisStore

from .fleets import Member
from .servers import HOST, Server, until
from .support import fail


@contextmanager
def by_tls(port: int, authority: trustme.CA) -> Iterator[int]:
    """A port where the server at `port` is reached by TLS. (The servers at hand are built without it.)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    listener = socket.create_server((HOST, 0))
    threads: list[Thread] = []
    servers: list[socket.socket] = []

    def start(work: Callable[..., None], *args: Any) -> None:
        threads.append(Thread(target=work, args=args, daemon=True))
        threads[-1].start()

    def accept() -> None:
        with suppress(OSError):
            while True:
                taken, _ = listener.accept()
                start(serve, taken)

    def serve(taken: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(taken, server_side=True) as client:
            servers.append(socket.create_connection((HOST, port)))
            other: dict[socket.socket, socket.socket] = {client: servers[-1], servers[-1]: client}
            while True:  # in one thread: of a connection by TLS, only one at a time may read or write
                for source in select([*other], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    other[source].sendall(data)

    start(accept)
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for server in servers:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for thread in threads:
            thread.join(5)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def test_a_trip_spreads_by_tls_to_whom_the_server_knows(authority: trustme.CA, tmp_path: Path) -> None:
    """S3: by a URL, and by a client of the user's that decodes what it gets."""
    certificate = str(tmp_path / "authority.pem")
    authority.cert_pem.write_to_path(certificate)
    with Server() as server, by_tls(server.port, authority) as port:
        server.client().execute_command("ACL", "SETUSER", "shop", "on", ">secret", "~*", "&*", "+@all")
        url = f"rediss://shop:secret@{HOST}:{port}?ssl_ca_certs={certificate}"
        with redis.Redis.from_url(url, decode_responses=True, socket_timeout=5) as client:
            stores = [RedisStore(url), RedisStore(client)]
            with closing(stores[0]), closing(stores[1]):
                one, other = (Member(store, failure_threshold=1) for store in stores)
                assert [one.call(), other.call()] == [["fine"], ["fine"]]
                assert stores[1].sync()
                one.call(fail)
                until(lambda: other.state is CircuitState.OPEN, "the other one hears of it")
                assert one.breaker.metrics().store == other.breaker.metrics().store == "connected"


def test_a_certificate_of_somebody_else_is_an_outage(authority: trustme.CA, tmp_path: Path) -> None:
    """S7: calls go on."""
    certificate = str(tmp_path / "authority.pem")
    trustme.CA().cert_pem.write_to_path(certificate)
    with Server() as server, by_tls(server.port, authority) as port:
        store = RedisStore(f"rediss://{HOST}:{port}?ssl_ca_certs={certificate}")
        with closing(store):
            member = Member(store, failure_threshold=1)
            assert member.call() == ["fine"]
            until(lambda: "CERTIFICATE_VERIFY_FAILED" in str(member.breaker.metrics().store), "the outage is seen")
            assert member.call() == ["fine"]
