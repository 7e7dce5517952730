"""Clients of the fake server: a compiled submission, a KubeflowClient, the command as a process."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.config.loading import validate_config
from pipeline.kubeflow.client import KubeflowClient
from pipeline.kubeflow.endpoint import Endpoint
from pipeline.kubeflow.submission import TRAINING, Submission, prepare_submission
from tests.support.fake_kfp.server import FakeServer

InvokeCommand = Callable[..., tuple[int, str, str]]
"""Runs `kubert` with arguments: its exit code, standard output and standard error."""
DIGEST = "@sha256:" + "a" * 64
IMAGES = {
    "train_image": f"images.example/train{DIGEST}",
    "tools_image": f"images.example/tools{DIGEST}",
}
OPTIONS = (
    "cluster.train_image=" + IMAGES["train_image"],
    "cluster.tools_image=" + IMAGES["tools_image"],
    "export.model_store=gs://models/x",
)


@functools.cache
def compile_package(scheduled: bool = False) -> bytes:
    """The compiled pipeline, once per process: it does not depend on the parameters' values."""
    with prepare_submission(build_config(), scheduled=scheduled) as build_submission:
        return build_submission.package.read_bytes()


def build_config(**sections: dict[str, Any]) -> Any:
    """A configuration that can be submitted, with options laid over it."""
    values: dict[str, Any] = {"cluster": dict(IMAGES), "export": {"model_store": "gs://models/x"}}
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return validate_config(values)


def build_submission(directory: Path, change: str = "", **sections: dict[str, Any]) -> Submission:
    """A submission of such a configuration; another `change` is another content of the pipeline."""
    from pipeline import parameters

    scheduled = "schedule" in sections
    file = directory / f"pipeline-{len(list(directory.glob('pipeline-*')))}.yaml"
    file.write_bytes(compile_package(scheduled) + f"# {change}\n".encode())
    chosen = build_config(**sections)
    return Submission(chosen, file, parameters.build_arguments(chosen), TRAINING)


def new_client(
    url: str,
    *,
    experiment: str = "kubert",
    namespace: str = "team",
    sleep: Callable[[float], None] | None = None,
    **how: Any,
) -> KubeflowClient:
    """A client whose waits between attempts are short."""
    credential = {"token": "token", "cookie": "cookie"}.get(how.get("method", "none"), "none")
    endpoint = Endpoint(
        url,
        how.pop("method", "none"),
        namespace,
        experiment,
        credential=credential,  # type: ignore[arg-type]
        **how,
    )
    return KubeflowClient(endpoint, sleep=sleep or sleep_briefly, retry_timeout_seconds=5.0)


def sleep_briefly(seconds: float) -> None:
    """A hundredth of the time asked for."""
    time.sleep(seconds / 100)


def run_command(
    *arguments: str, cwd: Path | None = None, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`kubert` as a person runs it."""
    with start_command(*arguments, cwd=cwd, **environment) as process:
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def start_command(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.Popen[str]:
    """`kubert` under way."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KUBERT_", "KUBECONFIG", "KF_"))
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd or tempfile.gettempdir(),
        # A shell that runs the tests in the background ignores SIGINT, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={
            **clean,
            "PYTHONSAFEPATH": "1",
            "HOME": "/nonexistent",
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            **environment,
        },
    )


def set_arguments(*more: str) -> list[str]:
    """The options that make the quickstart fit to be submitted, as `--set` arguments."""
    return [part for option in (*OPTIONS, *more) for part in ("--set", option)]


def new_checked_client(server: FakeServer) -> KubeflowClient:
    found = new_client(server.url)
    found.get_health()
    return found


def run_concurrently(calls: list[Any]) -> list[Any]:
    """What the calls return, each in a thread of its own, started together."""
    together, results = threading.Barrier(len(calls)), [None] * len(calls)

    def one(index: int) -> None:
        together.wait()
        results[index] = calls[index]()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
