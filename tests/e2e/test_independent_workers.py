"""Independent workers on a real cluster: modules of the image that end at once."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from components.config.cluster import ClusterConfig
from components.progress import StepName
from components.workers.exit_codes import WorkerGroupFailedError
from components.workers.group import WorkerGroup
from components.workers.kubernetes.jobset_manifest import LauncherPod, render_jobset
from components.workers.kubernetes.launcher import run_jobset
from tests.support.training.cluster_training import CLUSTER, kubectl

OPTIONS: dict[str, Any] = {
    name.removeprefix("cluster__"): value
    for name, value in CLUSTER.items()
    if name != "cluster__environment"
}


@pytest.fixture
def cluster_config() -> ClusterConfig:
    if not OPTIONS["train_image"]:
        pytest.skip("KUBERT_TRAIN_IMAGE is not set: the workers' image")
    return ClusterConfig(**OPTIONS)


def make_group(home: Path, module: str) -> WorkerGroup:
    return WorkerGroup(
        step=StepName.SCORE,
        workers=2,
        module=module,
        job_document=json.dumps({"id": uuid.uuid4().hex}),
        directory=str(home),
        max_restarts=1,
        is_finished=lambda: False,
        workers_option="score.workers",
        independent=True,
    )


def messages(path: Path) -> list[str]:
    return [json.loads(line).get("message", "") for line in path.read_text().splitlines()]


def test_the_server_accepts_every_field(cluster_config: ClusterConfig, tmp_path: Path) -> None:
    launcher = LauncherPod(namespace=cluster_config.namespace)
    body = render_jobset(make_group(tmp_path, "this"), "gs://x/job.json", cluster_config, launcher)
    found = json.loads(
        kubectl(
            "create", "--dry-run=server", "--output=json", "--filename=-", text=json.dumps(body)
        )
    )
    job = found["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["backoffLimitPerIndex"], job["maxFailedIndexes"]) == (1, 0)


def test_workers_that_finish_complete_the_group(
    cluster_config: ClusterConfig, tmp_path: Path
) -> None:
    run_jobset(make_group(tmp_path, "this"), cluster_config)


def test_a_worker_is_replaced_alone_and_the_group_ends_when_that_does_not_help(
    cluster_config: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERT_PROGRESS", str(tmp_path / "progress.jsonl"))
    # It cannot open the job document, which is on this machine.
    with pytest.raises(WorkerGroupFailedError) as caught:
        run_jobset(make_group(tmp_path, "json.tool"), cluster_config)
    first = str(caught.value).splitlines()[0]
    assert first.startswith("the score step failed after 1 restarts (at most 1): worker")
    assert "No such file or directory" in str(caught.value)
    assert [text for text in messages(tmp_path / "progress.jsonl") if "restart 1 of 1" in text]
