"""The outer loop: epochs of steps, validation, the best weights, checkpoints, and an orderly stop.

Everything that decides when to stop is summed over all workers first, so all of them stop at the same step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from components import progress
from components.artifacts.checkpoint import EpochMetrics
from components.config.schema import TrainConfig
from components.errors import DataError
from components.progress import StepName
from components.train.loop.batch_plan import EpochPlan, plan_epoch, steps_per_epoch
from components.train.loop.input_pipeline import SplitInputs
from components.train.loop.train_state import TrainState
from components.train.loop.train_step import StepMetrics

SPEAK_EVERY = 0.5


class NonFiniteLossError(DataError):
    """The loss or the gradient is not finite: no retry would end differently."""


class PreemptionError(Exception):
    """Somebody asked a worker to stop; the checkpoint of this step is saved."""


class CheckpointWriter(Protocol):
    """Writes what the chief must keep; on other workers it does nothing."""

    def save(self, position: TrainState, losses: list[float]) -> None:
        """Seal a periodic checkpoint."""

    def save_best(self, position: TrainState) -> None:
        """Seal the weights as the best ones so far."""

    def log(self, step: int, **figures: float) -> None:
        """Append figures to the TensorBoard log."""


@dataclass(frozen=True)
class EpochLoop:
    """The pieces that `train` turns; each callable runs on all workers together.

    `settle` brings all weights up to date: an optimizer may be late with some of them.
    """

    config: TrainConfig
    buckets: tuple[int, ...]
    train_rows: SplitInputs
    validation_batches: Callable[[], Iterator[Any]]
    batches: Callable[[EpochPlan, int], Iterator[Any]]
    train_step: Callable[[Any, int, bool], StepMetrics]
    settle: Callable[[], None]
    validation_step: Callable[[Any], StepMetrics]
    rate: Callable[[int], float]
    stop_asked: Callable[[], bool]
    beat: Callable[[], None]
    keeper: CheckpointWriter
    is_chief: bool

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.train_rows), self.config.batch_size)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.config.epochs


def run_epochs(
    loop: EpochLoop, position: TrainState, losses: list[float]
) -> tuple[TrainState, list[float]]:
    """Train from `position` to the last epoch, or until validation stops improving; returns where it ended.

    Raises Diverged at the first loss or gradient that is not finite, Preempted after saving when a worker was asked to stop.
    """
    while len(position.history) < loop.config.epochs and not _lost_patience(loop.config, position):
        # A run that was stopped at an epoch's last step goes on with the validation that it still owes.
        if position.step < (len(position.history) + 1) * loop.steps_per_epoch:
            position = _run_epoch(loop, position, losses)
        position = _finish_epoch(loop, position)
        loop.keeper.save(position, losses)
    return position, losses


def _run_epoch(loop: EpochLoop, position: TrainState, losses: list[float]) -> TrainState:
    config, epoch = loop.config, len(position.history)
    plan = plan_epoch(
        loop.train_rows.lengths,
        batch_size=config.batch_size,
        buckets=loop.buckets,
        window=config.length_grouping_batches,
        seed=config.seed,
        epoch=epoch,
    )
    first = position.step % loop.steps_per_epoch
    spoken = 0.0
    for number, batch in enumerate(loop.batches(plan, first), start=first):
        started = time.perf_counter()
        outcome = loop.train_step(batch, position.step, loop.stop_asked())
        seconds = time.perf_counter() - started
        loop.beat()
        _refuse_non_finite(config, position.step + 1, _watched(config, outcome))
        losses.append(outcome.loss_sum / outcome.rows)
        position = _after_step(position, outcome, seconds, timed=number != first)
        if loop.is_chief and (time.monotonic() - spoken > SPEAK_EVERY or number + 1 == len(plan)):
            spoken = time.monotonic()
            _speak(loop, position, outcome, epoch, number + 1, plan)
        if outcome.stops:
            loop.keeper.save(position, losses)
            raise PreemptionError(f"stopped at step {position.step}")
        if position.step % config.checkpoint_every_steps == 0 and number + 1 < len(plan):
            loop.keeper.save(position, losses)
    return position


def _after_step(
    position: TrainState, outcome: StepMetrics, seconds: float, *, timed: bool
) -> TrainState:
    return position.model_copy(
        update={
            "step": position.step + 1,
            "epoch_loss": position.epoch_loss + outcome.loss_sum,
            "epoch_correct": position.epoch_correct + outcome.correct,
            "epoch_seconds": position.epoch_seconds + seconds,
            "seconds": position.seconds + seconds * timed,
            "rows_timed": position.rows_timed + int(outcome.rows) * timed,
        }
    )


def _finish_epoch(loop: EpochLoop, position: TrainState) -> TrainState:
    loop.settle()
    totals = []
    for batch in loop.validation_batches():
        totals.append(loop.validation_step(batch))
        loop.beat()
    rows = sum(outcome.rows for outcome in totals)
    validation_loss = sum(outcome.loss_sum for outcome in totals) / rows
    _refuse_non_finite(loop.config, position.step, {"validation loss": validation_loss})
    epoch = EpochMetrics(
        epoch=len(position.history) + 1,
        steps=position.step,
        train_loss=position.epoch_loss / len(loop.train_rows),
        train_accuracy=position.epoch_correct / len(loop.train_rows),
        validation_loss=validation_loss,
        validation_accuracy=sum(outcome.correct for outcome in totals) / rows,
        learning_rate=loop.rate(position.step),
        seconds=position.epoch_seconds,
    )
    update: dict[str, Any] = {
        "history": (*position.history, epoch),
        "epoch_loss": 0.0,
        "epoch_correct": 0.0,
        "epoch_seconds": 0.0,
    }
    better = best_epoch(loop.config, (*position.history, epoch)) is epoch
    if better:
        update |= {"best_step": position.step}
    position = position.model_copy(update=update)
    if better:
        loop.keeper.save_best(position)
    loop.keeper.log(
        position.step,
        validation_loss=validation_loss,
        validation_accuracy=epoch.validation_accuracy,
    )
    if loop.is_chief:
        progress.report(
            StepName.TRAIN,
            f"epoch {epoch.epoch} of {loop.config.epochs}: loss {epoch.train_loss:.4f}, validation loss {validation_loss:.4f}, "
            f"validation accuracy {epoch.validation_accuracy:.4f}",
            done=position.step,
            total=loop.total_steps,
            loss=epoch.train_loss,
            accuracy=epoch.validation_accuracy,
        )
    return position


def best_epoch(config: TrainConfig, history: Sequence[EpochMetrics]) -> EpochMetrics:
    """The epoch whose weights are kept; of equal ones the first."""

    def merit(epoch: EpochMetrics) -> tuple[float, float]:
        return (
            (-epoch.validation_loss, 0.0)
            if config.best_metric == "loss"
            else (epoch.validation_accuracy, -epoch.validation_loss)
        )

    return max(history, key=merit)


def _lost_patience(config: TrainConfig, position: TrainState) -> bool:
    if not (config.early_stopping_patience and position.history):
        return False
    return (
        len(position.history) - best_epoch(config, position.history).epoch
        >= config.early_stopping_patience
    )


def _watched(config: TrainConfig, outcome: StepMetrics) -> dict[str, float]:
    # Loss scaling finds its scale by overflowing now and then, and skips those steps itself.
    return {"loss": outcome.loss_sum} | (
        {} if config.precision == "float16" else {"gradient": outcome.gradient_norm}
    )


def _refuse_non_finite(config: TrainConfig, step: int, figures: dict[str, float]) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"step {step}: the {name} is {value}, so training stopped and nothing later than the last checkpoint is kept; "
                f"lower train.learning_rate ({config.learning_rate:g}), set train.clip_norm, or use a wider train.precision ({config.precision})"
            )


def _speak(
    loop: EpochLoop,
    position: TrainState,
    outcome: StepMetrics,
    epoch: int,
    number: int,
    plan: EpochPlan,
) -> None:
    rate = position.rows_timed / position.seconds if position.seconds else 0.0
    rows_left = (loop.total_steps - position.step) * loop.config.batch_size
    seen = int(plan.starts[number])
    figures = {
        "loss": outcome.loss_sum / outcome.rows,
        "accuracy": position.epoch_correct / seen,
        "examples_per_second": rate,
    }
    left = {"seconds_left": rows_left / rate} if rate else {}
    progress.report(
        StepName.TRAIN,
        f"epoch {epoch + 1} of {loop.config.epochs}",
        done=position.step,
        total=loop.total_steps,
        **figures,
        **left,
    )
    loop.keeper.log(
        position.step,
        **figures,
        learning_rate=loop.rate(position.step),
        gradient_norm=outcome.gradient_norm,
    )
