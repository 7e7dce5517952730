"""What an evaluation works on: the shards, the checkpoint, and the options; and their origin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.report import DataSummary, TrainingSummary
from components.artifacts.token_shards import ShardsContent, TokenShards
from components.config.renamed_options import from_stored_names
from components.config.schema import Calibration, EvaluateConfig
from components.data.split_names import SplitName
from components.errors import DataError
from components.progress import StepName
from components.scoring.test_rows import TestRowScoring, score_split_rows
from components.scoring.unit_results import UnitResult

MAX_STEP_POINTS = 250
SHOWN_OPTIONS = {
    "epochs": "Epochs, at most",
    "batch_size": "Batch size",
    "learning_rate": "Peak learning rate",
    "warmup_fraction": "Warm-up",
    "lr_schedule": "Learning rate schedule",
    "weight_decay": "Weight decay",
    "class_weights": "Class weights",
    "label_smoothing": "Label smoothing",
    "best_metric": "Best epoch by",
    "precision": "Precision",
    "seed": "Seed",
}


@dataclass(frozen=True)
class EvaluationInputs:
    """Verified shards and checkpoint that fit each other, the options, and how rows are scored."""

    config: EvaluateConfig
    shards: TokenShards
    checkpoint: Artifact[CheckpointContent]
    scoring: TestRowScoring
    calibrate: Calibration = "none"

    @property
    def data(self) -> ShardsContent:
        """The description of the shards."""
        return self.shards.content

    @property
    def has_pairs(self) -> bool:
        """Whether a row is a pair of texts."""
        return len(self.data.inputs) > 1

    def score_rows(self, split: SplitName) -> Iterator[UnitResult]:
        """Scores of all rows of a split, in parts in the order of the rows."""
        return score_split_rows(
            StepName.EVALUATE,
            self.checkpoint,
            self.scoring.checkpoint_uri,
            self.shards,
            self.config,
            self.scoring,
            split,
        )

    def describe_origin(self) -> dict[str, Any]:
        """The fields of a `ReportOrigin`."""
        trained = self.checkpoint.content
        return {
            "data": summarize_data(self.shards),
            "training": summarize_training(
                trained,
                from_stored_names("train", self.checkpoint.manifest.config),
                self.checkpoint.directory,
            ),
            "shards_digest": self.shards.digest,
            "checkpoint_digest": self.checkpoint.digest,
            "vocabulary_sha256": self.data.vocabulary_sha256,
            "source_sha256": self.data.source_sha256,
            "encoder_fingerprint": trained.encoder_fingerprint,
            "inputs": self.data.inputs,
            "task": self.data.task,
        }


def summarize_data(shards: TokenShards) -> DataSummary:
    splits = shards.content.splits
    lengths: dict[int, int] = {}
    for info in splits.values():
        for length, rows in info.length_histogram.items():
            lengths[length] = lengths.get(length, 0) + rows
    return DataSummary(
        rows={name: info.rows for name, info in splits.items()},
        tokens={name: info.tokens for name, info in splits.items()},
        refused=shards.content.refused,
        length_histogram=dict(sorted(lengths.items())),
        max_length=shards.content.max_length,
        long_texts=shards.content.long_texts,
        long_text_counts=shards.content.long_text_counts,
        vocabulary_tokens=len(shards.vocabulary),
        notes=tuple(shards.content.notes),
    )


def summarize_training(
    trained: CheckpointContent, options: dict[str, Any], checkpoint: Path
) -> TrainingSummary:
    for epoch in trained.history:
        for name, value in epoch:
            if value is not None and not math.isfinite(value):
                raise DataError(
                    f"{checkpoint}: epoch {epoch.epoch} of its history has {name} {value}; "
                    "train again"
                )
    return TrainingSummary(
        encoder=trained.model.encoder,
        frozen=trained.model.freeze,
        pooling=trained.model.resolved_pooling,
        options=({"Started from": trained.start_from.title} if trained.start_from else {})
        | {"Workers": str(trained.workers)}
        | {title: str(options[name]) for name, title in SHOWN_OPTIONS.items() if name in options},
        history=trained.history,
        best_step=trained.best_step,
        step_losses=average_step_losses(trained.step_losses, MAX_STEP_POINTS),
        examples_per_second=trained.train_examples_per_second,
    )


def average_step_losses(losses: tuple[float, ...], points: int) -> tuple[tuple[int, float], ...]:
    """(last step, mean loss) of at most `points` runs of equally many steps, counted from 1.

    Losses that are not finite (of a step that loss scaling skipped) are left out.
    """
    size = -(-len(losses) // points)
    runs = (losses[start : start + size] for start in range(0, len(losses), size or 1))
    means = []
    for number, run_losses in enumerate(runs):
        if finite := [loss for loss in run_losses if math.isfinite(loss)]:
            means.append((min((number + 1) * size, len(losses)), sum(finite) / len(finite)))
    return tuple(means)
