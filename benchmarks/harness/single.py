"""A chapter run by itself: its command line, and its page on standard output."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.report import BenchmarkReport, format_report


def build_parser(about: str | None) -> argparse.ArgumentParser:
    """The options that all chapters have; `about` is the module's docstring."""
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
        help="directory for what the chapter works on",
    )
    return made


def run_single(
    name: str, about: str | None, report: Callable[[Path, Path], BenchmarkReport]
) -> None:
    """Measure in `name` below the work directory, and print the chapter."""
    arguments = build_parser(about).parse_args()
    workdir = arguments.workdir / name
    workdir.mkdir(parents=True, exist_ok=True)
    print(format_report(report(arguments.data, workdir)))
