"""A fake Kubeflow Pipelines API server: HTTP on loopback, with a clock and faults set by tests."""

from __future__ import annotations

import datetime
import email.utils
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.support.fake_kfp.documents import ApiError, Object
from tests.support.fake_kfp.state import FakeState

API_PREFIX = "/apis/v2beta1"
V1_RUN_PREFIX = "/apis/v1beta1/runs/"
SIGN_IN_PAGE = b"<!doctype html><html><title>Sign in</title></html>"


@dataclass
class Fault:
    """What happens to requests whose `METHOD path` matches; `times` is how often it still happens.

    refuse: an error status; cut: the connection ends without effect; lost: the effect, but no
    reply; slow: the reply comes late;
    late: the effect comes late; unseen: what is created bears the time of the request, but can be
    seen only late; sign-in: a page (200);
    redirect: to a sign-in address.
    """

    pattern: str
    kind: Literal["refuse", "cut", "lost", "slow", "late", "unseen", "sign-in", "redirect"]
    status: int = 503
    seconds: float = 0.0
    retry_after: str | None = None
    times: int = 10**6


@dataclass
class FakeServer:
    """A running server; tests read and change `state`, `log` has each request as `METHOD path`."""

    url: str
    state: FakeState
    faults: list[Fault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    token: str | None = None
    cookie: str | None = None
    forbidden: str | None = None
    offset: datetime.timedelta = datetime.timedelta(0)

    def clock(self) -> datetime.datetime:
        return (datetime.datetime.now(datetime.UTC) + self.offset).replace(microsecond=0)

    def set_clock(self, when: datetime.datetime) -> None:
        self.offset = when - datetime.datetime.now(datetime.UTC)

    def add_fault(self, pattern: str, kind: Any, **options: Any) -> Fault:
        self.faults.append(Fault(pattern, kind, **options))
        return self.faults[-1]

    def count(self, pattern: str) -> int:
        return sum(1 for line in self.log if re.search(pattern, line))

    def find_fault(self, line: str) -> Fault | None:
        with self.state.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def run_server(**options: Any) -> Iterator[FakeServer]:
    """A server that ends with the block."""
    http = _Listener(("127.0.0.1", 0), _Handler)
    server = FakeServer(url=f"http://127.0.0.1:{http.server_address[1]}", state=None)  # type: ignore[arg-type]
    server.state = FakeState(clock=server.clock, **options)
    http.kfp = server  # type: ignore[attr-defined]
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Listener(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return email.utils.format_datetime(self.kfp.clock(), usegmt=True)

    @property
    def kfp(self) -> FakeServer:
        return self.server.kfp  # type: ignore[attr-defined,no-any-return]

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        line = f"{self.command} {parts.path}"
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.kfp.state.lock:
            self.kfp.log.append(line)
            self.kfp.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault, requested_at = self.kfp.find_fault(line), self.kfp.clock()
        if fault and self._apply_fault(fault):
            return
        try:
            self._check_caller()
            with self.kfp.state.lock:
                # Through JSON: what is sent is what was there at this moment.
                self.kfp.state.creation_time = (
                    requested_at if fault and fault.kind == "unseen" else None
                )
                answer = json.loads(
                    json.dumps(self._route(parts.path, dict(parse_qsl(parts.query)), body))
                )
            status = 200
        except ApiError as error:
            status, answer = error.status, error.body
            if "/upload" in parts.path:
                answer = {"error_message": str(error), "error_details": f"{error}\ngoroutine 1"}
        if fault and fault.kind == "lost":
            self._cut_connection()
            return
        if fault and fault.kind == "slow":
            time.sleep(fault.seconds)
        self._send(status, json.dumps(answer).encode())

    def _apply_fault(self, fault: Fault) -> bool:
        """Apply the fault; False if the request is to be answered all the same."""
        if fault.kind == "refuse":
            text = {429: "slow down", 401: "no identity", 403: "User is not authorized"}.get(
                fault.status, "upstream failed"
            )
            extra = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            self._send(
                fault.status, json.dumps(ApiError(fault.status, text, 14).body).encode(), extra
            )
        elif fault.kind == "cut":
            self._cut_connection()
        elif fault.kind == "sign-in":
            self._send(200, SIGN_IN_PAGE, {"Content-Type": "text/html"})
        elif fault.kind == "redirect":
            self._send(
                302,
                SIGN_IN_PAGE,
                {"Content-Type": "text/html", "Location": f"{self.kfp.url}/dex/auth"},
            )
        else:
            if fault.kind in ("late", "unseen"):
                time.sleep(fault.seconds)
            return False
        return True

    def _check_caller(self) -> None:
        server, given = self.kfp, self.headers
        # A proxy in front may ask for a credential for all paths; the server itself does not for
        # its health.
        has_identity = {"authorization", "cookie"} & {name.lower() for name in given}
        if server.state.multi_user and not has_identity and not self.path.endswith("/healthz"):
            reason = "User identity is empty in the request header"
            raise ApiError(401, f"Failed to check authorization. {reason}", 16)
        if server.token is not None and given.get("authorization") != f"Bearer {server.token}":
            raise ApiError(401, f"the token {given.get('authorization')} is not valid", 16)
        if server.cookie is not None and given.get("cookie") != server.cookie:
            raise ApiError(401, "no session", 16)
        if server.forbidden is not None and re.search(
            server.forbidden, f"{self.command} {self.path}"
        ):
            raise ApiError(
                403,
                "User 'ann' is not authorized with reason: "
                "(request: create runs in namespace team)",
                7,
            )

    def _route(self, path: str, query: dict[str, str], body: bytes) -> Object:
        state, method = self.kfp.state, self.command
        if method == "GET" and path.startswith(V1_RUN_PREFIX):
            return state.get_run_detail(path.removeprefix(V1_RUN_PREFIX))
        if not path.startswith(API_PREFIX):
            raise ApiError(404, "Not Found", 5)
        kind, _, rest = path.removeprefix(f"{API_PREFIX}/").partition("/")
        if (method, kind) == ("GET", "healthz"):
            return state.get_health()
        if kind == "pipelines":
            return self._pipelines(rest, query, body)
        if kind == "experiments":
            if method == "POST":
                return state.create_experiment(json.loads(body))
            return (
                state.get_object(state.experiments, rest, "Experiment")
                if rest
                else self._experiments(query)
            )
        if kind == "runs":
            return self._runs(rest, query, body)
        if kind == "recurringruns":
            return self._schedules(rest, query, body)
        raise ApiError(404, "Not Found", 5)

    def _experiments(self, query: dict[str, str]) -> Object:
        state = self.kfp.state
        namespace = query.get("namespace", "") if state.multi_user else ""
        if state.multi_user and not namespace:
            raise ApiError(400, "A namespace must be given in multi-user mode", 3)
        return state.list_page(
            "experiments",
            [item for item in state.experiments.values() if item["namespace"] == namespace],
            query,
        )

    def _pipelines(self, rest: str, query: dict[str, str], body: bytes) -> Object:
        state = self.kfp.state
        if rest == "upload_version":
            package = self._read_upload(body)
            return state.upload_version(
                query.get("pipelineid", ""),
                query.get("name", ""),
                query.get("display_name", ""),
                package,
            )
        if self.command == "POST" and not rest:
            return state.create_pipeline(json.loads(body))
        if rest.startswith("names/"):
            return state.find_pipeline(rest.removeprefix("names/"), query.get("namespace", ""))
        pipeline, _, versions = rest.partition("/")
        state.get_object(state.pipelines, pipeline, "Pipeline")
        if versions == "versions":
            found = [item for item in state.versions.values() if item["pipeline_id"] == pipeline]
            return state.list_page("pipeline_versions", found, query)
        raise ApiError(501, "Method Not Allowed", 12)

    def _read_upload(self, body: bytes) -> bytes:
        header = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        for part in BytesParser(policy=HTTP).parsebytes(header + body).iter_parts():
            content = part.get_payload(decode=True)
            if part.get_param("name", header="content-disposition") == "uploadfile" and isinstance(
                content, bytes
            ):
                return content
        raise ApiError(400, "Failed to create a pipeline version", 3)

    def _runs(self, rest: str, query: dict[str, str], body: bytes) -> Object:
        state = self.kfp.state
        identifier, _, action = rest.partition(":")
        if self.command == "POST":
            return (
                state.create_run(json.loads(body))
                if not rest
                else self._call_action(action, {"terminate": state.terminate_run}, identifier)
            )
        if self.command == "DELETE":
            return state.delete_run(identifier)
        if rest:
            return state.get_object(state.runs, identifier, "Run")
        return state.list_page("runs", state.filter_by_experiment(state.runs, query), query)

    def _schedules(self, rest: str, query: dict[str, str], body: bytes) -> Object:
        state = self.kfp.state
        identifier, _, action = rest.partition(":")
        if self.command == "POST":
            if not rest:
                return state.create_schedule(json.loads(body))
            return self._call_action(
                action,
                {
                    name: lambda it, on=name == "enable": state.set_schedule_enabled(it, on)
                    for name in ("enable", "disable")
                },
                identifier,
            )
        if self.command == "DELETE":
            return state.delete_schedule(identifier, query.get("propagation_policy", ""))
        if rest:
            return state.get_object(state.schedules, identifier, "Job")
        return state.list_page(
            "recurringRuns", state.filter_by_experiment(state.schedules, query), query
        )

    @staticmethod
    def _call_action(action: str, actions: dict[str, Any], identifier: str) -> Object:
        if action not in actions:
            raise ApiError(501, "Method Not Allowed", 12)
        made: Object = actions[action](identifier)
        return made

    def _send(self, status: int, body: bytes, extra: dict[str, str] | None = None) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | (extra or {})).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _cut_connection(self) -> None:
        """Half a reply, then nothing: the caller cannot know whether it took effect."""
        with suppress(ConnectionError):
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"
            )
            self.wfile.flush()
        self.close_connection = True
