"""One optimizer step on all replicas, and one validation batch: the mathematics, compiled.

The loss of a step is the sum over the batch's rows divided by the configured batch size, whichever
replica computes a row. Gradients are summed over all replicas before their norm is computed and
they are clipped. So a step's result does not depend on the number of workers, up to the order in
which floating-point numbers are added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from components.config.schema import TrainConfig
from components.model.classifier import Classifier
from components.model.dropout import DropoutSeed
from components.train.loop.input_pipeline import Batch
from components.train.loop.optimizer import StepOptimizer

Tensor = Any
Forward = Callable[[Batch, Tensor | None, bool], Tensor]
"""(batch, token embeddings or None for the model's own, training) -> logits [rows, classes]."""


class StepMetrics(NamedTuple):
    """Sums over all replicas (cross-entropy in nats, rows, stop flags), and the gradient norm."""

    loss_sum: float
    correct: float
    rows: float
    stops: float
    gradient_norm: float


def build_forward(model: Classifier, *, has_features: bool) -> Forward:
    """The classifier's forward pass; `has_features`: batches hold a frozen encoder's features."""

    def forward(batch: Batch, token_embeddings: Tensor | None, training: bool) -> Tensor:
        if has_features:
            return model.head(batch.inputs, training)
        tokens = (
            {"input_word_ids": batch.inputs}
            if token_embeddings is None
            else {"token_embeddings": token_embeddings}
        )
        return model({**tokens, "input_mask": batch.mask}, training)

    return forward


class TrainStep:
    """One compiled optimizer step: (batch, step, stop) -> StepMetrics.

    It updates `variables`, and the rows of the optimizer's deferred embedding table that the
    batch names. That table must not be among `variables`; `forward` then gets token embeddings.
    XLA would compile anew for every number of different tokens, so it needs no such table.
    `batch_spec` is the type of the batches (`build_batch_spec`).
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        forward: Forward,
        variables: list[tf.Variable],
        optimizer: StepOptimizer,
        dropout: DropoutSeed,
        config: TrainConfig,
        batch_spec: Any,
    ) -> None:
        self._strategy, self._forward, self._variables = strategy, forward, variables
        self._optimizer, self._dropout, self._config = optimizer, dropout, config
        self._forward_backward = tf.function(self.forward_backward, jit_compile=config.xla)
        number, flag = tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.float32)
        self._run_on_replicas = tf.function(
            self._distribute, input_signature=[batch_spec, number, flag]
        )

    def __call__(self, batch: Batch, step: int, stop: bool) -> StepMetrics:
        """Do optimizer step number `step`; `stop`: this worker was asked to stop."""
        metrics = self._run_on_replicas(
            batch, tf.constant(step, tf.int64), tf.constant(float(stop))
        )
        return _local_metrics(self._strategy, metrics)

    def _distribute(self, batch: Batch, step: Tensor, stop: Tensor) -> Tensor:
        return self._strategy.run(self.run_on_replica, args=(batch, step, stop))

    def run_on_replica(self, batch: Batch, step: Tensor, stop: Tensor) -> Tensor:
        """One replica's part of the step; StepMetrics as a tensor [5], equal on all replicas."""
        unique_embeddings = self._optimizer.read_rows(batch.unique_token_ids)
        totals, gradients = self.accumulate_gradients(unique_embeddings, batch, step)
        counts = tf.stack([tf.cast(tf.size(batch.labels), tf.float32), stop])
        *gradients, totals, counts = all_reduce([*gradients, totals, counts])
        gradients, norm = self.clip(gradients)
        self.apply(gradients, batch.unique_token_ids)
        return tf.concat([totals, counts, [norm]], axis=0)

    def forward_backward(
        self, unique_embeddings: Tensor, batch: Batch, step: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """(loss sum and correct rows [2], gradients of `unique_embeddings` and variables)."""
        with (
            tf.GradientTape() as tape,
            self._dropout.for_rows(step, batch.first_row),
        ):
            tape.watch(unique_embeddings)
            token_embeddings = (
                tf.gather(unique_embeddings, batch.inputs)
                if self._optimizer.has_deferred_table
                else None
            )
            loss_sum, correct = _score(self._forward(batch, token_embeddings, True), batch.labels)
            loss = loss_sum / tf.constant(self._config.batch_size, tf.float32)
            loss = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(
            loss,
            [unique_embeddings, *self._variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return tf.stack([loss_sum, correct]), [tf.convert_to_tensor(value) for value in gradients]

    def accumulate_gradients(
        self, unique_embeddings: Tensor, batch: Batch, step: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """`forward_backward` of the batch, summed over consecutive parts where so configured."""
        parts = self._config.gradient_accumulation_steps
        if parts == 1:
            totals, gradients = self._forward_backward(unique_embeddings, batch, step)
            return totals, gradients
        rows = tf.shape(batch.labels, tf.int64)[0]

        def add_part(
            part: Tensor, totals: Tensor, sums: list[Tensor]
        ) -> tuple[Tensor, Tensor, list[Tensor]]:
            start, stop = part * rows // parts, (part + 1) * rows // parts
            part_batch = Batch(
                batch.inputs[start:stop],
                batch.unique_token_ids,
                batch.mask[start:stop],
                batch.labels[start:stop],
                batch.first_row + start,
            )
            more, gradients = self._forward_backward(unique_embeddings, part_batch, step)
            sums = [total + value for total, value in zip(sums, gradients, strict=True)]
            return part + 1, totals + more, sums

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self._variables]
        initial = (
            tf.constant(0, tf.int64),
            tf.zeros(2),
            [tf.zeros_like(unique_embeddings), *zeros],
        )
        _, totals, sums = tf.while_loop(
            lambda part, *_: part < parts, add_part, initial, maximum_iterations=parts
        )
        return totals, sums

    def clip(self, gradients: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """(unscaled gradients, clipped to `train.clip_norm` if that is set; their norm before)."""
        gradients = self._optimizer.unscale_gradients(gradients)
        norm = tf.linalg.global_norm(gradients)
        if self._config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._config.clip_norm, use_norm=norm)
        return gradients, norm

    def apply(self, gradients: list[Tensor], unique_token_ids: Tensor) -> None:
        """Update the variables and the named rows of the deferred table."""
        row_gradients, *others = gradients
        updates = list(zip(others, self._variables, strict=True))
        self._optimizer.apply_gradients(updates, row_gradients, unique_token_ids)


def build_validation_step(
    strategy: tf.distribute.Strategy, forward: Forward, batch_spec: Any
) -> Callable[[Batch], StepMetrics]:
    """A function batch -> StepMetrics, without dropout; flush the optimizer before."""

    def run_on_replica(batch: Batch) -> Tensor:
        loss_sum, correct = _score(forward(batch, None, False), batch.labels)
        rows = tf.cast(tf.size(batch.labels), tf.float32)
        return all_reduce([tf.stack([loss_sum, correct, rows, 0.0, 0.0])])[0]

    @tf.function(input_signature=[batch_spec])
    def run_on_replicas(batch: Batch) -> Tensor:
        return strategy.run(run_on_replica, args=(batch,))

    return lambda batch: _local_metrics(strategy, run_on_replicas(batch))


def all_reduce(values: list[Tensor]) -> list[Tensor]:
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


def _local_metrics(strategy: tf.distribute.Strategy, metrics: Tensor) -> StepMetrics:
    return StepMetrics(*np.asarray(strategy.experimental_local_results(metrics)[0]).tolist())
