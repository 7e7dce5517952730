"""Candidates that give each text any number of labels: judged by micro-F1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts.artifact import Artifact
from components.artifacts.gate_decision import PairedDifference
from components.artifacts.predictions import Predictions, select_labels
from components.artifacts.release import ReleaseContent
from components.artifacts.report import MultiLabelReport
from components.config.schema import EvaluateConfig
from components.errors import DataError
from components.gate.candidates.candidate import Comparison, Values
from components.gate.paired_labels import PairedLabelCounts
from components.gate.requirements import (
    Failure,
    describe_missed,
    describe_unpredicted,
    list_missed_limits,
)

MAX_ROUNDING_ERROR = 1e-9


@dataclass(frozen=True)
class MultiLabelCandidate:
    """A candidate with its report's figures, which fit its predictions."""

    content: MultiLabelReport

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the decision."""
        return {
            "task": "multi_label",
            "metrics": self.content.scalar_metrics(),
            "macro_f1": self.content.macro_f1,
            "unpredicted_classes": self.content.unpredicted_classes,
        }

    def describe_metric(self) -> str:
        """The micro-F1 with the number of rows."""
        return f"{self.content.headline} ({self.content.test_rows} test rows)"

    def describe_reached(self, config: EvaluateConfig) -> str:
        """The same: limits of its metrics are in evaluate.minimum."""
        return self.describe_metric()

    def describe_baseline(self, _config: EvaluateConfig) -> str:
        """The micro-F1 of giving each text the same labels."""
        return (
            f"always predicting {self.content.quote_baseline()} reaches "
            f"{self.content.baseline_micro_f1:.4f}"
        )

    def list_failures(self, config: EvaluateConfig) -> list[Failure]:
        """What it fails by itself, all of it.

        Without labels in the test rows, only this and the limits are named.
        """
        content, failures = self.content, []
        if not content.has_labels:
            sentence = f"no test row has a label, so {self.describe_metric()} proves nothing."
            failures.append(Failure("no_labels", sentence))
        elif content.micro_f1 is not None and content.micro_f1 <= content.baseline_micro_f1:
            sentence = (
                f"{self.describe_metric()} is not above the {content.baseline_micro_f1:.4f} that "
                f"always predicting {content.quote_baseline()} reaches; add rows of "
                "the other labels, or train longer."
            )
            failures.append(Failure("baseline", sentence))
        if config.min_macro_f1 > 0:
            minimum = f"min_macro_f1 {config.min_macro_f1:.4f}"
            sentence = describe_missed(
                "macro_f1", content.find_metric, config.min_macro_f1, minimum
            )
            failures.append(Failure("min_macro_f1", sentence))
        failures += list_missed_limits(config, content.find_metric)
        unpredicted = {
            name: content.per_class[name].support for name in content.unpredicted_classes
        }
        if unpredicted and not config.allow_unpredicted_classes:
            failures.append(Failure("unpredicted_classes", describe_unpredicted(unpredicted)))
        return [failure for failure in failures if failure.sentence]

    def pair_with(self, champion: ReleaseContent, classes: Sequence[str]) -> PairedLabels:
        """Collects the rows of a comparison; classes are compared by name.

        DataError for a champion without a threshold for each class.
        """
        if len(champion.thresholds) != len(champion.classes):
            raise DataError("Its manifest has no threshold for each of its classes.")
        order = [champion.classes.index(label) for label in classes]
        return PairedLabels(order, champion.thresholds)

    def equal_itself(self) -> Comparison:
        """The comparison with a champion of the same checkpoint."""
        micro_f1 = self.content.micro_f1 or 0.0
        return Comparison(
            champion=f"{micro_f1:.4f}",
            order=0,
            fields={"champion_metrics": {"micro_f1": micro_f1}},
        )


class PairedLabels:
    """Counts the right labels of both models; order: the champion's index of each class."""

    def __init__(self, order: Sequence[int], thresholds: Sequence[float]) -> None:
        self._order, self._thresholds = np.array(order), thresholds
        self._counts = PairedLabelCounts(len(order))

    def add(self, labels: npt.NDArray[Any], candidate: npt.NDArray[Any], champion: Values) -> None:
        """Add rows: labels and given labels, and the champion's scores, [rows, classes] each."""
        predicted = select_labels(champion, self._thresholds)
        self._counts.add(labels.astype(bool), candidate, predicted[:, self._order])

    def compare(self) -> Comparison:
        """How the two compare on all rows."""
        micro_f1 = self._counts.compare_micro_f1()
        champion = self._counts.champion_micro_f1
        differences: dict[str, PairedDifference] = {
            "micro_f1": micro_f1,
            "subset_accuracy": self._counts.compare_subset_accuracy(),
        }
        return Comparison(
            champion=f"{champion:.4f}",
            order=(micro_f1.difference > 0) - (micro_f1.difference < 0),
            difference=micro_f1,
            differences=differences,
            fields={"champion_metrics": {"micro_f1": champion}},
        )


def read_multi_label(
    report: Artifact[MultiLabelReport], parts: Iterable[Predictions]
) -> MultiLabelCandidate:
    """Count the labels by the predictions; DataError if the report's figures are others."""
    content = report.content
    classes, rows = len(content.classes), 0
    correct, support, given = np.zeros((3, classes), np.int64)
    for part in parts:
        if part.labels.ndim != 2 or part.labels.shape[1] != classes:
            raise DataError(f"{report.directory}: its predictions are not of its {classes} classes")
        rows += len(part)
        correct += np.count_nonzero(part.labels.astype(bool) & part.predicted, axis=0)
        support += np.count_nonzero(part.labels, axis=0)
        given += np.count_nonzero(part.predicted, axis=0)
    total = int((support + given).sum())
    micro_f1 = 2 * int(correct.sum()) / total if total else None
    is_micro_f1 = (
        micro_f1 == content.micro_f1
        if micro_f1 is None or content.micro_f1 is None
        else abs(micro_f1 - content.micro_f1) <= MAX_ROUNDING_ERROR
    )
    counted = [figures.support for figures in content.per_class.values()]
    if rows != content.test_rows or not is_micro_f1 or support.tolist() != counted:
        raise DataError(
            f"{report.directory}: its micro-F1 {content.micro_f1} is not that of its predictions "
            f"({micro_f1} of {rows} rows)"
        )
    return MultiLabelCandidate(content)
