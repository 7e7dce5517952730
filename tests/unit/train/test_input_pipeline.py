"""Batches and the compiled step on one device and on two: the same result, one trace."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.train.loop.batch_plan import EpochPlan, plan_epoch
from components.train.loop.input_pipeline import (
    SplitInputs,
    build_batch_spec,
    read_batches,
    slice_batch,
)

LENGTHS = np.random.default_rng(4).integers(1, 16, 45).astype(np.int32)


def make_inputs(*, has_unique_token_ids: bool = True) -> SplitInputs:
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
        has_token_ids=True,
        has_unique_token_ids=has_unique_token_ids,
    )


def plan() -> EpochPlan:
    return plan_epoch(LENGTHS, batch_size=8, buckets=(4, 8, 16), window=2, seed=1, epoch=0)


@pytest.mark.parametrize("first", [0, 1, 5, 6], ids=lambda first: f"from batch {first}")
def test_every_batch_comes_in_order_with_its_labels_and_width(first: int) -> None:
    made = plan()
    batches = list(
        read_batches(tf.distribute.OneDeviceStrategy("/cpu:0"), make_inputs(), made, first)
    )
    assert len(batches) == len(made) - first
    for index, (inputs, used, _, labels, start) in enumerate(batches, start=first):
        assert labels.numpy().tolist() == made.batch(index).tolist()
        assert inputs.shape == (len(made.batch(index)), made.widths[index])
        assert used.numpy()[inputs.numpy()].max(axis=1).tolist() == (made.batch(index) + 1).tolist()
        assert int(start) == 0


def test_unique_token_ids_are_those_of_the_entire_batch_on_every_replica() -> None:
    made, inputs = plan(), make_inputs()
    for index in range(len(made)):
        rows, width = made.batch(index), int(made.widths[index])
        batch, token_ids = inputs.read_batch(rows, width), inputs.read(rows, width)
        assert batch.unique_token_ids.tolist() == sorted(
            {0} & set(token_ids.ravel()) | {row + 1 for row in rows.tolist()}
        )
        for part in (slice(0, 3), slice(3, len(rows))):
            tensors = slice_batch(batch, part)
            unique_ids = tensors.unique_token_ids.numpy()
            np.testing.assert_array_equal(unique_ids[tensors.inputs.numpy()], token_ids[part])
            np.testing.assert_array_equal(tensors.mask.numpy(), token_ids[part] != 0)
            assert tensors.labels.numpy().tolist() == rows[part].tolist()
            assert int(tensors.first_row) == part.start


@pytest.mark.parametrize("has_unique_token_ids", [True, False])
def test_a_batch_is_read_once(has_unique_token_ids: bool) -> None:
    made, inputs = plan(), make_inputs(has_unique_token_ids=has_unique_token_ids)
    reads: list[int] = []

    def read(rows: Any, width: int) -> Any:
        reads.append(len(rows))
        return inputs.read(rows, width)

    counted = dataclasses.replace(inputs, read=read)
    list(read_batches(tf.distribute.OneDeviceStrategy("/cpu:0"), counted, made))
    assert reads == np.diff(made.starts).tolist()


def test_token_ids_are_given_as_they_are_where_embeddings_are_not_deferred() -> None:
    inputs = make_inputs(has_unique_token_ids=False)
    rows = np.array([7, 2])
    batch = inputs.read_batch(rows, 16)
    np.testing.assert_array_equal(batch.inputs, inputs.read(rows, 16))
    np.testing.assert_array_equal(batch.mask, inputs.read(rows, 16) != 0)
    assert batch.unique_token_ids.tolist() == []


def test_features_have_neither_token_ids_nor_a_mask() -> None:
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    inputs = SplitInputs(
        np.ones(4, np.int32),
        np.zeros(4, np.int32),
        lambda rows, _: features[rows],
        tf.TensorSpec((None, 3), tf.float32),
    )
    batch = inputs.read_batch(np.array([2, 0]), 1)
    assert batch.unique_token_ids.tolist() == []
    assert batch.mask.shape == (2, 0)
    np.testing.assert_array_equal(batch.inputs, features[[2, 0]])


def test_a_compiled_step_is_traced_once_for_all_shapes() -> None:
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    traces = []

    @tf.function(input_signature=[build_batch_spec(strategy, make_inputs())])
    def step(batch: Any) -> Any:
        traces.append(1)
        return tf.reduce_sum(tf.gather(batch[1], batch[0]))

    assert [int(step(batch)) > 0 for batch in read_batches(strategy, make_inputs(), plan())] == [
        True
    ] * len(plan())
    assert len(traces) == 1


def test_a_fault_of_the_reader_comes_out_where_the_batch_is_asked_for() -> None:
    def broken(rows: Any, width: int) -> Any:
        raise OSError("the shard is gone")

    rows = SplitInputs(
        LENGTHS, LENGTHS, broken, tf.TensorSpec((None, None), tf.int32), has_token_ids=True
    )
    with pytest.raises(OSError, match="the shard is gone"):
        next(read_batches(tf.distribute.OneDeviceStrategy("/cpu:0"), rows, plan()))


TWO_DEVICES = """
import json, sys
import components
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
tf.config.set_logical_device_configuration(cpu, devices)
from components.config.schema import TrainConfig
from components.model.dropout import DropoutSeed, PerExampleDropout
from components.train.loop.input_pipeline import build_batch_spec, read_batches
from components.train.loop.train_step import TrainStep, build_validation_step
from components.train.loop.optimizer import StepOptimizer, build_optimizer
from tests.unit.train.test_input_pipeline import make_inputs, plan

