"""Faults of trainings with their state in object storage, done to real workers.

The store is a file:// URI, which goes through the same code as any other; tests/e2e uses a server.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import checkpoint, manifest
from components.artifacts.checkpoint import CheckpointContent
from components.errors import DataError
from components.train.checkpointing.remote_checkpoints import CheckpointId, RemoteCheckpoints
from components.workers import exit_codes
from tests.support.training import local_training, training_shards

pytestmark = pytest.mark.timeout(900)
TRAIN: dict[str, Any] = {
    "model__encoder": "scratch",
    "model__max_length": 20,
    "model__vocab_size": 100,
    "model__hidden_size": 16,
    "model__intermediate_size": 16,
    "model__dropout": 0.2,
    "train__batch_size": 8,
    "train__epochs": 3,
    "train__learning_rate": 0.003,
    "train__length_buckets": [20],
    "train__checkpoint_every_steps": 3,
    "train__workers": 2,
}
STEPS = 3 * 24
FIRST_CHIEF = "000001"  # its lease, below which its checkpoints lie


def options(**changes: Any) -> list[str]:
    return local_training.options(**TRAIN | changes)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_shards.make(
        tmp_path_factory.mktemp("data") / "shards", rows={"train": 192, "validation": 20}
    )


@pytest.fixture(scope="module")
def uninterrupted_home(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained with its state in a plain directory."""
    home = tmp_path_factory.mktemp("undisturbed")
    local_training.train(home, shards, options())
    return home


def bucket(home: Path) -> str:
    return f"file://{home}/bucket"


def states(home: Path) -> list[str]:
    """The names of the trainings' states in the bucket, which the workers make first of all."""
    return [path.name for path in (home / "bucket").glob("*") if path.name != "features"]


def state(home: Path) -> RemoteCheckpoints:
    (found,) = states(home)
    return RemoteCheckpoints(f"{bucket(home)}/{found}")


def launch(home: Path, shards: Path, arguments: list[str]) -> Any:
    return local_training.launch(home, shards, arguments, scratch=bucket(home))


def wait_for_step(it: local_training.TrainLauncher, home: Path, step: int) -> int:
    """The newest step in the store, once it is at least this one."""

    def newest() -> int:
        assert it.process.poll() is None, it.wait()
        if not states(home):
            return 0
        found = [choice.step for choice in state(home).list_checkpoints()[:1]]
        return found[0] if found and found[0] >= step else 0

    return int(local_training.wait_for(newest, f"step {step} in the store"))


def messages(home: Path) -> list[str]:
    return [
        json.loads(line).get("message", "")
        for line in (home / "progress.jsonl").read_text().splitlines()
    ]


def list_resumed_steps(home: Path) -> list[int]:
    return [
        int(text.split()[4]) for text in messages(home) if text.startswith("going on from step")
    ]


def assert_as_undisturbed(home: Path, uninterrupted_home: Path) -> CheckpointContent:
    found, wanted = (
        checkpoint.open_checkpoint(run / "checkpoint").content for run in (home, uninterrupted_home)
    )
    assert len(found.step_losses) == STEPS
    np.testing.assert_allclose(found.step_losses, wanted.step_losses, rtol=1e-6, atol=1e-6)
    expected = local_training.weights(uninterrupted_home / "checkpoint")
    for name, value in local_training.weights(home / "checkpoint").items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "rank",
    [
        pytest.param(1, id="a_worker"),
        pytest.param(0, id="the_chief", marks=pytest.mark.nightly),
    ],
)
def test_a_killed_worker_group_resumes_from_the_store(
    rank: int, shards: Path, uninterrupted_home: Path, tmp_path: Path
) -> None:
    """Faults W1 and W2."""
    with launch(tmp_path, shards, options(train__max_restarts=1)) as it:
        killed_at = wait_for_step(it, tmp_path, 12)
        it.workers(2)[rank].kill()
        ended = it.wait()
    assert ended.code == 0, ended.output
    assert_as_undisturbed(tmp_path, uninterrupted_home)
    assert [step >= killed_at for step in list_resumed_steps(tmp_path)] == [True]
    assert len(state(tmp_path).list_checkpoints()) == 2  # train.keep_checkpoints, over all chiefs
    assert list((tmp_path / "checkpoint" / "tensorboard").glob("events.*"))


