"""What a candidate must reach by itself, before it is compared with the champion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.artifacts.predictions import Predictions
from components.artifacts.report import Abstention
from components.config.evaluate import (
    MAXIMA,
    EvaluateConfig,
    is_reached,
    parse_metric_name,
)
from components.errors import DataError

MAX_ROUNDING_ERROR = 1e-9
MAX_NAMED_CLASSES = 5
MAX_NAME_CHARACTERS = 60
METRIC_WORDS = {
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "subset_accuracy": "subset accuracy",
    "f1": "F1",
    "r2": "R2",
    "spearman": "the Spearman correlation",
    "rmse": "RMSE",
    "mae": "the mean absolute error",
}
ADD_TEST_ROWS = "no test row has this class: add some"
UNDEFINED_REMEDIES = {
    "macro_f1": "add test rows of more classes",
    "micro_f1": "add test rows that have labels",
    "r2": "add test rows with other numbers",
    "spearman": "add test rows with other numbers, or train longer",
    "precision": "no test row was given this class: add training rows of it, or train longer",
}


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
    def tested_classes(self) -> int:
        """Number of classes that test rows have."""
        return sum(rows > 0 for rows in self.labels.values())

    @property
    def one_class(self) -> bool:
        """Whether all test rows are of one class."""
        return self.tested_classes < 2

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
    def majority_macro_f1(self) -> float:
        """The macro-F1 of always predicting the majority class, whose F1 alone is above 0."""
        return 2 * self.majority_rows / (self.rows + self.majority_rows) / self.tested_classes

    @property
    def unpredicted_classes(self) -> dict[str, int]:
        """Test rows of each class that has some and is never predicted."""
        return {
            name: rows for name, rows in self.labels.items() if rows and not self.predictions[name]
        }

    def describe_accuracy(self) -> str:
        """The accuracy with its counts."""
        return f"accuracy {self.correct / self.rows:.4f} ({self.correct} of {self.rows} test rows)"

    def describe_majority(self, config: EvaluateConfig) -> str:
        """What the accuracy is to be compared with, and the macro-F1 if that is what decides."""
        reached = f"reaches {self.majority_share:.4f}"
        if is_judged_by_macro_f1(config):
            reached = (
                f"reaches accuracy {self.majority_share:.4f} and macro-F1 "
                f"{self.majority_macro_f1:.4f}"
            )
        return f"always predicting {_quote_class(self.majority_class)} {reached}"


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


class Failure(NamedTuple):
    """A requirement that is not met: its rule, and a sentence without its capital."""

    rule: str
    sentence: str


def list_failures(
    config: EvaluateConfig,
    counts: ClassCounts,
    find_metric: Callable[[str], float | None],
    abstention: Abstention | None = None,
) -> list[Failure]:
    """What the candidate fails, all of it; `find_metric` gives a metric of the test rows by name.

    With test rows of one class, always predicting it is always right, so that only this and the
    minima are named.
    """
    accuracy = counts.describe_accuracy()
    failures = []
    if counts.one_class:
        sentence = f"all test rows are of one class, so {accuracy} proves nothing."
        failures.append(Failure("one_class", sentence))
    if counts.correct / counts.rows < config.min_accuracy:
        sentence = f"{accuracy} is below min_accuracy {config.min_accuracy:.4f}."
        failures.append(Failure("min_accuracy", sentence))
    if not counts.one_class:
        sentence = _describe_constant_answer(config, counts, find_metric("macro_f1"))
        failures.append(Failure("majority", sentence))
    if config.min_macro_f1 > 0:
        minimum = f"min_macro_f1 {config.min_macro_f1:.4f}"
        sentence = describe_missed("macro_f1", find_metric, config.min_macro_f1, minimum)
        failures.append(Failure("min_macro_f1", sentence))
    failures += list_missed_limits(config, find_metric)
    if counts.unpredicted_classes and not counts.one_class and not config.allow_unpredicted_classes:
        failures.append(
            Failure("unpredicted_classes", describe_unpredicted(counts.unpredicted_classes))
        )
    if abstention is not None and abstention.threshold is None:
        failures.append(Failure("threshold", _describe_missing_threshold(abstention)))
    return [failure for failure in failures if failure.sentence]


def is_judged_by_macro_f1(config: EvaluateConfig) -> bool:
    """Whether there is a limit of macro-F1 or of a class: then rare classes count like frequent
    ones, and the model is compared with the constant answer by macro-F1 instead of accuracy."""
    names = [parse_metric_name(name) for name, limit in config.minimum.items() if limit > 0]
    return config.min_macro_f1 > 0 or any(
        name.class_name is not None or name.metric == "macro_f1" for name in names
    )


def _describe_constant_answer(
    config: EvaluateConfig, counts: ClassCounts, macro_f1: float | None
) -> str:
    """That the model is not above always predicting the majority class; nothing if it is."""
    if is_judged_by_macro_f1(config) and macro_f1 is not None:
        limit, measured = counts.majority_macro_f1, f"macro-F1 {macro_f1:.4f}"
        is_above = macro_f1 > limit + MAX_ROUNDING_ERROR
    else:
        limit, measured = counts.majority_share, counts.describe_accuracy()
        is_above = counts.correct > counts.majority_rows
    if is_above:
        return ""
    return (
        f"{measured} is not above the {limit:.4f} that always predicting "
        f"{_quote_class(counts.majority_class)} reaches; add rows of the other classes, or "
        "train longer."
    )


def list_missed_limits(
    config: EvaluateConfig, find_metric: Callable[[str], float | None]
) -> list[Failure]:
    """The metrics of `evaluate.minimum` that do not reach their limit."""
    missed = []
    for name, limit in config.minimum.items():
        is_maximum = parse_metric_name(name).metric in MAXIMA
        title = f"its maximum {limit:.6g}" if is_maximum else f"its minimum {limit:.4f}"
        if sentence := describe_missed(name, find_metric, limit, title):
            missed.append(Failure(name, sentence))
    return missed


def _describe_missing_threshold(abstention: Abstention) -> str:
    best, demanded = abstention.validation, abstention.precision
    if best is None or best.precision is None or demanded is None:
        raise AssertionError("only a demanded precision can be missed, and some row has an answer")
    return (
        f"no threshold gives the confident answers the precision {demanded:.4f} on the validation "
        f"rows; the largest is {best.precision:.4f}, at {best.threshold:.4f} with "
        f"{best.answered} of {best.rows} rows."
    )


def describe_metric(name: str) -> str:
    """A metric of `evaluate.minimum` in words."""
    metric, class_name = parse_metric_name(name)
    words = METRIC_WORDS.get(metric, metric)
    return words if class_name is None else f"the {words} of {_quote_class(class_name)}"


def describe_missed(
    name: str, find_metric: Callable[[str], float | None], limit: float, title: str
) -> str:
    """What is wrong with a metric; empty if it reaches its limit."""
    value, words = find_metric(name), describe_metric(name)
    metric = parse_metric_name(name).metric
    if is_reached(metric, value, limit):
        return ""
    if value is None:
        remedy = UNDEFINED_REMEDIES.get(metric, ADD_TEST_ROWS)
        return f"{words} is undefined, so {title} is not reached; {remedy}."
    if metric in MAXIMA:
        return f"{words} {value:.6g} is above {title}."
    return f"{words} {value:.4f} is below {title}."


def describe_unpredicted(unpredicted: Mapping[str, int]) -> str:
    """That classes are never predicted, with their test rows, and what to do."""
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
