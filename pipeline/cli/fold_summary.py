"""The result of a cross-validation as people read it."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.artifacts.cross_validation import (
    CrossValidationContent,
    format_metric,
    list_metric_names,
)
from components.progress import StepName
from pipeline.cli.tables import print_line
from pipeline.local.fold_runs import CrossValidation

MAX_FOLD_COLUMNS = 4
"""Metrics in the table of the folds; the report has all."""


def print_fold_summary(
    result: CrossValidation, console: Console, *, will_release: bool = False
) -> None:
    """Print the folds and the metrics as tables, then paths unbroken, to be copied.

    will_release: a run that releases a model follows.
    """
    content = result.content
    console.print(build_fold_table(content))
    console.print(build_metric_table(content))
    print_line(
        console,
        "the intervals account for the rows that the folds' models share (Nadeau and Bengio, 2003)",
        style="dim",
    )
    if all(
        result.states[each.fold].steps[StepName.FOLD].status == "reused" for each in content.results
    ):
        for note in content.notes:  # else they were shown meanwhile
            print_line(console, f"note: {note}")
    figures = result.to_dict()
    for name in ("report", "predictions", "logs"):
        print_line(console, f"{name:<13}{figures[name]}")
    if not will_release:
        print_line(
            console, "nothing is released: run the command without --folds, or with --release"
        )


def build_fold_table(content: CrossValidationContent) -> Table:
    """A row per fold: how many rows it holds out, and its main metrics."""
    shown = list_metric_names(content)[:MAX_FOLD_COLUMNS]
    table = Table(box=SIMPLE_HEAD)
    table.add_column("fold", style="bold")
    for name in ("held out", *shown):
        table.add_column(name, justify="right")
    for each in content.results:
        values = [format_value(name, each.metrics.get(name)) for name in shown]
        table.add_row(str(each.fold), f"{each.rows['test']:,}", *values)
    return table


def build_metric_table(content: CrossValidationContent) -> Table:
    """A row per metric: mean, standard deviation and interval."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("metric", style="bold")
    for name in ("mean", "std. dev.", "95% interval"):
        table.add_column(name, justify="right")
    for name, each in content.metrics.items():
        mean, deviation, low, high = (
            format_value(name, value)
            for value in (each.mean, each.standard_deviation, each.low, each.high)
        )
        table.add_row(Text(name), mean, deviation, "-" if each.low is None else f"{low} to {high}")
    return table


def format_value(name: str, value: float | None) -> str:
    """A value of a metric; a dash for one that is not defined."""
    return "-" if value is None else format_metric(name, value)