@pytest.mark.slow
def test_sigterm_loses_no_step_and_a_run_elsewhere_resumes(
    shards: Path, uninterrupted_home: Path, tmp_path: Path
) -> None:
    """Fault W3."""
    with launch(tmp_path, shards, options()) as it:
        wait_for_step(it, tmp_path, 12)
        it.process.send_signal(signal.SIGTERM)
        ended = it.wait()
    assert ended.code == exit_codes.PREEMPTED, ended.output
    saved = state(tmp_path).list_checkpoints()[0].step
    with launch(
        tmp_path, shards, options(train__workers=1)
    ) as it:  # nothing but the store is shared with the first run
        ended = it.wait()
    assert ended.code == 0, ended.output
    assert list_resumed_steps(tmp_path) == [saved]
    assert_as_undisturbed(tmp_path, uninterrupted_home)


@pytest.mark.slow
def test_a_chief_that_wakes_after_another_took_over_changes_nothing(
    shards: Path, uninterrupted_home: Path, tmp_path: Path
) -> None:
    """Fault W8."""
    arguments = options(train__workers=1)
    with local_training.launch(
        tmp_path / "first", shards, arguments, scratch=bucket(tmp_path)
    ) as first:
        wait_for_step(first, tmp_path, 12)
        (stale,) = first.workers(1).values()
        stale.send_signal(signal.SIGSTOP)
        with launch(tmp_path, shards, arguments) as second:
            ended = second.wait()
        assert ended.code == 0, ended.output
        before = list_write_times(tmp_path)
        stale.send_signal(signal.SIGCONT)
        ended = first.wait()
    assert ended.code == 0, (
        ended.output
    )  # its gang is started again, and finds the training finished
    assert [
        text
        for text in messages(tmp_path / "first")
        if text == "restart 1 of 3: worker 0 lost a peer"
    ]
    after = list_write_times(tmp_path)
    gone = before.keys() - after.keys()
    assert all(
        FIRST_CHIEF in path.parts for path in gone
    )  # it may have been stopped while it removed an old checkpoint of its own
    assert {path: after[path] for path in before.keys() - gone} == {
        path: before[path] for path in before.keys() - gone
    }
    assert_as_undisturbed(tmp_path, uninterrupted_home)


def list_write_times(home: Path) -> dict[Path, int]:
    """Write times of all objects but event files and unfinished uploads, which each chief has."""
    objects = (
        path
        for path in (home / "bucket").rglob("*")
        if path.is_file() and not path.name.startswith(".part-")
    )
    return {
        path: path.stat().st_mtime_ns
        for path in objects
        if not {"beats", "tensorboard"} & set(path.parts)
    }


@pytest.mark.slow
def test_what_was_finished_is_not_trained_again(shards: Path, tmp_path: Path) -> None:
    arguments = options(train__workers=1, train__epochs=1)
    for output in ("checkpoint", "again"):
        with local_training.launch(
            tmp_path, shards, arguments, output=output, scratch=bucket(tmp_path)
        ) as it:
            ended = it.wait()
        assert ended.code == 0, ended.output
    once, twice = (manifest.read_manifest(tmp_path / name) for name in ("checkpoint", "again"))
    assert once.digest == twice.digest
    events = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [event["unchanged"] for event in events if "unchanged" in event] == [True]
    assert (
        sum(event.get("message") == "starting 1 worker, products in float32" for event in events)
        == 1
    )


