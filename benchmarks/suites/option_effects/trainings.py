"""The trainings of each comparison: what they read, and the options in which they differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.suites.option_effects.news_rows import CLASSES, draw_rows, read_rows, write_rows
from components.config.loading import load_config
from components.config.schema import Config

PRESETS = Path(__file__).parents[3] / "pipeline" / "presets"
COMPARISONS = ("imbalance", "retraining", "long_texts")
TEST_SEED = 0
"""All trainings of a comparison have the same test rows."""


@dataclass(frozen=True)
class Sizes:
    """How much is trained: rows of AG News, seeds, and further options of the presets.

    The last class has `rare` rows and the others `frequent` ones. A retraining has `rows` rows, of
    which the released model has seen the first half.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    frequent: int = 784
    rare: int = 48
    rows: int = 4000
    test_rows_per_class: int = 250
    epochs: int = 4
    frozen: str = "model.max_length=64"
    scratch: str = (
        "model.max_length=64 model.hidden_size=64 model.dropout=0.2 train.learning_rate=2e-3"
    )
    long: str = ""


QUICK = Sizes(
    seeds=(1,),
    frequent=120,
    rare=12,
    rows=400,
    test_rows_per_class=40,
    epochs=2,
    frozen="model.max_length=16 train.epochs=2",
    scratch="model.max_length=32 model.hidden_size=32 model.vocab_size=1000",
    long="train.epochs=2",
)


@dataclass(frozen=True)
class Training:
    """One training: its comparison, the variant's name, the seed, the configuration's options."""

    comparison: str
    variant: str
    seed: int
    preset: str
    options: tuple[str, ...]
    is_released: bool = False

    @property
    def name(self) -> str:
        """Its directory below the work directory."""
        return f"{self.comparison}-{self.variant}-{self.seed}"

    def load(self) -> Config:
        """Its configuration."""
        return load_config(PRESETS / f"{self.preset}.yaml", self.options)


def list_trainings(comparison: str, sizes: Sizes, workdir: Path) -> list[Training]:
    """The trainings of a comparison in their order: the variants of a seed follow each other."""
    plan = {
        "imbalance": _list_imbalanced,
        "retraining": _list_retrainings,
        "long_texts": _list_long_texts,
    }[comparison]
    return [training for seed in sizes.seeds for training in plan(sizes, seed, workdir)]


def write_news(sizes: Sizes, data: Path, workdir: Path) -> None:
    """Write the files that the trainings on AG News read: others for each seed, one for the tests.

    `data` has train.csv and test.csv. Raises ValueError if they have too few rows.
    """
    rows = read_rows(data / "train.csv")
    for seed in sizes.seeds:
        counts = [sizes.frequent] * (len(CLASSES) - 1) + [sizes.rare]
        write_rows(_imbalanced_path(workdir, seed), draw_rows(rows, counts, seed))
        drawn = draw_rows(rows, [sizes.rows // len(CLASSES)] * len(CLASSES), seed)
        write_rows(_all_rows_path(workdir, seed), drawn)
        write_rows(_earlier_rows_path(workdir, seed), drawn[: len(drawn) // 2])
    counts = [sizes.test_rows_per_class] * len(CLASSES)
    write_rows(_test_path(workdir), draw_rows(read_rows(data / "test.csv"), counts, TEST_SEED))


def _list_imbalanced(sizes: Sizes, seed: int, workdir: Path) -> Iterator[Training]:
    for weights in ("none", "balanced"):
        source = _list_sources(_imbalanced_path(workdir, seed), workdir)
        options = (*source, *sizes.frozen.split(), f"train.class_weights={weights}")
        yield _plan("imbalance", weights, seed, "ag_news_minilm_frozen", options)


def _list_retrainings(sizes: Sizes, seed: int, workdir: Path) -> Iterator[Training]:
    store = workdir / f"retraining-first-{seed}" / "models"
    first = (f"export.model_store={store}", "export.model_name=news")
    start, half = f"model.start_from={store}/news@1", sizes.epochs // 2
    for variant, source, epochs, more in (
        ("first", _earlier_rows_path, sizes.epochs, first),
        ("release", _all_rows_path, half, (start,)),
        ("encoder", _all_rows_path, sizes.epochs, ()),
        ("encoder-half", _all_rows_path, half, ()),
    ):
        shared = (*_list_sources(source(workdir, seed), workdir), *sizes.scratch.split())
        options = (*shared, f"train.epochs={epochs}", *more)
        yield _plan("retraining", variant, seed, "ag_news_scratch", options)


def _list_long_texts(sizes: Sizes, seed: int, _workdir: Path) -> Iterator[Training]:
    for method in ("cut", "head_tail", "windows"):
        options = (*sizes.long.split(), f"model.long_texts={method}")
        yield _plan("long_texts", method, seed, "long", options)


def _plan(
    comparison: str, variant: str, seed: int, preset: str, options: tuple[str, ...]
) -> Training:
    shared = (
        f"train.seed={seed}",
        "evaluate.min_accuracy=0",
        "evaluate.allow_unpredicted_classes=true",
        "evaluate.explain_errors=0",
    )
    return Training(comparison, variant, seed, preset, (*shared, *options), variant == "first")


def _list_sources(source: Path, workdir: Path) -> tuple[str, str]:
    test = _test_path(workdir)
    return f"data.source={json.dumps(str(source))}", f"data.test_source={json.dumps(str(test))}"


def _imbalanced_path(workdir: Path, seed: int) -> Path:
    return workdir / f"imbalanced-{seed}.csv"


def _all_rows_path(workdir: Path, seed: int) -> Path:
    return workdir / f"rows-{seed}.csv"


def _earlier_rows_path(workdir: Path, seed: int) -> Path:
    return workdir / f"earlier-rows-{seed}.csv"


def _test_path(workdir: Path) -> Path:
    return workdir / "test.csv"
