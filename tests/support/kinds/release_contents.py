"""Descriptions of releases of each kind of task, made without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

from components.artifacts.release import ReleaseContent
from components.artifacts.task import TaskInfo
from tests.support.releases.release_directories import CONTENT

CLASSES = ("calm", "loud", "odd")
MULTI_LABEL = TaskInfo(kind="multi_label")
REGRESSION = TaskInfo(kind="regression", mean=40.0, std=8.0)
THRESHOLDS = (0.5, 0.375, 0.625)
METRICS = {
    "multi_label": {"micro_f1": 0.75, "micro_f1_low": 0.7, "micro_f1_high": 0.8},
    "regression": {"rmse": 4.5, "rmse_low": 4.0, "rmse_high": 5.0, "r2": 0.68},
}


def describe_task_release(task: TaskInfo, classes: Sequence[str] = CLASSES) -> ReleaseContent:
    """The content of a release of this kind of task."""
    fields = CONTENT.model_dump() | {"classes": tuple(classes), "max_length": 20}
    if task.kind != "single_label":
        fields |= dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "macro_f1"))
        fields |= {"task": task, "metrics": METRICS[task.kind]}
    if task.kind == "multi_label":
        fields["thresholds"] = THRESHOLDS[: len(classes)]
    if task.kind == "regression":
        fields["classes"] = ()
    return ReleaseContent.model_validate(fields)
