"""The trainings of the comparisons: valid configurations that differ in what is compared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.suites.option_effects.news_rows import NewsRow, read_rows, write_rows
from benchmarks.suites.option_effects.trainings import (
    COMPARISONS,
    QUICK,
    Sizes,
    list_trainings,
    write_news,
)

WORK = Path("/work")


def list_options(comparison: str, sizes: Sizes) -> dict[str, dict[str, object]]:
    """The options of each variant of the first seed, all sections in one dictionary."""
    options = {}
    for training in list_trainings(comparison, sizes, WORK):
        if training.seed == sizes.seeds[0]:
            sections = training.load().model_dump()
            options[training.variant] = {
                f"{section}.{name}": value
                for section, values in sections.items()
                for name, value in values.items()
            }
    return options


def find_differences(options: dict[str, dict[str, object]], *variants: str) -> set[str]:
    first, second = (options[variant] for variant in variants)
    return {name for name in first if first[name] != second[name]}


@pytest.mark.parametrize("sizes", [Sizes(), QUICK], ids=["full", "quick"])
def test_every_training_is_a_valid_configuration_with_a_name_of_its_own(sizes: Sizes) -> None:
    trainings = [
        each for comparison in COMPARISONS for each in list_trainings(comparison, sizes, WORK)
    ]
    assert len({training.name for training in trainings}) == len(trainings) == 9 * len(sizes.seeds)
    assert all(training.load().train.seed == training.seed for training in trainings)


@pytest.mark.parametrize(
    ("comparison", "variants", "differences"),
    [
        pytest.param("imbalance", ("none", "balanced"), {"train.class_weights"}, id="weights"),
        pytest.param("long_texts", ("cut", "windows"), {"model.long_texts"}, id="long-texts"),
        pytest.param(
            "retraining",
            ("encoder", "release"),
            {"train.epochs", "model.start_from"},
            id="retraining",
        ),
        pytest.param(
            "retraining", ("encoder-half", "release"), {"model.start_from"}, id="half-the-epochs"
        ),
    ],
)
def test_variants_differ_in_what_is_compared(
    comparison: str, variants: tuple[str, str], differences: set[str]
) -> None:
    assert find_differences(list_options(comparison, Sizes()), *variants) == differences


def test_the_first_training_is_released_where_the_next_one_looks_for_it() -> None:
    first, release, *_ = list_trainings("retraining", Sizes(), WORK)
    store = first.load().export.model_store
    assert [first.is_released, release.is_released] == [True, False]
    assert release.load().model.start_from == f"{store}/news@1"
    assert Path(store).is_relative_to(WORK / first.name)


def test_the_files_have_the_rows_of_the_sizes(tmp_path: Path) -> None:
    rows = [NewsRow(str(number % 4 + 1), f"title {number}", "text") for number in range(600)]
    for name in ("train.csv", "test.csv"):
        write_rows(tmp_path / name, rows)
    write_news(QUICK, tmp_path, tmp_path / "work")
    found = {path.name: read_rows(path) for path in (tmp_path / "work").iterdir()}
    counts = {name: Counter(row.label for row in rows) for name, rows in found.items()}
    assert counts["imbalanced-1.csv"] == {"1": 120, "2": 120, "3": 120, "4": 12}
    assert counts["rows-1.csv"] == dict.fromkeys("1234", 100)
    assert counts["test.csv"] == dict.fromkeys("1234", 40)
    assert found["earlier-rows-1.csv"] == found["rows-1.csv"][:200]
