"""`make bench`: runs every suite in a process of its own; writes the dated page and latest.json.

    python -m benchmarks.harness --data DIR --workdir DIR [--only SUITE]...

A suite that fails is named at the end, and the exit code is 1; the results of the others are
written all the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.report import BenchmarkReport, Table, format_report
from components import __version__

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
LATEST = RESULTS / "latest.json"
SUITES: dict[str, tuple[str, ...]] = {
    "tokenizing": ("tokenize_vs_hf", "tokenize_vs_notebook"),
    "training": (
        "train_l4_vs_notebook",
        "train_minilm_vs_notebook",
        "train_vs_hf_trainer",
        "train_vs_model_garden",
        "padding_efficiency",
        "input_wait_share",
    ),
    "training_agreement": (),
    "frozen": ("frozen_later_epochs",),
    "scaling": ("scaling_two_workers",),
    "serving": ("serve_p50_vs_plain", "serve_batch64_vs_plain"),
    "scoring": ("score_vs_hf_pipeline", "score_two_workers"),
    "overhead": ("pipeline_overhead_s", "cached_rerun_s"),
    "growth": (),
}
"""The suites in the page's order, each with the figures that it writes to latest.json."""
_SHOWN_PACKAGES = (
    "tensorflow",
    "tensorflow-cpu",
    "tf-models-official",
    "tf-keras",
    "torch",
    "transformers",
    "tokenizers",
    "kfp",
)


@dataclass(frozen=True)
class Figure:
    """A measured value, and when, on which machine and at which commit it was measured."""

    value: float
    date: str
    machine: str
    commit: str


def merge_figures(
    earlier: Mapping[str, Figure],
    reports: Mapping[str, BenchmarkReport],
    *,
    date: str,
    machine: str,
    commit: str,
) -> dict[str, Figure]:
    """Latest figures after these reports: new ones replace earlier ones; unknown keys are dropped.

    Raises ValueError for a report whose figures are not the ones that its suite measures.
    """
    for name, report in reports.items():
        if set(report.figures) != set(SUITES[name]):
            raise ValueError(
                f"suite {name} measured {sorted(report.figures)}, "
                f"but should have measured {sorted(SUITES[name])}"
            )
    measured = {
        key: Figure(value, date, machine, commit)
        for report in reports.values()
        for key, value in report.figures.items()
    }
    found = dict(earlier) | measured
    return {key: found[key] for keys in SUITES.values() for key in keys if key in found}


def read_figures(path: Path) -> dict[str, Figure]:
    """The figures in a latest.json; empty if there is none."""
    if not path.exists():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    return {key: Figure(**figure) for key, figure in values.items()}


def write_figures(path: Path, figures: Mapping[str, Figure]) -> None:
    """Write latest.json."""
    values = {key: dataclasses.asdict(figure) for key, figure in figures.items()}
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def format_page(
    command: str,
    machine: Mapping[str, str],
    reports: Sequence[BenchmarkReport],
    failed: Sequence[str],
    today: datetime.date,
) -> str:
    """The dated page as Markdown."""
    about = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    not_measured = f"\nNot measured: {', '.join(failed)}.\n" if failed else ""
    head = f"# Speed, {today}\n\n    {command}\n\n{about}\n{not_measured}\n"
    return head + "\n".join(format_report(report) for report in reports)


def name_page(suites: Sequence[str], processor: str, today: datetime.date) -> str:
    """The page's file name: `<date>_<suite>_<machine>.md`."""
    machine = re.sub(r"\((r|tm)\)|processor|cpu|@.*|[0-9]+-core", "", processor.lower())
    slug = "-".join(re.findall(r"[a-z0-9]+", machine)[:3]) or "unknown"
    return f"{today}_{'-'.join(suites) or 'all-suites'}_{slug}.md"


def describe_machine() -> dict[str, str]:
    """What the figures were measured on and with."""
    installed = {
        distribution.name.replace("_", "-"): distribution.version
        for distribution in importlib.metadata.distributions()
    }
    cores = len(os.sched_getaffinity(0))
    versions = [f"{name} {installed[name]}" for name in _SHOWN_PACKAGES if name in installed]
    return {
        "machine": f"{cores} cores, {read_processor_name()}, {_memory_gigabytes()} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(versions),
        "commit": _read_commit(),
    }


