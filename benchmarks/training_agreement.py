"""Whether what makes training fast costs accuracy: the same rows and seeds, trained plainly and as shipped.

    python -m benchmarks.training_agreement --data DIR --workdir DIR

Plainly is: batches drawn from all rows without regard to their length, and float32.
MiniLM learns from some of the rows, as it needs few; the small BERT, which starts from random weights, learns from all of them.
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
from benchmarks.training import NAMES, encoder_of
from components import config
from components.artifacts.token_shards import open_shards
from components.config import Config, Precision
from components.model.restore import restore_classifier
from components.model.scoring import score_rows
from components.model.served import ServedClassifier
from components.train import step

CONFIG = "ag_news_minilm"
ROWS = {"minilm": 5_000, "L4": 1_000_000}
SETTINGS: dict[str, tuple[str, ...]] = {"minilm": (), "L4": ("train.learning_rate=5e-4",)}
SEEDS = (1, 2, 3)
WAYS: dict[str, tuple[str, ...]] = {
    "plainly: float32, any lengths in a batch": ("train.precision=float32", "train.window=1"),
    "float32, grouped by length": ("train.precision=float32",),
    "bfloat16, grouped by length": ("train.precision=bfloat16",),
}
SERVED = "bfloat16, grouped by length, and served in bfloat16"


def chapter(data: Path, workdir: Path) -> Chapter:
    """The chapter; it has no figures of its own: the goal is a difference of at most 0.3 points."""
    return Chapter(
        title="The accuracy of fast training",
        figures={},
        tables=tuple(_table(model, data, workdir / model) for model in ROWS),
        notes=(
            "The word-piece table is updated late in all of them; the unit tests hold that to be AdamW, up to rounding.",
            "Served in bfloat16: the model of the row above, as export.precision=bfloat16 serves it.",
            "The small BERT starts from random weights. Where its seeds differ by more than the ways of training do, its table says that no way is worse, and no more.",
        ),
    )


def _table(model: str, data: Path, home: Path) -> Table:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    source = _some_rows(data / "train.csv", home / "train.csv", ROWS[model])
    encoder, _ = encoder_of(model, home)
    chosen = training_inputs.shipped(CONFIG, data, f"data.source={source}", f"model.encoder={encoder}", "train.epochs=1", *SETTINGS[model])
    training_inputs.tokenize(chosen, home / "shards")
    accuracies: dict[str, list[float]] = {}
    for number, (way, settings) in enumerate(WAYS.items()):
        checkpoints = [home / f"{number}-{seed}" for seed in SEEDS]
        for seed, checkpoint in zip(SEEDS, checkpoints, strict=True):
            trained = _with(chosen, *settings, f"train.seed={seed}")
            step.run(trained.model, trained.train, home / "shards", checkpoint, home / "scratch")
        accuracies[way] = [_accuracy(checkpoint, home / "shards", "float32") for checkpoint in checkpoints]
    accuracies[SERVED] = [_accuracy(checkpoint, home / "shards", "bfloat16") for checkpoint in checkpoints]
    rows = {name: split.rows for name, split in open_shards(home / "shards", verify=False).content.splits.items()}
    options = "".join(f", {setting}" for setting in SETTINGS[model])
    return Table(
        f"Test accuracy in percent, {NAMES[model]}, `{CONFIG}`{options}, for one epoch over {rows['train']} rows of AG News, all {rows['test']} test rows",
        ("training", *(f"seed {seed}" for seed in SEEDS), "mean", "difference from plainly"),
        tuple(_line(way, found, next(iter(accuracies.values()))) for way, found in accuracies.items()),
    )


def _some_rows(source: Path, target: Path, count: int) -> Path:
    """About `count` rows, spread evenly over the file, in a file of their own."""
    with source.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows[:: max(1, len(rows) // count)])
    return target


def _with(chosen: Config, *settings: str) -> Config:
    train = dict(setting.removeprefix("train.").split("=", 1) for setting in settings)
    return chosen.model_copy(update={"train": config.TrainConfig.model_validate(chosen.train.model_dump() | train)})


def _accuracy(checkpoint: Path, shards: Path, precision: Precision) -> float:
    """Percent of the test rows that the checkpoint scores rightly, as it is served in this precision."""
    model, content, vocabulary = restore_classifier(checkpoint)
    ServedClassifier(model, vocabulary, content.classes, content.model.max_length, precision)
    split = open_shards(shards, verify=False).split("test")
    return 100 * float((score_rows(model, split, 64).argmax(axis=1) == split.labels()).mean())


def _line(way: str, found: Sequence[float], plain: Sequence[float]) -> tuple[str, ...]:
    mean = statistics.fmean(found)
    return (way, *(f"{value:.2f}" for value in found), f"{mean:.2f}", f"{mean - statistics.fmean(plain):+.2f}")


if __name__ == "__main__":
    run_alone("training_agreement", __doc__, chapter)
