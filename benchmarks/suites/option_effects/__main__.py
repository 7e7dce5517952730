"""What options change in accuracy and CPU seconds, with several seeds; writes a page.

    python -m benchmarks.suites.option_effects --data DIR --workdir DIR [--only NAME] [--quick]

DIR holds train.csv and test.csv of AG News. `imbalance` compares train.class_weights=balanced with
none, `retraining` model.start_from and half of the epochs with a training from the encoder's
weights, and `long_texts` the values of model.long_texts. A training whose outcome is in the work
directory is not repeated. `--quick` trains tiny models on few rows with one seed, to try the
command, and writes the page to the work directory.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness.__main__ import RESULTS, describe_machine, name_page, read_processor_name
from benchmarks.harness.report import BenchmarkReport, Table, format_report
from benchmarks.harness.single import build_parser
from benchmarks.suites.option_effects import tables
from benchmarks.suites.option_effects.news_rows import CLASSES
from benchmarks.suites.option_effects.outcome import (
    Outcome,
    measure_training,
    read_outcome,
    write_outcome,
)
from benchmarks.suites.option_effects.trainings import (
    COMPARISONS,
    QUICK,
    Sizes,
    Training,
    list_trainings,
    write_news,
)

MODULE = "benchmarks.suites.option_effects"


def find_outcome(training: Training, workdir: Path) -> Outcome:
    """The outcome in the work directory, or else that of running the training now."""
    result, home = workdir / f"{training.name}.json", workdir / training.name
    if not result.exists():
        shutil.rmtree(home, ignore_errors=True)
        write_outcome(result, measure_training(training, home))
    return read_outcome(result)


def build_report(outcomes: Mapping[str, tables.Outcomes], sizes: Sizes) -> BenchmarkReport:
    """The tables of the comparisons that were made, and what was trained."""
    found: list[Table] = []
    notes: list[str] = []
    if "imbalance" in outcomes:
        trained = [float(sizes.frequent)] * (len(CLASSES) - 1) + [float(sizes.rare)]
        for shares, tested_on in (
            ([1.0] * len(CLASSES), "the test rows"),
            (trained, "the test rows, each class weighted as in training"),
        ):
            found.append(tables.format_imbalance(outcomes["imbalance"], shares, tested_on))
        notes.append(
            f"Imbalanced classes: preset `ag_news_minilm_frozen` with `{sizes.frozen}`, "
            f"{sizes.frequent} rows of each class and {sizes.rare} of {CLASSES[-1]}; "
            "`train.class_weights` is all that differs. Recall is the same in both tables."
        )
    if "retraining" in outcomes:
        epochs, half = sizes.epochs, sizes.epochs // 2
        found.append(tables.format_retraining(outcomes["retraining"]))
        notes.append(
            f"Retraining: preset `ag_news_scratch` with `{sizes.scratch}`, {sizes.rows} rows. "
            f"`first` is trained on half of them for {epochs} epochs, and released. `release` "
            "begins with it (`model.start_from`), on all rows, for "
            f"{half}; `encoder` with random weights, for {epochs}; `encoder-half` for {half}."
        )
    if notes:
        notes.insert(0, _describe_seeds(sizes))
    if "long_texts" in outcomes:
        found.append(tables.format_long_texts(outcomes["long_texts"]))
        notes.append("Long texts: preset `long`; the seed is `train.seed`, the rows are the same.")
    notes.append(
        "CPU seconds are those of the training's worker, with the start of TensorFlow and the "
        "validation after each epoch."
    )
    return BenchmarkReport("Options", {}, tuple(found), tuple(notes))


def _describe_seeds(sizes: Sizes) -> str:
    return (
        "The seed draws the training rows of AG News and is `train.seed`. Variants of a seed have "
        f"the same rows, and all trainings the same {sizes.test_rows_per_class} test rows of each "
        "class."
    )


def format_page(command: str, report: BenchmarkReport, today: datetime.date) -> str:
    """The dated page."""
    about = "\n".join(f"- {name}: {value}" for name, value in describe_machine().items())
    return f"# What options change, {today}\n\n    {command}\n\n{about}\n\n{format_report(report)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and write the page; the exit code."""
    options = _build_parser().parse_args(arguments)
    sizes, workdir = QUICK if options.quick else Sizes(), options.workdir / "option_effects"
    workdir.mkdir(parents=True, exist_ok=True)
    try:
        write_news(sizes, options.data, workdir)
        outcomes = {
            comparison: {
                (each.variant, each.seed): find_outcome(each, workdir)
                for each in list_trainings(comparison, sizes, workdir)
            }
            for comparison in options.only or COMPARISONS
        }
    except (OSError, ValueError) as error:
        print(f"option_effects: {error}", file=sys.stderr)
        return 1
    today, shown = datetime.date.today(), "--data DATA --workdir WORKDIR"
    chosen = [f"--only {name}" for name in options.only or ()] + ["--quick"] * options.quick
    command = " ".join([f"python -m {MODULE} {shown}", *chosen])
    text = format_page(command, build_report(outcomes, sizes), today)
    name = name_page(["option-effects"], read_processor_name(), today)
    page = (workdir if options.quick else RESULTS) / name
    page.write_text(text, encoding="utf-8")
    print(f"wrote {page}")
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    parser.add_argument(
        "--only", action="append", choices=COMPARISONS, help="this comparison only; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="tiny models, few rows, one seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
