"""An HTTP proxy that fails, truncates, delays, loses or damages the calls that a rule selects."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Call:
    """One request as the client sent it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Fault:
    """What happens to one call; without any field set, nothing.

    `status` and `reply` answer in the server's place; `drop` closes before the server hears of it,
    `lose` after the server has answered; `cut` bytes of the answer's body arrive; `flip` damages
    the answer, `flip_up` the request; `delay` is in seconds.
    """

    status: int = 0
    reply: bytes = b""
    drop: bool = False
    lose: bool = False
    cut: int | None = None
    flip: bool = False
    flip_up: bool = False
    delay: float = 0.0


Rule = Callable[[Call], Fault | None]


@dataclass
class Proxy:
    """A running proxy: its address, all calls so far, and the rule, which may be replaced."""

    address: str
    rule: Rule
    calls: list[Call] = field(default_factory=list)


@contextmanager
def start_proxy(upstream: str, rule: Rule = lambda call: None) -> Iterator[Proxy]:
    """A proxy on a free port of the loopback interface, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}", rule)
    server.proxy, server.upstream = proxy, upstream  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def flip_one_bit(data: bytes) -> bytes:
    """The bytes with one bit in the middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else data


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        self.close_connection = True
        proxy, upstream = self.server.proxy, self.server.upstream  # type: ignore[attr-defined]
        call = Call(
            self.command,
            self.path,
            dict(self.headers.items()),
            self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        proxy.calls.append(call)
        fault = proxy.rule(call) or Fault()
        time.sleep(fault.delay)
        if fault.drop:
            return
        if fault.status:
            self._answer(fault.status, {}, fault.reply, fault)
            return
        connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=60)
        connection.request(
            call.method,
            call.path,
            flip_one_bit(call.body) if fault.flip_up else call.body,
            call.headers,
        )
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        headers = {
            name: value.replace(upstream, proxy.address) for name, value in answer.getheaders()
        }
        if not fault.lose:
            self._answer(answer.status, headers, flip_one_bit(body) if fault.flip else body, fault)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
        length = str(len(body))
        for name, value in headers.items():
            if self.command == "HEAD" and name.lower() == "content-length":
                length = value
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if fault.cut is None else body[: fault.cut])

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815
