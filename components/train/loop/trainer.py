"""The training loop of one worker: epochs of steps, validation, checkpoints, and an orderly stop.

Everything that decides when to stop is summed over all workers first, so that all of them stop at
the same step.

The outcome of a step is read after the next one was started, so that a GPU never waits for this
process. Before anything is saved, the outcomes of all steps that were started are read: what is
saved has finite losses, and its variables are those of its step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from components.artifacts.checkpoint import EpochMetrics
from components.config.schema import TrainConfig
from components.errors import DataError
from components.train.checkpointing.checkpoint_writer import CheckpointWriter
from components.train.checkpointing.train_state import TrainState
from components.train.loop.batch_plan import EpochPlan
from components.train.loop.callback import TrainingCallback
from components.train.loop.input_pipeline import Batch
from components.train.loop.train_step import PendingMetrics, StepMetrics
from components.train.loop.training_data import TrainingData


class NonFiniteLossError(DataError):
    """The loss or the gradient is not finite: a retry would end the same way."""


class StopRequest(IntEnum):
    """Why a worker asks all workers to stop; their sum over all replicas tells the gravest.

    A launcher that is gone counts more than any number of preempted workers: they all have to end
    with the code after which none is started again.
    """

    NONE = 0
    PREEMPTED = 1
    LAUNCHER_LOST = 1 << 16

    @classmethod
    def from_sum(cls, total: float) -> StopRequest:
        """The gravest of the requests that were summed."""
        return max(request for request in cls if request <= total)


class PreemptionError(Exception):
    """A worker asked to stop; the checkpoint of this step is saved."""

    def __init__(self, message: str, request: StopRequest = StopRequest.PREEMPTED) -> None:
        super().__init__(message)
        self.request = request


@dataclass(frozen=True)
class WorkerControl:
    """The process may be asked to stop, and must show that it is alive."""

    stop_requested: Callable[[], StopRequest]
    heartbeat: Callable[[], None]


@dataclass(frozen=True)
class ModelSteps:
    """The compiled functions of model and optimizer; all workers call them together."""

    train: Callable[[Batch, int, int], PendingMetrics]
    validate: Callable[[Batch], PendingMetrics]
    flush_optimizer: Callable[[], None]
    """Bring all weights up to date: the optimizer may have deferred the updates of some."""
    learning_rate: Callable[[int], float]


@dataclass(frozen=True)
class RunningStep:
    """A step whose outcome was not read; `seconds` is the time that its start took."""

    outcome: PendingMetrics
    batch_index: int
    seconds: float
    is_timed: bool


class Trainer:
    """Trains from the last checkpoint to the end; `build_trainer` assembles one from a job."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        steps: ModelSteps,
        checkpoints: CheckpointWriter,
        control: WorkerControl,
        callbacks: Sequence[TrainingCallback] = (),
    ) -> None:
        self._config, self._data, self._steps = config, data, steps
        self._checkpoints, self._control, self._callbacks = checkpoints, control, tuple(callbacks)

    def run(self) -> TrainState:
        """Train until `should_stop`, and have the chief write the finished checkpoint.

        Raises NonFiniteLossError at the first loss or gradient that is not finite, and
        PreemptionError, on all workers together, once the chief's checkpoint is durable.
        """
        state = self._checkpoints.restore_or_start()
        try:
            while not self.should_stop(state):
                state = self.train_epoch(state)
                state = self.validate(state)
                self._checkpoints.save(state)
        finally:
            self._checkpoints.wait_until_finished()
        self._checkpoints.finish(state)
        return state

    def should_stop(self, state: TrainState) -> bool:
        """Whether all epochs are done, or validation stopped improving (early stopping)."""
        if len(state.history) >= self._config.epochs:
            return True
        if not (self._config.early_stopping_patience and state.history):
            return False
        epochs_since_best = len(state.history) - best_epoch(self._config, state.history).epoch
        return epochs_since_best >= self._config.early_stopping_patience

    def train_epoch(self, state: TrainState) -> TrainState:
        """Do the running epoch's remaining steps: none, if only its validation is missing."""
        epoch, steps_per_epoch = len(state.history), self._data.steps_per_epoch
        if state.step == (epoch + 1) * steps_per_epoch:
            return state
        plan, first = self._data.plan_epoch(epoch), state.step % steps_per_epoch
        losses = list(state.step_losses)
        for callback in self._callbacks:
            callback.on_epoch_begin(len(plan.order))
        previous: RunningStep | None = None
        request = StopRequest.NONE
        for index, batch in self._enumerate_batches(plan, first):
            step = epoch * steps_per_epoch + index
            running = self._start_step(batch, step, index, is_timed=index != first)
            if previous is not None:
                state, request = self._finish_step(state, previous, plan, losses)
            is_last = index + 1 == len(plan)
            is_checkpoint = (step + 1) % self._config.checkpoint_every_steps == 0
            if not (request or is_last or is_checkpoint):
                previous = running
                continue
            # Only with no other step running do the variables belong to the state, and is it known
            # that they are finite.
            previous = None
            state, last_request = self._finish_step(state, running, plan, losses)
            request = max(request, last_request)
            if request:
                self._checkpoints.save(state.with_losses(losses))
                raise PreemptionError(f"stopped at step {state.step}", request)
            if not is_last:
                self._checkpoints.save(state.with_losses(losses))
        return state.with_losses(losses)

    def validate(self, state: TrainState) -> TrainState:
        """Validate the weights, and save them if they are the best so far; the epoch ends."""
        self._steps.flush_optimizer()
        for callback in self._callbacks:
            callback.on_validation_begin()
        running = []
        for batch in self._data.read_validation_batches():
            running.append(self._steps.validate(batch))
            self._control.heartbeat()
        totals = [pending.read() for pending in running]
        epoch = self._summarize_epoch(state, totals)
        check_finite(self._config, state.step, {"validation loss": epoch.validation_loss})
        is_best = best_epoch(self._config, (*state.history, epoch)) is epoch
        state = state.after_epoch(epoch, is_best=is_best)
        if is_best:
            self._checkpoints.save_best(state)
        for callback in self._callbacks:
            callback.on_epoch_end(state, epoch)
        return state

    def _enumerate_batches(self, plan: EpochPlan, first: int) -> Iterator[tuple[int, Batch]]:
        batches = self._data.read_train_batches(plan, first)
        for index in range(first, len(plan)):
            for callback in self._callbacks:
                callback.on_batch_begin()
            batch = next(batches)
            for callback in self._callbacks:
                callback.on_step_begin()
            yield index, batch

    def _start_step(
        self, batch: Batch, step: int, batch_index: int, *, is_timed: bool
    ) -> RunningStep:
        started = time.perf_counter()
        outcome = self._steps.train(batch, step, self._control.stop_requested())
        seconds = time.perf_counter() - started
        self._control.heartbeat()
        return RunningStep(outcome, batch_index, seconds, is_timed)

    def _finish_step(
        self, state: TrainState, running: RunningStep, plan: EpochPlan, losses: list[float]
    ) -> tuple[TrainState, StopRequest]:
        """The state after the oldest step that runs, and whether the workers have to stop."""
        started = time.perf_counter()
        metrics = running.outcome.read()
        seconds = running.seconds + time.perf_counter() - started
        figures = {"loss": metrics.loss_sum}
        if self._config.precision != "float16":
            # Loss scaling finds its scale by overflowing now and then, and skips those steps.
            figures["gradient"] = metrics.gradient_norm
        check_finite(self._config, state.step + 1, figures)
        state = state.after_step(
            loss_sum=metrics.loss_sum,
            correct=metrics.correct,
            rows=metrics.rows,
            seconds=seconds,
            is_timed=running.is_timed,
        )
        losses.append(metrics.loss_sum / metrics.rows)
        for callback in self._callbacks:
            callback.on_step_end(state, metrics, plan, running.batch_index)
        return state, StopRequest.from_sum(metrics.stops)

    def _summarize_epoch(self, state: TrainState, totals: Sequence[StepMetrics]) -> EpochMetrics:
        train_rows = len(self._data.train)
        validation_rows = sum(metrics.rows for metrics in totals)
        labels = self._data.train.label_spec
        has_accuracy, has_label_sets = labels.dtype.is_integer, labels.shape.rank == 2
        return EpochMetrics(
            epoch=len(state.history) + 1,
            steps=state.step,
            train_loss=state.epoch_loss / train_rows,
            train_accuracy=state.epoch_correct / train_rows if has_accuracy else None,
            validation_loss=sum(metrics.loss_sum for metrics in totals) / validation_rows,
            validation_accuracy=sum(metrics.correct for metrics in totals) / validation_rows
            if has_accuracy
            else None,
            validation_macro_f1=compute_macro_f1(totals),
            validation_micro_f1=compute_micro_f1(totals) if has_label_sets else 0.0,
            learning_rate=self._steps.learning_rate(state.step),
            seconds=state.epoch_seconds,
        )


