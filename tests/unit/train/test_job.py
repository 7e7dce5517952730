from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.config.schema import ModelConfig, TrainConfig
from components.train.job import Job, StateLayout, training_id

# An option is either irrelevant to what is learned, or two runs that differ in it must not share their state.
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


def test_other_data_or_another_model_is_another_run() -> None:
    assert training_id(ModelConfig(), TrainConfig(), "others") != PLAIN
    assert training_id(ModelConfig(dropout=0.2), TrainConfig(), "shards") != PLAIN


@pytest.mark.parametrize("place", ["/somewhere", "gs://bucket/root"])
def test_workers_read_what_the_launcher_wrote(place: str) -> None:
    job = Job(
        model=ModelConfig(max_length=64),
        train=TrainConfig(seed=9),
        shards=f"{place}/shards",
        state=f"{place}/state",
    )
    assert Job.model_validate_json(job.model_dump_json(indent=2)) == job


def test_the_parts_of_a_state_do_not_overlap(tmp_path: Path) -> None:
    files = StateLayout(tmp_path)
    places = {files.checkpoints, files.best, files.finished, files.tensorboard}
    assert len(places) == 4
    assert {place.parent for place in places} == {tmp_path}
