"""Faults of checkpoints and of their disk, with the real model, optimizer and files."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts import checkpoint
from components.artifacts.artifact import verify_artifact
from components.config.schema import TrainConfig
from components.errors import ConfigError, DataError, ExitCode
from components.model.classifier import build_classifier
from components.train.checkpointing.train_state import (
    TrainState,
    load_train_state,
    save_train_state,
)
from components.train.loop.optimizer import build_optimizer
from components.workers import exit_codes
from tests.support.stores.small_disk import mounted_small_disk
from tests.support.training import local_training, training_shards

pytestmark = pytest.mark.timeout(900)
IDENTITY: dict[str, object] = {
    "vocabulary_sha256": "a" * 64,
    "classes": ["calm", "loud"],
    "encoder_fingerprint": "c" * 64,
    "run": "d",
}
RUN = local_training.options(
    model__encoder="scratch",
    model__max_length=20,
    model__vocab_size=100,
    model__hidden_size=16,
    model__intermediate_size=16,
    train__batch_size=8,
    train__epochs=4,
    train__learning_rate=0.003,
    train__length_buckets=[20],
    train__checkpoint_every_steps=3,
)


@pytest.fixture(scope="module")
def tensors() -> tf.train.Checkpoint:
    model = build_classifier(training_shards.MODEL, training_shards.VOCABULARY, 3, seed=1)
    optimizer = build_optimizer(TrainConfig(), 100)
    optimizer.apply_gradients(
        [(tf.ones_like(variable), variable) for variable in model.trainable_variables]
    )
    return tf.train.Checkpoint(model=model, optimizer=optimizer)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_small_disk(tmp_path / "small", "3m") as directory:
        yield directory


def fill(directory: Path) -> Path:
    ballast = directory / "ballast"
    with open(ballast, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            return ballast


def save(root: Path, tensors: tf.train.Checkpoint, *steps: int, keep: int = 5) -> None:
    for step in steps:
        state = TrainState(step=step).with_losses([0.5] * step)
        save_train_state(root, tensors, state, IDENTITY, keep)


def test_what_was_saved_comes_back(tmp_path: Path, tensors: tf.train.Checkpoint) -> None:
    state = TrainState(
        step=3,
        best_step=2,
        epoch_loss=1.5,
        seconds=2.0,
        rows_timed=24,
        step_losses=(0.1, 0.2, 1 / 3),
    )
    before = [
        variable.numpy().copy()
        for variable in tensors.model.variables + tensors.optimizer.variables()
    ]
    save_train_state(tmp_path, tensors, state, IDENTITY, 1)
    for variable in tensors.model.variables + tensors.optimizer.variables():
        variable.assign(tf.zeros_like(variable))
    assert (
        load_train_state(checkpoint.checkpoint_directory(tmp_path, 3), tensors, IDENTITY) == state
    )
    for value, variable in zip(
        before, tensors.model.variables + tensors.optimizer.variables(), strict=True
    ):
        np.testing.assert_array_equal(value, variable.numpy())


def test_a_full_disk_leaves_the_old_checkpoint_and_no_temporary_files(
    small_disk: Path, tensors: tf.train.Checkpoint
) -> None:
    """Fault C1."""
    root = small_disk / "checkpoints"
    save(root, tensors, 1)
    ballast = fill(small_disk)
    with pytest.raises((OSError, tf.errors.OpError), match="No space left"):
        save(root, tensors, 2)
    assert [path.name for path in root.iterdir()] == ["step-000000001"]
    found = checkpoint.find_newest_valid_checkpoint(root)
    assert found is not None
    assert found[0] == 1
    ballast.unlink()
    save(root, tensors, 2)
    assert [step for step, _ in checkpoint.list_periodic_checkpoints(root)] == [2, 1]


@pytest.mark.slow
def test_a_run_on_a_full_disk_fails_with_the_cause_and_resumes_when_there_is_space(
    small_disk: Path, tmp_path: Path
) -> None:
    """Fault C1."""
    shards = training_shards.make(tmp_path / "shards", rows={"train": 192, "validation": 20})
    home = tmp_path / "home"
    home.mkdir()
    (home / "scratch").symlink_to(small_disk)
    arguments = [*RUN, *local_training.options(train__max_restarts=1)]
    with local_training.launch(home, shards, arguments) as it:
        it.wait_for_step(6)
        ballast = fill(small_disk)
        ended = it.wait()
    assert ended.code == ExitCode.WORKERS_FAILED, ended.output
    assert f"worker 0 {exit_codes.describe_exit_code(exit_codes.DISK_FULL)}" in ended.output
    assert "Traceback" not in ended.output.partition("worker 0, ")[0]
    assert not (home / "checkpoint").exists()
    saved = local_training.last_step(home)
    assert saved >= 6
    verify_artifact(
        checkpoint.checkpoint_directory(local_training.work(home) / "checkpoints", saved),
        "checkpoint",
    )
    assert list((local_training.work(home) / "checkpoints").glob(".step-*")) == []
    ballast.unlink()
    content = local_training.train(home, shards, arguments)
    assert len(content.step_losses) == 96
    assert any(
        event.get("message", "").startswith(f"going on from step {saved} ")
        for event in _events(home)
    )


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


HARM: dict[str, Callable[[Path], None]] = {
    "data truncated": lambda d: os.truncate(d / "tensors.data-00000-of-00001", 100),
    "data flipped": lambda d: _flip(d / "tensors.data-00000-of-00001"),
    "data missing": lambda d: (d / "tensors.data-00000-of-00001").unlink(),
    "index truncated": lambda d: os.truncate(d / "tensors.index", 10),
    "index flipped": lambda d: _flip(d / "tensors.index"),
    "index missing": lambda d: (d / "tensors.index").unlink(),
    "losses missing": lambda d: (d / "losses.npy").unlink(),
    "manifest truncated": lambda d: os.truncate(d / "manifest.json", 100),
    "manifest missing": lambda d: (d / "manifest.json").unlink(),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_newest_checkpoint_is_replaced_by_the_one_before(
    harm: str, tmp_path: Path, tensors: tf.train.Checkpoint
) -> None:
    """Fault C3."""
    save(tmp_path, tensors, 1, 2)
    HARM[harm](checkpoint.checkpoint_directory(tmp_path, 2))
    found = checkpoint.find_newest_valid_checkpoint(tmp_path)
    assert found is not None
    step, path, _, complaints = found
    assert (step, len(complaints)) == (1, 1)
    assert "step-000000002" in complaints[0]
    assert load_train_state(path, tensors, IDENTITY).step == 1
    assert (tmp_path / "bad-step-000000002").is_dir()


@pytest.fixture(scope="module")
def stopped_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a run that Ctrl-C stopped, with two periodic checkpoints."""
    home = tmp_path_factory.mktemp("stopped")
    shards = training_shards.make(home / "shards", rows={"train": 192, "validation": 20})
    with local_training.launch(home, shards, RUN) as it:
        it.wait_for_step(9)
        it.process.send_signal(signal.SIGINT)
        assert it.wait().code == exit_codes.PREEMPTED
    assert len(checkpoint.list_periodic_checkpoints(local_training.work(home) / "checkpoints")) == 2
    return home


