"""`kubert submit` and `kubert schedule apply` where the cluster lacks what a run needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.support.fake_kfp.clients import InvokeCommand, set_arguments
from tests.support.fake_kfp.server import FakeServer


class _KubernetesWithoutAccounts(BaseHTTPRequestHandler):
    """A Kubernetes API server with Kubeflow Pipelines and an empty namespace for its runs."""

    def do_GET(self) -> None:
        known = {
            "/api/v1/namespaces/kubeflow": {"metadata": {}},
            "/api/v1/namespaces/kubeflow/services/ml-pipeline": {"metadata": {}},
            "/api/v1/namespaces/kubeflow/resourcequotas": {"items": []},
        }
        found = known.get(self.path)
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(found or {"message": "not found"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """KUBECONFIG names a cluster in which no account of kubert exists."""
    api = ThreadingHTTPServer(("127.0.0.1", 0), _KubernetesWithoutAccounts)
    thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    named = {
        "clusters": [
            {"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.server_address[1]}"}}
        ],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(named))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield
    api.shutdown()
    thread.join()
    api.server_close()


@pytest.mark.parametrize("command", [("submit",), ("schedule", "apply")])
def test_a_cluster_without_the_accounts_is_refused_before_anything_is_sent(
    server: FakeServer, kubert: InvokeCommand, kubernetes: None, command: tuple[str, ...]
) -> None:
    arguments = [*set_arguments("schedule.cron=0 3 * * *"), "--endpoint", server.url]
    code, out, err = kubert(*command, *arguments)
    assert (code, out) == (2, "")
    assert "namespace kubeflow is not ready for this run; nothing was sent" in err
    assert "no service account kubert-pipeline in kubeflow, where runs start" in err
    assert "kubectl apply -k k8s/single-user" in err
    assert not [line for line in server.log if not line.startswith("GET")]
    assert server.count("/healthz$") == 1
    assert kubert(*command, *arguments, "--skip-check")[0] == 0
