"""Whether what makes training fast costs accuracy: the same rows and seeds, trained plainly and as shipped.

    python -m benchmarks.training_agreement --data DIR --workdir DIR

Plainly is: batches drawn from all rows without regard to their length, and float32.
"""

from __future__ import annotations

import csv
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)
from benchmarks import training_inputs
from benchmarks.alone import run_alone
from benchmarks.chapter import Chapter, Table
from components import config
from components.artifacts.token_shards import open_shards
from components.config import Config
from components.model.restore import restore_classifier
from components.model.scoring import score_rows
from components.train import step

CONFIG = "ag_news_minilm"
ROWS = 5_000
SEEDS = (1, 2, 3)
WAYS: dict[str, tuple[str, ...]] = {
    "plainly: float32, any lengths in a batch": ("train.precision=float32", "train.window=1"),
    "float32, grouped by length": ("train.precision=float32",),
    "bfloat16, grouped by length": ("train.precision=bfloat16",),
}


def chapter(data: Path, workdir: Path) -> Chapter:
    """The chapter; it has no figures of its own: the goal is a difference of at most 0.3 points."""
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True)
    chosen = training_inputs.shipped(CONFIG, data, f"data.source={_some_rows(data / 'train.csv', workdir / 'train.csv')}", "train.epochs=1")
    training_inputs.tokenize(chosen, workdir / "shards")
    accuracies = {
        way: [100 * _accuracy(_with(chosen, *settings, f"train.seed={seed}"), workdir, f"{number}-{seed}") for seed in SEEDS]
        for number, (way, settings) in enumerate(WAYS.items())
    }
    rows = {name: split.rows for name, split in open_shards(workdir / "shards", verify=False).content.splits.items()}
    return Chapter(
        title="The accuracy of fast training",
        figures={},
        tables=(
            Table(
                f"Test accuracy in percent, `{CONFIG}` for one epoch over {rows['train']} rows of AG News, all {rows['test']} test rows",
                ("training", *(f"seed {seed}" for seed in SEEDS), "mean", "difference from plainly"),
                tuple(_line(way, found, next(iter(accuracies.values()))) for way, found in accuracies.items()),
            ),
        ),
        notes=("The word-piece table is updated late in all of them; the unit tests hold that to be AdamW, up to rounding.",),
    )


def _some_rows(source: Path, target: Path) -> Path:
    """About ROWS rows, spread evenly over the file, in a file of their own."""
    with source.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows[:: max(1, len(rows) // ROWS)])
    return target


def _with(chosen: Config, *settings: str) -> Config:
    train = dict(setting.removeprefix("train.").split("=", 1) for setting in settings)
    return chosen.model_copy(update={"train": config.TrainConfig.model_validate(chosen.train.model_dump() | train)})


def _accuracy(chosen: Config, workdir: Path, name: str) -> float:
    """Train with the step, then score the test rows."""
    checkpoint = workdir / name
    step.run(chosen.model, chosen.train, workdir / "shards", checkpoint, workdir / "scratch")
    model, _, _ = restore_classifier(checkpoint)
    split = open_shards(workdir / "shards", verify=False).split("test")
    scores = score_rows(model, split, 64)
    return float((scores.argmax(axis=1) == split.labels()).mean())


def _line(way: str, found: Sequence[float], plain: Sequence[float]) -> tuple[str, ...]:
    mean = statistics.fmean(found)
    return (way, *(f"{value:.2f}" for value in found), f"{mean:.2f}", f"{mean - statistics.fmean(plain):+.2f}")


if __name__ == "__main__":
    run_alone("training_agreement", __doc__, chapter)
