"""The loss of a row, and the counts of validation rows by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.train.loop.input_pipeline import Batch
from components.train.loop.train_step import build_validation_step
from components.train.objective import ClassObjective, LabelSetObjective, create_objective

LOGITS = np.random.default_rng(3).normal(size=(7, 4)).astype(np.float32) * 3
LABELS = np.array([0, 1, 1, 3, 3, 3, 0], np.int32)
WEIGHTS = (0.5, 2.0, 1.0, 1.25)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_loss_is_the_smoothed_cross_entropy_times_the_weight(
    smoothing: float, weights: tuple[float, ...] | None
) -> None:
    keras: Any = tf.keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction="none"
    )
    expected = keras(tf.one_hot(LABELS, 4), LOGITS).numpy() * np.take(weights or (1,) * 4, LABELS)
    losses = ClassObjective(smoothing, weights).compute_losses(LOGITS, LABELS)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_without_options_the_loss_is_the_cross_entropy_bit_by_bit() -> None:
    plain = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS, logits=LOGITS)
    assert np.array_equal(ClassObjective().compute_losses(LOGITS, LABELS), plain)


@pytest.mark.parametrize("rows", [7, 0], ids=["rows", "a replica without rows"])
def test_validation_counts_rows_predictions_and_hits_by_class(rows: int) -> None:
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    vector, matrix = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.int32)
    features = tf.TensorSpec((None, 4), tf.float32)
    spec = Batch(features, vector, matrix, vector, tf.TensorSpec((), tf.int64))
    batch = Batch(
        tf.constant(LOGITS[:rows]),
        tf.zeros(0, tf.int32),
        tf.zeros((rows, 0), tf.int32),
        tf.constant(LABELS[:rows]),
        tf.constant(0, tf.int64),
    )
    for counts_classes in (True, False):
        validate = build_validation_step(
            strategy, lambda batch, *_: batch.inputs, spec, counts_classes=counts_classes
        )
        metrics = validate(batch).read()
        predicted, labels = LOGITS[:rows].argmax(axis=1), LABELS[:rows]
        assert (metrics.rows, metrics.correct) == (rows, (predicted == labels).sum())
        if not counts_classes:
            assert metrics.class_counts is None
            continue
        both = labels[predicted == labels]
        expected = [np.bincount(values, minlength=4) for values in (labels, predicted, both)]
        assert metrics.class_counts is not None
        assert np.array_equal(metrics.class_counts, expected)


SETS = (np.random.default_rng(4).random((7, 4)) < 0.4).astype(np.uint8)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_loss_of_several_labels_is_the_mean_binary_cross_entropy(
    smoothing: float, weights: tuple[float, ...] | None
) -> None:
    targets = SETS * (1 - smoothing) + smoothing / 2
    probabilities = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    positive = -np.log(probabilities) * targets * np.array(weights or (1,) * 4)
    expected = (positive - np.log(1 - probabilities) * (1 - targets)).mean(axis=1)
    losses = LabelSetObjective(smoothing, weights).compute_losses(LOGITS, SETS)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_several_labels_are_right_together_and_counted_by_class() -> None:
    objective, predicted = LabelSetObjective(), LOGITS >= 0
    assert float(objective.count_hits(LOGITS, SETS)) == (predicted == SETS).all(axis=1).sum()
    expected = [SETS.sum(axis=0), predicted.sum(axis=0), (predicted * SETS).sum(axis=0)]
    assert np.array_equal(objective.count_classes(LOGITS, SETS), np.concatenate(expected))


def test_the_loss_of_a_number_is_the_squared_error() -> None:
    numbers = LOGITS[:, 1] + np.arange(7, dtype=np.float32)
    losses = create_objective("regression").compute_losses(LOGITS[:, 1:2], numbers)
    np.testing.assert_allclose(losses, np.arange(7) ** 2, rtol=1e-5)
