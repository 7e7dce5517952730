"""The result of a run: a table for people and one JSON object for programs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.artifacts import manifest
from components.artifacts.report import ReportContent, open_report
from components.config.schema import SAMPLE_SOURCE
from pipeline.cli.tables import print_line
from pipeline.local.runner import LocalRun
from pipeline.run_state import RunState, StepState

SAMPLE_TEXT = "Shares of the chip maker fell after it cut its forecast"
OWN_TEXT = "a text of your own"
MAX_EXAMPLE_CHARACTERS = 80
MAX_EXAMPLE_CANDIDATES = 50


@dataclass(frozen=True)
class RunSummary:
    """The figures of a finished run; `release` and `version` are None if the gate closed.

    rows: number of rows per split. example_text: what `kubert predict` is suggested for.
    """

    run: LocalRun
    run_state: RunState
    report: ReportContent
    rows: dict[str, int]
    train_examples_per_second: float
    example_text: str

    @property
    def gate(self) -> dict[str, Any]:
        """passed (bool) and reason (str)."""
        figures = self.run_state.steps["gate"].figures
        return {"passed": bool(figures["passed"]), "reason": str(figures["reason"])}

    @property
    def release(self) -> str | None:
        """Path or URI of the release."""
        return self.run_state.steps["export"].figures.get("release")

    @property
    def version(self) -> int | None:
        """The release's version number."""
        return self.run_state.steps["export"].figures.get("version")

    @property
    def report_page(self) -> str:
        """Path of the HTML report."""
        return str(self.run_state.output_path("evaluate", "report") / "report.html")

    @property
    def finished_steps(self) -> list[StepState]:
        """The steps that finished or were reused."""
        return [
            step for step in self.run_state.steps.values() if self.run_state.is_complete(step.name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `kubert run --json` prints; scripts depend on these keys."""
        return {
            "accuracy": self.report.accuracy,
            "accuracy_low": self.report.accuracy_low,
            "accuracy_high": self.report.accuracy_high,
            "majority_class": self.report.majority_class,
            "majority_share": self.report.majority_accuracy,
            "macro_f1": self.report.macro_f1,
            "test_rows": self.report.test_rows,
            "rows": self.rows,
            "notes": list(self.report.data.notes),
            "gate": self.gate,
            "release": self.release,
            "version": self.version,
            "step_seconds": {step.name: step.seconds for step in self.finished_steps},
            "cached": [step.name for step in self.finished_steps if step.status == "reused"],
            "train_examples_per_second": self.train_examples_per_second,
            "report": self.report_page,
            "log": str(self.run.log),
            "workdir": str(self.run.workdir),
        }

    def print(self, console: Console) -> None:
        """Print the figures as a table, then paths and the next command unbroken, to be copied."""
        table = Table(show_header=False, box=SIMPLE_HEAD)
        for name, value in self._table_rows().items():
            table.add_row(Text(name, style="bold"), Text(value))
        console.print(table)
        if self.run_state.steps["tokenize"].status == "reused":  # else they were shown meanwhile
            for note in self.report.data.notes:
                print_line(console, f"note: {note}")
        paths = {"release": self.release, "report": self.report_page, "log": str(self.run.log)}
        for name, path in paths.items():
            if path:
                print_line(console, f"{name:<8}{path}")
        if self.release:
            release = shlex.quote(_shorten_path(self.release))
            release = shlex.quote(_shorten_path(self.release))
            command = f"{_command_name()} predict {release} {shlex.quote(self.example_text)}"
            print_line(console, f"\nTry it: {command}")

    def _table_rows(self) -> dict[str, str]:
        report = self.report
        interval = f"95% interval {report.accuracy_low:.4f} to {report.accuracy_high:.4f}"
        baseline = f'always predicting "{report.majority_class}" reaches'
        return {
            "rows": ", ".join(f"{split} {count:,}" for split, count in self.rows.items()),
            "accuracy": f"{report.accuracy:.4f} on {report.test_rows:,} test rows, {interval}; "
            f"{baseline} {report.majority_accuracy:.4f}",
            "macro-F1": "undefined: fewer than two classes have test rows"
            if report.macro_f1 is None
            else f"{report.macro_f1:.4f}",
            "gate": self.gate["reason"],
            "version": str(self.version) if self.release else "nothing released",
            "seconds": ", ".join(
                f"{step.name} {'reused' if step.status == 'reused' else f'{step.seconds:.1f}'}"
                for step in self.finished_steps
            ),
            "training": f"{self.train_examples_per_second:,.1f} examples/s",
        }


def summarize_run(run: LocalRun, run_state: RunState, source: str | Sequence[str]) -> RunSummary:
    """Read the figures from the run's artifacts; DataError if one does not verify.

    source: the option data.source.
    """
    from components.artifacts.predictions import read_first_texts

    report = run_state.output_path("evaluate", "report")
    shards = manifest.read_manifest(run_state.output_path("tokenize", "shards"), "token_shards")
    checkpoint = manifest.read_manifest(run_state.output_path("train", "checkpoint"), "checkpoint")
    return RunSummary(
        run=run,
        run_state=run_state,
        report=open_report(report).content,
        rows={name: split["rows"] for name, split in shards.content["splits"].items()},
        train_examples_per_second=checkpoint.content["train_examples_per_second"],
        example_text=choose_example_text(source, read_first_texts(report, MAX_EXAMPLE_CANDIDATES)),
    )


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
