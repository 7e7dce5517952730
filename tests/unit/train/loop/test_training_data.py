"""The shapes of all batches of a training: XLA compiles the step once for each."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import TrainConfig
from components.train.loop.batch_plan import MAX_XLA_WIDTHS, select_length_buckets
from components.train.loop.input_pipeline import SplitInputs
from components.train.loop.training_data import TrainingData

EPOCHS = 6


def list_shapes(max_length: int, *, xla: bool) -> set[tuple[int, int]]:
    """Rows and width of every batch; 2005 rows leave a short batch of 21."""
    # Few rows are long, so the short batch has other widths in other epochs.
    lengths = (max_length * np.random.default_rng(7).random(2005) ** 6).astype(np.int32) + 1
    inputs = SplitInputs(
        lengths, np.zeros_like(lengths), lambda rows, _: lengths[rows], tf.TensorSpec((None,))
    )
    config = TrainConfig(xla=xla, batch_size=32)
    data = TrainingData(
        config,
        tf.distribute.OneDeviceStrategy("/cpu:0"),
        inputs,
        inputs,
        select_length_buckets(config, max_length),
    )
    return {
        (len(plan.batch(index)), int(plan.widths[index]))
        for plan in (data.plan_epoch(epoch) for epoch in range(EPOCHS))
        for index in range(len(plan))
    }


@pytest.mark.parametrize("max_length", [128, 512])
def test_with_xla_a_training_has_few_shapes_in_all_its_epochs(max_length: int) -> None:
    few = list_shapes(max_length, xla=True)
    assert len(few) == MAX_XLA_WIDTHS + 1
    assert (21, max_length) in few
    assert {rows for rows, _ in few} == {32, 21}


def test_without_xla_batches_are_padded_to_all_widths() -> None:
    shapes = list_shapes(128, xla=False)
    assert {width for rows, width in shapes if rows == 32} == set(range(8, 129, 8))
