"""The job document of a training, equal for all its workers, and the layout of its state."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from components.artifacts.release import StartingRelease
from components.config.renamed_options import to_stored_names
from components.config.schema import ModelConfig, TrainConfig

STATE_FORMAT = 2
"""Raise it when a training's state gets other tensors: states of older formats are then ignored."""

_IRRELEVANT_OPTIONS = frozenset(
    {
        "workers",
        "checkpoint_every_steps",
        "keep_checkpoints",
        "max_restarts",
        "rendezvous_timeout",
        "stall_timeout",
    }
)
"""Options of `train` that do not change the result: a resumed training may change them."""


class Job(BaseModel):
    """What the workers compute: model, options, paths or URIs of shards and state.

    `start` is the release to begin with; it replaces `model.start_from`, which is None here.
    """

    model_config = ConfigDict(frozen=True)
    model: ModelConfig
    train: TrainConfig
    shards: str
    state: str
    start: StartingRelease | None = None

    @field_validator("train")
    @classmethod
    def _check_precision(cls, train: TrainConfig) -> TrainConfig:
        if train.precision == "auto":
            raise ValueError("precision: auto must be resolved before the job is written")
        return train


@dataclass(frozen=True)
class StateLayout:
    """Paths of the parts of a training's state, below its directory."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        """Periodic checkpoints, from which a killed training goes on."""
        return self.root / "checkpoints"

    @property
    def best(self) -> Path:
        """The weights of the best epoch so far."""
        return self.root / "best"

    @property
    def finished_checkpoint(self) -> Path:
        """The finished checkpoint; the training is over once its manifest exists."""
        return self.root / "finished"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files, written by the chief."""
        return self.root / "tensorboard"


def training_id(
    model: ModelConfig,
    train: TrainConfig,
    shards_digest: str,
    start: StartingRelease | None = None,
) -> str:
    """The name of a training's state: equal for equal data, model and options that matter.

    Of a release to begin with, the weights matter, not its name, version or location.
    """
    model = model.model_copy(update={"start_from": None})
    options = train.model_dump(mode="json", exclude=set(_IRRELEVANT_OPTIONS))
    identity: dict[str, object] = {
        "format": STATE_FORMAT,
        "model": to_stored_names("model", model.model_dump(mode="json")),
        "train": to_stored_names("train", options),
        "shards": shards_digest,
    }
    if start is not None:
        identity["start"] = start.checkpoint
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
