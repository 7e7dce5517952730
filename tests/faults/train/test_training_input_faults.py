"""Faults of data and options: the training ends before, or at the step that shows them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts.token_shards import open_shards
from components.config.schema import ModelConfig, TrainConfig
from components.errors import ConfigError, DataError
from components.model.encoders import load_vocabulary
from components.train import step
from components.train.loop.batch_plan import plan_epoch
from tests.support.training import local_training, tiny_bert, training_shards
from tests.support.training.tiny_training import tiny_options as options

pytestmark = pytest.mark.timeout(900)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_all_workers_at_one_step(tmp_path: Path) -> None:
    # The embedding of one word is infinite. Only one training row has the word, and the epoch plan
    # puts that row into a batch in mid-epoch.
    """Fault T1."""
    bad_step, token = 10, tiny_bert.PIECES.index("q")
    weights = tiny_bert.tensors()
    weights["bert.embeddings.word_embeddings.weight"][token] = np.inf
    encoder = f"hf:{tiny_bert.write(tmp_path / 'bert', weights)}"
    vocabulary = load_vocabulary(ModelConfig(encoder=encoder))
    assert vocabulary is not None
    make = partial(
        training_shards.make,
        encoder=encoder,
        vocabulary=vocabulary,
        max_length=16,
        rows={"train": 192, "validation": 20},
    )
    row = _row_of_step(bad_step, make(tmp_path / "without it"))
    shards = make(tmp_path / "shards", rare_in_train=(row, token))
    arguments = options(
        model__encoder=encoder,
        model__max_length=16,
        train__length_buckets=[16],
        train__checkpoint_every_steps=1,
    )
    with local_training.launch(tmp_path, shards, arguments) as it:
        ended = it.wait()
    assert ended.code == DataError.exit_code == 65, ended.output
    assert f"step {bad_step}: the loss is nan, so training stopped" in ended.output
    assert "train.learning_rate" in ended.output
    logs = local_training.work(tmp_path) / "logs"
    assert sorted(path.name for path in logs.iterdir()) == [
        "attempt-01-worker-0.log",
        "attempt-01-worker-1.log",
    ]
    assert all(f"step {bad_step}:" in path.read_text() for path in logs.iterdir())
    assert local_training.last_step(tmp_path) == bad_step - 1
    assert not (tmp_path / "checkpoint").exists()
    assert not (local_training.work(tmp_path) / "finished").exists()


def _row_of_step(step: int, shards: Path) -> int:
    lengths = open_shards(shards).open_split("train").read_lengths()
    plan = plan_epoch(
        lengths,
        batch_size=8,
        buckets=(16,),
        window=TrainConfig().length_grouping_batches,
        seed=TrainConfig().seed,
        epoch=0,
    )
    return int(plan.batch(step - 1)[3])


@pytest.mark.parametrize(
    ("model", "train", "rows", "error", "named"),
    [
        (
            {"encoder": "minilm"},
            {},
            {},
            ConfigError,
            "model.encoder is minilm, but the shards were tokenized for scratch",
        ),
        (
            {"max_length": 32},
            {},
            {},
            ConfigError,
            "model.max_length is 32, but the shards were cut at 20",
        ),
        (
            {},
            {"batch_size": 200},
            {},
            ConfigError,
            "train.batch_size is 200, but there are only 192 training rows",
        ),
        (
            {},
            {"class_weights": {"calm": 1, "lout": 2, "odd": 1}},
            {},
            ConfigError,
            "train.class_weights: the data have no class 'lout'",
        ),
        (
            {},
            {"class_weights": {"calm": 1}},
            {},
            ConfigError,
            "train.class_weights: no weight for 'loud', 'odd'",
        ),
        ({}, {}, {"train": 0}, DataError, "no train rows"),
        ({}, {}, {"validation": 0}, DataError, "no validation rows"),
    ],
    ids=["encoder", "length", "batch", "weight", "no weight", "no rows", "no validation rows"],
)
def test_incompatible_options_are_rejected_before_any_worker_starts(
    model: dict[str, Any],
    train: dict[str, Any],
    rows: Any,
    error: type[Exception],
    named: str,
    tmp_path: Path,
) -> None:
    """Fault T2."""
    made = training_shards.make(tmp_path / "shards", rows={"train": 192, "validation": 20} | rows)
    options = (
        training_shards.MODEL.model_copy(update=model),
        TrainConfig(**{"batch_size": 8} | train),
    )
    with pytest.raises(error, match=named):
        step.run(*options, made, tmp_path / "out", tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_minimum_for_an_unknown_class_is_an_error_before_the_training(tmp_path: Path) -> None:
    """Fault T2."""
    made = training_shards.make(tmp_path / "shards", rows={"train": 192, "validation": 20})
    with pytest.raises(ConfigError) as caught:
        step.run(
            training_shards.MODEL,
            TrainConfig(batch_size=8),
            made,
            tmp_path / "out",
            tmp_path / "scratch",
            minimum_classes=("calm", "Loud"),
        )
    assert str(caught.value) == (
        "evaluate.minimum: the data have no class 'Loud'; the classes are 'calm', 'loud', 'odd'"
    )
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    "option",
    [
        "epochs=0",
        "batch_size=0",
        "learning_rate=-1",
        "learning_rate=.nan",
        "precision=int8",
        "workers=64",
        "warmup_fraction=1",
        "length_buckets=[16, 8]",
    ],
)
def test_an_impossible_option_is_named(option: str, tmp_path: Path) -> None:
    """Fault T2."""
    command = [
        sys.executable,
        "-m",
        "components.train",
        "--shards",
        "x",
        "--output",
        "x",
        "--scratch",
        "x",
        "--set",
        f"train.{option}",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 78
    assert option.partition("=")[0] in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_damaged_shards_are_rejected_before_any_worker_starts(tmp_path: Path) -> None:
    """Fault D1."""
    made = training_shards.make(tmp_path / "shards")
    os.truncate(made / "train-00001.arrow", 100)
    with pytest.raises(DataError, match="train-00001"):
        step.run(
            training_shards.MODEL,
            TrainConfig(batch_size=8),
            made,
            tmp_path / "out",
            tmp_path / "scratch",
        )
    assert not (tmp_path / "scratch").exists()
