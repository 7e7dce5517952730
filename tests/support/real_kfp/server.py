"""The Kubeflow Pipelines server that KUBERT_TEST_KFP names, and `kubert` processes that use it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.endpoint import Endpoint

ENV_SERVER = "KUBERT_TEST_KFP"
ENV_SERVER_TOKEN = "KUBERT_TEST_KFP_TOKEN"
SKIP_REASON = f"{ENV_SERVER} names no Kubeflow Pipelines API"
SINGLE_USER_NAMESPACE = "kubeflow"
"""Where a single-user server starts all runs."""
PASSED_VARIABLES = (
    "PATH",
    "HOME",
    "KUBECONFIG",
    "STORAGE_EMULATOR_HOST",
    "KUBERT_TRAIN_IMAGE",
    "KUBERT_STEP_IMAGE",
    "KUBERT_TOOLS_IMAGE",
)
"""What the commands inherit: nothing else of whoever runs the tests."""
COMMAND_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class RealServer:
    """Address and mode of the server, and where its runs start; the token is empty without one."""

    url: str
    multi_user: bool
    namespace: str
    token: str = field(default="", repr=False)

    def connect(self, experiment: str) -> KubeflowClient:
        """A client that has asked the server for its mode."""
        credential = "token" if self.token else "none"
        client = KubeflowClient(
            Endpoint(
                self.url,
                credential,  # type: ignore[arg-type]
                self.namespace,
                experiment,
                credential=credential,  # type: ignore[arg-type]
                read_secret=lambda: self.token,
            )
        )
        client.get_health()
        return client

    def read_archived_log(self, run_id: str, pod: str) -> str:
        """A pod's log in the server's archive, through its API."""
        request = urllib.request.Request(
            f"{self.url}/apis/v2beta1/runs/{run_id}/nodes/{pod}/artifacts/main-logs:read",
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return base64.b64decode(json.load(reply)["data"]).decode()


def find_server(environment: Mapping[str, str] = os.environ) -> RealServer | None:
    """The server of KUBERT_TEST_KFP, which must answer; None where the variable is not set."""
    url = environment.get(ENV_SERVER, "").rstrip("/")
    if not url:
        return None
    with urllib.request.urlopen(f"{url}/apis/v2beta1/healthz", timeout=30) as reply:
        multi_user = bool(json.load(reply).get("multi_user"))
    namespace = (
        environment.get("KUBERT_TEST_NAMESPACE", "kubert") if multi_user else SINGLE_USER_NAMESPACE
    )
    return RealServer(url, multi_user, namespace, environment.get(ENV_SERVER_TOKEN, ""))


@dataclass(frozen=True)
class KubertCommand:
    """Runs `kubert` as a process, as a user does, against one experiment of the server."""

    server: RealServer
    experiment: str
    directory: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command under way."""
        environment = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("kubert")), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env={
                **environment,
                "KUBERT_ENDPOINT": self.server.url,
                "KUBERT_NAMESPACE": self.server.namespace,
                "KUBERT_EXPERIMENT": self.experiment,
                **({"KUBERT_TOKEN": self.server.token} if self.server.token else {}),
            },
        )

    def run(
        self, *arguments: str, timeout: float = COMMAND_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """The command's exit code and output."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        print(f"kubert {' '.join(arguments)}: exit code {process.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def read_json(self, *arguments: str, timeout: float = COMMAND_TIMEOUT_SECONDS) -> Any:
        """What the command prints with --json; it must succeed."""
        ended = self.run(*arguments, "--json", timeout=timeout)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)
