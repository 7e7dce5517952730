"""The launcher's API calls against an HTTP server that fails as Kubernetes does."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.errors import ConfigError, KubertError
from components.kubernetes_client import KubernetesRefusedError, KubernetesUnavailableError
from components.workers.kubernetes import client
from components.workers.kubernetes.client import JobSetClient
from components.workers.kubernetes.run_jobsets import delete_run_jobsets

WEBHOOK_DOWN = 'Internal error occurred: failed calling webhook "mjobset.kb.io": connection refused'
Answer = tuple[int, object]


class Server:
    """Gives each request the next of `answers`, then the last one; records `requests`."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.requests.append(f"{self.command} {self.path.partition('?')[0]}")
                status, body = (
                    server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                )
                data = json.dumps(
                    body if status < 400 else {"kind": "Status", "code": status, "message": body}
                ).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def change_retries(monkeypatch: pytest.MonkeyPatch, **changes: float) -> None:
    for name in ("REQUEST_RETRIES", "CLEANUP_RETRIES"):
        monkeypatch.setattr(client, name, dataclasses.replace(getattr(client, name), **changes))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [
            {"name": "here", "cluster": {"server": f"http://127.0.0.1:{found.http.server_port}"}}
        ],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    change_retries(monkeypatch, max_wait_seconds=0.01)
    yield found
    found.http.shutdown()
    found.http.server_close()


@pytest.fixture
def api(server: Server) -> JobSetClient:
    return JobSetClient("kubert", threading.Event())


def test_calls_are_repeated_while_a_webhook_is_down(server: Server, api: JobSetClient) -> None:
    server.answers = [(500, WEBHOOK_DOWN), (503, "starting"), (429, "too many requests"), (201, {})]
    assert api.create_jobset({"metadata": {"name": "x"}})
    assert server.requests == ["POST /apis/jobset.x-k8s.io/v1alpha2/namespaces/kubert/jobsets"] * 4


def test_a_webhook_that_stays_down_is_named(
    server: Server, api: JobSetClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_retries(monkeypatch, deadline_seconds=0.2)
    server.answers = [(500, WEBHOOK_DOWN)]
    with pytest.raises(
        KubernetesUnavailableError,
        match=r"create jobsets in namespace kubert: .*failed calling webhook",
    ):
        api.create_jobset({})


def test_a_stop_ends_the_retries_but_still_deletes(server: Server) -> None:
    stop = threading.Event()
    api = JobSetClient("kubert", stop)
    server.answers = [(500, WEBHOOK_DOWN)]
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    with pytest.raises(KubernetesUnavailableError):
        api.create_jobset({})
    assert time.monotonic() - started < 10
    server.answers = [(500, WEBHOOK_DOWN), (200, {})]
    api.delete_jobset("x")
    assert (
        server.requests[-1] == "DELETE /apis/jobset.x-k8s.io/v1alpha2/namespaces/kubert/jobsets/x"
    )


def test_an_existing_jobset_is_not_created(server: Server, api: JobSetClient) -> None:
    server.answers = [(409, 'jobsets.jobset.x-k8s.io "x" already exists')]
    assert not api.create_jobset({})


def test_a_missing_jobset_is_none_and_its_deletion_no_error(
    server: Server, api: JobSetClient
) -> None:
    server.answers = [(404, 'jobsets.jobset.x-k8s.io "x" not found')]
    assert api.get_jobset("x") is None
    api.delete_jobset("x")
    assert api.read_last_log_lines("x", 3) == []
    assert list(api.stream_log("x", None)) == []


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (403, "the role in k8s/accounts"),
        (401, "the role in k8s/accounts"),
        (404, "is JobSet installed there"),
        (422, "refuses to create jobsets"),
    ],
)
def test_a_rejected_request_is_the_user_s_error_and_is_not_repeated(
    status: int, named: str, server: Server, api: JobSetClient
) -> None:
    server.answers = [(status, "because of this")]
    with pytest.raises(ConfigError, match=named) as caught:
        api.create_jobset({})
    assert "because of this" in str(caught.value)
    assert len(server.requests) == 1


def test_only_the_jobsets_of_a_stopped_run_are_deleted(server: Server) -> None:
    jobsets = [
        {"metadata": {"name": name, "annotations": {"kubert.dev/run": run}}}
        for name, run in (("a", "run-1"), ("b", "run-2"))
    ]
    path = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/kubert/jobsets"
    server.answers = [(200, {"items": [*jobsets, {"metadata": {"name": "c"}}]}), (200, {})]
    assert delete_run_jobsets("run-2", "kubert") == ["b"]
    assert server.requests == [f"GET {path}", f"DELETE {path}/b"]


@pytest.mark.parametrize("status", [403, 401])
def test_a_user_without_the_right_to_delete_jobsets_gets_the_remedy(
    status: int, server: Server
) -> None:
    server.answers = [(status, "because of this")]
    with pytest.raises(KubernetesRefusedError, match=r"list jobsets .* the role in k8s/accounts"):
        delete_run_jobsets("run-2", "kubert")


def test_a_cluster_without_jobset_has_none_to_delete(server: Server) -> None:
    server.answers = [(404, "not found")]
    assert delete_run_jobsets("run-2", "kubert") == []


def test_events_are_sorted_by_time(server: Server, api: JobSetClient) -> None:
    events = [
        {"reason": "b", "lastTimestamp": "2026-11-24T15:00:02Z"},
        {"reason": "a", "eventTime": "2026-11-24T15:00:01Z"},
    ]
    server.answers = [(200, {"items": events})]
    assert [event["reason"] for event in api.list_events("x")] == ["a", "b"]


def test_a_missing_cluster_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(
        KubertError,
        match=r"cluster\.backend=jobset: no Kubernetes cluster: KUBECONFIG=.* is not usable",
    ):
        JobSetClient("kubert", threading.Event())
