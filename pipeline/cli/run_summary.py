"""What a run came to, for people (a table) and for programs (one JSON object)."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.artifacts import manifest
from components.artifacts.report import ReportContent, read_report
from pipeline.local.runner import LocalRun
from pipeline.run_state import RunState

TRY = '"Shares of the chip maker fell after it cut its forecast"'


@dataclass(frozen=True)
class Summary:
    """The figures of a finished run; `release` and `version` are None when the gate closed."""

    run: LocalRun
    outcome: RunState
    report: ReportContent
    rows: dict[str, int]
    train_examples_per_second: float

    @property
    def gate(self) -> dict[str, Any]:
        """passed (bool) and reason (str)."""
        figures = self.outcome.steps["gate"].figures
        return {"passed": bool(figures["passed"]), "reason": str(figures["reason"])}

    @property
    def release(self) -> str | None:
        """Path or URI of the release."""
        return self.outcome.steps["export"].figures.get("release")

    @property
    def version(self) -> int | None:
        """The release's number."""
        return self.outcome.steps["export"].figures.get("version")

    @property
    def page(self) -> str:
        """Path of the report's HTML page."""
        return str(self.outcome.output_path("evaluate", "report") / "report.html")

    def as_json(self) -> str:
        """One line."""
        steps = self.outcome.steps.values()
        return json.dumps(
            {
                "accuracy": self.report.accuracy,
                "accuracy_low": self.report.accuracy_low,
                "accuracy_high": self.report.accuracy_high,
                "macro_f1": self.report.macro_f1,
                "test_rows": self.report.test_rows,
                "rows": self.rows,
                "gate": self.gate,
                "release": self.release,
                "version": self.version,
                "step_seconds": {
                    step.name: step.seconds for step in steps if self.outcome.is_complete(step.name)
                },
                "cached": [step.name for step in steps if step.status == "reused"],
                "train_examples_per_second": self.train_examples_per_second,
                "report": self.page,
                "log": str(self.run.log),
                "workdir": str(self.run.workdir),
            }
        )

    def show(self, console: Console) -> None:
        """Print the figures as a table, then the places, unbroken so that they can be copied, and what to try next."""
        report, gate = self.report, self.gate
        steps = [
            step for step in self.outcome.steps.values() if self.outcome.is_complete(step.name)
        ]
        table = Table(show_header=False, box=SIMPLE_HEAD)
        for name, value in {
            "rows": ", ".join(f"{name} {count:,}" for name, count in self.rows.items()),
            "accuracy": f"{report.accuracy:.4f} on {report.test_rows:,} test rows, 95% interval {report.accuracy_low:.4f} to {report.accuracy_high:.4f}",
            "macro-F1": "not defined: fewer than two classes have test rows"
            if report.macro_f1 is None
            else f"{report.macro_f1:.4f}",
            "gate": gate["reason"],
            "version": str(self.version) if self.release else "nothing released",
            "seconds": ", ".join(
                f"{step.name} {'reused' if step.status == 'reused' else f'{step.seconds:.1f}'}"
                for step in steps
            ),
            "training": f"{self.train_examples_per_second:,.1f} examples/s",
        }.items():
            table.add_row(Text(name, style="bold"), Text(value))
        console.print(table)
        places = {"release": self.release, "report": self.page, "log": str(self.run.log)}
        for name, place in places.items():
            if place:
                console.print(Text(f"{name:<8}{place}"), soft_wrap=True)
        if self.release:
            console.print(
                Text(f"\nTry it: {_command()} predict {shlex.quote(_short(self.release))} {TRY}"),
                soft_wrap=True,
            )


def _command() -> str:
    """How this command can be called from here: by its name where that finds it, else by its path."""
    return "kubert" if shutil.which("kubert") == sys.argv[0] else shlex.quote(_short(sys.argv[0]))


def _short(place: str) -> str:
    """A path below the current directory, relative to it; anything else as it is."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else place


def summarize(run: LocalRun, outcome: RunState) -> Summary:
    """Read the figures from the run's artifacts; DataError names one that does not verify."""
    shards = manifest.read(outcome.output_path("tokenize", "shards"), "token_shards")
    checkpoint = manifest.read(outcome.output_path("train", "checkpoint"), "checkpoint")
    return Summary(
        run=run,
        outcome=outcome,
        report=read_report(outcome.output_path("evaluate", "report")),
        rows={name: split["rows"] for name, split in shards.content["splits"].items()},
        train_examples_per_second=checkpoint.content["train_examples_per_second"],
    )
