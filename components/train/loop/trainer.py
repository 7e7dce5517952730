"""Puts one worker's training together: the model under the strategy, the rows, the step, and what the chief keeps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import tensorflow as tf

from components import progress
from components.artifacts import checkpoint, manifest
from components.artifacts.artifact import verify_artifact
from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.token_shards import SplitReader, TokenShards
from components.model.classifier import build_classifier
from components.model.encoders import compute_fingerprint
from components.progress import StepName
from components.train.checkpointing.remote_checkpoints import CheckpointId
from components.train.checkpointing.state_store import TrainingStateStore
from components.train.job import Job, training_id
from components.train.loop import train_state
from components.train.loop.batch_plan import (
    EpochPlan,
    padding_efficiency,
    plan_by_length,
    plan_epoch,
    select_length_buckets,
)
from components.train.loop.deferred_adamw import MAX_RATE_TIMES_DECAY
from components.train.loop.epochs import EpochLoop, run_epochs
from components.train.loop.feature_cache import cached_features
from components.train.loop.input_pipeline import SplitInputs, build_batch_spec, read_batches
from components.train.loop.optimizer import (
    StepOptimizer,
    build_learning_rate_schedule,
    build_optimizer,
)
from components.train.loop.train_state import TrainState
from components.train.loop.train_step import TrainStep, build_forward, build_validation_step
from components.workers.topology import WorkerTopology

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Training:
    """One worker's share of a training run; every worker makes one and calls `run`."""

    def __init__(
        self,
        job: Job,
        place: TrainingStateStore,
        shards: TokenShards,
        topology: WorkerTopology,
        strategy: Any,
        stop_asked: Callable[[], bool],
        beat: Callable[[], None],
    ) -> None:
        self.job, self.place, self.shards, self.topology = job, place, shards, topology
        self.strategy, self.stop_asked, self.beat = strategy, stop_asked, beat
        tf.keras.mixed_precision.set_global_policy(_POLICIES[job.train.precision])
        with strategy.scope():
            self.model = build_classifier(
                job.model, self.shards.vocabulary, len(self.shards.content.classes), job.train.seed
            )
        self.buckets = select_length_buckets(job.train, self.shards.content.max_length)

    def run(self) -> None:
        """Train to the end and have the chief seal the finished checkpoint; a run that was finished already changes nothing.

        Raises Preempted on all workers together, once the chief's checkpoint is safe.
        """
        loop = self._loop()
        position, losses = self._restore()
        try:
            position, losses = run_epochs(loop, position, losses)
        finally:
            self.place.settle(self.beat)
        if self.topology.is_chief and not self.place.is_finished():
            self._finish(loop, position, losses)

    def barrier(self) -> None:
        """Return when every worker called this."""
        self._sum(1)

    def _sum(self, value: int) -> int:
        @tf.function
        def add(mine: Any) -> Any:
            return self.strategy.reduce(
                tf.distribute.ReduceOp.SUM,
                self.strategy.run(lambda one: one, args=(mine,)),
                axis=None,
            )

        replicas_per_worker: int = self.strategy.num_replicas_in_sync // len(self.topology.workers)
        return int(add(tf.constant(value, tf.int64))) // replicas_per_worker

    @cached_property
    def _identity(self) -> dict[str, object]:
        content = self.shards.content
        return {
            "vocabulary_sha256": content.vocabulary_sha256,
            "classes": list(content.classes),
            "encoder_fingerprint": compute_fingerprint(self.job.model),
            "run": training_id(self.job.model, self.job.train, self.shards.manifest.digest),
        }

    @cached_property
    def _table(self) -> Any:
        """The word-piece table where it is trained and can be updated late, else None."""
        run_epochs = self.job.train
        cannot = (
            self.job.model.freeze
            or run_epochs.xla
            or run_epochs.learning_rate * run_epochs.weight_decay > MAX_RATE_TIMES_DECAY
        )
        return None if cannot else self.model.encoder.word_embeddings

    @cached_property
    def _variables(self) -> list[Any]:
        return [
            variable for variable in self.model.trainable_variables if variable is not self._table
        ]

    def _loop(self) -> EpochLoop:
        train_rows, validation_rows = (
            self._rows(self.shards.open_split(name)) for name in ("train", "validation")
        )
        config = self.job.train
        steps = -(-len(train_rows) // config.batch_size) * config.epochs
        with self.strategy.scope():
            optimizer = StepOptimizer(build_optimizer(config, steps, self._table), self._table)
            optimizer.create_slots(self.model.trainable_variables)
            self.optimizer = optimizer.keras_optimizer
        schedule = build_learning_rate_schedule(config, steps)
        validation = plan_by_length(
            validation_rows.lengths,
            batch_size=max(config.batch_size, 64),
            buckets=self._buckets_of(validation_rows),
        )
        forward = build_forward(self.model, has_features=self.job.model.freeze)
        return EpochLoop(
            config=config,
            buckets=self._buckets_of(train_rows),
            train_rows=train_rows,
            validation_batches=lambda: read_batches(self.strategy, validation_rows, validation),
            batches=lambda plan, first: read_batches(self.strategy, train_rows, plan, first),
            train_step=TrainStep(
                self.strategy,
                forward,
                self._variables,
                optimizer,
                self.model.dropout_seed,
                config,
                build_batch_spec(self.strategy, train_rows),
            ),
            settle=lambda: optimizer.flush(self.strategy),
            validation_step=build_validation_step(
                self.strategy, forward, build_batch_spec(self.strategy, validation_rows)
            ),
            rate=lambda step: float(schedule(step)),
            stop_asked=self.stop_asked,
            beat=self.beat,
            keeper=_Chief(self) if self.topology.is_chief else _Bystander(),
            is_chief=self.topology.is_chief,
        )

    def _buckets_of(self, rows: SplitInputs) -> tuple[int, ...]:
        return (1,) if self.job.model.freeze else self.buckets

    def _rows(self, split: SplitReader) -> SplitInputs:
        if not self.job.model.freeze:
            return SplitInputs.from_tokens(
                split,
                self.model.pad_id,
                has_unique_token_ids=split.name == "train" and self._table is not None,
            )
        compute = tf.function(
            lambda ids: self.model.features({"input_word_ids": ids}),
            input_signature=[tf.TensorSpec((None, None), tf.int32)],
        )

        def beating(ids: Any) -> Any:
            self.beat()
            return compute(ids)

        features = cached_features(
            self.place,
            self._features_key(),
            split,
            self.buckets,
            beating,
            width=self.model.logits.kernel.shape[0],
            rank=self.topology.rank,
            workers=len(self.topology.workers),
            total=self._sum,
        )
        return SplitInputs.from_features(split, features)

    def _features_key(self) -> str:
        """Features depend on the data, the encoder, the pooling and the precision, and on nothing else."""
        return f"{self.shards.manifest.digest[:16]}-{compute_fingerprint(self.job.model)[:16]}-{self.job.model.resolved_pooling}-{self.job.train.precision}"

    @cached_property
    def _tensors(self) -> Any:
        return tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)

    def _restore(self) -> tuple[TrainState, list[float]]:
        """Go on from the checkpoint that the chief chose; all workers read the same one."""
        chosen: CheckpointId | None = None
        if self.topology.is_chief:
            chosen, complaints = self.place.choose()
            for complaint in complaints:
                progress.report(StepName.TRAIN, f"a damaged checkpoint was set aside: {complaint}")
            if chosen is not None:
                progress.report(
                    StepName.TRAIN, f"going on from step {chosen.step} (step-{chosen.step:09d})"
                )
        chosen = CheckpointId(*(self._sum(number) for number in (chosen or CheckpointId(0, 0))))
        if not chosen.step:
            return TrainState(), []
        self.place.bring(chosen)
        with self.strategy.scope():
            position, losses = train_state.load(
                checkpoint.checkpoint_directory(self.place.files.checkpoints, chosen.step),
                self._tensors,
                self._identity,
            )
        if self.topology.is_chief and position.best_step:
            self.place.bring_best(position.best_step)
        return position, losses

    def _finish(self, loop: EpochLoop, position: TrainState, losses: list[float]) -> None:
        verify_artifact(self.place.files.best, "checkpoint")
        with self.strategy.scope():
            tf.train.Checkpoint(model=self.model).read(
                str(self.place.files.best / checkpoint.WEIGHTS_PREFIX)
            ).assert_consumed()
        content = CheckpointContent(
            classes=self.shards.content.classes,
            vocabulary_sha256=self.shards.content.vocabulary_sha256,
            lower_case=self.shards.content.lower_case,
            model=self.job.model,
            encoder_fingerprint=compute_fingerprint(self.job.model),
            history=position.history,
            best_step=position.best_step,
            steps=position.step,
            step_losses=tuple(losses),
            train_examples_per_second=position.rows_timed / position.seconds
            if position.seconds
            else 0.0,
            padding_efficiency=self._efficiency(loop),
            workers=len(self.topology.workers),
        )
        with manifest.staged_artifact(self.place.files.finished) as directory:
            (directory / "weights").mkdir()
            tf.train.Checkpoint(model=self.model).write(str(directory / checkpoint.WEIGHTS_PREFIX))
            self.shards.vocabulary.write(directory / checkpoint.VOCABULARY_FILENAME)
            manifest.commit(
                directory,
                "checkpoint",
                content=content.model_dump(mode="json"),
                inputs={"shards": self.shards.manifest.digest},
                config=self.job.train.model_dump(mode="json"),
            )
        self.place.finished()

    def _efficiency(self, loop: EpochLoop) -> float:
        config, lengths = loop.config, loop.train_rows.lengths
        plan: EpochPlan = plan_epoch(
            lengths,
            batch_size=config.batch_size,
            buckets=loop.buckets,
            window=config.length_grouping_batches,
            seed=config.seed,
            epoch=0,
        )
        return padding_efficiency(plan, lengths)


