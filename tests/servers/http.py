"""What the fake web servers share: a server in threads that records what it is asked and breaks on demand."""

import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

KINDS = {
    "hang": "never answers, until stop",
    "reset": "resets the connection instead of an answer",
    "delay": "answers rightly, `seconds` later",
    "garbage": "200 with `body`, or the page of a captive portal",
    "slow": "a byte of the body every `seconds`",
    "slow-head": "a byte of the status line and the headers every `seconds`",
    "truncate": "announces the whole body, sends half of it and closes",
    "cut": "announces the whole body, sends `size` bytes of it and closes",
    "corrupt": "one bit of the body is wrong",
    "huge": "the body is filled up to `size` bytes",
    "endless": "the body does not end, and no length is announced",
    "lost": "does what is asked, then closes without an answer",
}
PORTAL = b"<html><body>Please log in to use this network.</body></html>\n"
FILLER = b"x" * 65536


@dataclass
class Request:
    """A request as it came; `status` is what it was answered, 0 for nothing (yet)."""

    method: str
    path: str  # decoded, without the query
    headers: "Message[str, str]"
    body: bytes = b""
    status: int = 0
    asker: str = ""  # the address that it came from


@dataclass(frozen=True)
class Answer:
    """An answer; Date and Content-Length are added."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong: a status, or one of KINDS."""

    kind: int | str
    path_prefix: str
    method: str
    times: int | None
    seconds: float
    size: int
    body: bytes | None
    headers: dict[str, str]

    def take(self, request: Request) -> bool:
        """Whether it is for this request; then it is used up by one."""
        fits = request.path.startswith(self.path_prefix) and self.method in ("", request.method) and self.times != 0
        if fits and self.times:
            self.times -= 1
        return fits


class Server:
    """A web server; a subclass says what it answers. Faults are tried in the order in which they were set."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self.address, self.port, self.context = address, port, context
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # tells the header Date
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.mistakes: list[BaseException] = []  # of the server itself; raised at the end of `with`
        self.lock = threading.RLock()
        self._listener: _Listener | None = None

    def answer(self, request: Request) -> Answer:
        """What is answered when nothing is wrong. One request at a time."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The address as a URL, without a slash at the end."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.context else 'http'}://{host}:{self.port}"

    def start(self) -> None:
        """Listen; a second time on the same port."""
        listener = self._listener = _Listener(self)
        self.port = listener.server_address[1]
        threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """End everything at once, answers that hang or drip too."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.stopping.set()
        listener.shutdown()
        listener.server_close()
        connections = listener.connections.copy()
        for connection in connections:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.mistakes:
            raise self.mistakes[0]

    def fault(
        self,
        kind: int | str,
        *,
        path_prefix: str = "",
        method: str = "",
        times: int | None = None,
        seconds: float = 1.0,
        size: int = 100_000_000,
        body: bytes | None = None,
        retry_after: int | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Let requests go wrong, `times` of them or until healed: a status, or one of KINDS."""
        if isinstance(kind, str) and kind not in KINDS:
            raise ValueError(f"no such fault: {kind}")
        more = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.faults.append(Fault(kind, path_prefix, method, times, seconds, size, body, more | (headers or {})))

    def heal(self) -> None:
        """No faults from the next request on."""
        self.faults = []

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        """The answer, or what a fault puts in its place."""
        match fault:
            case Fault(kind=int(status)):
                words = f"{status} {responses.get(status, '')}\n".encode()
                return Answer(status, words if fault.body is None else fault.body, fault.headers)
            case Fault(kind="garbage"):
                return Answer(200, PORTAL if fault.body is None else fault.body, fault.headers)
        with self.lock:
            try:
                return self.answer(request)
            except OSError as error:  # from a file, not from the connection
                self.mistakes.append(error)
                raise

    def taken(self, request: Request) -> Fault | None:
        """The fault for a request."""
        with self.lock:
            return next((fault for fault in self.faults if fault.take(request)), None)


