"""The late update of rows against Model Garden's own AdamW, which moves every row at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import TrainConfig
from components.train.loop.deferred_adamw import DeferredAdamW
from components.train.loop.optimizer import (
    build_learning_rate_schedule,
    build_optimizer,
    compute_learning_rates,
)

ROWS, WIDTH, STEPS = 40, 6, 300
ALONE = tf.distribute.get_strategy


def config(**options: Any) -> TrainConfig:
    return TrainConfig(
        **{"learning_rate": 3e-3, "weight_decay": 0.1, "warmup_fraction": 0.1} | options
    )


def batches(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """A few rows and their gradients per step: low row numbers often, the last one never."""
    random = np.random.default_rng(seed)
    often = 1.0 / np.arange(1, ROWS) ** 1.5
    made = []
    for _ in range(STEPS):
        rows = np.sort(
            random.choice(
                ROWS - 1, size=random.integers(1, 6), replace=False, p=often / often.sum()
            )
        ).astype(np.int32)
        scale = 10.0 ** random.uniform(-7, 0)
        made.append((rows, (random.standard_normal((len(rows), WIDTH)) * scale).astype(np.float32)))
    return made


def start() -> tf.Variable:
    return tf.Variable(
        np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32),
        name="word/embeddings",
    )


def compile_step(optimizer: Any, table: tf.Variable) -> Any:
    """A compiled step: row gradients, summed into a dense one unless the optimizer is deferred."""
    by_rows = isinstance(optimizer, DeferredAdamW)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, WIDTH])])
    def apply(rows: Any, gradient: Any) -> None:
        whole = tf.IndexedSlices(gradient, rows, tf.constant([ROWS, WIDTH]))
        optimizer.apply_gradients([(whole if by_rows else tf.convert_to_tensor(whole), table)])

    return apply


def dense(options: TrainConfig, steps: int) -> np.ndarray:
    """The table after `steps` steps of the optimizer that is not late."""
    table = start()
    optimizer = build_optimizer(options, STEPS)
    apply = compile_step(optimizer, table)
    for rows, gradient in batches(2)[:steps]:
        apply(rows, gradient)
    final: np.ndarray = table.numpy()
    return final


def late(options: TrainConfig, steps: int, flush_every: int = STEPS) -> tuple[Any, tf.Variable]:
    table = start()
    optimizer = build_optimizer(options, STEPS, table)
    optimizer._create_all_weights([table])
    apply = compile_step(optimizer, table)
    for number, (rows, gradient) in enumerate(batches(2)[:steps], start=1):
        apply(rows, gradient)
        if number % flush_every == 0:
            optimizer.flush(ALONE())
    return optimizer, table


CASES = [
    pytest.param({}, id="decaying rate"),
    pytest.param({"lr_schedule": "constant"}, id="constant rate"),
    pytest.param({"weight_decay": 0.0}, id="no weight decay"),
    pytest.param({"warmup_fraction": 0.0}, id="no warm-up"),
    pytest.param({"learning_rate": 0.05, "weight_decay": 0.9}, id="strong decay"),
]


@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("steps", [1, 2, 37, STEPS])
def test_after_a_flush_it_equals_adamw(options: dict[str, Any], steps: int) -> None:
    optimizer, table = late(config(**options), steps)
    optimizer.flush(ALONE())
    np.testing.assert_allclose(table.numpy(), dense(config(**options), steps), atol=1e-5)


def test_a_decay_that_is_too_strong_to_defer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rate times decay reaches 0\.087"):
        late(config(learning_rate=0.1, weight_decay=0.9), 1)


def test_rows_are_read_as_they_would_be_without_being_changed() -> None:
    optimizer, table = late(config(), 200)
    before = table.numpy()
    rows = np.arange(ROWS, dtype=np.int32)[::3]
    np.testing.assert_allclose(
        optimizer.read(tf.constant(rows)).numpy(), dense(config(), 200)[rows], atol=1e-5
    )
    np.testing.assert_array_equal(table.numpy(), before)


@pytest.mark.parametrize("flush_every", [1, 7, 100])
def test_a_flush_in_between_changes_nothing_that_follows(flush_every: int) -> None:
    tables = []
    for every in (flush_every, STEPS):
        optimizer, table = late(config(), STEPS, every)
        optimizer.flush(ALONE())
        tables.append(table.numpy())
    np.testing.assert_allclose(tables[0], tables[1], atol=1e-5)


def test_a_second_flush_changes_nothing() -> None:
    optimizer, table = late(config(), 50)
    optimizer.flush(ALONE())
    once = table.numpy()
    optimizer.flush(ALONE())
    np.testing.assert_array_equal(table.numpy(), once)


def test_a_table_larger_than_a_chunk_is_flushed_to_its_last_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("components.train.loop.deferred_adamw._FLUSH_CHUNK_ROWS", 7)
    optimizer, table = late(config(), 120)
    optimizer.flush(ALONE())
    np.testing.assert_allclose(table.numpy(), dense(config(), 120), atol=1e-5)


def test_a_state_saved_between_two_flushes_resumes_exactly(tmp_path: Any) -> None:
    options = config()
    optimizer, table = late(options, 150)
    path = tf.train.Checkpoint(table=table, optimizer=optimizer).write(str(tmp_path / "state"))
    other = start()
    resumed = build_optimizer(options, STEPS, other)
    resumed._create_all_weights([other])
    tf.train.Checkpoint(table=other, optimizer=resumed).read(path).assert_consumed()
    for rows, gradient in batches(2)[150:]:
        for each, variable in ((optimizer, table), (resumed, other)):
            each.apply_gradients([(tf.IndexedSlices(gradient, rows, [ROWS, WIDTH]), variable)])
    for each in (optimizer, resumed):
        each.flush(ALONE())
    np.testing.assert_array_equal(table.numpy(), other.numpy())


@pytest.mark.parametrize("options", CASES)
def test_every_rate_is_the_schedule_s(options: dict[str, Any]) -> None:
    schedule = build_learning_rate_schedule(config(**options), 50)
    np.testing.assert_allclose(
        compute_learning_rates(config(**options), 50),
        [float(schedule(step)) for step in range(50)],
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", ["dense/kernel", "dense/bias", "layer_norm/gamma"])
def test_other_variables_are_moved_and_decayed_as_model_garden_does(name: str) -> None:
    options = config()
    gradients = np.random.default_rng(3).standard_normal((STEPS, 4, WIDTH)).astype(np.float32)
    found = []
    for table in (None, start()):
        variable = tf.Variable(
            np.random.default_rng(4).standard_normal((4, WIDTH)).astype(np.float32), name=name
        )
        optimizer = build_optimizer(options, STEPS, table)
        for gradient in gradients:
            optimizer.apply_gradients([(tf.constant(gradient), variable)])
        found.append(variable.numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
