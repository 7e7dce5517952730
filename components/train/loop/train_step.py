"""One optimizer step on all replicas, and one validation batch: the mathematics, compiled.

The loss of a step is the sum over the batch's rows divided by the configured batch size, whoever computes which row.
Gradients are summed over all replicas before they are measured and clipped. So a step's result does not depend on the
number of workers, up to the order in which floating-point numbers are added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from components.config.schema import TrainConfig
from components.model.dropout import DropoutSeed

Tensor = Any
Forward = Callable[[Tensor, Tensor | None, bool], Tensor]
"""(token ids or features, the tokens' vectors or None for the table's own, training) -> float32 logits [rows, classes]."""


class StepMetrics(NamedTuple):
    """Totals over all replicas: cross-entropy sum in nats, correct rows, rows, stop flags raised, norm of the gradient."""

    loss_sum: float
    correct: float
    rows: float
    stops: float
    gradient_norm: float


def make_train_step(
    strategy: tf.distribute.Strategy,
    forward: Forward,
    variables: list[tf.Variable],
    optimizer: tf.keras.optimizers.legacy.Optimizer,
    dropout: DropoutSeed,
    config: TrainConfig,
    spec: Any,
    table: tf.Variable | None = None,
) -> Callable[[Any, int, bool], StepMetrics]:
    """A function (batch, step, stop) -> Outcome that updates `variables`, and the rows of `table` that the batch names, once.

    `batch` comes from `feed`, and `spec` is its type. With a `table`, which must not be among the variables, the optimizer is
    built for it (`build_optimizer`), and `forward` is given the tokens' vectors. XLA compiles anew for every number of different
    tokens then: it goes without.
    """
    scaled = config.precision == "float16"
    late = getattr(optimizer, "inner_optimizer", optimizer)

    @tf.function(jit_compile=config.xla)
    def differentiate(
        rows: Tensor, places: Tensor, inputs: Tensor, labels: Tensor, position: Tensor, step: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        with tf.GradientTape() as tape, dropout.for_rows(step, position):
            tape.watch(rows)
            words = tf.gather(rows, places) if table is not None else None
            loss_sum, correct = _score(forward(inputs, words, True), labels)
            objective = loss_sum / tf.constant(config.batch_size, tf.float32)
            if scaled:
                objective = optimizer.get_scaled_loss(objective)
        gradients = tape.gradient(
            objective, [rows, *variables], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return tf.stack([loss_sum, correct]), [
            tf.convert_to_tensor(gradient) for gradient in gradients
        ]

    def in_parts(
        rows: Tensor, places: Tensor, inputs: Tensor, labels: Tensor, position: Tensor, step: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        if config.accumulate == 1:
            whole: tuple[Tensor, list[Tensor]] = differentiate(
                rows, places, inputs, labels, position, step
            )
            return whole
        count = tf.shape(labels, tf.int64)[0]

        def one_part(
            part: Tensor, totals: Tensor, sums: list[Tensor]
        ) -> tuple[Tensor, Tensor, list[Tensor]]:
            start, stop = part * count // config.accumulate, (part + 1) * count // config.accumulate
            part_of = (places[start:stop], inputs[start:stop], labels[start:stop])
            more, gradients = differentiate(rows, *part_of, position + start, step)
            return part + 1, totals + more, [a + b for a, b in zip(sums, gradients, strict=True)]

        zeros = [
            tf.zeros_like(rows),
            *(tf.zeros(variable.shape, variable.dtype) for variable in variables),
        ]
        start = (tf.constant(0, tf.int64), tf.zeros(2), zeros)
        _, totals, sums = tf.while_loop(
            lambda part, *_: part < config.accumulate,
            one_part,
            start,
            maximum_iterations=config.accumulate,
        )
        return totals, sums

    def on_replica(
        inputs: Tensor, used: Tensor, labels: Tensor, position: Tensor, step: Tensor, stop: Tensor
    ) -> Tensor:
        rows = late.read(used) if table is not None else tf.zeros([0, 1])
        totals, gradients = in_parts(rows, inputs, _ids(inputs, used), labels, position, step)
        counts = tf.stack([tf.cast(tf.size(labels), tf.float32), stop])
        *gradients, totals, counts = _summed([*gradients, totals, counts])
        if scaled:
            gradients = optimizer.get_unscaled_gradients(gradients)
        norm = tf.linalg.global_norm(gradients)
        if config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, config.clip_norm, use_norm=norm)
        of_rows, *others = gradients
        updates = list(zip(others, variables, strict=True))
        if table is not None:
            updates.append((tf.IndexedSlices(of_rows, used, tf.shape(table)), table))
        optimizer.apply_gradients(updates, experimental_aggregate_gradients=False)
        return tf.concat([totals, counts, [norm]], axis=0)

    @tf.function(input_signature=[spec, tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.float32)])
    def step_on_all(batch: Any, step: Tensor, stop: Tensor) -> Tensor:
        return strategy.run(on_replica, args=(*batch, step, stop))

    def train_step(batch: Any, step: int, stop: bool) -> StepMetrics:
        return _outcome(
            strategy, step_on_all(batch, tf.constant(step, tf.int64), tf.constant(float(stop)))
        )

    return train_step


def make_validation_step(
    strategy: tf.distribute.Strategy, forward: Forward, spec: Any
) -> Callable[[Any], StepMetrics]:
    """A function batch -> Outcome over all replicas, without dropout; the optimizer must be settled."""

    def on_replica(inputs: Tensor, used: Tensor, labels: Tensor, _: Tensor) -> Tensor:
        loss_sum, correct = _score(forward(_ids(inputs, used), None, False), labels)
        return _summed(
            [tf.stack([loss_sum, correct, tf.cast(tf.size(labels), tf.float32), 0.0, 0.0])]
        )[0]

    @tf.function(input_signature=[spec])
    def on_all(batch: Any) -> Tensor:
        return strategy.run(on_replica, args=batch)

    return lambda batch: _outcome(strategy, on_all(batch))


def _ids(inputs: Tensor, used: Tensor) -> Tensor:
    """Token ids for places in `used`; features are what they are."""
    return tf.gather(used, inputs) if inputs.dtype.is_integer else inputs


def _summed(values: list[Tensor]) -> list[Tensor]:
    """Each tensor's sum over all replicas, by one reduction."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    total: list[Tensor] = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
    return total


def _score(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    hits = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
    return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32))


def _outcome(strategy: tf.distribute.Strategy, value: Tensor) -> StepMetrics:
    return StepMetrics(*np.asarray(strategy.experimental_local_results(value)[0]).tolist())