def best_epoch(config: TrainConfig, history: Sequence[EpochMetrics]) -> EpochMetrics:
    """The epoch whose weights are kept; the first of equal ones."""

    def score(epoch: EpochMetrics) -> tuple[float, float]:
        if config.best_metric == "loss":
            return -epoch.validation_loss, 0.0
        if config.best_metric == "macro_f1":
            return epoch.validation_macro_f1, -epoch.validation_loss
        if config.best_metric == "micro_f1":
            return epoch.validation_micro_f1, -epoch.validation_loss
        return epoch.validation_accuracy or 0.0, -epoch.validation_loss

    return max(history, key=score)


def compute_macro_f1(totals: Sequence[StepMetrics]) -> float:
    """The mean F1 of the classes that have validation rows; 0 where they were not counted."""
    rows, predicted, both = _sum_class_counts(totals)
    if not rows.any():
        return 0.0
    scores = 2 * both[rows > 0] / (rows + predicted)[rows > 0]
    return float(scores.mean())


def compute_micro_f1(totals: Sequence[StepMetrics]) -> float:
    """F1 of all labels of all rows together; 0 where they were not counted, or there are none."""
    rows, predicted, both = _sum_class_counts(totals)
    labels = float((rows + predicted).sum())
    return 2 * float(both.sum()) / labels if labels else 0.0


def _sum_class_counts(totals: Sequence[StepMetrics]) -> npt.NDArray[np.float64]:
    """`StepMetrics.class_counts` of all batches, [3, classes]; [3, 0] where they are not known."""
    counts = [metrics.class_counts for metrics in totals if metrics.class_counts is not None]
    if not counts:
        return np.zeros((3, 0))
    sums: npt.NDArray[np.float64] = np.sum(counts, axis=0, dtype=np.float64)
    return sums


def check_finite(config: TrainConfig, step: int, figures: dict[str, float]) -> None:
    """NonFiniteLossError if a figure is not finite, with the options to change."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"step {step}: the {name} is {value}, so training stopped and nothing later than "
                f"the last checkpoint is kept; lower train.learning_rate "
                f"({config.learning_rate:g}), set train.clip_norm, or use a wider "
                f"train.precision ({config.precision})"
            )
