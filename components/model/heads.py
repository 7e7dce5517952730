"""What the logits of a classifier mean for each kind of task."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from components.artifacts.task import TaskInfo


def compute_scores(logits: Any, task: TaskInfo) -> Any:
    """What a model says of texts, computed of its logits [n, outputs]: float32 of the same shape.

    single_label: probabilities of the classes, which add up to 1 (softmax). multi_label: the
    probability of each class by itself (sigmoid). regression: the number, in the units of the data.
    """
    logits = tf.cast(logits, tf.float32)
    if task.kind == "multi_label":
        return tf.sigmoid(logits)
    if task.kind == "regression":
        mean, std = task.scale
        return logits * tf.constant(std, tf.float32) + tf.constant(mean, tf.float32)
    return tf.nn.softmax(logits)