@pytest.mark.slow
def test_a_damaged_checkpoint_in_the_store_is_set_aside_and_never_means_step_0(
    shards: Path, uninterrupted_home: Path, tmp_path: Path
) -> None:
    """Faults C3 and C4."""
    with launch(tmp_path, shards, options(train__workers=1)) as it:
        wait_for_step(it, tmp_path, 12)
        it.process.send_signal(signal.SIGTERM)
        assert it.wait().code == exit_codes.PREEMPTED
    found = state(tmp_path).list_checkpoints()
    assert len(found) == 2
    flip(tmp_path, found[0])
    with launch(tmp_path, shards, options(train__workers=1)) as it:
        wait_for_step(it, tmp_path, found[0].step + 6)
        it.process.send_signal(signal.SIGTERM)
        assert it.wait().code == exit_codes.PREEMPTED
    assert list_resumed_steps(tmp_path) == [found[1].step]
    messages_found = [
        text
        for text in messages(tmp_path)
        if text.startswith("a damaged checkpoint was set aside: ")
    ]
    assert len(messages_found) == 1
    assert f"step-{found[0].step:09d}" in messages_found[0]
    for choice in state(tmp_path).list_checkpoints():
        flip(tmp_path, choice)
    for _ in range(2):
        with launch(tmp_path, shards, options(train__workers=1)) as it:
            ended = it.wait()
        assert ended.code == DataError.exit_code, ended.output
        assert "none of the checkpoints is valid" in ended.output
        assert "to train from the start" in ended.output


def flip(home: Path, choice: CheckpointId) -> None:
    (root,) = (home / "bucket").glob(
        f"*/checkpoints/{choice.generation:06d}/step-{choice.step:09d}"
    )
    path = root / "tensors.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def upload_checkpoint(tmp_path: Path) -> Any:
    """Pushes a checkpoint of (generation, step) whose best step is given."""
    remote = RemoteCheckpoints(f"file://{tmp_path}/bucket/key")

    def push(generation: int, step: int, best: int = 0) -> RemoteCheckpoints:
        directory = tmp_path / f"{generation}-{step}"
        with manifest.staged_artifact(directory) as work:
            (work / "tensors").write_text(f"{generation} {step}")
            manifest.commit(work, "checkpoint", content={"position": {"best_step": best}})
        remote.upload_checkpoint(directory, CheckpointId(generation, step))
        return remote

    return push


def test_checkpoints_of_a_newer_chief_come_before_later_ones_of_an_older_chief(
    upload_checkpoint: Any, tmp_path: Path
) -> None:
    """Fault W8."""
    for generation, step in ((1, 10), (2, 12), (1, 20)):
        remote = upload_checkpoint(generation, step)
    assert remote.list_checkpoints() == [
        CheckpointId(2, 12),
        CheckpointId(1, 20),
        CheckpointId(1, 10),
    ]
    chosen, complaints = remote.download_latest(tmp_path / "here")
    assert (chosen, complaints) == (CheckpointId(2, 12), [])
    assert (
        checkpoint.checkpoint_directory(tmp_path / "here", 12) / "tensors"
    ).read_text() == "2 12"


def test_retention_keeps_the_best_weights_that_kept_checkpoints_name(
    upload_checkpoint: Any, tmp_path: Path
) -> None:
    """Fault C6."""
    remote: RemoteCheckpoints = upload_checkpoint(1, 10, best=10)
    for step in (10, 20, 30):
        remote.upload_best(tmp_path / "1-10", CheckpointId(1, step))
    upload_checkpoint(1, 20, best=20)
    upload_checkpoint(2, 30, best=20)
    remote.delete_old_checkpoints(2)
    assert remote.list_checkpoints() == [CheckpointId(2, 30), CheckpointId(1, 20)]
    assert {key.split("/")[2] for key in remote.store.list("best")} == {"step-000000020"}
    remote.delete_old_checkpoints(1)
    assert remote.list_checkpoints() == [CheckpointId(2, 30)]
    assert remote.store.exists("best/000001/step-000000020/manifest.json")


def test_a_checkpoint_whose_upload_was_interrupted_does_not_exist(
    upload_checkpoint: Any, tmp_path: Path
) -> None:
    """Fault S3."""
    remote: RemoteCheckpoints = upload_checkpoint(1, 10)
    remote.store.write("checkpoints/000001/step-000000020/tensors", b"half")
    assert remote.list_checkpoints() == [CheckpointId(1, 10)]
    assert remote.download_latest(tmp_path / "here")[0] == CheckpointId(1, 10)


def test_a_state_without_checkpoints_is_a_start(tmp_path: Path) -> None:
    assert RemoteCheckpoints(f"file://{tmp_path}/nothing/key").download_latest(
        tmp_path / "here"
    ) == (
        None,
        [],
    )