def read_processor_name() -> str:
    """The name of this machine's processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gigabytes() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _read_commit() -> str:
    """The commit that is checked out, marked where the working tree differs.

    Without git or a repository, as in an image, the version of kubert.
    """
    if shutil.which("git") is not None:
        command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
        completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if commit := completed.stdout.strip():
            return commit
    return f"unknown (kubert {__version__}, no repository)"


def _write_report(name: str, data: Path, workdir: Path, result: Path) -> None:
    """In the suite's own process: measure, and write the report as JSON."""
    suite = importlib.import_module(f"benchmarks.suites.{name}")
    report: BenchmarkReport = suite.run_suite(data, workdir)
    result.write_text(json.dumps(dataclasses.asdict(report)), encoding="utf-8")


def parse_report(value: Mapping[str, Any]) -> BenchmarkReport:
    """The report that was written as JSON."""
    tables = (
        Table(
            caption=table["caption"],
            columns=tuple(table["columns"]),
            rows=tuple(map(tuple, table["rows"])),
        )
        for table in value["tables"]
    )
    return BenchmarkReport(
        title=value["title"],
        figures=dict(value["figures"]),
        tables=tuple(tables),
        notes=tuple(value["notes"]),
    )


def _run_suite(name: str, data: Path, workdir: Path) -> BenchmarkReport | None:
    """Run the suite in a process of its own and print how it went; None if it failed."""
    result, log = workdir / f"{name}.json", workdir / f"{name}.log"
    result.unlink(missing_ok=True)
    started = time.monotonic()
    print(f"{name}: ", end="", flush=True)
    options = ["--data", data, "--workdir", workdir / name, "--write", result, "--only", name]
    command = [sys.executable, "-m", "benchmarks.harness", *map(str, options)]
    with log.open("wb") as stream:
        code = subprocess.run(
            command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, check=False
        ).returncode
    seconds = time.monotonic() - started
    if code:
        print(f"FAILED with exit code {code} after {seconds:.0f} s; see {log}", flush=True)
        return None
    report = parse_report(json.loads(result.read_text(encoding="utf-8")))
    if set(report.figures) != set(SUITES[name]):
        print(
            f"FAILED: measured {sorted(report.figures)}, "
            f"but should have measured {sorted(SUITES[name])}",
            flush=True,
        )
        return None
    figures = ", ".join(f"{key} {value:.4g}" for key, value in report.figures.items())
    print(figures or "finished", f"({seconds:.0f} s)", flush=True)
    return report


def _write_results(
    reports: Mapping[str, BenchmarkReport], failed: Sequence[str], only: Sequence[str]
) -> None:
    today, machine = datetime.date.today(), describe_machine()
    options = " ".join(f"--only {name}" for name in only)
    command = f"python -m benchmarks.harness --data DATA --workdir WORKDIR {options}".rstrip()
    page = RESULTS / name_page(only, read_processor_name(), today)
    page.write_text(
        format_page(command, machine, list(reports.values()), failed, today), encoding="utf-8"
    )
    figures = merge_figures(
        read_figures(LATEST),
        reports,
        date=str(today),
        machine=machine["machine"],
        commit=machine["commit"],
    )
    write_figures(LATEST, figures)
    print(f"wrote {page} and {LATEST.name}")


def main() -> int:
    """Run the suites, write their results, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--data", type=Path, required=True, help="directory with AG News' train.csv and test.csv"
    )
    parser.add_argument(
        "--workdir", type=Path, required=True, help="directory for the suites' files and logs"
    )
    parser.add_argument(
        "--only", action="append", choices=list(SUITES), help="run this suite only; repeatable"
    )
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    data, workdir = arguments.data.resolve(), arguments.workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    if arguments.write:
        _write_report(arguments.only[0], data, workdir, arguments.write)
        return 0
    reports: dict[str, BenchmarkReport] = {}
    failed: list[str] = []
    for name in arguments.only or SUITES:
        if report := _run_suite(name, data, workdir):
            reports[name] = report
        else:
            failed.append(name)
    _write_results(reports, failed, arguments.only or [])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
