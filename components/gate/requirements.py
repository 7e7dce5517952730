"""What a candidate must reach by itself, before it is compared with the champion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.artifacts.predictions import Predictions
from components.config.schema import EvaluateConfig
from components.errors import DataError

MAX_NAMED_CLASSES = 5
MAX_NAME_CHARACTERS = 60


@dataclass(frozen=True)
class ClassCounts:
    """How often each class is the label of a test row, and how often it is predicted.

    `labels` and `predictions` are by class name, in the order of the classes; `correct` is the
    number of rows for which the two are equal. There is at least one row.
    """

    labels: Mapping[str, int]
    predictions: Mapping[str, int]
    correct: int

    @property
    def rows(self) -> int:
        """Number of test rows."""
        return sum(self.labels.values())

    @property
    def one_class(self) -> bool:
        """Whether all test rows are of one class."""
        return sum(rows > 0 for rows in self.labels.values()) < 2

    @property
    def majority_class(self) -> str:
        """The first class with the most test rows."""
        return max(self.labels, key=self.labels.__getitem__)

    @property
    def majority_rows(self) -> int:
        """Number of test rows of the majority class."""
        return self.labels[self.majority_class]

    @property
    def majority_share(self) -> float:
        """The accuracy of always predicting the majority class."""
        return self.majority_rows / self.rows

    @property
    def unpredicted_classes(self) -> dict[str, int]:
        """Test rows of each class that has some and is never predicted."""
        return {
            name: rows for name, rows in self.labels.items() if rows and not self.predictions[name]
        }

    def describe_accuracy(self) -> str:
        """The accuracy with its counts."""
        return f"accuracy {self.correct / self.rows:.4f} ({self.correct} of {self.rows} test rows)"

    def describe_majority(self) -> str:
        """What the accuracy is to be compared with."""
        return (
            f"always predicting {_quote_class(self.majority_class)} "
            f"reaches {self.majority_share:.4f}"
        )


def count_classes(parts: Iterable[Predictions], classes: tuple[str, ...]) -> ClassCounts:
    """Count labels and predictions by class; DataError for a class index out of range."""
    labels, predictions = np.zeros((2, len(classes)), np.int64)
    correct = 0
    for part in parts:
        labels += _count_indices(part.labels, len(classes))
        predictions += _count_indices(part.predicted, len(classes))
        correct += int((part.predicted == part.labels).sum())
    return ClassCounts(
        labels=dict(zip(classes, labels.tolist(), strict=True)),
        predictions=dict(zip(classes, predictions.tolist(), strict=True)),
        correct=correct,
    )


def _count_indices(indices: npt.NDArray[np.int32], classes: int) -> npt.NDArray[np.int64]:
    if len(wrong := indices[(indices < 0) | (indices >= classes)]):
        raise DataError(f"its predictions name class {wrong[0]}, but there are {classes} classes")
    return np.bincount(indices, minlength=classes)


def list_failures(config: EvaluateConfig, counts: ClassCounts, macro_f1: float | None) -> list[str]:
    """A sentence for each requirement that the candidate does not meet, without its capital.

    With test rows of one class, always predicting it is always right, so that only this, the
    minimum accuracy and the minimum macro-F1 are named.
    """
    accuracy = counts.describe_accuracy()
    failures = []
    if counts.one_class:
        failures.append(f"all test rows are of one class, so {accuracy} proves nothing.")
    if counts.correct / counts.rows < config.min_accuracy:
        failures.append(f"{accuracy} is below min_accuracy {config.min_accuracy:.4f}.")
    if not counts.one_class and counts.correct <= counts.majority_rows:
        failures.append(
            f"{accuracy} is not above the {counts.majority_share:.4f} that always predicting "
            f"{_quote_class(counts.majority_class)} reaches; add rows of the other classes, or "
            "train longer."
        )
    if config.min_macro_f1 > 0:
        failures += _list_macro_f1_failures(config.min_macro_f1, macro_f1)
    if counts.unpredicted_classes and not counts.one_class and not config.allow_unpredicted_classes:
        failures.append(_describe_unpredicted(counts.unpredicted_classes))
    return failures


def _list_macro_f1_failures(minimum: float, macro_f1: float | None) -> list[str]:
    if macro_f1 is None:
        return [
            f"macro-F1 is undefined, so min_macro_f1 {minimum:.4f} is not reached; "
            "add test rows of more classes."
        ]
    if macro_f1 < minimum:
        return [f"macro-F1 {macro_f1:.4f} is below min_macro_f1 {minimum:.4f}."]
    return []


def _describe_unpredicted(unpredicted: Mapping[str, int]) -> str:
    named = [
        f"{_quote_class(name)} ({rows} test row{'s' if rows != 1 else ''})"
        for name, rows in list(unpredicted.items())[:MAX_NAMED_CLASSES]
    ]
    if more := len(unpredicted) - len(named):
        named.append(f"{more} more")
    return (
        f"never predicted although the test rows have it: {', '.join(named)}; add rows of each "
        "such class, or train longer; evaluate.allow_unpredicted_classes=true allows it."
    )


def _quote_class(name: str) -> str:
    shown = name if len(name) <= MAX_NAME_CHARACTERS else name[: MAX_NAME_CHARACTERS - 1] + "…"
    return f'"{shown}"'
