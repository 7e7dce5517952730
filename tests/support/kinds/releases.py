"""Releases of each kind of task, of a classifier whose logits a test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.artifacts import manifest
from components.artifacts.artifact import Artifact
from components.artifacts.release import ReleaseContent, open_release
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.config.data import SINGLE_INPUT
from components.model.serving_model import ServingModel, TokenClassifier, save_serving_model
from tests.support.kinds.release_contents import describe_task_release
from tests.support.releases.word_rule import WordRule
from tests.support.training.tiny_checkpoint import CLASSES, VOCABULARY


class LogitTable(WordRule):
    """Looks the logits of a text up by its first word; unknown words have zeros."""

    def __init__(self, logits: Mapping[str, Sequence[float]], outputs: int) -> None:
        super().__init__({}, outputs)
        table = np.zeros((len(VOCABULARY), outputs), np.float32)
        for word, row in logits.items():
            table[VOCABULARY.token_id(word)] = row
        self.table = tf.Variable(table)


def make_task_release(
    directory: Path,
    task: TaskInfo = SINGLE_LABEL,
    logits: Mapping[str, Sequence[float]] | None = None,
    *,
    classifier: TokenClassifier | None = None,
    vocabulary: Any = VOCABULARY,
    inputs: tuple[str, ...] = SINGLE_INPUT,
    served_as: TaskInfo | None = None,
) -> Artifact[ReleaseContent]:
    """The release of a LogitTable, or of a classifier that cannot be trained any more.

    `served_as`: another kind of task for the graph than for the manifest.
    """
    content = describe_task_release(task).model_copy(update={"inputs": inputs})
    graph = describe_task_release(served_as or task)
    outputs = graph.task.count_outputs(len(CLASSES))
    served = ServingModel(
        classifier or LogitTable(logits or {}, outputs),
        vocabulary,
        graph.classes,
        content.max_length,
        inputs=inputs,
        task=graph.task,
        thresholds=graph.thresholds,
    )
    with manifest.staged_artifact(directory) as work:
        save_serving_model(served, work)
        manifest.commit(work, "release", content=content.model_dump(mode="json"))
    return open_release(directory)
