from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.artifacts.release import StartingRelease
from components.config.schema import ModelConfig, TrainConfig
from components.config.task import resolve_best_metric
from components.train.job import Job, StateLayout, training_id

# Two runs that differ in an option that affects what is learned must not share their state.
IRRELEVANT: dict[str, Any] = {
    "workers": 2,
    "checkpoint_every_steps": 7,
    "keep_checkpoints": 9,
    "max_restarts": 0,
    "rendezvous_timeout": 5,
    "stall_timeout": 5,
}
RELEVANT: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 33,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-4,
    "warmup_fraction": 0.2,
    "lr_schedule": "constant",
    "weight_decay": 0.02,
    "clip_norm": 0.0,
    "precision": "bfloat16",
    "xla": True,
    "seed": 2,
    "length_buckets": (8, 16),
    "length_grouping_batches": 1,
    "class_weights": {"a": 1.0, "b": 2.0},
    "label_smoothing": 0.1,
    "best_metric": "loss",
    "early_stopping_patience": 1,
}
PLAIN = training_id(ModelConfig(), TrainConfig(), "shards")


def test_every_option_is_known_here() -> None:
    assert set(TrainConfig.model_fields) == set(IRRELEVANT) | set(RELEVANT)


@pytest.mark.parametrize("name", IRRELEVANT)
def test_a_run_goes_on_with_another(name: str) -> None:
    assert training_id(ModelConfig(), TrainConfig(**{name: IRRELEVANT[name]}), "shards") == PLAIN


@pytest.mark.parametrize("name", RELEVANT)
def test_another_is_another_run(name: str) -> None:
    assert training_id(ModelConfig(), TrainConfig(**{name: RELEVANT[name]}), "shards") != PLAIN


def test_the_weights_that_a_training_begins_with_are_its_identity_and_not_where_they_are() -> None:
    start = StartingRelease(name="news", version=1, digest="a", store="models", checkpoint="c")
    moved = StartingRelease(name="new", version=7, digest="b", store="gs://x", checkpoint="c")
    identity = training_id(ModelConfig(), TrainConfig(), "shards", start)
    assert identity != PLAIN
    assert training_id(ModelConfig(), TrainConfig(), "shards", moved) == identity
    other = start.model_copy(update={"checkpoint": "d"})
    assert training_id(ModelConfig(), TrainConfig(), "shards", other) != identity
    assert training_id(ModelConfig(start_from="models/news"), TrainConfig(), "shards") == PLAIN


def test_other_data_or_another_model_is_another_run() -> None:
    assert training_id(ModelConfig(), TrainConfig(), "others") != PLAIN
    assert training_id(ModelConfig(dropout=0.2), TrainConfig(), "shards") != PLAIN


@pytest.mark.parametrize(
    ("model", "train", "identity"),
    [
        pytest.param({}, {}, "710e16e129f68b64", id="defaults"),
        pytest.param(
            {
                "encoder": "scratch",
                "intermediate_size": 64,
                "num_layers": 3,
                "num_heads": 2,
                "vocab_size": 500,
            },
            {
                "gradient_accumulation_steps": 2,
                "best_metric": "loss",
                "length_buckets": (8,),
                "lr_schedule": "constant",
                "early_stopping_patience": 2,
                "length_grouping_batches": 3,
                "checkpoint_every_steps": 9,
                "stall_timeout": 50,
            },
            "56c3fcbd847760c6",
            id="renamed options",
        ),
    ],
)
def test_a_training_keeps_its_identity_when_options_are_renamed(
    model: dict[str, Any], train: dict[str, Any], identity: str
) -> None:
    # These were computed before the options had the names of today: states of then are found again.
    options = resolve_best_metric(TrainConfig(**train), "single_label")
    assert training_id(ModelConfig(**model), options, "shards") == identity


@pytest.mark.parametrize("root", ["/somewhere", "gs://bucket/root"])
def test_workers_read_what_the_launcher_wrote(root: str) -> None:
    job = Job(
        model=ModelConfig(max_length=64),
        train=TrainConfig(seed=9),
        shards=f"{root}/shards",
        state=f"{root}/state",
    )
    assert Job.model_validate_json(job.model_dump_json(indent=2)) == job


def test_the_parts_of_a_state_do_not_overlap(tmp_path: Path) -> None:
    layout = StateLayout(tmp_path)
    directories = {layout.checkpoints, layout.best, layout.finished_checkpoint, layout.tensorboard}
    assert len(directories) == 4
    assert {directory.parent for directory in directories} == {tmp_path}
