"""A released classifier whose answers a test chooses, by the first word of a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components import registry
from components.artifacts import manifest
from components.artifacts.release import ReleaseContent, open_release
from components.model.serving_model import ServingModel, save_serving_model
from components.storage.store import Store
from tests.support.training.tiny_checkpoint import CLASSES, VOCABULARY


class WordRule(tf.Module):
    """Classifies a text by its first word.

    `answers` maps a word of VOCABULARY to a class index; unknown words give the first class.
    """

    def __init__(self, answers: Mapping[str, int], classes: int = len(CLASSES)) -> None:
        super().__init__()
        table = np.zeros((len(VOCABULARY), classes), np.float32)
        table[:, 0] = 1.0
        for word, answer in answers.items():
            table[VOCABULARY.token_id(word)] = 4.0 * np.eye(classes, dtype=np.float32)[answer]
        self.table = tf.Variable(table)

    def __call__(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        return self.features(inputs, training=training)

    def features(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        """Its vectors are its logits."""
        return tf.gather(self.table, inputs["input_word_ids"][:, 1])

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Nothing to do: a table has no products."""


def rule_release(
    directory: Path, answers: Mapping[str, int], classes: tuple[str, ...] = CLASSES
) -> Path:
    """The release directory of a WordRule."""
    with manifest.staged_artifact(directory) as work:
        save_serving_model(
            ServingModel(WordRule(answers, len(classes)), VOCABULARY, classes, 20), work
        )
        content = ReleaseContent(
            classes=classes, encoder="rule", max_length=20, accuracy=0.5, accuracy_low=0.4,
            accuracy_high=0.6, macro_f1=None, test_rows=10, gate={}, parity_rows=1,
            parity_difference=0.0,
        )  # fmt: skip
        manifest.commit(work, "release", content=content.model_dump(mode="json"))
    return directory


def publish_rule(
    store: Store,
    directory: Path,
    key: str,
    answers: Mapping[str, int],
    classes: tuple[str, ...] = CLASSES,
) -> registry.PublishedVersion:
    """Release a WordRule as the model `news`."""
    return registry.publish(
        open_release(rule_release(directory, answers, classes)), store, "news", key
    )
