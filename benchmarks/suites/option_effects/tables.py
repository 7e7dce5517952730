"""The tables of the comparisons: a line for each training, and the means over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.harness.report import Table
from benchmarks.suites.option_effects.decision_positions import POSITIONS
from benchmarks.suites.option_effects.news_rows import CLASSES
from benchmarks.suites.option_effects.outcome import Outcome

Outcomes = Mapping[tuple[str, int], Outcome]
"""By the name of the variant and the seed."""


class Metrics(NamedTuple):
    """Accuracy and macro-F1, and recall, precision and F1 of the last class."""

    recall: float
    precision: float
    f1: float
    macro_f1: float
    accuracy: float


def compute_metrics(confusion: Sequence[Sequence[int]], shares: Sequence[float]) -> Metrics:
    """The metrics for test rows of which each class has the given share, in any unit.

    Recall is as it was measured; all others follow from it, and from how often a class is taken for
    another one. A precision without predictions is 0.
    """
    weighted = [
        [share * count / sum(row) for count in row]
        for row, share in zip(confusion, shares, strict=True)
    ]
    predicted = [sum(column) for column in zip(*weighted, strict=True)]
    right = [row[number] for number, row in enumerate(weighted)]
    scores = [
        2 * hit / (share + count)
        for hit, share, count in zip(right, shares, predicted, strict=True)
    ]
    return Metrics(
        recall=right[-1] / shares[-1],
        precision=right[-1] / predicted[-1] if predicted[-1] else 0.0,
        f1=scores[-1],
        macro_f1=statistics.fmean(scores),
        accuracy=sum(right) / sum(shares),
    )


def format_imbalance(outcomes: Outcomes, shares: Sequence[float], tested_on: str) -> Table:
    """Metrics of the rare class and of all; variants are values of `train.class_weights`."""
    rare = CLASSES[-1]

    def measure(outcome: Outcome) -> Sequence[float]:
        return compute_metrics(outcome.confusion, shares)

    return Table(
        f"Imbalanced classes: {rare} has {shares[-1] / sum(shares):.0%} of {tested_on}",
        (
            *("`train.class_weights`", "seed", f"recall of {rare}", "its precision", "its F1"),
            *("macro-F1", "accuracy"),
        ),
        _format_lines(outcomes, measure, ["{:.3f}"] * len(Metrics._fields)),
    )


def format_retraining(outcomes: Outcomes) -> Table:
    """Accuracy, macro-F1 and the CPU seconds of the training; variants are where it begins."""

    def measure(outcome: Outcome) -> Sequence[float]:
        metrics = compute_metrics(outcome.confusion, [1] * len(CLASSES))
        return metrics.accuracy, metrics.macro_f1, outcome.cpu_seconds

    return Table(
        "Retraining on all rows, from a release that has seen half of them",
        ("training", "seed", "accuracy", "macro-F1", "CPU seconds"),
        _format_lines(outcomes, measure, ["{:.4f}", "{:.4f}", "{:.0f}"]),
    )


def format_long_texts(outcomes: Outcomes) -> Table:
    """Right answers by the position of the decision; variants are values of `model.long_texts`."""

    def measure(outcome: Outcome) -> Sequence[float]:
        counts = [outcome.right[position] for position in POSITIONS]
        counts.append((sum(right for right, _ in counts), sum(rows for _, rows in counts)))
        return *(right / rows for right, rows in counts), outcome.cpu_seconds

    right = next(iter(outcomes.values())).right
    columns = [f"{position} ({right[position][1]})" for position in POSITIONS]
    return Table(
        "Long texts: right answers by the position of the decision",
        ("`model.long_texts`", "seed", *columns, "all", "CPU seconds"),
        _format_lines(outcomes, measure, [*["{:.1%}"] * (len(POSITIONS) + 1), "{:.0f}"]),
    )


def _format_lines(
    outcomes: Outcomes, measure: Callable[[Outcome], Sequence[float]], formats: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """A line for each training, grouped by variant, and one with the mean over its seeds."""
    lines = []
    for variant in dict.fromkeys(variant for variant, _ in outcomes):
        values = {seed: measure(each) for (name, seed), each in outcomes.items() if name == variant}
        lines += [(variant, str(seed), *_format_values(formats, values[seed])) for seed in values]
        means = [statistics.fmean(column) for column in zip(*values.values(), strict=True)]
        lines.append((variant, "mean", *_format_values(formats, means)))
    return tuple(lines)


def _format_values(formats: Sequence[str], values: Sequence[float]) -> list[str]:
    return [form.format(value) for form, value in zip(formats, values, strict=True)]
