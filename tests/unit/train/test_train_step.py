"""The train step before and after its workers, without TensorFlow, numpy and Arrow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import manifest, transfer
from components.artifacts.artifact import verify_artifact
from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.schema import TrainConfig
from components.errors import ConfigError, DataError
from components.train import step
from components.train.checkpointing.remote_checkpoints import RemoteCheckpoints
from components.train.job import training_id
from tests.support.training import tiny_checkpoint, training_shards

TRAIN = TrainConfig(batch_size=8)
BLOCKED = """
import sys
for name in ("tensorflow", "tf_keras", "numpy", "pyarrow", "kfp"):
    sys.modules[name] = None
"""
RUN = (
    BLOCKED
    + """
import json
from pathlib import Path
import components.workers.kubernetes.launcher
from components.config.schema import ModelConfig, TrainConfig
from components.train.step import run
model, train, shards, output, scratch = sys.argv[1:]

model = ModelConfig.model_validate_json(model)
train = TrainConfig.model_validate_json(train)
print(run(model, train, shards, Path(output), scratch).steps)
"""
)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return training_shards.make(tmp_path / "shards")


def test_a_finished_training_is_handed_out_where_no_worker_could_run(
    shards: Path, tmp_path: Path
) -> None:
    transfer.upload_artifact(shards, f"file://{tmp_path}/bucket/shards")
    digest = manifest.read_manifest(shards).digest
    identity = training_id(training_shards.MODEL, TRAIN, digest)
    state = f"file://{tmp_path}/bucket/state/{identity}"
    remote = RemoteCheckpoints(state)
    tiny_checkpoint.make_checkpoint(tmp_path / "finished")
    remote.upload_finished(tmp_path / "finished", 3)
    remote.store.write("tensorboard/events.out.1", b"figures")
    arguments = [
        training_shards.MODEL.model_dump_json(),
        TRAIN.model_dump_json(),
        f"file://{tmp_path}/bucket/shards",
    ]
    arguments += [str(tmp_path / "output"), f"file://{tmp_path}/bucket/state"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env={**os.environ, "KUBERT_PROGRESS": str(tmp_path / "progress.jsonl")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    sealed = verify_artifact(tmp_path / "output", "checkpoint")
    assert done.stdout.split() == [str(sealed.content["steps"])]
    assert "tensorboard/events.out.1" in sealed.files
    (event,) = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert event["unchanged"] is True
    assert "nothing is trained again" in event["message"]


@pytest.mark.parametrize(
    ("shards", "scratch", "cluster", "named"),
    [
        (
            "/here/shards",
            "gs://bucket/state",
            {},
            "/here/shards: the workers' pods cannot reach it",
        ),
        ("gs://bucket/shards", "/here/state", {}, "/here/state: the workers' pods cannot reach it"),
        (
            "file:///here/shards",
            "gs://bucket/state",
            {},
            "file:///here/shards: the workers' pods cannot reach it",
        ),
        (
            "gs://bucket/shards",
            "/here/state",
            {"checkpoint_pvc": "claim"},
            f"cluster.checkpoint_pvc, below {STATE_MOUNT}",
        ),
    ],
    ids=["shards", "state", "file", "beside the volume"],
)
def test_uris_that_pods_cannot_reach_are_refused(
    shards: str, scratch: str, cluster: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        step.run(
            training_shards.MODEL,
            TRAIN,
            shards,
            tmp_path / "out",
            scratch,
            ClusterConfig(backend="jobset", **cluster),
        )


def test_shards_that_are_not_finished_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bucket/shards: no manifest\.json"):
        step.run(
            training_shards.MODEL,
            TRAIN,
            f"file://{tmp_path}/bucket/shards",
            tmp_path / "out",
            f"file://{tmp_path}/bucket",
        )
