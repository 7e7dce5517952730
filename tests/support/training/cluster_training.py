"""A launcher against a real cluster, run on this machine, and what kubectl shows of its workers."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.training import local_training

NAMESPACE = os.environ.get("KUBERT_TEST_NAMESPACE", "kubert")
SMALL: dict[str, Any] = {
    "model__encoder": "scratch",
    "model__max_length": 20,
    "model__vocab_size": 100,
    "model__hidden_size": 16,
    "model__intermediate_size": 16,
    "model__dropout": 0.2,
    "train__batch_size": 8,
    "train__epochs": 4,
    "train__learning_rate": 0.003,
    "train__length_buckets": [20],
    "train__checkpoint_every_steps": 10,
    "train__workers": 2,
}
CLUSTER: dict[str, Any] = {
    "cluster__backend": "jobset",
    "cluster__namespace": NAMESPACE,
    "cluster__train_image": os.environ.get("KUBERT_TRAIN_IMAGE", ""),
    "cluster__cpu": "200m",
    "cluster__memory": "1500Mi",
    "cluster__ephemeral_storage": "1Gi",
    "cluster__shared_memory": "64Mi",
    "cluster__termination_grace_period": 20,
    "cluster__pod_start_timeout": 120,
    "cluster__environment": {"STORAGE_EMULATOR_HOST": os.environ.get("STORAGE_EMULATOR_HOST", "")},
}


def new_store_uri() -> str:
    """A new URI that tests may write below; skips the test if no store or image is given."""
    for variable, what in {
        "KUBERT_TEST_STORE": "a gs:// or s3:// place that pods reach",
        "KUBERT_TRAIN_IMAGE": "the workers' image",
    }.items():
        if not os.environ.get(variable):
            pytest.skip(f"{variable} is not set: {what}")
    return f"{os.environ['KUBERT_TEST_STORE'].rstrip('/')}/{uuid.uuid4().hex[:8]}"


def kubectl(*arguments: str, text: str = "", check: bool = True) -> str:
    """What kubectl prints, in the tests' namespace."""
    done = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def list_objects(kind: str, *arguments: str) -> list[dict[str, Any]]:
    """The objects of a kind."""
    items: list[dict[str, Any]] = json.loads(kubectl("get", kind, "--output", "json", *arguments))[
        "items"
    ]
    return items


class ClusterTraining(local_training.TrainLauncher):
    """A launcher whose workers run in the cluster."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], run: str) -> None:
        super().__init__(home, process)
        self.run = run

    def jobset(self) -> dict[str, Any]:
        """The run's JobSet, once it is there."""

        def find_jobsets() -> list[dict[str, Any]]:
            assert self.process.poll() is None, self.wait()
            return jobsets(self.run)

        (answer,) = local_training.wait_for(find_jobsets, "the JobSet")
        return dict(answer)

    def wait_for_progress(self, done: int) -> None:
        """Return when the launcher has told of this step."""

        def has_reached() -> bool:
            assert self.process.poll() is None, self.wait()
            return any(
                event.get("total") and event.get("done", 0) >= done for event in self.events()
            )

        local_training.wait_for(has_reached, f"step {done}")

    def messages(self) -> list[str]:
        return [event.get("message", "") for event in self.events()]


def jobsets(run: str) -> list[dict[str, Any]]:
    """The JobSets of a run."""
    return [
        found
        for found in list_objects("jobsets")
        if found["metadata"]["annotations"].get("kubert.dev/run") == run
    ]


def pods(jobset: str) -> list[dict[str, Any]]:
    """The pods of a JobSet, the chief first."""
    found = list_objects("pods", "--selector", f"jobset.sigs.k8s.io/jobset-name={jobset}")
    return sorted(
        found,
        key=lambda pod: str(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]),
    )


def evict(pod: str) -> None:
    """Ask the cluster to evict a pod, as draining its node does."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": NAMESPACE},
    }
    kubectl(
        "create",
        "--raw",
        f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction",
        "--filename",
        "-",
        text=json.dumps(body),
    )


def find_worker_process(jobset: str, rank: int) -> psutil.Process | None:
    """A worker's process, where the node is this machine."""
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or ())[1:3] != ["-m", "components.train.worker"]:
            continue  # its supervisor has the module among its arguments, too
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if (environment.get("JOBSET_NAME"), environment.get("JOB_COMPLETION_INDEX")) == (
            jobset,
            str(rank),
        ):
            return process
    return None


@contextmanager
def launch(
    home: Path, shards: str, scratch: str, options: dict[str, Any], *, run: str = ""
) -> Iterator[ClusterTraining]:
    """A launcher on this machine; its JobSet is gone when the block ends."""
    run = run or f"e2e-{uuid.uuid4().hex[:8]}"
    with local_training.launch(
        home,
        shards,
        local_training.options(**SMALL | CLUSTER | options),
        scratch=scratch,
        KUBERT_RUN=run,
    ) as it:
        try:
            yield ClusterTraining(home, it.process, run)
        finally:
            if it.process.poll() is None:
                it.process.terminate()
                it.process.wait(timeout=60)
            for found in jobsets(run):
                kubectl(
                    "delete",
                    "jobset",
                    found["metadata"]["name"],
                    "--wait=false",
                    "--ignore-not-found",
                )


def train(home: Path, shards: str, scratch: str, options: dict[str, Any]) -> list[str]:
    """Train undisturbed to the end; what the launcher told."""
    with launch(home, shards, scratch, options) as it:
        ended = it.wait()
        assert ended.code == 0, ended.output
        return it.messages()
