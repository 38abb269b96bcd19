"""An HTTP server for tests, on a raw socket of loopback: it answers, fails, cuts, stalls and lies as the path says."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Lock, Thread
from types import TracebackType
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
BODY = b"all is well"
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\n" + BODY,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n7\r\nis well\r\n0\r\n\r\n",
}
"""The same answer in two framings."""


class Request(NamedTuple):
    """What the server was asked for."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Hangup(Exception):
    """The connection is to be closed now."""


Page = Callable[[Request, Callable[[bytes], None]], None]
"""Answers a request."""


class Site:
    """
    A server, and the requests that it got.

    /ok                     200, a short body
    /status/N?name=value    N, with these headers
    /cut/FRAMING/N          the first N bytes of one of ANSWERS, and the connection is closed
    /reset                  no answer, and a reset
    /garbage                what is no HTTP
    /hang                   no answer, for as long as the test likes
    /hang/N                 an answer of N bytes of 100, and no more
    /stream                 parts without end
    /redirect               302 to /ok, with a cookie
    /cookies, /echo         what cookies, what body came with the request
    /bye                    200, and the idle connection is closed

    `pages` are more of them: a page is called with the request and with what sends bytes.
    """

    def __init__(self, pages: Mapping[str, Page] | None = None) -> None:
        self._pages = pages or {}
        self.requests: list[Request] = []
        self.connections = 0
        self.over = Event()
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self._run(self._accept)

    @property
    def serving(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._open)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def _run(self, work: Callable[..., None], *args: object) -> None:
        thread = Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError, Hangup):
            while (request := _read(lines.readline, lines.read)) is not None:
                self.requests.append(request)
                self._answer(connection, request)
        with self._lock:
            self._open.discard(connection)

    def _answer(self, connection: socket.socket, request: Request) -> None:  # noqa: PLR0912  # one case a path
        send = connection.sendall
        if request.path in self._pages:
            self._pages[request.path](request, send)
            return
        match request.path.split("/")[1:]:
            case ["ok"]:
                send(answer(200, BODY))
            case ["status", status]:
                send(answer(int(status), b"" if status in ("204", "304") else BODY, **request.query))
            case ["cut", framing, size]:
                send(ANSWERS[framing][: int(size)])
                raise Hangup
            case ["reset"]:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise Hangup
            case ["garbage"]:
                send(b"\x00\x01 what is this?\r\n\r\n\r\n")
                raise Hangup
            case ["hang"]:
                self.over.wait(30)
                raise Hangup
            case ["hang", size]:
                send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * int(size))
                self.over.wait(30)
                raise Hangup
            case ["stream"]:
                send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while not self.over.wait(0.001):
                    send(b"400\r\n" + b"x" * 1024 + b"\r\n")
                raise Hangup
            case ["redirect"]:
                send(answer(302, b"", Location="/ok", **{"Set-Cookie": "seen=yes; Path=/"}))
            case ["cookies"]:
                send(answer(200, request.headers.get("cookie", "").encode()))
            case ["echo"]:
                send(answer(200, request.body))
            case ["bye"]:
                send(answer(200, BODY))
                raise Hangup
            case _:
                send(answer(404, b"there is no such thing"))

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.over.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


def answer(status: int, body: bytes, **headers: str) -> bytes:
    """An answer whose connection stays open."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    if status in (204, 304):
        del lines[1]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _read(line: Callable[[], bytes], read: Callable[[int], bytes]) -> Request | None:
    first = line().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while text := line().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(line() or b"0", 16):  # Nothing: the request has broken off.
            body += read(size)
            line()
        line()
    else:
        body = read(int(headers.get("content-length", "0")))
    url = urlsplit(first[1])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    return Request(first[0], url.path, query, headers, body)


@contextmanager
def deaf() -> Iterator[str]:
    """The address of a server that takes no connections: its backlog is full, so nobody is refused, and all wait."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://{HOST}:{listener.getsockname()[1]}"


def nobody() -> str:
    """The address of a server that is not there."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return f"http://{HOST}:{taken.getsockname()[1]}"
