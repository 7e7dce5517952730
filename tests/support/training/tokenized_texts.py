"""Token shards whose ids are those of their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.artifacts import manifest
from components.artifacts.task import SINGLE_LABEL
from components.artifacts.token_shards import ShardsContent, ShardWriter, commit_shards
from components.config.task import TaskKind
from components.data.split_names import SPLITS
from components.model.tokenizer import WordPiece
from tests.support.training.tiny_checkpoint import CLASSES, MODEL, VOCABULARY

WORDS = np.random.default_rng(4).integers(0, 60, (24, 30))
TEXTS = [" ".join(f"w{word}" for word in row[: 1 + number]) for number, row in enumerate(WORDS)]
LABELS = [number % 3 for number in range(len(TEXTS))]


def make_tokenized(directory: Path, kind: TaskKind = "single_label") -> None:
    """Shards whose ids are those of their texts, with labels of the kind of task."""
    labels: dict[TaskKind, list[Any]] = {
        "single_label": LABELS,
        "multi_label": [[label] if label else [0, 1] for label in LABELS[:-1]] + [[]],
        "regression": [40.0 + 8 * label for label in LABELS],
    }
    classes = () if kind == "regression" else CLASSES
    ids = WordPiece(VOCABULARY)(tf.constant(TEXTS), MODEL.max_length)
    with manifest.staged_artifact(directory) as work:
        splits, task = {}, SINGLE_LABEL
        for name in SPLITS:
            writer = ShardWriter(work, name, len(VOCABULARY), classes, shard_rows=10, kind=kind)
            writer.add_rows(ids.values.numpy(), ids.row_splits.numpy(), labels[kind], TEXTS)
            task = writer.describe_task()
            splits[name] = writer.close()
        content = ShardsContent(
            classes=classes, task=task, vocabulary_sha256=VOCABULARY.sha256, lower_case=True,
            encoder="scratch", max_length=MODEL.max_length, splits=splits, source_sha256="5" * 64,
        )  # fmt: skip
        commit_shards(work, VOCABULARY, content, {}, {})