class _Listener(ThreadingHTTPServer):
    """One start of a server."""

    request_queue_size = 128

    def __init__(self, fake: Server) -> None:
        self.fake = fake
        self.stopping = threading.Event()
        self.connections: dict[socket.socket, threading.Thread] = {}
        self.address_family = socket.AF_INET6 if ":" in fake.address else socket.AF_INET
        super().__init__((fake.address, fake.port), _Handler)

    def server_bind(self) -> None:
        """Without asking for the name of the address, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.fake.address, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or does not trust us, is nothing to speak of."""
        error = sys.exception()
        if error and not isinstance(error, OSError):
            self.fake.mistakes.append(error)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        context = self.server.fake.context
        if context:
            self.request = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
        self.server.connections[self.request] = threading.current_thread()
        super().setup()

    def handle(self) -> None:
        if self.server.stopping.is_set():
            return
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().handle()

    def finish(self) -> None:
        super().finish()
        with suppress(OSError):
            socket.socket.shutdown(self.request, socket.SHUT_WR)
        self.request.close()
        self.server.connections.pop(self.request, None)

    def serve(self) -> None:
        body = self.chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.announced()
        path = unquote(urlsplit(self.path).path)
        request = Request(self.command, path, self.headers, body, asker=self.client_address[0])
        self.server.fake.requests.append(request)
        fault = self.server.fake.taken(request)
        match fault:
            case Fault(kind="hang"):
                self.server.stopping.wait()
                raise ConnectionAbortedError
            case Fault(kind="reset"):
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.request.detach())
                raise ConnectionAbortedError
            case Fault(kind="delay"):
                self.pause(fault.seconds)
        answer = self.server.fake.handle(request, fault)
        if fault and fault.kind == "lost":
            raise ConnectionAbortedError
        request.status = answer.status
        self.send(answer, fault)

    def announced(self) -> bytes:
        """A body of the length that the head announces; what was cut on its way is not applied."""
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError
        return body

    def chunks(self) -> bytes:
        """A body in chunks, each with its length before it; the one of no bytes is the end."""
        body = bytearray()
        while True:
            size = int(self.rfile.readline() or b"-1", 16)
            chunk = self.rfile.read(max(size, 0))
            if size < 0 or len(chunk) < size or not self.rfile.readline().endswith(b"\n"):
                raise ConnectionAbortedError
            if not size:
                return bytes(body)
            body += chunk

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # do_GET and so on, for every method
            return self.serve
        raise AttributeError(name)

    def send(self, answer: Answer, fault: Fault | None) -> None:
        kind, body = fault.kind if fault else "", answer.body
        length = max(len(body), fault.size) if fault and kind == "huge" else len(body)
        headers = {"Date": format_datetime(self.server.fake.clock().astimezone(UTC), usegmt=True)} | answer.headers
        if kind == "endless":
            headers["Connection"] = "close"
        elif answer.status not in (204, 304):
            headers["Content-Length"] = str(length)
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if self.command == "HEAD" or answer.status in (204, 304):
            body, length = b"", 0
        if fault is None:
            self.wfile.write(head + body)
            return
        self.send_badly(head, body, length, fault)

    def send_badly(self, head: bytes, body: bytes, length: int, fault: Fault) -> None:
        match fault.kind:
            case "truncate":
                body = body[: len(body) // 2]
            case "cut":
                body = body[: fault.size]
            case "corrupt" if body:
                middle = len(body) // 2
                body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self.drip(head, fault.seconds if fault.kind == "slow-head" else 0)
        self.drip(body, fault.seconds if fault.kind == "slow" else 0)
        if fault.kind == "huge":
            for start in range(len(body), length, len(FILLER)):
                self.wfile.write(FILLER[: length - start])
        while fault.kind == "endless" and self.command != "HEAD":
            self.wfile.write(FILLER)
        self.close_connection = self.close_connection or fault.kind in ("truncate", "cut", "endless")

    def drip(self, data: bytes, seconds: float) -> None:
        """Send at once, or a byte at a time."""
        if not seconds:
            self.wfile.write(data)
            return
        for number in data:
            self.wfile.write(bytes([number]))
            self.pause(seconds)

    def pause(self, seconds: float) -> None:
        if self.server.stopping.wait(seconds):
            raise ConnectionAbortedError

    def log_message(self, *_: Any) -> None:
        """Nothing goes to standard error."""
