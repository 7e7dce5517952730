"""The chief's progress events and TensorBoard scalars."""

from __future__ import annotations

import time
from collections.abc import Callable

import tensorflow as tf

from components import progress
from components.artifacts.checkpoint import EpochMetrics
from components.config.schema import TrainConfig
from components.progress import StepName
from components.train.checkpointing.train_state import TrainState
from components.train.loop.batch_plan import EpochPlan
from components.train.loop.callback import TrainingCallback
from components.train.loop.train_step import StepMetrics

REPORT_INTERVAL_SECONDS = 0.5


class ProgressReporter(TrainingCallback):
    """Reports an epoch's steps at intervals, always its last one, and the result of each epoch."""

    def __init__(
        self,
        config: TrainConfig,
        total_steps: int,
        learning_rate: Callable[[int], float],
        summary_writer: tf.summary.SummaryWriter,
    ) -> None:
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
        scalars = {
            "loss": metrics.loss_sum / metrics.rows,
            "accuracy": state.epoch_correct / int(plan.starts[index + 1]),
            "examples_per_second": rate,
        }
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
        scalars = {
            "validation_loss": epoch.validation_loss,
            "validation_accuracy": epoch.validation_accuracy,
        }
        macro_f1 = ""
        if self._config.best_metric == "macro_f1":
            scalars["validation_macro_f1"] = epoch.validation_macro_f1
            macro_f1 = f", validation macro-F1 {epoch.validation_macro_f1:.4f}"
        self._write_scalars(state.step, scalars)
        progress.report(
            StepName.TRAIN,
            f"epoch {epoch.epoch} of {self._config.epochs}: loss {epoch.train_loss:.4f}, "
            f"validation loss {epoch.validation_loss:.4f}, "
            f"validation accuracy {epoch.validation_accuracy:.4f}{macro_f1}",
            done=state.step,
            total=self._total_steps,
            loss=epoch.train_loss,
            accuracy=epoch.validation_accuracy,
        )

    def _write_scalars(self, step: int, scalars: dict[str, float]) -> None:
        with self._summary_writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
