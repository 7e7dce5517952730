"""The suite's results as a dated Markdown page and as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.report import BenchmarkReport, Table, format_report, format_table

STAND_IN = (
    "**This page says nothing about GPUs.** It was made with `--device cpu`: two logical CPU "
    "devices stand in for two GPUs, to show that the command runs to its end."
)


@dataclass(frozen=True)
class Check:
    """Something that must hold; `passed` is None where this machine cannot show it."""

    name: str
    passed: bool | None
    detail: str

    @property
    def result(self) -> str:
        """The word for the page."""
        return {True: "passed", False: "FAILED", None: "not checked"}[self.passed]


@dataclass(frozen=True)
class Section:
    """One part of the suite: figures and tables, and what must hold."""

    report: BenchmarkReport
    checks: tuple[Check, ...] = ()


def report_failure(title: str, error: Exception) -> Section:
    """The section of a part that ended with an error: it counts as a failed check."""
    detail = " ".join(str(error).split())
    check = Check(f"{title}: ran to its end", False, detail)
    return Section(BenchmarkReport(title, {}, (), ("It did not run to its end.",)), (check,))


def has_failed(sections: Sequence[Section]) -> bool:
    """Whether a check did not hold."""
    return any(check.passed is False for section in sections for check in section.checks)


def format_page(
    command: str,
    machine: Mapping[str, str],
    sections: Sequence[Section],
    today: datetime.date,
    *,
    is_stand_in: bool,
) -> str:
    """The page; if it is a stand-in's, its first lines say so."""
    head = [f"# Training on GPUs, {today}"]
    if is_stand_in:
        head.append(STAND_IN)
    head += [f"    {command}", "\n".join(f"- {name}: {value}" for name, value in machine.items())]
    rows = [
        (check.name, check.result, check.detail) for section in sections for check in section.checks
    ]
    checks = Table("Checks", ("check", "result", "detail"), tuple(rows))
    parts = ["\n\n".join([*head, format_table(checks)]) + "\n"]
    # The tables have the figures already.
    reports = [dataclasses.replace(section.report, figures={}) for section in sections]
    return "\n".join([*parts, *map(format_report, reports)])


def format_json(
    command: str,
    machine: Mapping[str, str],
    sections: Sequence[Section],
    today: datetime.date,
    *,
    is_stand_in: bool,
) -> str:
    """The same as JSON: {date, command, stand_in, machine, checks, sections}."""
    value: dict[str, Any] = {
        "date": str(today),
        "command": command,
        "stand_in": is_stand_in,
        "machine": dict(machine),
        "checks": [dataclasses.asdict(check) for part in sections for check in part.checks],
        "sections": [dataclasses.asdict(part.report) for part in sections],
    }
    return json.dumps(value, indent=1) + "\n"
