"""The result of a run as people read it: a table, paths, and what to try next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

from components.artifacts.report import (
    MultiLabelReport,
    RegressionReport,
    Report,
    ReportContent,
)
from components.config.schema import SAMPLE_SOURCE
from components.data.text_columns import Text, flatten_texts
from pipeline.cli.tables import print_line
from pipeline.local.run_summary import RunSummary

SAMPLE_TEXT = "Shares of the chip maker fell after it cut its forecast"
OWN_TEXT = "a text of your own"
OTHER_TEXT = "the other text"
MAX_EXAMPLE_CHARACTERS = 80
MAX_EXAMPLE_CANDIDATES = 50


def print_summary(summary: RunSummary, console: Console, example: Text) -> None:
    """Print the figures as a table, then paths and the next command unbroken, to be copied.

    example: the text, or pair, that `kubert predict` is suggested for.
    """
    table = Table(show_header=False, box=SIMPLE_HEAD)
    for name, value in _table_rows(summary).items():
        table.add_row(RichText(name, style="bold"), RichText(value))
    console.print(table)
    notes = {"tokenize": summary.report.data.notes, "evaluate": summary.report.evaluation_notes}
    for step, sentences in notes.items():
        if summary.run_state.steps[step].status == "reused":  # else they were shown meanwhile
            for note in sentences:
                print_line(console, f"note: {note}")
    paths = {"release": summary.release, "report": summary.report_page, "log": str(summary.run.log)}
    for name, path in paths.items():
        if path:
            print_line(console, f"{name:<8}{path}")
    if summary.release:
        release = shlex.quote(_shorten_path(summary.release))
        arguments = " ".join(map(shlex.quote, flatten_texts([example])))
        command = f"{_command_name()} predict {release} {arguments}"
        print_line(console, f"\nTry it: {command}")


def _table_rows(summary: RunSummary) -> dict[str, str]:
    return {
        "rows": ", ".join(f"{split} {count:,}" for split, count in summary.rows.items()),
        **_describe_metrics(summary.report),
        "gate": summary.gate["reason"],
        "version": str(summary.version) if summary.release else "nothing released",
        "seconds": ", ".join(
            f"{step.name} {'reused' if step.status == 'reused' else f'{step.seconds:.1f}'}"
            for step in summary.finished_steps
        ),
        "training": f"{summary.train_examples_per_second:,.1f} examples/s",
    }


def _describe_metrics(report: Report) -> dict[str, str]:
    """The metrics of the kind of task, each with what it is to be compared with."""
    match report:
        case ReportContent():
            return {
                "accuracy": f"{report.accuracy:.4f} on {report.test_rows:,} test rows, "
                f"{_describe_interval(report.accuracy_low, report.accuracy_high)}; "
                f'always predicting "{report.majority_class}" reaches '
                f"{report.majority_accuracy:.4f}",
                "macro-F1": "undefined: fewer than two classes have test rows"
                if report.macro_f1 is None
                else f"{report.macro_f1:.4f}",
            }
        case MultiLabelReport():
            return _describe_labels(report)
        case RegressionReport():
            return _describe_numbers(report)


def _describe_labels(report: MultiLabelReport) -> dict[str, str]:
    if report.micro_f1 is None:
        return {"micro-F1": "undefined: no test row has, or is given, a label"}
    subset = _describe_interval(report.subset_accuracy_low, report.subset_accuracy_high)
    return {
        "micro-F1": f"{report.micro_f1:.4f} on {report.test_rows:,} test rows, "
        f"{_describe_interval(report.micro_f1_low, report.micro_f1_high)}; always predicting "
        f"{report.quote_baseline()} reaches {report.baseline_micro_f1:.4f}",
        "macro-F1": "undefined: no class has test rows"
        if report.macro_f1 is None
        else f"{report.macro_f1:.4f}",
        "subset accuracy": f"{report.subset_accuracy:.4f} of the test rows have all labels right, "
        f"{subset}",
    }


def _describe_numbers(report: RegressionReport) -> dict[str, str]:
    r2 = "undefined" if report.r2 is None else f"{report.r2:.4f}"
    spearman = "undefined" if report.spearman is None else f"{report.spearman:.4f}"
    return {
        "RMSE": f"{report.rmse:.6g} on {report.test_rows:,} test rows, "
        f"{_describe_interval(report.rmse_low, report.rmse_high, '.6g')}; always predicting the "
        f"mean reaches {report.baseline_rmse:.6g}",
        "MAE": f"{report.mae:.6g}",
        "R2": f"{r2}; Spearman correlation {spearman}",
    }


def _describe_interval(low: float | None, high: float | None, form: str = ".4f") -> str:
    if low is None or high is None:
        return "too few for an interval"
    return f"95% interval {low:{form}} to {high:{form}}"


def find_example_text(summary: RunSummary, source: str | Sequence[str]) -> Text:
    """The text, or pair, to suggest for the model of a run; `source` is its option data.source."""
    from components.artifacts.predictions import read_first_texts

    texts = read_first_texts(summary.report_directory, MAX_EXAMPLE_CANDIDATES)
    if len(summary.report.inputs) == 1:
        return choose_example_text(source, flatten_texts(texts))
    pairs = [text for text in texts if not isinstance(text, str)]
    return choose_example_pair(pairs)


def choose_example_pair(pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The first of the pairs whose texts can be arguments, else words to be replaced."""
    usable = (pair for pair in pairs if all(map(_is_short_argument, pair)))
    return next(usable, (OWN_TEXT, OTHER_TEXT))


def _is_short_argument(text: str) -> bool:
    return _is_plain_argument(text) and len(text) <= MAX_EXAMPLE_CHARACTERS


def choose_example_text(source: str | Sequence[str], texts: Sequence[str]) -> str:
    """A news item for a model of the built-in sample, else one of the texts, on one line.

    The first one that is short enough, or the first one cut. Without one that can be an argument of
    `kubert predict` as it is, words to be replaced.
    """
    if source == SAMPLE_SOURCE:
        return SAMPLE_TEXT
    lines = (" ".join(text.split()) for text in texts)
    usable = [line for line in lines if _is_plain_argument(line)]
    short = (line for line in usable if len(line) <= MAX_EXAMPLE_CHARACTERS)
    return next(short, _cut_text(usable[0]) if usable else OWN_TEXT)


def _is_plain_argument(line: str) -> bool:
    """Whether `kubert predict` takes it for a text, and not for an option or a file."""
    is_file = os.path.isfile(line)  # noqa: PTH113 - False, and no error, for any long text
    return bool(line) and line.isprintable() and not line.startswith("-") and not is_file


def _cut_text(line: str) -> str:
    """The beginning of a line, up to the end of a word where it has spaces."""
    start, space, _ = line[: MAX_EXAMPLE_CHARACTERS + 1].rpartition(" ")
    return start if space else line[:MAX_EXAMPLE_CHARACTERS]


def _command_name() -> str:
    """How to call this command from here: by name if the PATH leads to it, else by its path."""
    if shutil.which("kubert") == sys.argv[0]:
        return "kubert"
    return shlex.quote(_shorten_path(sys.argv[0]))


def _shorten_path(path: str) -> str:
    """A path below the current directory as a relative one; anything else unchanged."""
    current = Path.cwd()
    return str(Path(path).relative_to(current)) if Path(path).is_relative_to(current) else path
