"""The chief's progress events and TensorBoard scalars."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from components import progress
from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.release import format_metric
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.config.schema import TrainConfig
from components.config.task import TaskKind
from components.progress import StepName
from components.train.checkpointing.train_state import TrainState
from components.train.loop.batch_plan import EpochPlan
from components.train.loop.callback import TrainingCallback
from components.train.loop.train_step import StepMetrics

REPORT_INTERVAL_SECONDS = 0.5
_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "subset_accuracy": "subset accuracy",
    "rmse": "RMSE",
}
_HIT_SHARES: Mapping[TaskKind, str] = {
    "single_label": "accuracy",
    "multi_label": "subset_accuracy",
}
"""What the share of the rows that are predicted right is called, for the kinds that have one."""


class ProgressReporter(TrainingCallback):
    """Reports an epoch's steps at intervals, always its last one, and the result of each epoch."""

    def __init__(
        self,
        config: TrainConfig,
        total_steps: int,
        learning_rate: Callable[[int], float],
        summary_writer: tf.summary.SummaryWriter,
        task: TaskInfo = SINGLE_LABEL,
    ) -> None:
        self._task = task
        self._config, self._total_steps = config, total_steps
        self._learning_rate, self._summary_writer = learning_rate, summary_writer
        self._last_report = 0.0

    def on_epoch_begin(self, rows: int) -> None:
        self._last_report = 0.0

    def on_step_end(
        self, state: TrainState, metrics: StepMetrics, plan: EpochPlan, index: int
    ) -> None:
        now = time.monotonic()
        if now - self._last_report <= REPORT_INTERVAL_SECONDS and index + 1 < len(plan):
            return
        self._last_report = now
        rate = state.rows_per_second
        rows_left = (self._total_steps - state.step) * self._config.batch_size
        scalars = {"loss": metrics.loss_sum / metrics.rows}
        if name := _HIT_SHARES.get(self._task.kind):
            scalars[name] = state.epoch_correct / int(plan.starts[index + 1])
        scalars["examples_per_second"] = rate
        progress.report(
            StepName.TRAIN,
            f"epoch {len(state.history) + 1} of {self._config.epochs}",
            done=state.step,
            total=self._total_steps,
            **scalars,
            **({"seconds_left": rows_left / rate} if rate else {}),
        )
        scalars["learning_rate"] = self._learning_rate(state.step)
        self._write_scalars(state.step, scalars | {"gradient_norm": metrics.gradient_norm})

    def on_epoch_end(self, state: TrainState, epoch: EpochMetrics) -> None:
        measured = self._list_metrics(epoch)
        scalars = {f"validation_{name}": value for name, value in measured.items()}
        self._write_scalars(state.step, {"validation_loss": epoch.validation_loss, **scalars})
        described = "".join(
            f", validation {_TITLES[name]} {format_metric(value)}"
            for name, value in measured.items()
        )
        progress.report(
            StepName.TRAIN,
            f"epoch {epoch.epoch} of {self._config.epochs}: loss {epoch.train_loss:.4f}, "
            f"validation loss {epoch.validation_loss:.4f}{described}",
            done=state.step,
            total=self._total_steps,
            loss=epoch.train_loss,
            **measured,
        )

    def _list_metrics(self, epoch: EpochMetrics) -> dict[str, float]:
        """The metrics of the validation rows, besides the loss, that belong to the kind of task."""
        if epoch.validation_accuracy is None:
            return {"rmse": math.sqrt(epoch.validation_loss) * self._task.scale[1]}
        if self._task.kind == "multi_label":
            return {
                "micro_f1": epoch.validation_micro_f1,
                "macro_f1": epoch.validation_macro_f1,
                "subset_accuracy": epoch.validation_accuracy,
            }
        measured = {"accuracy": epoch.validation_accuracy}
        if self._config.best_metric == "macro_f1":
            measured["macro_f1"] = epoch.validation_macro_f1
        return measured

    def _write_scalars(self, step: int, scalars: dict[str, float]) -> None:
        with self._summary_writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
