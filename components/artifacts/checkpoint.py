"""Checkpoints: the finished one that the train step makes, and periodic ones to resume from.

A periodic checkpoint is an artifact in a directory named by its step. The newest one that verifies
is used. TensorFlow's own `checkpoint` pointer file is not used, because a truncated one silently
means step 0.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    field_serializer,
    field_validator,
)

from components.artifacts.artifact import Artifact, parse_content, verify_artifact
from components.artifacts.manifest import Manifest, added_field
from components.artifacts.release import ReleaseLineage, StoredInputs
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.vocabulary import StoredStripAccents
from components.config.data import SINGLE_INPUT
from components.config.renamed_options import from_stored_names, to_stored_names
from components.config.schema import ModelConfig
from components.errors import ConfigError, DataError

WEIGHTS_PREFIX = "weights/model"
VOCABULARY_FILENAME = "vocab.txt"
MAX_SHOWN_CHARACTERS = 60
_DIRECTORY_PATTERN = re.compile(r"step-(\d{9})")


class EpochMetrics(BaseModel):
    """Metrics of one epoch.

    Losses are means: of the training loss, which weights and label smoothing change, and of the
    plain loss of the validation rows: the cross-entropy in nats, or for a regression the squared
    error of the standardized numbers. Accuracies and F1 are fractions of 1. Of several labels per
    row, accuracies count the rows whose labels are all right, where a probability of one half or
    more counts as the label. Macro-F1 is 0, and left out of the manifest, unless it selects the
    best epoch or rows have several labels, for which there is micro-F1, too. A regression has no
    accuracies. `seconds` is the wall time of the training steps.
    """

    model_config = ConfigDict(frozen=True)
    epoch: int
    steps: int
    train_loss: float
    train_accuracy: float | None = added_field(None)
    validation_loss: float
    validation_accuracy: float | None = added_field(None)
    validation_macro_f1: float = added_field(0.0)
    validation_micro_f1: float = added_field(0.0)
    learning_rate: float
    seconds: float


class CheckpointContent(BaseModel):
    """Description of a finished checkpoint: the manifest's `content`.

    `step_losses` has the mean training loss of every optimizer step; `best_step` is the step whose
    weights these are. `start_from` is the release that the training began with, if any.
    `inputs` names the texts that it was trained on, two for pairs. `task` says what it predicts.
    """

    model_config = ConfigDict(frozen=True)
    classes: tuple[str, ...]
    vocabulary_sha256: str
    lower_case: bool
    strip_accents: StoredStripAccents = None
    model: ModelConfig
    encoder_fingerprint: str
    history: tuple[EpochMetrics, ...]
    best_step: int
    steps: int
    step_losses: tuple[float, ...]
    train_examples_per_second: float
    padding_efficiency: float
    workers: int
    start_from: ReleaseLineage | None = added_field(None)
    inputs: StoredInputs = SINGLE_INPUT
    task: TaskInfo = added_field(SINGLE_LABEL)

    @field_validator("model", mode="before")
    @classmethod
    def _read_stored_names(cls, model: Any) -> Any:
        return from_stored_names("model", model) if isinstance(model, Mapping) else model

    @field_serializer("model")
    def _write_stored_names(self, model: ModelConfig) -> dict[str, Any]:
        return to_stored_names("model", model.model_dump(mode="json"))


def open_checkpoint(directory: Path) -> Artifact[CheckpointContent]:
    """Verify a finished checkpoint; DataError if a file or its content is not what it should be."""
    manifest = verify_artifact(directory, "checkpoint")
    return Artifact(directory, manifest, parse_content(CheckpointContent, manifest, directory))


def check_same_training(
    found: Mapping[str, object], expected: Mapping[str, object], directory: Path
) -> None:
    """ConfigError that names the first field in which a checkpoint is of another training."""
    for field, value in expected.items():
        if found.get(field) != value:
            raise ConfigError(
                f"{directory}: made for another {field} ({_shorten_value(found.get(field))}, "
                f"this run has {_shorten_value(value)}); "
                "train into an empty work directory, or go back to the old setting"
            )


def checkpoint_directory(root: Path, step: int) -> Path:
    """The directory of the periodic checkpoint of a step."""
    return root / f"step-{step:09d}"


def list_periodic_checkpoints(root: Path) -> list[tuple[int, Path]]:
    """Step and directory of all periodic checkpoints, newest first; they are not verified."""
    if not root.is_dir():
        return []
    found = [
        (int(match[1]), path)
        for path in root.iterdir()
        if (match := _DIRECTORY_PATTERN.fullmatch(path.name))
    ]
    return sorted(found, reverse=True)


def find_newest_valid_checkpoint(root: Path) -> tuple[int, Path, Manifest, list[str]] | None:
    """Step, directory and manifest of the newest periodic checkpoint that verifies.

    The list has what was wrong with each newer one, which is renamed to `bad-...`. None if there
    are no checkpoints. DataError if there are some but none is valid: a person has to decide
    whether to train from the start.
    """
    candidates = list_periodic_checkpoints(root)
    problems: list[str] = []
    for step, path in candidates:
        try:
            return step, path, verify_artifact(path, "checkpoint"), problems
        except DataError as error:
            problems.append(str(error))
            bad = root / f"bad-{path.name}"
            shutil.rmtree(bad, ignore_errors=True)
            path.rename(bad)
    if candidates:
        raise DataError(
            f"{root}: none of its {len(candidates)} checkpoints is valid ({problems[0]}); "
            "they were set aside as bad-*. Remove the directory to train from the start"
        )
    if root.is_dir() and (bad_checkpoints := sorted(root.glob("bad-step-*"))):
        raise DataError(
            f"{root}: holds only checkpoints found bad ({bad_checkpoints[-1].name}); "
            "remove the directory to train from the start"
        )
    return None


def delete_old_checkpoints(root: Path, keep: int) -> None:
    """Remove all but the newest `keep` periodic checkpoints, and what killed saves left.

    Call it only after a newer checkpoint was committed.
    """
    for path in [
        *(path for _, path in list_periodic_checkpoints(root)[keep:]),
        *root.glob(".step-*"),
    ]:
        shutil.rmtree(path, ignore_errors=True)


def _shorten_value(value: object) -> str:
    text = str(value)
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return text[: MAX_SHOWN_CHARACTERS - 3] + "..."
