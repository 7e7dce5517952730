"""The result of a run: its figures, and where its report and its release are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import manifest
from components.artifacts.report import Report, ReportContent, open_report
from pipeline.local.runner import LocalRun
from pipeline.run_state import RunState, StepState


@dataclass(frozen=True)
class RunSummary:
    """The figures of a finished run; `release` and `version` are None if the gate closed.

    rows: number of rows per split.
    """

    run: LocalRun
    run_state: RunState
    report: Report
    rows: dict[str, int]
    train_examples_per_second: float

    @property
    def gate(self) -> dict[str, Any]:
        """passed (bool), reason (str), and failed_rules (list of str): what closed the gate."""
        figures = self.run_state.steps["gate"].figures
        return {
            "passed": bool(figures["passed"]),
            "reason": str(figures["reason"]),
            "failed_rules": [str(rule) for rule in figures.get("failed_rules", ())],
        }

    @property
    def confident_answers(self) -> dict[str, float | None] | None:
        """The threshold, and the share of the test rows that reach it (coverage) and are right.

        None without `evaluate.threshold`; its values are None where no threshold was found.
        """
        report = self.report
        if not isinstance(report, ReportContent) or (found := report.abstention) is None:
            return None
        return {
            "threshold": found.threshold,
            "coverage": found.test.coverage if found.test else None,
            "precision": found.test.precision if found.test else None,
        }

    @property
    def release(self) -> str | None:
        """Path or URI of the release."""
        return self.run_state.steps["export"].figures.get("release")

    @property
    def version(self) -> int | None:
        """The release's version number."""
        return self.run_state.steps["export"].figures.get("version")

    @property
    def report_directory(self) -> Path:
        """Directory of the report."""
        return self.run_state.output_path("evaluate", "report")

    @property
    def report_page(self) -> str:
        """Path of the HTML report."""
        return str(self.report_directory / "report.html")

    @property
    def finished_steps(self) -> list[StepState]:
        """The steps that finished or were reused."""
        return [
            step for step in self.run_state.steps.values() if self.run_state.is_complete(step.name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """What `kubert run --json` prints; scripts depend on these keys."""
        return {
            **self.report.result_figures,
            "rows": self.rows,
            "confident_answers": self.confident_answers,
            "notes": [*self.report.data.notes, *self.report.evaluation_notes],
            "gate": self.gate,
            "release": self.release,
            "version": self.version,
            "step_seconds": {str(step.name): step.seconds for step in self.finished_steps},
            "cached": [str(step.name) for step in self.finished_steps if step.status == "reused"],
            "train_examples_per_second": self.train_examples_per_second,
            "report": self.report_page,
            "log": str(self.run.log),
            "workdir": str(self.run.workdir),
        }


def summarize_run(run: LocalRun, run_state: RunState) -> RunSummary:
    """Read the figures from the run's artifacts; DataError if one does not verify."""
    report = run_state.output_path("evaluate", "report")
    shards = manifest.read_manifest(run_state.output_path("tokenize", "shards"), "token_shards")
    checkpoint = manifest.read_manifest(run_state.output_path("train", "checkpoint"), "checkpoint")
    return RunSummary(
        run=run,
        run_state=run_state,
        report=open_report(report).content,
        rows={name: split["rows"] for name, split in shards.content["splits"].items()},
        train_examples_per_second=checkpoint.content["train_examples_per_second"],
    )
