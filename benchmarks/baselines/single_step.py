"""A worker's training step on one batch, without the worker, for suites that examine a step."""

from __future__ import annotations

from dataclasses import dataclass

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

# isort: split
import numpy as np
import tensorflow as tf

from components.config.schema import ModelConfig, TrainConfig
from components.model.classifier import build_classifier
from components.model.encoders import load_vocabulary
from components.train.loop.build_trainer import choose_deferred_table, set_precision
from components.train.loop.collectives import create_strategy
from components.train.loop.input_pipeline import Batch, SplitInputs, build_batch_spec, slice_batch
from components.train.loop.optimizer import StepOptimizer, build_optimizer
from components.train.loop.train_step import StepMetrics, TrainStep, build_forward

CLASSES = 4
FIRST_WORD, WORDS = 1_000, 400
"""Token ids of the batch: about as many different ones as a batch of AG News has."""
_TOTAL_STEPS = 10_000


@dataclass(frozen=True)
class SingleStep:
    """A training step and the inputs that its batches are made from."""

    train_step: TrainStep
    inputs: SplitInputs
    device: str

    def make_batch(self, rows: int, length: int) -> Batch:
        """The first rows, padded to `length`, on the step's device."""
        batch = self.inputs.read_batch(np.arange(rows), length)
        return slice_batch(batch, slice(0, rows), self.device)

    def run(self, batch: Batch) -> StepMetrics:
        """One step, to its end."""
        return self.train_step(batch, 1, False).read()


def build_single_step(model: ModelConfig, train: TrainConfig, rows: int, length: int) -> SingleStep:
    """The step of a worker with one replica, for `rows` rows of `length` tokens.

    `scratch` gets MiniLM's vocabulary. Sets the precision of the process.
    """
    set_precision(train)
    strategy = create_strategy()
    vocabulary = load_vocabulary(model) or load_vocabulary(ModelConfig(encoder="minilm"))
    assert vocabulary is not None
    with strategy.scope():
        classifier = build_classifier(model, vocabulary, CLASSES, train.seed)
        table = choose_deferred_table(classifier, model, train)
        optimizer = StepOptimizer(build_optimizer(train, _TOTAL_STEPS, table), table)
        optimizer.create_slots(classifier.trainable_variables)
    inputs = _make_inputs(rows, length, has_unique_token_ids=table is not None)
    step = TrainStep(
        strategy,
        build_forward(classifier, has_features=False),
        [variable for variable in classifier.trainable_variables if variable is not table],
        optimizer,
        classifier.dropout_seed,
        train,
        build_batch_spec(strategy, inputs),
    )
    return SingleStep(step, inputs, strategy.extended.worker_devices[0])


def _make_inputs(rows: int, length: int, *, has_unique_token_ids: bool) -> SplitInputs:
    ids = np.random.default_rng(1).integers(FIRST_WORD, FIRST_WORD + WORDS, (rows, length))
    return SplitInputs(
        np.full(rows, length, np.int32),
        np.arange(rows, dtype=np.int32) % CLASSES,
        lambda indices, width: ids[indices, :width].astype(np.int32),
        tf.TensorSpec((None, None), tf.int32),
        has_token_ids=True,
        has_unique_token_ids=has_unique_token_ids,
    )
