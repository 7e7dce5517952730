"""Options of a tiny training with two workers, which takes seconds."""

from __future__ import annotations

from typing import Any

from tests.support.training import local_training

TINY_TRAINING: dict[str, Any] = {
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
    "train__checkpoint_every_steps": 3,
    "train__workers": 2,
}


def tiny_options(**changes: Any) -> list[str]:
    """Arguments for `--set`, with some options changed."""
    return local_training.options(**TINY_TRAINING | changes)
