"""One optimizer step on all replicas, and one validation batch: the mathematics, compiled.

The loss of a step is the sum over the batch's rows (`components.train.objective`), divided by the
configured batch size, whichever replica computes a row. The mean of class weights over the training
rows is 1, so no step needs the sum of a batch's weights. Gradients are summed over all replicas
before their norm is computed and they are clipped. So a step's result does not depend on the number
of workers, up to the order in which floating-point numbers are added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.config.schema import TrainConfig
from components.model.classifier import Classifier
from components.model.dropout import DropoutSeed
from components.train.loop.input_pipeline import (
    HOST_DEVICE,
    Batch,
    build_local_spec,
    make_local_values,
)
from components.train.loop.optimizer import StepOptimizer
from components.train.objective import ClassObjective, Objective

Tensor = Any
PACK_BYTES = 32 << 20
"""Gradients that are reduced together on GPUs: a reduction starts when the backward pass has made
that many, and runs while it makes the next. Smaller ones would not fill the links."""
SUMS = 5
"""The numbers of `StepMetrics`."""
Forward = Callable[[Batch, Tensor | None, bool], Tensor]
"""(batch, token embeddings or None for the model's own, training) -> logits [rows, classes]."""
ForwardBackward = Callable[[Tensor, Batch, Tensor], tuple[Tensor, list[Tensor]]]
"""(embeddings of the batch's tokens, batch, step) -> (sums [2], gradients)."""


class StepMetrics(NamedTuple):
    """Sums over all replicas (loss in nats, rows, requests to stop); the gradient norm.

    `class_counts` has, for macro-F1 and micro-F1 in validation, the rows of each class, those
    predicted as it and those of both: [3, classes].
    """

    loss_sum: float
    correct: float
    rows: float
    stops: float
    gradient_norm: float
    class_counts: npt.NDArray[np.float32] | None = None


class PendingMetrics(Protocol):
    """The metrics of a step that may still run."""

    def read(self) -> StepMetrics:
        """Wait for the step's end; its metrics."""


class DeviceMetrics(NamedTuple):
    """`PendingMetrics` in a tensor of the replicas' devices."""

    strategy: tf.distribute.Strategy
    tensor: Tensor

    def read(self) -> StepMetrics:
        values = np.asarray(self.strategy.experimental_local_results(self.tensor)[0])
        sums, counts = values[:SUMS], values[SUMS:]
        metrics = StepMetrics(*sums.tolist())
        return metrics._replace(class_counts=counts.reshape(3, -1)) if len(counts) else metrics


def build_forward(model: Classifier, *, has_features: bool) -> Forward:
    """The classifier's forward pass; `has_features`: batches hold a frozen encoder's features."""

    def forward(batch: Batch, token_embeddings: Tensor | None, training: bool) -> Tensor:
        if has_features:
            return model.head(batch.inputs, training)
        if token_embeddings is None:
            tokens = {"input_word_ids": batch.inputs}
        else:
            tokens = {"token_embeddings": token_embeddings}
            if model.sep_id is not None:  # the segments of pairs are found by the ids
                tokens["input_word_ids"] = tf.gather(batch.unique_token_ids, batch.inputs)
        return model({**tokens, "input_mask": batch.mask}, training)

    return forward


class TrainStep:
    """One compiled optimizer step: (batch, step, stop) -> PendingMetrics.

    It updates `variables`, and the rows of the optimizer's deferred embedding table that the
    batch names. That table must not be among `variables`; `forward` then gets token embeddings.
    XLA would compile anew for every number of different tokens, so it needs no such table.
    `batch_spec` is the type of the batches (`build_batch_spec`), `pack_bytes` how many bytes of
    gradients are reduced together (0: all of them). Without `objective` a row has one class, and
    all weigh the same.
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
        pack_bytes: int = 0,
        objective: Objective | None = None,
    ) -> None:
        self._strategy, self._forward, self._variables = strategy, forward, variables
        self._optimizer, self._dropout, self._config = optimizer, dropout, config
        self._pack_bytes = pack_bytes
        self._objective = objective or ClassObjective(config.label_smoothing)
        self._compiled: list[ForwardBackward] = []
        number, flag = tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.float32)
        self._run_on_replicas = tf.function(
            self._distribute, input_signature=[batch_spec, number, flag]
        )

    def __call__(self, batch: Batch, step: int, stop: int) -> PendingMetrics:
        """Start optimizer step number `step`; `stop` is this worker's request to stop, or 0."""
        with tf.device(HOST_DEVICE):
            number, flag = tf.constant(step, tf.int64), tf.constant(float(stop))
        return DeviceMetrics(self._strategy, self._run_on_replicas(batch, number, flag))

    def _distribute(self, batch: Batch, step: Tensor, stop: Tensor) -> Tensor:
        return self._strategy.run(self.run_on_replica, args=(batch, step, stop))

    def run_on_replica(self, batch: Batch, step: Tensor, stop: Tensor) -> Tensor:
        """One replica's part of the step; StepMetrics as a tensor [5], equal on all replicas."""
        unique_embeddings = self._optimizer.read_rows(batch.unique_token_ids)
        totals, gradients = self.accumulate_gradients(unique_embeddings, batch, step)
        counts = tf.stack([_count_rows(batch), stop])
        *gradients, totals, counts = all_reduce([*gradients, totals, counts], self._pack_bytes)
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
            logits = self._forward(batch, token_embeddings, True)
            losses = self._objective.compute_losses(logits, batch.labels)
            loss_sum = tf.reduce_sum(losses)
            correct = self._objective.count_hits(logits, batch.labels)
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
        forward_backward = self._compile_forward_backward()
        if parts == 1:
            totals, gradients = forward_backward(unique_embeddings, batch, step)
            return totals, gradients
        # int32, which TensorFlow computes on the host: with int64 the host would wait for the GPU
        # in every iteration, to know whether there is another one.
        rows = tf.shape(batch.labels)[0]

        def add_part(
            part: Tensor, totals: Tensor, sums: list[Tensor]
        ) -> tuple[Tensor, Tensor, list[Tensor]]:
            start, stop = part * rows // parts, (part + 1) * rows // parts
            part_batch = Batch(
                batch.inputs[start:stop],
                batch.unique_token_ids,
                batch.mask[start:stop],
                batch.labels[start:stop],
                batch.first_row + tf.cast(start, tf.int64),
            )
            more, gradients = forward_backward(unique_embeddings, part_batch, step)
            sums = [total + value for total, value in zip(sums, gradients, strict=True)]
            return part + 1, totals + more, sums

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self._variables]
        initial = (
            tf.constant(0),
            tf.zeros(2),
            [tf.zeros_like(unique_embeddings), *zeros],
        )
        _, totals, sums = tf.while_loop(
            lambda part, *_: part < parts, add_part, initial, maximum_iterations=parts
        )
        return totals, sums

    def _compile_forward_backward(self) -> ForwardBackward:
        """`forward_backward`, compiled for the replica that is traced.

        A compiled function reads the variables of the replica that it was traced for. Replicas that
        share one depend on TensorFlow tracing it again for each device: it does so unless the
        strategy was made from a list of devices.
        """
        compiled: ForwardBackward = tf.function(self.forward_backward, jit_compile=self._config.xla)
        self._compiled.append(compiled)  # its graph must outlive the trace
        return compiled

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
    strategy: tf.distribute.Strategy,
    forward: Forward,
    batch_spec: Any,
    *,
    counts_classes: bool = False,
    objective: Objective | None = None,
) -> Callable[[Batch], PendingMetrics]:
    """A function batch -> PendingMetrics, without dropout; flush the optimizer before.

    The loss is the plain one, so that trainings with other weights can be compared. Without
    `objective` a row has one class.
    """
    measured = objective or ClassObjective()

    def run_on_replica(batch: Batch) -> Tensor:
        logits = forward(batch, None, False)
        loss_sum = tf.reduce_sum(measured.compute_plain_losses(logits, batch.labels))
        correct = measured.count_hits(logits, batch.labels)
        sums = tf.stack([loss_sum, correct, _count_rows(batch), 0.0, 0.0])
        if counts_classes:
            sums = tf.concat([sums, measured.count_classes(logits, batch.labels)], axis=0)
        return all_reduce([sums])[0]

    @tf.function(input_signature=[batch_spec])
    def run_on_replicas(batch: Batch) -> Tensor:
        return strategy.run(run_on_replica, args=(batch,))

    return lambda batch: DeviceMetrics(strategy, run_on_replicas(batch))


