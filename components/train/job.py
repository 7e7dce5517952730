"""What every worker of a gang is told: one JSON file, the same for all of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.config import ModelConfig, TrainConfig

# None of these changes what is learned, so a run may go on with other values of them.
_IRRELEVANT = frozenset({"workers", "checkpoint_steps", "keep_checkpoints", "max_restarts", "start_deadline", "stall_deadline"})


class Job(BaseModel):
    """The work of a gang: data, model, options, and the directory that its state lies in."""

    model_config = ConfigDict(frozen=True)
    model: ModelConfig
    train: TrainConfig
    shards: Path
    scratch: Path

    @property
    def checkpoints(self) -> Path:
        """Periodic checkpoints, from which a killed run goes on."""
        return self.scratch / "checkpoints"

    @property
    def best(self) -> Path:
        """The weights of the best epoch so far."""
        return self.scratch / "best"

    @property
    def finished(self) -> Path:
        """The finished checkpoint; its manifest says that training is over."""
        return self.scratch / "finished"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files, written by the chief."""
        return self.scratch / "tensorboard"

    @property
    def failures(self) -> Path:
        """One file per worker that failed, with its message."""
        return self.scratch / "failures"


def key(model: ModelConfig, train: TrainConfig, shards_digest: str) -> str:
    """A name for the state of one training: equal for equal data, model and options that matter to the result."""
    identity = {
        "model": model.model_dump(mode="json"),
        "train": train.model_dump(mode="json", exclude=set(_IRRELEVANT)),
        "shards": shards_digest,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
