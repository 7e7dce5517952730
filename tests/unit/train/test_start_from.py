"""Trainings that begin with a release, by real workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components import registry
from components.artifacts import manifest
from components.artifacts.checkpoint import CheckpointContent, open_checkpoint
from components.artifacts.release import StartingPoint, open_release
from components.registry.starting_point import publish_checkpoint, resolve_starting_point
from components.storage.store import open_store
from tests.support.releases.release_directories import CONTENT, release_directory
from tests.support.training import local_training, tiny_checkpoint, training_shards
from tests.support.training.tiny_training import tiny_options

pytestmark = pytest.mark.timeout(1200)
ROWS: Any = {"train": 40, "validation": 12, "test": 5}


def release_checkpoint(root: Path) -> StartingPoint:
    """What a reference to a model means whose champion has an untrained checkpoint."""
    tiny_checkpoint.make_checkpoint(root / "checkpoint")
    checkpoint, store = open_checkpoint(root / "checkpoint"), open_store(str(root / "models"))
    directory = release_directory(root / "release", "a")
    manifest.commit(
        directory,
        "release",
        content=CONTENT.model_dump(mode="json"),
        inputs={"checkpoint": checkpoint.digest, "shards": "others"},
    )
    publish_checkpoint(checkpoint, store, "news")
    registry.publish(open_release(directory), store, "news", "key")
    return resolve_starting_point(store.uri("news"))


@pytest.mark.slow
def test_workers_continue_a_release_alike_and_go_on_from_it_after_a_kill(tmp_path: Path) -> None:
    """Fault W1."""
    start = release_checkpoint(tmp_path)
    shards = training_shards.make(tmp_path / "shards", rows=ROWS, start_from=start)
    learned: dict[int, CheckpointContent] = {}
    for workers in (1, 2):
        home = tmp_path / str(workers)
        arguments = tiny_options(
            model__start_from=start.reference,
            train__workers=workers,
            train__epochs=1,
            train__checkpoint_every_steps=1,
        )
        with local_training.launch(home, shards, arguments) as launcher:
            if workers == 2:
                launcher.wait_for_step(1)
                launcher.workers(2)[1].kill()
            ended = launcher.wait()
        assert ended.code == 0, ended.output
        learned[workers] = open_checkpoint(home / "checkpoint").content
    alone, together = learned[1], learned[2]
    np.testing.assert_allclose(together.step_losses, alone.step_losses, atol=2e-6)
    assert start.release is not None
    assert alone.start_from == together.start_from == start.release.lineage
    assert alone.model.start_from is None
    # The head of that checkpoint is far from a new one, whose first loss is that of a guess.
    assert abs(alone.step_losses[0] - np.log(3)) > 0.3
    expected = local_training.weights(tmp_path / "1" / "checkpoint")
    for name, value in local_training.weights(tmp_path / "2" / "checkpoint").items():
        np.testing.assert_allclose(value, expected[name], atol=2e-5, err_msg=name)
