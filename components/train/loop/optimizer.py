"""AdamW with linear warm-up and decay, counted in optimizer steps, from Model Garden."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from official.nlp import optimization

from components.config.schema import TrainConfig
from components.train.loop.deferred_adamw import DeferredAdamW

WEIGHT_DECAY_EXCLUSIONS = ("layer_norm", "LayerNorm", "bias")
ADAM_EPSILON = (
    1e-6  # BERT's own (Devlin et al. 2019, the reference code's AdamWeightDecayOptimizer)
)


def build_learning_rate_schedule(
    config: TrainConfig, total_steps: int
) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """Rate by step: 0 rising linearly to the peak during warm-up, then down to 0 at `total_steps`, or constant."""
    warmup = round(config.warmup_fraction * total_steps)
    end = 0.0 if config.decay == "linear" else config.learning_rate
    after = tf.keras.optimizers.schedules.PolynomialDecay(
        config.learning_rate, decay_steps=max(total_steps, 1), end_learning_rate=end
    )
    return (
        optimization.WarmUp(config.learning_rate, after, warmup_steps=warmup) if warmup else after
    )


def compute_learning_rates(config: TrainConfig, total_steps: int) -> npt.NDArray[np.float64]:
    """The rate of every step, float64 [total_steps], as `learning_rate` gives it."""
    schedule = build_learning_rate_schedule(config, total_steps)
    every = tf.function(lambda: tf.map_fn(schedule, tf.range(total_steps, dtype=tf.float32)))
    rates: npt.NDArray[np.float64] = every().numpy().astype(np.float64)
    return rates


def build_optimizer(
    config: TrainConfig, total_steps: int, table: tf.Variable | None = None
) -> tf.keras.optimizers.legacy.Optimizer:
    """AdamW; biases and layer norms are not decayed; wrapped for loss scaling when the precision is float16.

    The rows of `table` are updated late (`DelayedAdamW`). It neither clips nor aggregates: the step does both, over all
    workers' gradients, so that the result does not depend on how many workers there are.
    """
    options = {
        "learning_rate": build_learning_rate_schedule(config, total_steps),
        "weight_decay_rate": config.weight_decay,
        "epsilon": ADAM_EPSILON,
        "exclude_from_weight_decay": list(WEIGHT_DECAY_EXCLUSIONS),
        "gradient_clip_norm": 0.0,
    }
    if table is None:
        optimizer = optimization.AdamWeightDecay(**options)
    else:
        optimizer = DeferredAdamW(table, compute_learning_rates(config, total_steps), **options)
    return (
        tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        if config.precision == "float16"
        else optimizer
    )
