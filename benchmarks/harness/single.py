"""Runs one suite from its own command line and prints its report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.report import BenchmarkReport, format_report


def build_parser(about: str | None) -> argparse.ArgumentParser:
    """The options that all suites have; `about` is the docstring of the suite's module."""
    made = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    made.add_argument(
        "--data",
        type=lambda text: Path(text).resolve(),
        required=True,
        help="directory with AG News' train.csv and test.csv",
    )
    made.add_argument(
        "--workdir",
        type=lambda text: Path(text).resolve(),
        required=True,
        help="directory for the suite's files",
    )
    return made


def run_single(
    name: str, about: str | None, report: Callable[[Path, Path], BenchmarkReport]
) -> None:
    """Run the suite in `name` below the work directory, and print its report."""
    arguments = build_parser(about).parse_args()
    workdir = arguments.workdir / name
    workdir.mkdir(parents=True, exist_ok=True)
    print(format_report(report(arguments.data, workdir)))
