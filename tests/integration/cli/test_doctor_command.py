"""`kubert doctor` as a person types it; with a real cluster in tests/e2e/test_doctor.py."""

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

FAST = ("python", "cores", "memory")


def kubert(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
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
def test_a_machine_that_has_it_all(tmp_path: Path) -> None:
    ended = kubert(tmp_path)
    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert lines[-1].startswith("nothing missing")
    assert len(lines) == 9, "one line per check"
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_what_is_missing_is_told_with_its_remedy_for_programs_too(tmp_path: Path) -> None:
    ended = kubert(tmp_path, "--set", "data.source=nope.csv", "--json")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert told["missing"] == 1
    wrong = next(check for check in told["checks"] if check["state"] == "missing")
    assert wrong["check"] == "data and encoder"
    assert "nope.csv does not exist" in wrong["found"]
    assert wrong["remedy"]
    assert "missing data and encoder" in ended.stderr


class _Broken(http.server.BaseHTTPRequestHandler):
    """An API server that is up and fails at everything but its version."""

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

    do_POST = do_GET  # noqa: N815 - the name that http.server asks for

    def log_message(self, *_: Any) -> None:
        pass


def kubeconfig(path: Path, port: int) -> str:
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
def failing() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def cluster_checks(tmp_path: Path, **environment: str) -> tuple[float, dict[str, list[str]]]:
    started = time.monotonic()
    code = (
        "import json\n"
        "from components.config.loading import load_config\n"
        "from pipeline.doctor import cluster_checks, run_checks\n"
        "config = load_config(None, ['cluster.backend=jobset', 'cluster.endpoint=http://127.0.0.1:9', 'cluster.auth=none'])\n"
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


def test_no_cluster_is_one_finding_not_ten(tmp_path: Path) -> None:
    _, found = cluster_checks(tmp_path)
    assert found["kubernetes"][0] == "missing"
    assert "set KUBECONFIG" in found["kubernetes"][1]
    assert set(found) == {"kubernetes", "kubeflow pipelines", "images"}


@pytest.mark.slow
def test_an_api_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seconds, found = cluster_checks(
            tmp_path, KUBECONFIG=kubeconfig(tmp_path / "config", silent.getsockname()[1])
        )
    assert found["kubernetes"][0] == "missing"
    assert seconds < 90


@pytest.mark.slow
def test_an_old_or_failing_api_server_is_told(failing: int, tmp_path: Path) -> None:
    _, found = cluster_checks(tmp_path, KUBECONFIG=kubeconfig(tmp_path / "config", failing))
    assert found["kubernetes"] == ["missing", f"v1.20.0 at http://127.0.0.1:{failing}"]
