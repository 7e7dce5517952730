"""The tables of a cross-validation: the main metrics of the kind of task, each with its digits."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.table import Table

from components.artifacts.cross_validation import CrossValidationContent, FoldResult
from components.config.task import TaskKind
from components.cross_validation.statistics import summarize_metrics
from pipeline.api.local_runs import FinishedCrossValidation
from pipeline.cli.fold_summary import build_fold_table, build_metric_table

METRICS: dict[TaskKind, dict[str, float]] = {
    "single_label": {"accuracy": 0.9, "macro_f1": 0.8, "loss": 0.25, "ece": 0.01},
    "multi_label": {"micro_f1": 0.7, "hamming_loss": 0.1, "subset_accuracy": 0.4, "loss": 0.25},
    "regression": {"rmse": 123456.75, "mae": 98765.5, "r2": 0.5, "mean_error": -0.5, "loss": 0.5},
}


def make_content(kind: TaskKind) -> CrossValidationContent:
    results = tuple(
        FoldResult(
            fold=fold,
            rows={"train": 80, "validation": 20, "test": 50},
            metrics=METRICS[kind],
            report_digest="a" * 64,
        )
        for fold in (1, 2)
    )
    return CrossValidationContent(
        task=kind,
        folds=2,
        rows=100,
        encoder="scratch",
        options={},
        results=results,
        metrics=summarize_metrics(results),
        notes=(),
    )


def print_table(table: Table) -> list[list[str]]:
    console = Console(width=100)
    with console.capture() as printed:
        console.print(table)
    return [line.split() for line in printed.get().splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("kind", "columns", "values"),
    [
        pytest.param(
            "single_label",
            ["accuracy", "macro_f1", "loss", "ece"],
            ["0.9000", "0.8000", "0.2500", "0.0100"],
            id="single_label",
        ),
        pytest.param(
            "multi_label",
            ["micro_f1", "subset_accuracy", "loss", "hamming_loss"],
            ["0.7000", "0.4000", "0.2500", "0.1000"],
            id="multi_label",
        ),
        pytest.param(
            "regression",
            ["rmse", "r2", "mae", "loss"],
            ["123,457", "0.5000", "98,765.5", "0.5000"],
            id="regression",
        ),
    ],
)
def test_the_tables_begin_with_the_metrics_of_the_kind(
    kind: TaskKind, columns: list[str], values: list[str]
) -> None:
    content = make_content(kind)
    heading, _, first, _ = print_table(build_fold_table(content))
    assert heading == ["fold", "held", "out", *columns]
    assert first == ["1", "50", *values]
    metrics = {line[0]: line[1:] for line in print_table(build_metric_table(content))[2:]}
    assert metrics.keys() == METRICS[kind].keys()
    assert metrics[columns[0]] == [values[0], *_repeat(values[0], kind)]


def _repeat(mean: str, kind: TaskKind) -> list[str]:
    """Deviation and interval of folds that are equal."""
    return ["0" if kind == "regression" else "0.0000", mean, "to", mean]


def test_the_api_describes_a_metric_as_the_terminal_does() -> None:
    metrics = {name: each.model_dump() for name, each in make_content("regression").metrics.items()}
    result = FinishedCrossValidation({"folds": 2, "rows": 100, "metrics": metrics})
    assert repr(result) == (
        "<FinishedCrossValidation 2 folds, rmse 123,457 (95% interval 123,457 to 123,457)>"
    )
