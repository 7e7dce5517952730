"""What a training minimizes, and what is counted of its rows, for each kind of task.

Labels are those of a batch: class indices, int32 [rows]; several labels, uint8 [rows, classes]; or
standardized numbers, float32 [rows].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from components.config.task import TaskKind

Tensor = Any


class Objective(Protocol):
    """The loss of a kind of task, and its counts."""

    def compute_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The training loss of each row, float32 [rows]."""

    def compute_plain_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row without weights and smoothing, float32 [rows]."""

    def count_hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """How many rows are predicted right, float32."""

    def count_classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of each class the rows, those predicted as it, and those of both: float32 [3 classes].

        Exact up to 2^24 rows.
        """


def create_objective(
    kind: TaskKind, smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> Objective:
    """The objective of a kind of task; `class_weights` has a weight per class, None: all are 1."""
    if kind == "regression":
        return NumberObjective()
    if kind == "multi_label":
        return LabelSetObjective(smoothing, class_weights)
    return ClassObjective(smoothing, class_weights)


@dataclass(frozen=True)
class ClassObjective:
    """One class per row: the cross-entropy, smoothed, times the weight of the row's class."""

    smoothing: float = 0.0
    class_weights: Sequence[float] | None = None

    def compute_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """With smoothing s, the target is 1 - s for the row's class, plus s / classes for all."""
        losses = self.compute_plain_losses(logits, labels)
        if self.smoothing:
            uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses = (1 - self.smoothing) * losses + self.smoothing * uniform
        if self.class_weights is not None:
            losses *= tf.gather(tf.constant(self.class_weights, tf.float32), labels)
        return losses

    def compute_plain_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    def count_hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Rows whose largest logit is that of their class."""
        hits = tf.equal(_predict_class(logits, labels), labels)
        return tf.reduce_sum(tf.cast(hits, tf.float32))

    def count_classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        predicted, classes = _predict_class(logits, labels), logits.shape[-1]
        both = tf.boolean_mask(labels, tf.equal(predicted, labels))
        ones = [tf.ones_like(ids, tf.float32) for ids in (labels, predicted, both)]
        counts = [
            tf.math.unsorted_segment_sum(one, ids, classes)
            for one, ids in zip(ones, (labels, predicted, both), strict=True)
        ]
        return tf.concat(counts, axis=0)


def _predict_class(logits: Tensor, labels: Tensor) -> Tensor:
    return tf.argmax(logits, axis=-1, output_type=labels.dtype)


@dataclass(frozen=True)
class LabelSetObjective:
    """Any number of classes per row: the binary cross-entropy of each class, averaged over them.

    The mean, as PyTorch's BCEWithLogitsLoss computes it: the loss, and the norm of the gradient
    that is clipped, then mean the same with few classes and with many. A class's weight multiplies
    the loss of the rows that have it (that loss's pos_weight).
    """

    smoothing: float = 0.0
    class_weights: Sequence[float] | None = None

    def compute_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """With smoothing s, the target is 1 - s / 2 for a label of the row, and s / 2 for others,
        as in Keras' BinaryCrossentropy."""
        targets = tf.cast(labels, tf.float32)
        if self.smoothing:
            targets = targets * (1 - self.smoothing) + self.smoothing / 2
        if self.class_weights is None:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
        else:
            weights = tf.constant(self.class_weights, tf.float32)
            losses = tf.nn.weighted_cross_entropy_with_logits(targets, logits, weights)
        return tf.reduce_mean(losses, axis=-1)

    def compute_plain_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return LabelSetObjective().compute_losses(logits, labels)

    def count_hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Rows of which each label, and no other, has a probability of at least one half."""
        hits = tf.reduce_all(tf.equal(logits >= 0, labels > 0), axis=-1)
        return tf.reduce_sum(tf.cast(hits, tf.float32))

    def count_classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """A class is predicted if its probability is at least one half."""
        present = tf.cast(labels, tf.float32)
        predicted = tf.cast(logits >= 0, tf.float32)
        counts = (present, predicted, present * predicted)
        return tf.concat([tf.reduce_sum(count, axis=0) for count in counts], axis=0)


@dataclass(frozen=True)
class NumberObjective:
    """A number per row: the squared error of the standardized number."""

    def compute_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return tf.math.squared_difference(logits[:, 0], labels)

    def compute_plain_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.compute_losses(logits, labels)

    def count_hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """0: a number is nearer or farther, not right or wrong."""
        return tf.constant(0.0)

    def count_classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Nothing: there are no classes."""
        return tf.zeros(0)
