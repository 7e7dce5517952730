"""Candidates that give each text one class: judged by accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts.artifact import Artifact
from components.artifacts.predictions import Predictions
from components.artifacts.release import ReleaseContent
from components.artifacts.report import ReportContent
from components.config.schema import EvaluateConfig
from components.errors import DataError
from components.gate.candidates.candidate import Comparison, Values
from components.gate.paired_comparison import PairedCounts
from components.gate.requirements import (
    MAX_ROUNDING_ERROR,
    ClassCounts,
    Failure,
    count_classes,
    list_failures,
)


@dataclass(frozen=True)
class SingleLabelCandidate:
    """A candidate with its report's figures, and its test rows counted by class."""

    content: ReportContent
    counts: ClassCounts

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the decision."""
        return {
            "accuracy": self.content.accuracy,
            "majority_share": self.counts.majority_share,
            "macro_f1": self.content.macro_f1,
            "unpredicted_classes": tuple(self.counts.unpredicted_classes),
        }

    def describe_metric(self) -> str:
        """The accuracy with its counts."""
        return self.counts.describe_accuracy()

    def describe_reached(self, config: EvaluateConfig) -> str:
        """The accuracy and its minimum."""
        return f"{self.describe_metric()} reaches min_accuracy {config.min_accuracy:.4f}"

    def describe_baseline(self, config: EvaluateConfig) -> str:
        """The accuracy, and perhaps macro-F1, of always predicting the most frequent class."""
        return self.counts.describe_majority(config)

    def list_failures(self, config: EvaluateConfig) -> list[Failure]:
        """What it fails by itself, all of it."""
        return list_failures(config, self.counts, self.content.find_metric, self.content.abstention)

    def pair_with(self, champion: ReleaseContent, classes: Sequence[str]) -> PairedClasses:
        """Collects the rows of a comparison; classes are compared by name."""
        return PairedClasses([classes.index(label) for label in champion.classes])

    def equal_itself(self) -> Comparison:
        """The comparison with a champion of the same checkpoint."""
        correct, rows = self.counts.correct, self.counts.rows
        return Comparison(
            champion=_describe_correct(correct, rows),
            order=0,
            fields={"champion_accuracy": correct / rows},
        )


class PairedClasses:
    """Counts rows by their class and both predictions; class_indices: the champion's classes."""

    def __init__(self, class_indices: Sequence[int]) -> None:
        self._indices = np.array(class_indices)
        self._counts = PairedCounts(len(class_indices))

    def add(self, labels: npt.NDArray[Any], candidate: npt.NDArray[Any], champion: Values) -> None:
        """Add rows: classes, predicted classes, and the champion's scores [rows, classes]."""
        self._counts.add(labels, candidate, self._indices[champion.argmax(axis=1)])

    def compare(self) -> Comparison:
        """How the two compare on all rows."""
        counts = self._counts
        gained = counts.candidate_correct - counts.champion_correct
        accuracy = counts.compare_accuracy()
        return CountedComparison(
            champion=_describe_correct(counts.champion_correct, counts.rows),
            order=(gained > 0) - (gained < 0),
            difference=accuracy,
            differences={"accuracy": accuracy, "macro_f1": counts.compare_macro_f1()},
            fields={"champion_accuracy": counts.champion_correct / counts.rows},
            rows=counts.rows,
            gained=gained,
        )


@dataclass(frozen=True)
class CountedComparison(Comparison):
    """A comparison of the numbers of right rows; `gained` is their difference."""

    rows: int = 0
    gained: int = 0

    def reaches(self, margin: float) -> bool:
        """Whether the candidate gains that share of the rows."""
        # In decimals: 7 rows of 100 are 0.07, but 0.07 * 100 is above 7 in binary.
        return self.gained >= Decimal(str(margin)) * self.rows


def read_single_label(
    report: Artifact[ReportContent], parts: Iterable[Predictions]
) -> SingleLabelCandidate:
    """Count the test rows by the predictions; DataError if the report's accuracy is another."""
    content = report.content
    counts = count_classes(parts, content.classes)
    if (
        counts.rows != content.test_rows
        or abs(counts.correct / content.test_rows - content.accuracy) > MAX_ROUNDING_ERROR
    ):
        raise DataError(
            f"{report.directory}: its accuracy {content.accuracy} is not that of its predictions "
            f"({counts.correct} of {counts.rows})"
        )
    return SingleLabelCandidate(content, counts)


def _describe_correct(correct: int, rows: int) -> str:
    return f"{correct / rows:.4f} ({correct} rows)"
