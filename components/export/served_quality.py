"""How good a served model is on test rows, in what its reduced precision is judged by.

One metric for each kind of task: the accuracy, the micro-F1 of the predicted labels, or R2. All of
them are computed from sums over the rows, so that rows are read in parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts.predictions import select_labels
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.config.task import TaskKind

JUDGED_METRICS: Mapping[TaskKind, str] = {
    "single_label": "accuracy",
    "multi_label": "micro_f1",
    "regression": "r2",
}
Labels = npt.NDArray[Any]
Scores = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class QualityMeter:
    """Measures scores [rows, classes or 1] against the labels of the rows, by sums that add up.

    `thresholds` are those of the classes where a text can have several labels.
    """

    task: TaskInfo = SINGLE_LABEL
    thresholds: Sequence[float] = ()

    @property
    def metric(self) -> str:
        """Name of the metric that decides."""
        return JUDGED_METRICS[self.task.kind]

    def sum_rows(self, labels: Labels, scores: Scores) -> Sums:
        """What `compute_metrics` needs of some rows."""
        if self.task.kind == "regression":
            mean, std = self.task.scale
            actual = (labels - mean) / std
            errors = (scores[:, 0].astype(np.float64) - labels) / std
            return np.array([(errors**2).sum(), actual.sum(), (actual**2).sum(), len(actual)])
        if self.task.kind == "multi_label":
            predicted = select_labels(scores, self.thresholds)
            return np.array(
                [(predicted & (labels > 0)).sum(), predicted.sum(), labels.sum()], float
            )
        return np.array([(scores.argmax(axis=1) == labels).sum(), len(labels)], float)

    def compute_metrics(self, sums: Sums) -> dict[str, float]:
        """The metric that decides, and of numbers the root of the mean squared error, too."""
        if self.task.kind == "regression":
            squared, first, second, rows = sums.tolist()
            spread = second - first**2 / rows
            r2 = 1 - squared / spread if spread > 0 else float(squared == 0)
            return {"r2": r2, "rmse": self.task.scale[1] * (squared / rows) ** 0.5}
        if self.task.kind == "multi_label":
            right, given, actual = sums.tolist()
            return {"micro_f1": 2 * right / (given + actual) if given + actual else 1.0}
        right, rows = sums.tolist()
        return {"accuracy": right / rows}

    def describe(self, metrics: Mapping[str, float]) -> str:
        """The metric that decides, in words that follow "the model"."""
        value = metrics[self.metric]
        if self.task.kind == "single_label":
            return f"is right on {value:.2%} of the test rows"
        name = "R2" if self.task.kind == "regression" else "micro-F1"
        return f"has a {name} of {value:.4f} on the test rows"

    def describe_evaluated(self, metrics: Mapping[str, float]) -> str:
        """The same of the evaluated scores, after a comma."""
        value = metrics[self.metric]
        return f"evaluated were {value:.2%}" if self.metric == "accuracy" else f"not {value:.4f}"
