"""AdamW with linear warm-up and decay, counted in optimizer steps, from Model Garden."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from official.nlp import optimization

from components.config.schema import TrainConfig
from components.train.loop.deferred_adamw import DeferredAdamW

Tensor = Any
WEIGHT_DECAY_EXCLUSIONS = ("layer_norm", "LayerNorm", "bias")
ADAM_EPSILON = 1e-6
"""BERT's own (Devlin et al. 2019, AdamWeightDecayOptimizer of the reference implementation)."""


class StepOptimizer:
    """A step's optimizer, whether or not it scales the loss or defers updates.

    `keras_optimizer` comes from `build_optimizer` with the same `deferred_table`; checkpoints hold
    its variables.
    """

    def __init__(
        self,
        keras_optimizer: tf.keras.optimizers.legacy.Optimizer,
        deferred_table: tf.Variable | None = None,
    ) -> None:
        self.keras_optimizer = keras_optimizer
        self._scaler: tf.keras.mixed_precision.LossScaleOptimizer | None = None
        self._adamw = keras_optimizer
        if isinstance(keras_optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            self._scaler, self._adamw = keras_optimizer, keras_optimizer.inner_optimizer
        self._deferred_table = deferred_table

    @property
    def has_deferred_table(self) -> bool:
        """Whether the word embeddings are updated only when they are read, or flushed."""
        return self._deferred_table is not None

    def create_slots(self, variables: list[tf.Variable]) -> None:
        """Create the optimizer's variables, so that a checkpoint can be restored into them."""
        self._adamw._create_all_weights(variables)

    def read_rows(self, token_ids: Tensor) -> Tensor:
        """Current rows of the deferred table, float32 [n, width]; [0, 1] without a table."""
        return self._adamw.read(token_ids) if self.has_deferred_table else tf.zeros([0, 1])

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss to differentiate; scaled in float16, so that gradients do not underflow."""
        return loss if self._scaler is None else self._scaler.get_scaled_loss(loss)

    def unscale_gradients(self, gradients: list[Tensor]) -> list[Tensor]:
        """The gradients of the loss, from those of the scaled loss."""
        if self._scaler is None:
            return gradients
        unscaled: list[Tensor] = self._scaler.get_unscaled_gradients(gradients)
        return unscaled

    def apply_gradients(
        self,
        updates: list[tuple[Tensor, tf.Variable]],
        row_gradients: Tensor,
        token_ids: Tensor,
    ) -> None:
        """Do one step with gradients that were summed over all replicas before."""
        if self._deferred_table is not None:
            rows = tf.IndexedSlices(row_gradients, token_ids, tf.shape(self._deferred_table))
            updates = [*updates, (rows, self._deferred_table)]
        self.keras_optimizer.apply_gradients(updates, experimental_aggregate_gradients=False)

    def flush(self, strategy: tf.distribute.Strategy) -> None:
        """Bring every row of the deferred table up to date; call it outside of a step."""
        if self.has_deferred_table:
            self._adamw.flush(strategy)


def build_learning_rate_schedule(
    config: TrainConfig, total_steps: int
) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """Rate by step: linear warm-up from 0, then linear decay to 0 at `total_steps`, or constant."""
    warmup = round(config.warmup_fraction * total_steps)
    end = 0.0 if config.lr_schedule == "linear" else config.learning_rate
    after = tf.keras.optimizers.schedules.PolynomialDecay(
        config.learning_rate, decay_steps=max(total_steps, 1), end_learning_rate=end
    )
    return (
        optimization.WarmUp(config.learning_rate, after, warmup_steps=warmup) if warmup else after
    )


def compute_learning_rates(config: TrainConfig, total_steps: int) -> npt.NDArray[np.float64]:
    """The rate of every step, float64 [total_steps], as `build_learning_rate_schedule` gives it."""
    schedule = build_learning_rate_schedule(config, total_steps)
    every = tf.function(lambda: tf.map_fn(schedule, tf.range(total_steps, dtype=tf.float32)))
    rates: npt.NDArray[np.float64] = every().numpy().astype(np.float64)
    return rates


def build_optimizer(
    config: TrainConfig, total_steps: int, deferred_table: tf.Variable | None = None
) -> tf.keras.optimizers.legacy.Optimizer:
    """AdamW without decay of biases and layer norms; with loss scaling if the precision is float16.

    The rows of `deferred_table` are updated late (`DeferredAdamW`). The optimizer neither clips nor
    aggregates: the step does both, over all workers' gradients, so that the result does not depend
    on the number of workers.
    """
    options = {
        "learning_rate": build_learning_rate_schedule(config, total_steps),
        "weight_decay_rate": config.weight_decay,
        "epsilon": ADAM_EPSILON,
        "exclude_from_weight_decay": list(WEIGHT_DECAY_EXCLUSIONS),
        "gradient_clip_norm": 0.0,
    }
    if deferred_table is None:
        optimizer = optimization.AdamWeightDecay(**options)
    else:
        rates = compute_learning_rates(config, total_steps)
        optimizer = DeferredAdamW(deferred_table, rates, **options)
    return (
        tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        if config.precision == "float16"
        else optimizer
    )
