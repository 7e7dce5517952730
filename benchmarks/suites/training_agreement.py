"""Whether fast training costs accuracy: the same rows and seeds, trained plainly and as shipped.

    python -m benchmarks.suites.training_agreement --data DIR --workdir DIR

Plainly is: batches drawn from all rows without regard to their length, and float32.
From random weights, the seeds of the small BERT differ by several points, more than the variants of
training. So it continues from weights trained plainly on half of the rows, and the variants are
compared on the other half, as in periodic retraining.
"""

from __future__ import annotations

import csv
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import components  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)
from benchmarks.baselines import training_inputs
from benchmarks.harness.report import BenchmarkReport, Table
from benchmarks.harness.single import run_single
from benchmarks.models import small_bert
from benchmarks.suites.training import NAMES
from components.artifacts.checkpoint import open_checkpoint
from components.artifacts.token_shards import open_shards
from components.config import schema
from components.config.schema import Config, Precision
from components.model.batch_scoring import score_split
from components.model.encoders.bert import BertEncoder
from components.model.restore import load_classifier
from components.model.serving_model import ServingModel
from components.train import step

CONFIG = "ag_news_minilm"
ROWS = {"minilm": slice(0, None, 5), "L4": slice(1, None, 2)}
PRETRAINING_ROWS = slice(0, None, 2)
SEEDS = (1, 2, 3)
PLAIN = ("train.precision=float32", "train.length_grouping_batches=1")
VARIANTS: dict[str, tuple[str, ...]] = {
    "plainly: float32, any lengths in a batch": PLAIN,
    "float32, grouped by length": ("train.precision=float32",),
    "bfloat16, grouped by length": ("train.precision=bfloat16",),
}
SERVED_VARIANT = "bfloat16, grouped by length, and served in bfloat16"


def run_suite(data: Path, workdir: Path) -> BenchmarkReport:
    """Train all variants; there are no figures: the goal is a difference of at most 0.3 points."""
    return BenchmarkReport(
        title="The accuracy of fast training",
        figures={},
        tables=tuple(_measure_model(model, data, workdir / model) for model in ROWS),
        notes=(
            "All variants use the deferred AdamW optimizer, which equals AdamW up to rounding.",
            "Served in bfloat16: the model of the row above with export.precision=bfloat16.",
            f"The small BERT of {NAMES['L4']} continues from weights trained plainly on the other "
            "half of the rows, for three epochs at a learning rate of 5e-4.",
        ),
    )


def _measure_model(model: str, data: Path, home: Path) -> Table:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    encoder = "minilm" if model == "minilm" else f"hf:{_pretrain(data, home / 'beforehand')}"
    config = _prepare(data, home, ROWS[model], f"model.encoder={encoder}", "train.epochs=1")
    accuracies: dict[str, list[float]] = {}
    for number, (way, settings) in enumerate(VARIANTS.items()):
        checkpoints = [home / f"{number}-{seed}" for seed in SEEDS]
        for seed, checkpoint in zip(SEEDS, checkpoints, strict=True):
            trained = _override(config, *settings, f"train.seed={seed}")
            step.run(trained.model, trained.train, home / "shards", checkpoint, home / "scratch")
        accuracies[way] = [
            _measure_accuracy(checkpoint, home / "shards", "float32") for checkpoint in checkpoints
        ]
    accuracies[SERVED_VARIANT] = [
        _measure_accuracy(checkpoint, home / "shards", "bfloat16") for checkpoint in checkpoints
    ]
    rows = {
        name: split.rows
        for name, split in open_shards(home / "shards", verify=False).content.splits.items()
    }
    return Table(
        f"Test accuracy in percent, {NAMES[model]}, `{CONFIG}`, one epoch over "
        f"{rows['train']} rows of AG News, all {rows['test']} test rows",
        ("training", *(f"seed {seed}" for seed in SEEDS), "mean", "difference from plainly"),
        tuple(
            _format_line(way, found, next(iter(accuracies.values())))
            for way, found in accuracies.items()
        ),
    )


def _pretrain(data: Path, home: Path) -> Path:
    """The small BERT with what it learned from half of the rows, in Hugging Face's layout."""
    start = small_bert.write_untrained(home / "start")
    config = _prepare(
        data,
        home,
        PRETRAINING_ROWS,
        f"model.encoder=hf:{start}",
        "train.epochs=3",
        "train.learning_rate=5e-4",
        *PLAIN,
    )
    step.run(config.model, config.train, home / "shards", home / "checkpoint", home / "scratch")
    model, _, _ = load_classifier(open_checkpoint(home / "checkpoint"))
    assert isinstance(model.encoder, BertEncoder)
    return small_bert.write_trained(model.encoder.network, home / "weights")


def _prepare(data: Path, home: Path, rows: slice, *settings: str) -> Config:
    """The configuration for some of the training rows, which are tokenized into `home/shards`."""
    home.mkdir(parents=True, exist_ok=True)
    source = _select_rows(data / "train.csv", home / "train.csv", rows)
    config = training_inputs.load_preset(CONFIG, data, f"data.source={source}", *settings)
    training_inputs.write_shards(config, home / "shards")
    return config


def _select_rows(source: Path, target: Path, which: slice) -> Path:
    """Write the selected rows of the file to another file."""
    with source.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows[which])
    return target


def _override(config: Config, *settings: str) -> Config:
    train = dict(setting.removeprefix("train.").split("=", 1) for setting in settings)
    return config.model_copy(
        update={"train": schema.TrainConfig.model_validate(config.train.model_dump() | train)}
    )


def _measure_accuracy(checkpoint: Path, shards: Path, precision: Precision) -> float:
    """Test accuracy of the checkpoint in percent, served in this precision."""
    model, content, vocabulary = load_classifier(open_checkpoint(checkpoint))
    ServingModel(model, vocabulary, content.classes, content.model.max_length, precision)
    split = open_shards(shards, verify=False).open_split("test")
    return 100 * float((score_split(model, split, 64).argmax(axis=1) == split.read_labels()).mean())


def _format_line(way: str, found: Sequence[float], plain: Sequence[float]) -> tuple[str, ...]:
    mean = statistics.fmean(found)
    return (
        way,
        *(f"{value:.2f}" for value in found),
        f"{mean:.2f}",
        f"{mean - statistics.fmean(plain):+.2f}",
    )


if __name__ == "__main__":
    run_single("training_agreement", __doc__, run_suite)