@pytest.mark.slow
def test_a_run_falls_back_reports_it_and_ends_with_the_same_result(
    stopped_home: Path, tmp_path: Path
) -> None:
    """Fault C3."""
    whole = local_training.train(tmp_path / "whole", stopped_home / "shards", RUN)
    home = tmp_path / "home"
    shutil.copytree(stopped_home, home)
    (newest, damaged), (older, _) = checkpoint.list_periodic_checkpoints(
        local_training.work(home) / "checkpoints"
    )
    _flip(damaged / "tensors.data-00000-of-00001")
    content = local_training.train(home, stopped_home / "shards", RUN)
    np.testing.assert_allclose(content.step_losses, whole.step_losses, rtol=1e-6, atol=1e-6)
    message = [event.get("message", "") for event in _events(home)]
    assert [
        text
        for text in message
        if text.startswith("a damaged checkpoint was set aside: ") and damaged.name in text
    ]
    assert [text for text in message if text.startswith(f"going on from step {older} ")]
    assert (local_training.work(home) / "checkpoints" / f"bad-step-{newest:09d}").is_dir()


@pytest.mark.slow
def test_without_a_valid_checkpoint_a_run_stops_and_never_restarts_at_step_0(
    stopped_home: Path, tmp_path: Path
) -> None:
    """Fault C4."""
    home = tmp_path / "home"
    shutil.copytree(stopped_home, home)
    for _, path in checkpoint.list_periodic_checkpoints(local_training.work(home) / "checkpoints"):
        (path / "tensors.index").unlink()
    for message in ("none of its 2 checkpoints is valid", "holds only checkpoints found bad"):
        with local_training.launch(home, stopped_home / "shards", RUN) as it:
            ended = it.wait()
        assert ended.code == DataError.exit_code, ended.output
        assert message in ended.output
        assert "to train from the start" in ended.output
    shutil.rmtree(local_training.work(home) / "checkpoints")  # a fresh start, as the message says
    assert len(local_training.train(home, stopped_home / "shards", RUN).step_losses) == 96


@pytest.mark.parametrize("field", IDENTITY)
def test_a_checkpoint_of_another_training_is_refused_by_field(
    field: str, tmp_path: Path, tensors: tf.train.Checkpoint
) -> None:
    """Fault C5."""
    save(tmp_path, tensors, 1)
    before = [variable.numpy().copy() for variable in tensors.model.variables]
    with pytest.raises(ConfigError, match=f"step-000000001: made for another {field} "):
        load_train_state(
            checkpoint.checkpoint_directory(tmp_path, 1), tensors, IDENTITY | {field: "other"}
        )
    assert all(
        np.array_equal(value, variable.numpy())
        for value, variable in zip(before, tensors.model.variables, strict=True)
    )


def test_old_checkpoints_are_deleted_only_after_a_newer_one_is_committed(
    tmp_path: Path, tensors: tf.train.Checkpoint
) -> None:
    """Fault C6."""
    save(tmp_path, tensors, 1, keep=1)

    class Fails(tf.train.Checkpoint):
        def write(self, *_: Any, **__: Any) -> str:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        save(tmp_path, Fails(model=tensors.model), 2, keep=1)
    assert [step for step, _ in checkpoint.list_periodic_checkpoints(tmp_path)] == [1]
    save(tmp_path, tensors, 2, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000002"]


def test_saving_a_step_again_replaces_its_checkpoint(
    tmp_path: Path, tensors: tf.train.Checkpoint
) -> None:
    """Fault C6."""
    save(tmp_path, tensors, 4, keep=1)
    state = TrainState(step=4, best_step=4).with_losses([0.1])
    save_train_state(tmp_path, tensors, state, IDENTITY, 1)
    directory = checkpoint.checkpoint_directory(tmp_path, 4)
    assert load_train_state(directory, tensors, IDENTITY).best_step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000004"]


def _events(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "progress.jsonl").read_text().splitlines()]
