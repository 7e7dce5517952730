"""Checkpoints: a finished one is the train step's artifact; a periodic one lets a killed run go on where it was.

A periodic checkpoint is a sealed directory named by its step. The newest one that verifies is used; TensorFlow's own
`checkpoint` pointer file plays no part, because a truncated one silently means step 0.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.artifacts.artifact import Artifact, parse_content, verify_artifact
from components.artifacts.manifest import Manifest
from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError

WEIGHTS_PREFIX = "weights/model"
VOCABULARY_FILENAME = "vocab.txt"
_NAME = re.compile(r"step-(\d{9})")


class EpochMetrics(BaseModel):
    """Figures of one pass: mean losses are cross-entropy in nats, accuracies shares, `seconds` wall time of training steps."""

    model_config = ConfigDict(frozen=True)
    epoch: int
    steps: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


class CheckpointContent(BaseModel):
    """What a finished checkpoint says of itself; the manifest's `content`.

    `step_losses` is the mean training loss of every optimizer step; `best_step` is the step whose weights these are.
    """

    model_config = ConfigDict(frozen=True)
    classes: tuple[str, ...]
    vocabulary_sha256: str
    lower_case: bool
    model: ModelConfig
    encoder_fingerprint: str
    history: tuple[EpochMetrics, ...]
    best_step: int
    steps: int
    step_losses: tuple[float, ...]
    train_examples_per_second: float
    padding_efficiency: float
    workers: int


def open_checkpoint(directory: Path) -> Artifact[CheckpointContent]:
    """Verify a finished checkpoint; DataError if a file or its content is not what it should be."""
    manifest = verify_artifact(directory, "checkpoint")
    return Artifact(directory, manifest, parse_content(CheckpointContent, manifest, directory))


def check_same_training(
    found: Mapping[str, object], wanted: Mapping[str, object], where: Path
) -> None:
    """ConfigError naming the first field in which a checkpoint was made for something else."""
    for field, value in wanted.items():
        if found.get(field) != value:
            raise ConfigError(
                f"{where}: made for another {field} ({_short(found.get(field))}, this run has {_short(value)}); "
                "train into an empty work directory, or go back to the old setting"
            )


def checkpoint_directory(root: Path, step: int) -> Path:
    """Where the periodic checkpoint of a step lies."""
    return root / f"step-{step:09d}"


def list_periodic_checkpoints(root: Path) -> list[tuple[int, Path]]:
    """All periodic checkpoints by name, newest first, whether they are valid or not."""
    if not root.is_dir():
        return []
    found = [
        (int(match[1]), path) for path in root.iterdir() if (match := _NAME.fullmatch(path.name))
    ]
    return sorted(found, reverse=True)


def find_newest_valid_checkpoint(root: Path) -> tuple[int, Path, Manifest, list[str]] | None:
    """The newest periodic checkpoint that verifies, with what was wrong with each newer one; None if there are none at all.

    A bad one is set aside under a `bad-` name. DataError if there are some but none is valid: starting afresh is for
    a person to decide.
    """
    candidates = list_periodic_checkpoints(root)
    complaints: list[str] = []
    for step, path in candidates:
        try:
            return step, path, verify_artifact(path, "checkpoint"), complaints
        except DataError as error:
            complaints.append(str(error))
            aside = root / f"bad-{path.name}"
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
    if candidates:
        raise DataError(
            f"{root}: none of its {len(candidates)} checkpoints is valid ({complaints[0]}); they were set aside as bad-*. "
            "Remove the directory to train from the start"
        )
    if root.is_dir() and (aside_before := sorted(root.glob("bad-step-*"))):
        raise DataError(
            f"{root}: holds only checkpoints found bad ({aside_before[-1].name}); remove the directory to train from the start"
        )
    return None


def delete_old_checkpoints(root: Path, keep: int) -> None:
    """Remove all but the newest `keep` periodic checkpoints, and what killed saves left; call it only after a newer one was sealed."""
    for path in [
        *(path for _, path in list_periodic_checkpoints(root)[keep:]),
        *root.glob(".step-*"),
    ]:
        shutil.rmtree(path, ignore_errors=True)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
