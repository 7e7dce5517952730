"""Small token shards and checkpoints: real formats, a real `scratch` model, no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import checkpoint, manifest
from components.artifacts.checkpoint import CheckpointContent, EpochMetrics
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.token_shards import ShardsContent, ShardWriter, commit_shards
from components.artifacts.vocabulary import Vocabulary
from components.config.renamed_options import to_stored_names
from components.config.schema import ModelConfig, TrainConfig
from components.config.task import TaskKind
from components.data.split_names import SPLITS

CLASSES = ("calm", "loud", "odd")
VOCABULARY = Vocabulary(
    tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(60))),
    lower_case=True,
)
MODEL = ModelConfig(
    encoder="scratch",
    max_length=20,
    vocab_size=100,
    hidden_size=16,
    intermediate_size=16,
    num_heads=2,
)
EPOCHS = (
    EpochMetrics(
        epoch=1,
        steps=2,
        train_loss=1.1,
        train_accuracy=0.4,
        validation_loss=1.0,
        validation_accuracy=0.5,
        learning_rate=1e-3,
        seconds=1.5,
    ),
    EpochMetrics(
        epoch=2,
        steps=4,
        train_loss=0.8,
        train_accuracy=0.6,
        validation_loss=0.9,
        validation_accuracy=0.6,
        learning_rate=0.0,
        seconds=1.25,
    ),
)


def make_shards(
    directory: Path,
    labels: Sequence[Any],
    *,
    classes: tuple[str, ...] = CLASSES,
    texts: Sequence[str] | None = None,
    max_length: int = 20,
    kind: TaskKind = "single_label",
) -> None:
    """Shards whose splits all have these labels: 3 to `max_length` random tokens, 5 rows a file."""
    random = np.random.default_rng(len(labels))
    lengths = random.integers(3, max_length + 1, len(labels))
    rows = [
        np.concatenate(([2], random.integers(4, len(VOCABULARY), length - 2), [3]))
        for length in lengths
    ]
    ids = np.concatenate([np.zeros(0, np.int64), *rows]).astype(np.int32)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    written = (
        list(texts)
        if texts is not None
        else [
            f"text {number} of {classes[label] if kind == 'single_label' else label}"
            for number, label in enumerate(labels)
        ]
    )
    with manifest.staged_artifact(directory) as work:
        splits, task = {}, SINGLE_LABEL
        for name in SPLITS:
            writer = ShardWriter(work, name, len(VOCABULARY), classes, shard_rows=5, kind=kind)
            if labels:
                writer.add_rows(ids, offsets, labels, written)
                task = writer.describe_task()
            splits[name] = writer.close()
        content = ShardsContent(
            classes=classes,
            vocabulary_sha256=VOCABULARY.sha256,
            lower_case=True,
            encoder=MODEL.encoder,
            max_length=max_length,
            splits=splits,
            source_sha256="5" * 64,
            task=task,
        )
        commit_shards(work, VOCABULARY, content, {}, {})


def make_checkpoint(
    directory: Path,
    *,
    changes: Mapping[str, object] | None = None,
    poison: bool = False,
    task: TaskInfo = SINGLE_LABEL,
) -> None:
    """An untrained checkpoint; `changes` replace content fields, `poison` makes its logits NaN."""
    import tensorflow as tf

    from components.model.classifier import build_classifier
    from components.model.encoders import compute_fingerprint

    classes = () if task.kind == "regression" else CLASSES
    model = build_classifier(MODEL, VOCABULARY, task.count_outputs(len(classes)), seed=3)
    kernel, bias = model.logits.get_weights()
    model.logits.set_weights([kernel * (np.nan if poison else 60.0), bias])
    content = CheckpointContent(
        classes=classes,
        task=task,
        vocabulary_sha256=VOCABULARY.sha256,
        lower_case=True,
        model=MODEL,
        encoder_fingerprint=compute_fingerprint(MODEL),
        history=EPOCHS,
        best_step=4,
        steps=4,
        step_losses=(1.2, 1.0, 0.9, 0.7),
        train_examples_per_second=50.0,
        padding_efficiency=0.9,
        workers=1,
    ).model_copy(update=changes or {})
    with manifest.staged_artifact(directory) as work:
        (work / "weights").mkdir()
        tf.train.Checkpoint(model=model).write(str(work / checkpoint.WEIGHTS_PREFIX))
        VOCABULARY.write(work / checkpoint.VOCABULARY_FILENAME)
        manifest.commit(
            work,
            "checkpoint",
            content=content.model_dump(mode="json"),
            config=to_stored_names("train", TrainConfig(epochs=2).model_dump(mode="json")),
        )
