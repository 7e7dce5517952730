from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.config.schema import ModelConfig, TrainConfig
from components.model.classifier import build_classifier
from components.model.encoders import load_vocabulary
from components.train.loop.optimizer import build_learning_rate_schedule, build_optimizer
from tests.support.training import tiny_bert, training_shards

PEAK = 8e-4


@pytest.mark.parametrize(
    ("options", "step", "rate"),
    [
        ({"warmup_fraction": 0.1}, 0, 0.0),
        ({"warmup_fraction": 0.1}, 5, PEAK / 2),
        ({"warmup_fraction": 0.1}, 10, PEAK * 0.9),
        ({"warmup_fraction": 0.1}, 55, PEAK * 0.45),
        ({"warmup_fraction": 0.1}, 100, 0.0),
        ({"warmup_fraction": 0.1, "lr_schedule": "constant"}, 5, PEAK / 2),
        ({"warmup_fraction": 0.1, "lr_schedule": "constant"}, 10, PEAK),
        ({"warmup_fraction": 0.1, "lr_schedule": "constant"}, 100, PEAK),
        ({"warmup_fraction": 0.0}, 0, PEAK),
        ({"warmup_fraction": 0.0}, 25, PEAK * 0.75),
        ({"warmup_fraction": 0.0}, 100, 0.0),
    ],
    ids=lambda value: str(value),
)
def test_rate_at_a_step(options: dict[str, Any], step: int, rate: float) -> None:
    schedule = build_learning_rate_schedule(
        TrainConfig(learning_rate=PEAK, **options), total_steps=100
    )
    assert float(schedule(step)) == pytest.approx(rate, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("total", [1, 2, 7], ids=lambda total: f"{total} steps")
@pytest.mark.parametrize("decay", ["linear", "constant"])
def test_rates_of_very_short_runs_are_usable(total: int, decay: Any) -> None:
    schedule = build_learning_rate_schedule(
        TrainConfig(learning_rate=PEAK, lr_schedule=decay), total
    )
    rates = [float(schedule(step)) for step in range(total)]
    assert all(0 <= rate <= PEAK * 1.00001 for rate in rates)
    assert max(rates) > 0


@pytest.mark.parametrize("encoder", ["scratch", "bert"])
def test_exactly_biases_and_layer_norms_are_not_decayed(encoder: str, tmp_path: Path) -> None:
    model = _model(encoder, tmp_path)
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable) * 0.5)
    optimizer = build_optimizer(
        TrainConfig(learning_rate=0.1, weight_decay=0.5, warmup_fraction=0), 100
    )
    optimizer.apply_gradients(
        [(tf.zeros_like(variable), variable) for variable in model.trainable_variables]
    )
    moved = {
        variable.name
        for variable in model.trainable_variables
        if not np.allclose(variable.numpy(), 0.5)
    }
    small = {
        variable.name
        for variable in model.trainable_variables
        if variable.name.split("/")[-1] in ("bias:0", "gamma:0", "beta:0")
    }
    assert moved == {variable.name for variable in model.trainable_variables} - small
    assert any("embedding" in name for name in moved)
    assert any("norm" in name for name in small)
    for variable in model.trainable_variables:
        if variable.name in moved:
            np.testing.assert_allclose(variable.numpy(), 0.5 - 0.1 * 0.5 * 0.5, rtol=1e-5)


def test_no_decay_moves_nothing(tmp_path: Path) -> None:
    model = _model("scratch", tmp_path)
    before = [variable.numpy().copy() for variable in model.trainable_variables]
    optimizer = build_optimizer(
        TrainConfig(learning_rate=0.1, weight_decay=0, warmup_fraction=0), 100
    )
    optimizer.apply_gradients(
        [(tf.zeros_like(variable), variable) for variable in model.trainable_variables]
    )
    for old, variable in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_it_does_not_clip() -> None:
    # The step clips the sum over all workers: clipping each part would depend on their number.
    variable = tf.Variable(np.zeros(4, np.float32), name="kernel")
    optimizer = build_optimizer(
        TrainConfig(learning_rate=0.1, warmup_fraction=0, lr_schedule="constant"), 100
    )
    optimizer.apply_gradients([(tf.constant([1e6, 0.0, 0.0, 0.0]), variable)])
    moment = next(slot for slot in optimizer.variables() if slot.name.endswith("/m:0"))
    assert moment.numpy()[0] == pytest.approx(1e5)


@pytest.mark.parametrize(
    ("precision", "scaled"), [("float32", False), ("bfloat16", False), ("float16", True)]
)
def test_loss_scaling_is_float16_s_alone(precision: Any, scaled: bool) -> None:
    assert (
        hasattr(build_optimizer(TrainConfig(precision=precision), 10), "get_scaled_loss") is scaled
    )


def _model(encoder: str, directory: Path) -> Any:
    if encoder == "scratch":
        return build_classifier(training_shards.MODEL, training_shards.VOCABULARY, 3, seed=1)
    config = ModelConfig(encoder=f"hf:{tiny_bert.write(directory)}", max_length=16)
    vocabulary = load_vocabulary(config)
    assert vocabulary is not None
    return build_classifier(config, vocabulary, 3, seed=1)
