"""What every worker of a gang is told: one JSON file, the same for all of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from components.config.schema import ModelConfig, TrainConfig

STATE_FORMAT = 2
"""Raised when a training's state has other tensors than before: older states are then left alone."""

# None of these changes what is learned, so a run may go on with other values of them.
_IRRELEVANT = frozenset(
    {
        "workers",
        "checkpoint_every_steps",
        "keep_checkpoints",
        "max_restarts",
        "rendezvous_timeout",
        "stall_timeout",
    }
)


class Job(BaseModel):
    """The work of a gang: model, options, and where the shards and the training's state lie (paths, or URIs of a store)."""

    model_config = ConfigDict(frozen=True)
    model: ModelConfig
    train: TrainConfig
    shards: str
    state: str

    @field_validator("train")
    @classmethod
    def _resolved(cls, train: TrainConfig) -> TrainConfig:
        if train.precision == "auto":
            raise ValueError("precision: auto must be resolved before workers are told of it")
        return train


@dataclass(frozen=True)
class StateLayout:
    """Where the parts of a training's state lie below its directory."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        """Periodic checkpoints, from which a killed run goes on."""
        return self.root / "checkpoints"

    @property
    def best(self) -> Path:
        """The weights of the best epoch so far."""
        return self.root / "best"

    @property
    def finished(self) -> Path:
        """The finished checkpoint; its manifest says that training is over."""
        return self.root / "finished"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files, written by the chief."""
        return self.root / "tensorboard"


def training_id(model: ModelConfig, train: TrainConfig, shards_digest: str) -> str:
    """A name for the state of one training: equal for equal data, model and options that matter to the result."""
    identity = {
        "format": STATE_FORMAT,
        "model": model.model_dump(mode="json"),
        "train": train.model_dump(mode="json", exclude=set(_IRRELEVANT)),
        "shards": shards_digest,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