def _count_rows(batch: Batch) -> Tensor:
    return tf.cast(tf.shape(batch.labels)[0], tf.float32)


def build_features_step(
    strategy: tf.distribute.Strategy, model: Classifier
) -> Callable[[Sequence[npt.NDArray[np.int32]]], list[npt.NDArray[np.float32]]]:
    """A function: one batch of token ids [rows, width] per replica of this worker, or fewer ->
    the frozen encoder's features of each batch, float32 [rows, hidden]."""
    spec = build_local_spec(strategy, tf.TensorSpec((None, None), tf.int32))

    def run_on_replica(token_ids: Tensor) -> Tensor:
        return model.features({"input_word_ids": token_ids})

    @tf.function(input_signature=[spec])
    def run_on_replicas(token_ids: Tensor) -> Tensor:
        return strategy.run(run_on_replica, args=(token_ids,))

    def compute(batches: Sequence[npt.NDArray[np.int32]]) -> list[npt.NDArray[np.float32]]:
        def read_batch(context: tf.distribute.experimental.ValueContext) -> Tensor:
            # All replicas have to run: those without a batch compute the last one again.
            replica = context.replica_id_in_sync_group % len(strategy.extended.worker_devices)
            return tf.constant(batches[min(replica, len(batches) - 1)])

        values = run_on_replicas(make_local_values(strategy, read_batch))
        features = strategy.experimental_local_results(values)
        return [np.asarray(value) for value in features[: len(batches)]]

    return compute


def choose_pack_bytes(strategy: tf.distribute.Strategy, config: TrainConfig) -> int:
    """`PACK_BYTES` where a reduction can overlap with the backward pass, else 0.

    It cannot on CPUs, where more reductions are slower, nor where the gradients appear all at once:
    at the end of a loop over parts of the batch, or of a function that XLA compiled.
    """
    is_gpu = "GPU" in strategy.extended.worker_devices[0]
    is_gradual = config.gradient_accumulation_steps == 1 and not config.xla
    return PACK_BYTES if is_gpu and is_gradual else 0


def all_reduce(values: list[Tensor], pack_bytes: int = 0) -> list[Tensor]:
    """Each tensor's sum over all replicas, by one reduction, or one per `pack_bytes`."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    if not pack_bytes:
        total: list[Tensor] = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
        return total
    # One tensor of unknown size among them would make TensorFlow reduce all of them together.
    options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=pack_bytes)
    groups: dict[bool, list[int]] = {True: [], False: []}
    for index, value in enumerate(values):
        groups[value.shape.is_fully_defined()].append(index)
    totals = list(values)
    for indices in filter(None, groups.values()):
        parts = [values[index] for index in indices]
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, parts, options)
        for index, value in zip(indices, sums, strict=True):
            totals[index] = value
    return totals
