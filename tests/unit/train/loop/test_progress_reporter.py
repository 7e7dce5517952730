from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.artifacts.checkpoint import EpochMetrics
from components.artifacts.task import TaskInfo
from components.config.environment import ENV_PROGRESS
from components.config.schema import TrainConfig
from components.progress import parse_progress_event
from components.train.checkpointing.train_state import TrainState
from components.train.loop.batch_plan import EpochPlan
from components.train.loop.progress_reporter import ProgressReporter
from components.train.loop.train_step import StepMetrics
from pipeline.progress_bar import describe_progress

ROWS = 8
SINGLE_LABEL, MULTI_LABEL = TaskInfo(), TaskInfo(kind="multi_label")
REGRESSION = TaskInfo(kind="regression", mean=1.0, std=2.0)
TINY_NUMBERS = TaskInfo(kind="regression", mean=1e-6, std=2e-6)


def report_step_and_epoch(
    task: TaskInfo, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], set[str]]:
    """What a terminal shows of one step and the end of its epoch, and TensorBoard's scalars."""
    monkeypatch.setenv(ENV_PROGRESS, str(directory / "progress"))
    has_hits = task.kind != "regression"
    epoch = EpochMetrics(
        epoch=1,
        steps=1,
        train_loss=0.5,
        train_accuracy=0.25 if has_hits else None,
        validation_loss=0.25,
        validation_accuracy=0.5 if has_hits else None,
        validation_macro_f1=0.625,
        validation_micro_f1=0.75,
        learning_rate=0.1,
        seconds=1.0,
    )
    writer = tf.summary.create_file_writer(str(directory / "tensorboard"))
    reporter = ProgressReporter(
        TrainConfig(epochs=1, batch_size=ROWS), 1, lambda _step: 0.1, writer, task
    )
    plan = EpochPlan(np.arange(ROWS), np.array([0, ROWS]), np.array([4], np.int32))
    state = TrainState(step=1, epoch_loss=4.0, epoch_correct=2.0, seconds=1.0, rows_timed=ROWS)
    reporter.on_step_end(state, StepMetrics(4.0, 2.0, ROWS, 0.0, 1.0), plan, 0)
    reporter.on_epoch_end(state, epoch)
    writer.close()
    events = [*map(parse_progress_event, (directory / "progress").read_text().splitlines())]
    (file,) = (directory / "tensorboard").iterdir()
    scalars = {
        value.tag
        for record in tf.compat.v1.train.summary_iterator(str(file))
        for value in record.summary.value
    }
    return [describe_progress(event) for event in events if event is not None], scalars


@pytest.mark.parametrize(
    ("task", "step", "epoch", "scalar"),
    [
        (SINGLE_LABEL, "  accuracy 0.250", "validation accuracy 0.5000", "accuracy"),
        (
            MULTI_LABEL,
            "  subset accuracy 0.250",
            "validation micro-F1 0.7500, validation macro-F1 0.6250, "
            "validation subset accuracy 0.5000",
            "subset_accuracy",
        ),
        (REGRESSION, "", "validation RMSE 1.0000", None),
        (TINY_NUMBERS, "", "validation RMSE 1e-06", None),
    ],
)
def test_rows_that_are_right_are_called_by_the_metric_of_the_report(
    task: TaskInfo,
    step: str,
    epoch: str,
    scalar: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown, scalars = report_step_and_epoch(task, tmp_path, monkeypatch)
    assert shown == [
        f"epoch 1 of 1  loss 0.500{step}  8 examples/s  0:00 left",
        f"epoch 1 of 1: loss 0.5000, validation loss 0.2500, {epoch}",
    ]
    accuracies = {name for name in scalars if "accuracy" in name}
    assert accuracies == ({scalar, f"validation_{scalar}"} if scalar else set())
