"""The command `kubert doctor`; with a real cluster in tests/e2e/test_doctor.py."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def run_doctor(
    tmp_path: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "doctor",
        *arguments,
        "--workdir",
        str(tmp_path / "work"),
    ]
    given = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KUBE", "KUBERT_"))
    }
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**given, "HOME": str(tmp_path), **environment},
    )


@pytest.mark.slow
def test_a_machine_with_nothing_missing(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path)
    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert lines[-1].startswith("nothing missing")
    assert len(lines) == 10, "one line per check"
    assert any(line.split() == ["ok", "gpus", "none"] for line in lines)
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_what_is_missing_has_a_remedy_in_the_table_and_in_json(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path, "--set", "data.source=nope.csv", "--json")
    assert ended.returncode == 1
    result = json.loads(ended.stdout)
    assert result["missing"] == 1
    wrong = next(check for check in result["checks"] if check["state"] == "missing")
    assert wrong["check"] == "data and encoder"
    assert "nope.csv does not exist" in wrong["found"]
    assert wrong["remedy"]
    assert "missing data and encoder" in ended.stderr


class FailingApiServer(http.server.BaseHTTPRequestHandler):
    """An old API server that fails every request except that for its version."""

    def do_GET(self) -> None:
        good = self.path == "/version"
        body = json.dumps(
            {"gitVersion": "v1.20.0", "major": "1", "minor": "20+"}
            if good
            else {"message": "etcd is away"}
        ).encode()
        self.send_response(200 if good else 500)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server requires

    def log_message(self, *_: Any) -> None:
        pass


def write_kubeconfig(path: Path, port: int) -> str:
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "it", "user": {}}],
    }
    path.write_text(json.dumps(value))
    return str(path)


@pytest.fixture
def failing_server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FailingApiServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def run_cluster_checks(tmp_path: Path, **environment: str) -> tuple[float, dict[str, list[str]]]:
    started = time.monotonic()
    code = (
        "import json\n"
        "from components.config.loading import load_config\n"
        "from pipeline.doctor import cluster_checks, run_checks\n"
        "options = ['backend=jobset', 'endpoint=http://127.0.0.1:9', 'auth=none']\n"
        "config = load_config(None, [f'cluster.{option}' for option in options])\n"
        "found = run_checks(cluster_checks.build_checks(config))\n"
        "print(json.dumps({name: (finding.state, finding.message) for name, finding in found}))"
    )
    given = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KUBE", "KUBERT_"))
    }
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
        env={**given, "HOME": str(tmp_path), **environment},
    )
    return time.monotonic() - started, json.loads(ended.stdout)


def test_no_cluster_is_one_finding_and_skips_the_checks_of_it(tmp_path: Path) -> None:
    _, found = run_cluster_checks(tmp_path)
    assert found["kubernetes"][0] == "missing"
    assert "set KUBECONFIG" in found["kubernetes"][1]
    assert set(found) == {"submission", "kubernetes", "kubeflow pipelines", "images"}


@pytest.mark.slow
def test_an_api_server_that_never_answers_is_reported_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seconds, found = run_cluster_checks(
            tmp_path, KUBECONFIG=write_kubeconfig(tmp_path / "config", silent.getsockname()[1])
        )
    assert found["kubernetes"][0] == "missing"
    assert seconds < 90


@pytest.mark.slow
def test_an_old_api_server_is_reported(failing_server: int, tmp_path: Path) -> None:
    _, found = run_cluster_checks(
        tmp_path, KUBECONFIG=write_kubeconfig(tmp_path / "config", failing_server)
    )
    assert found["kubernetes"] == ["missing", f"v1.20.0 at http://127.0.0.1:{failing_server}"]