strategy = tf.distribute.MirroredStrategy([f"/cpu:{n}" for n in range(int(sys.argv[1]))])
# TensorFlow then traces a function once for all devices, and the step must not depend on that.
strategy.extended._retrace_functions_for_each_device = False
config = TrainConfig(batch_size=8, learning_rate=0.1, warmup_fraction=0, clip_norm=0.5)
seed = DropoutSeed(3)
with strategy.scope():
    table = tf.Variable(tf.random.stateless_normal([46, 45], [1, 2]), name="kernel")
    shift = tf.Variable(tf.zeros([45]), name="shift")
    dropout = PerExampleDropout(0.3, seed)
    optimizer = StepOptimizer(build_optimizer(config, 20, table), table)
    optimizer.create_slots([table, shift])

def forward(batch, token_embeddings, training):
    if token_embeddings is None:
        token_embeddings = tf.gather(tf.convert_to_tensor(table), batch.inputs)
    return dropout(tf.reduce_mean(token_embeddings, axis=1) + shift, training=training)

inputs, tokens = make_inputs(), make_inputs(has_unique_token_ids=False)
spec = build_batch_spec(strategy, inputs)
step = TrainStep(strategy, forward, [shift], optimizer, seed, config, spec)
check = build_validation_step(strategy, forward, build_batch_spec(strategy, tokens))
batches = read_batches(strategy, inputs, plan())
outcomes = [step(batch, number, number == 2).read() for number, batch in enumerate(batches)]
optimizer.flush(strategy)
outcomes += [check(batch).read() for batch in read_batches(strategy, tokens, plan())]
# A value that the last replica alone has.
strategy.experimental_local_results(shift)[-1].assign([100.0] + [0.0] * 44)
batch = next(read_batches(strategy, inputs, plan()))
devices = [part.device for part in strategy.experimental_local_results(batch.inputs)]
other = step(batch, 0, False).read()
print(json.dumps({"outcomes": outcomes, "other": other, "devices": devices}))
"""


@pytest.mark.slow
def test_two_devices_of_one_worker_do_what_one_does() -> None:
    results = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", TWO_DEVICES, str(count)],
                capture_output=True,
                check=True,
                timeout=300,
            ).stdout
        )
        for count in (1, 2)
    ]
    one, two = (result["outcomes"] for result in results)
    assert [outcome[3] for outcome in two] == [2.0 * (number == 2) for number in range(6)] + [
        0.0
    ] * 6
    drop_stops = [
        [
            [each for position, each in enumerate(outcome) if position != 3 and each is not None]
            for outcome in outcomes
        ]
        for outcomes in (one, two)
    ]
    np.testing.assert_allclose(drop_stops[0], drop_stops[1], rtol=1e-5)
    assert [outcome[2] for outcome in one] == np.diff(plan().starts).tolist() * 2
    assert [device[-5:] for device in results[1]["devices"]] == ["CPU:0", "CPU:1"]
    # Each replica reads its own variables: of two, one computes with the value that differs.
    losses = [result["other"][0] for result in results]
    assert 100 < losses[1] < losses[0] * 0.9
