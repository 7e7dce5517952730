"""The train step before and after its workers, without TensorFlow, numpy and Arrow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from components.artifacts import manifest, transfer
from components.artifacts.artifact import verify_artifact
from components.artifacts.release import StartingPoint, StartingRelease
from components.artifacts.task import TaskInfo
from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.schema import TrainConfig
from components.config.task import resolve_best_metric
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
    train = resolve_best_metric(TRAIN, "single_label")
    identity = training_id(training_shards.MODEL, train, digest)
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


@pytest.mark.parametrize(
    ("wanted", "fixed", "named"),
    [
        ("models/news", None, "model.start_from is models/news, but the shards were tokenized for"),
        (None, "models/news", "model.start_from is not set, but the shards were tokenized for mod"),
        ("models/news@2", "models/news", "tokenize again"),
    ],
    ids=["not tokenized for it", "tokenized for it", "another version"],
)
def test_shards_of_another_starting_point_are_refused(
    wanted: str | None, fixed: str | None, named: str, tmp_path: Path
) -> None:
    """Fault E6."""
    start = StartingPoint(reference=fixed) if fixed else None
    shards = training_shards.make(tmp_path / "shards", start_from=start)
    model = training_shards.MODEL.model_copy(update={"start_from": wanted})
    with pytest.raises(ConfigError, match=named):
        step.run(model, TRAIN, shards, tmp_path / "out", tmp_path / "state")


@pytest.mark.parametrize(
    ("kind", "classes", "note"),
    [
        ("multi_label", ("ham", "spam"), ""),
        ("multi_label", ("eggs", "ham"), "; new classes, which begin untrained: 'eggs'; classes"),
        ("multi_label", ("ham",), "; classes that the data do not have any more: 'spam'"),
        ("multi_label", ("ham",), "can be released under another export.model_name only"),
        ("single_label", ("ham", "spam"), ", a model of task.kind=multi_label: its encoder is"),
        ("regression", (), "and the head of task.kind=regression begins untrained"),
    ],
)
def test_the_note_says_what_is_not_taken_of_the_release(
    kind: str, classes: tuple[str, ...], note: str
) -> None:
    trained: Any = SimpleNamespace(task=TaskInfo(kind="multi_label"), classes=("ham", "spam"))
    shards: Any = SimpleNamespace(task=SimpleNamespace(kind=kind), classes=classes)
    found = step.describe_head_difference(trained, shards)
    assert note in found if note else found == ""


@pytest.mark.parametrize(
    ("mean", "std", "note"),
    [
        (5.5, 2.5, ""),
        (
            200.0,
            60.0,
            ", which says numbers of a mean of 5 and a standard deviation of 3, where th",
        ),
        (5.0, 0.5, "if their units have changed, leave out model.start_from"),
    ],
)
def test_the_note_says_that_numbers_may_have_other_units(
    mean: float, std: float, note: str
) -> None:
    trained: Any = SimpleNamespace(task=TaskInfo(kind="regression", mean=5.0, std=3.0))
    shards: Any = SimpleNamespace(task=TaskInfo(kind="regression", mean=mean, std=std))
    found = step.describe_head_difference(trained, shards)
    assert note in found if note else found == ""


def test_workers_in_pods_need_a_registry_that_they_can_read(tmp_path: Path) -> None:
    """Fault E6."""
    release = StartingRelease(
        name="news", version=1, digest="a", store="/here/models", checkpoint="c"
    )
    start = StartingPoint(reference="/here/models/news", release=release)
    made = training_shards.make(tmp_path / "shards", start_from=start)
    model = training_shards.MODEL.model_copy(update={"start_from": start.reference})
    with (
        mock.patch.object(step, "_check_reachable"),
        pytest.raises(ConfigError, match=r"^model\.start_from: /here/models: the workers' pods ca"),
    ):
        step.run(
            model, TRAIN, made, tmp_path / "out", "gs://bucket/s", ClusterConfig(backend="jobset")
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
