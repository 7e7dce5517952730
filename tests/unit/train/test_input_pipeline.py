"""The feed and the compiled step on one device and on two: the same batches, the same result, one trace."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.train.loop.batch_plan import EpochPlan, plan_epoch
from components.train.loop.input_pipeline import SplitInputs, batch_spec, read_batches

LENGTHS = np.random.default_rng(4).integers(1, 16, 45).astype(np.int32)


def rowset() -> SplitInputs:
    """Row i is i + 1 as often as it is long, then zeros; its label is i."""

    def read(rows: Any, width: int) -> Any:
        return np.where(
            np.arange(width) < LENGTHS[rows][:, None], np.asarray(rows)[:, None] + 1, 0
        ).astype(np.int32)

    return SplitInputs(
        LENGTHS,
        np.arange(len(LENGTHS), dtype=np.int32),
        read,
        tf.TensorSpec((None, None), tf.int32),
        is_ids=True,
    )


def plan() -> EpochPlan:
    return plan_epoch(LENGTHS, batch_size=8, buckets=(4, 8, 16), window=2, seed=1, epoch=0)


@pytest.mark.parametrize("first", [0, 1, 5, 6], ids=lambda first: f"from batch {first}")
def test_every_batch_comes_in_order_with_its_labels_and_width(first: int) -> None:
    made = plan()
    batches = list(read_batches(tf.distribute.OneDeviceStrategy("/cpu:0"), rowset(), made, first))
    assert len(batches) == len(made) - first
    for index, (inputs, used, labels, start) in enumerate(batches, start=first):
        assert labels.numpy().tolist() == made.batch(index).tolist()
        assert inputs.shape == (len(made.batch(index)), made.widths[index])
        assert used.numpy()[inputs.numpy()].max(axis=1).tolist() == (made.batch(index) + 1).tolist()
        assert int(start) == 0


def test_what_is_used_is_the_whole_batch_s_on_every_replica() -> None:
    made, rows = plan(), rowset()
    for index in range(len(made)):
        batch, width = made.batch(index), int(made.widths[index])
        used = rows.used(batch, width)
        assert used.tolist() == sorted(
            {0} & set(rows.read(batch, width).ravel()) | {row + 1 for row in batch.tolist()}
        )
        for part in (batch[:3], batch[3:]):
            np.testing.assert_array_equal(
                used[rows.inputs(part, width, used)], rows.read(part, width)
            )


def test_features_name_no_tokens() -> None:
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows = SplitInputs(
        np.ones(4, np.int32),
        np.zeros(4, np.int32),
        lambda rows, _: features[rows],
        tf.TensorSpec((None, 3), tf.float32),
    )
    used = rows.used(np.array([2, 0]), 1)
    assert used.tolist() == []
    np.testing.assert_array_equal(rows.inputs(np.array([2, 0]), 1, used), features[[2, 0]])


def test_a_compiled_step_is_traced_once_for_all_shapes() -> None:
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    traces = []

    @tf.function(input_signature=[batch_spec(strategy, rowset())])
    def step(batch: Any) -> Any:
        traces.append(1)
        return tf.reduce_sum(tf.gather(batch[1], batch[0]))

    assert [int(step(batch)) > 0 for batch in read_batches(strategy, rowset(), plan())] == [
        True
    ] * len(plan())
    assert len(traces) == 1


def test_a_fault_of_the_reader_comes_out_where_the_batch_is_asked_for() -> None:
    def broken(rows: Any, width: int) -> Any:
        raise OSError("the shard is gone")

    rows = SplitInputs(LENGTHS, LENGTHS, broken, tf.TensorSpec((None, None), tf.int32), is_ids=True)
    with pytest.raises(OSError, match="the shard is gone"):
        next(read_batches(tf.distribute.OneDeviceStrategy("/cpu:0"), rows, plan()))


TWO_DEVICES = """
import json, sys
import components
import tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
from components.config.schema import TrainConfig
from components.model.dropout import DropoutState, ExampleDropout
from components.train.loop.input_pipeline import batch_spec, feed
from components.train.loop.train_step import make_train_step, make_validation_step
from components.train.loop.optimizer import build_optimizer
from tests.unit.train.test_input_pipeline import plan, rowset

strategy = tf.distribute.MirroredStrategy([f"/cpu:{n}" for n in range(int(sys.argv[1]))])
config = TrainConfig(batch_size=8, learning_rate=0.1, warmup_fraction=0, clip_norm=0.5)
state = DropoutState(3)
with strategy.scope():
    table = tf.Variable(tf.random.stateless_normal([46, 45], [1, 2]), name="kernel")
    shift = tf.Variable(tf.zeros([45]), name="shift")
    drop = ExampleDropout(0.3, state)
    optimizer = build_optimizer(config, 20, table)
    optimizer._create_all_weights([table, shift])

def forward(inputs, words, training):
    words = tf.gather(tf.convert_to_tensor(table), inputs) if words is None else words
    return drop(tf.reduce_mean(words, axis=1) + shift, training=training)

rows = rowset()
step = make_train_step(strategy, forward, [shift], optimizer, state, config, batch_spec(strategy, rows), table)
check = make_validation_step(strategy, forward, batch_spec(strategy, rows))
outcomes = [step(batch, number, number == 2) for number, batch in enumerate(feed(strategy, rows, plan()))]
optimizer.settle(strategy)
outcomes += [check(batch) for batch in feed(strategy, rows, plan())]
print(json.dumps(outcomes))
"""


@pytest.mark.slow
def test_two_devices_of_one_worker_do_what_one_does() -> None:
    one, two = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", TWO_DEVICES, str(count)],
                capture_output=True,
                check=True,
                timeout=300,
            ).stdout
        )
        for count in (1, 2)
    )
    assert [outcome[3] for outcome in two] == [2.0 * (number == 2) for number in range(6)] + [
        0.0
    ] * 6
    drop_stops = [
        [[figure for place, figure in enumerate(outcome) if place != 3] for outcome in outcomes]
        for outcomes in (one, two)
    ]
    np.testing.assert_allclose(drop_stops[0], drop_stops[1], rtol=1e-5)
    assert [outcome[2] for outcome in one] == np.diff(plan().starts).tolist() * 2
