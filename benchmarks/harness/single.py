"""A chapter run by itself: its command line, and its page on standard output."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.report import Chapter, markdown


def parser(about: str | None) -> argparse.ArgumentParser:
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


def run_alone(name: str, about: str | None, chapter: Callable[[Path, Path], Chapter]) -> None:
    """Measure in `name` below the work directory, and print the chapter."""
    arguments = parser(about).parse_args()
    workdir = arguments.workdir / name
    workdir.mkdir(parents=True, exist_ok=True)
    print(markdown(chapter(arguments.data, workdir)))