class _Chief:
    """The one worker that writes. Every variable is mirrored, none is aggregated on read, so saving needs no peer."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._writer = tf.summary.create_file_writer(str(training.place.files.tensorboard))

    def save(self, position: TrainState, losses: list[float]) -> None:
        it = self._training
        it.place.settle(it.beat)
        train_state.save(
            it.place.files.checkpoints,
            it._tensors,
            position,
            losses,
            it._identity,
            it.job.train.keep_checkpoints,
        )
        self._writer.flush()
        it.place.saved(position.step)
        it.beat()

    def save_best(self, position: TrainState) -> None:
        it = self._training
        it.place.settle(it.beat)
        with manifest.staged_artifact(it.place.files.best) as directory:
            (directory / "weights").mkdir()
            tf.train.Checkpoint(model=it.model).write(str(directory / checkpoint.WEIGHTS_PREFIX))
            manifest.commit(
                directory, "checkpoint", content={"identity": it._identity, "step": position.step}
            )
        it.place.best_saved(position.step)
        it.beat()

    def log(self, step: int, **figures: float) -> None:
        with self._writer.as_default(step=step):
            for name, value in figures.items():
                tf.summary.scalar(name, value)


class _Bystander:
    def save(self, position: TrainState, losses: list[float]) -> None:
        pass

    def save_best(self, position: TrainState) -> None:
        pass

    def log(self, step: int, **figures: float) -> None:
        pass
