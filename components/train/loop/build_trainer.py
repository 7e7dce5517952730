"""Assembles one worker's trainer: model, data, compiled steps and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.token_shards import SplitReader, TokenShards
from components.config.schema import ModelConfig, TrainConfig
from components.config.task import resolve_best_metric
from components.model.classifier import Classifier, build_classifier
from components.model.encoders import compute_fingerprint
from components.model.restore import load_initial_weights
from components.train.checkpointing.checkpoint_writer import (
    CheckpointWriter,
    ChiefCheckpointWriter,
    FinishedCheckpoint,
    NoOpCheckpointWriter,
    TrainingVariables,
)
from components.train.checkpointing.state_store import FeatureCache, TrainingStateStore
from components.train.checkpointing.train_state import TrainState
from components.train.class_weights import compute_loss_weights
from components.train.job import Job, training_id
from components.train.loop.batch_plan import SliceRows, replica_slice, select_length_buckets
from components.train.loop.callback import TrainingCallback
from components.train.loop.collectives import WorkerCollectives
from components.train.loop.deferred_adamw import MAX_RATE_TIMES_DECAY
from components.train.loop.feature_cache import load_or_compute_features
from components.train.loop.input_pipeline import HOST_DEVICE, SplitInputs, build_batch_spec
from components.train.loop.optimizer import (
    StepOptimizer,
    build_learning_rate_schedule,
    build_optimizer,
)
from components.train.loop.progress_reporter import ProgressReporter
from components.train.loop.train_step import (
    TrainStep,
    build_features_step,
    build_forward,
    build_validation_step,
    choose_pack_bytes,
)
from components.train.loop.trainer import ModelSteps, Trainer, WorkerControl
from components.train.loop.training_data import TrainingData
from components.train.objective import LabelSetObjective, Objective, create_objective

_KERAS_POLICIES = {
    "float32": "float32",
    "tf32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


def build_trainer(
    job: Job,
    shards: TokenShards,
    store: TrainingStateStore,
    strategy: tf.distribute.Strategy,
    collectives: WorkerCollectives,
    control: WorkerControl,
    *,
    callbacks: Sequence[TrainingCallback] = (),
    slice_rows: SliceRows = replica_slice,
    start: Artifact[CheckpointContent] | None = None,
) -> Trainer:
    """The trainer of this worker; every worker calls this, in the same order of collectives.

    `start` is the checkpoint of `job.start`.
    """
    task, classes = shards.content.task, shards.content.classes
    job = job.model_copy(update={"train": resolve_best_metric(job.train, task.kind)})
    set_precision(job.train)
    with strategy.scope():
        model = build_classifier(
            job.model,
            shards.vocabulary,
            task.count_outputs(len(classes)),
            job.train.seed,
            has_pairs=len(shards.content.inputs) > 1,
        )
        if start is not None:
            load_initial_weights(model, job.model, classes, start, task)
    table = choose_deferred_table(model, job.model, job.train)
    build_inputs = partial(
        _build_inputs, job, shards, store.features, model, strategy, collectives, control, callbacks
    )
    train = build_inputs(shards.open_split("train"), has_unique_token_ids=table is not None)
    validation = build_inputs(shards.open_split("validation"), has_unique_token_ids=False)
    buckets = (1,) if job.model.freeze else _select_buckets(job, shards)
    max_length = None if job.model.freeze else job.model.max_length
    data = TrainingData(job.train, strategy, train, validation, buckets, slice_rows, max_length)

    total_steps = data.steps_per_epoch * job.train.epochs
    with strategy.scope():
        optimizer = StepOptimizer(build_optimizer(job.train, total_steps, table), table)
        optimizer.create_slots(model.trainable_variables)
    weights = compute_loss_weights(job.train, task.kind, shards.content.splits["train"])
    objective = create_objective(task.kind, job.train.label_smoothing, weights)
    steps = _build_steps(job, strategy, model, optimizer, table, data, total_steps, objective)
    variables = TrainingVariables(
        strategy, model, optimizer.keras_optimizer, describe_identity(job, shards)
    )
    checkpoints: CheckpointWriter = NoOpCheckpointWriter(store.checkpoints, variables, collectives)
    if collectives.is_chief:
        summary_writer = tf.summary.create_file_writer(str(store.checkpoints.layout.tensorboard))
        finished = FinishedCheckpoint(
            shards, job.train, partial(_describe_finished, job, shards, data, collectives.workers)
        )
        checkpoints = ChiefCheckpointWriter(
            store.checkpoints, variables, collectives, finished, summary_writer, control.heartbeat
        )
        reporter = ProgressReporter(
            job.train, total_steps, steps.learning_rate, summary_writer, task
        )
        callbacks = [*callbacks, reporter]
    return Trainer(job.train, data, steps, checkpoints, control, callbacks)


def set_precision(train: TrainConfig) -> None:
    """Have this process compute matrix products in `train.precision`, which is not `auto`."""
    tf.keras.mixed_precision.set_global_policy(_KERAS_POLICIES[train.precision])
    # TensorFlow allows TF32 by default: from Ampere on, float32 would not be float32 on GPUs.
    tf.config.experimental.enable_tensor_float_32_execution(train.precision == "tf32")


def choose_deferred_table(
    model: Classifier, config: ModelConfig, train: TrainConfig
) -> tf.Variable | None:
    """The word embeddings if their updates can be deferred, otherwise None."""
    exceeds_limit = train.learning_rate * train.weight_decay > MAX_RATE_TIMES_DECAY
    if config.freeze or train.xla or exceeds_limit:
        return None
    table: tf.Variable | None = model.encoder.word_embeddings
    return table


def describe_identity(job: Job, shards: TokenShards) -> dict[str, object]:
    """What a checkpoint must have in common with a training that restores it."""
    return {
        "vocabulary_sha256": shards.content.vocabulary_sha256,
        "classes": list(shards.content.classes),
        "encoder_fingerprint": compute_fingerprint(job.model),
        "run": training_id(job.model, job.train, shards.manifest.digest, job.start),
    }


def _select_buckets(job: Job, shards: TokenShards) -> tuple[int, ...]:
    content = shards.content
    return select_length_buckets(job.train, content.max_length, content.long_texts.max_windows)


def _build_inputs(
    job: Job,
    shards: TokenShards,
    cache: FeatureCache,
    model: Classifier,
    strategy: tf.distribute.Strategy,
    collectives: WorkerCollectives,
    control: WorkerControl,
    callbacks: Sequence[TrainingCallback],
    split: SplitReader,
    *,
    has_unique_token_ids: bool,
) -> SplitInputs:
    if not job.model.freeze:
        return SplitInputs.from_tokens(
            split,
            model.pad_id,
            has_unique_token_ids=has_unique_token_ids,
            task=shards.content.task,
        )
    compute_on_replicas = build_features_step(strategy, model)

    def compute(batches: Sequence[npt.NDArray[np.int32]]) -> list[npt.NDArray[np.float32]]:
        control.heartbeat()
        features = compute_on_replicas(batches)
        for callback in callbacks:
            for token_ids in batches:
                callback.on_features_computed(split.name, len(token_ids))
        return features

    features = load_or_compute_features(
        cache,
        _features_prefix(job, shards),
        split,
        _select_buckets(job, shards),
        compute,
        model.logits.kernel.shape[0],
        collectives,
        batches_per_call=len(strategy.extended.worker_devices),
        max_length=shards.content.max_length,
    )
    return SplitInputs.from_features(split, features, shards.content.task)


def _features_prefix(job: Job, shards: TokenShards) -> str:
    """Features depend on the data, the encoder, the pooling and the precision, on nothing else.

    The encoder's weights are those of `job.start`, if there is one.
    """
    fingerprint = job.start.checkpoint if job.start else compute_fingerprint(job.model)
    return (
        f"{shards.manifest.digest[:16]}-{fingerprint[:16]}-"
        f"{job.model.resolved_pooling}-{job.train.precision}"
    )


def _build_steps(
    job: Job,
    strategy: tf.distribute.Strategy,
    model: Classifier,
    optimizer: StepOptimizer,
    table: tf.Variable | None,
    data: TrainingData,
    total_steps: int,
    objective: Objective,
) -> ModelSteps:
    forward = build_forward(model, has_features=job.model.freeze)
    schedule = build_learning_rate_schedule(job.train, total_steps)

    def compute_rate(step: int) -> float:
        with tf.device(HOST_DEVICE):
            return float(schedule(step))

    return ModelSteps(
        train=TrainStep(
            strategy,
            forward,
            [variable for variable in model.trainable_variables if variable is not table],
            optimizer,
            model.dropout_seed,
            job.train,
            build_batch_spec(strategy, data.train),
            choose_pack_bytes(strategy, job.train),
            objective,
        ),
        validate=build_validation_step(
            strategy,
            forward,
            build_batch_spec(strategy, data.validation),
            counts_classes=job.train.best_metric == "macro_f1"
            or isinstance(objective, LabelSetObjective),
            objective=objective,
        ),
        flush_optimizer=partial(optimizer.flush, strategy),
        learning_rate=compute_rate,
    )


def _describe_finished(
    job: Job, shards: TokenShards, data: TrainingData, workers: int, state: TrainState
) -> CheckpointContent:
    return CheckpointContent(
        classes=shards.content.classes,
        vocabulary_sha256=shards.content.vocabulary_sha256,
        lower_case=shards.content.lower_case,
        strip_accents=shards.content.strip_accents,
        model=job.model,
        encoder_fingerprint=compute_fingerprint(job.model),
        history=state.history,
        best_step=state.best_step,
        steps=state.step,
        step_losses=state.step_losses,
        train_examples_per_second=state.rows_per_second,
        padding_efficiency=data.padding_efficiency(),
        workers=workers,
        start_from=job.start.lineage if job.start else None,
        inputs=shards.content.inputs,
        task=shards.content.task,
    )
