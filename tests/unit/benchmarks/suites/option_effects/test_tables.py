"""The arithmetic of the tables."""

from __future__ import annotations

import pytest

from benchmarks.suites.option_effects.outcome import Outcome
from benchmarks.suites.option_effects.tables import (
    compute_metrics,
    format_imbalance,
    format_long_texts,
    format_retraining,
)

CONFUSION = ((90, 10), (20, 80))
FOUR = ((10, 0, 0, 0), (0, 10, 0, 0), (0, 0, 10, 0), (0, 0, 5, 5))


def test_metrics_of_the_test_rows_as_they_are() -> None:
    metrics = compute_metrics(CONFUSION, [100, 100])
    assert metrics.recall == pytest.approx(0.8)
    assert metrics.precision == pytest.approx(80 / 90)
    assert metrics.f1 == pytest.approx(2 * 80 / (100 + 90))
    assert metrics.macro_f1 == pytest.approx((2 * 80 / 190 + 2 * 90 / 210) / 2)
    assert metrics.accuracy == pytest.approx(0.85)


def test_a_rare_class_has_the_same_recall_and_a_lower_precision() -> None:
    metrics = compute_metrics(CONFUSION, [90, 10])
    assert metrics.recall == pytest.approx(0.8)
    assert metrics.precision == pytest.approx(8 / (8 + 9))
    assert metrics.accuracy == pytest.approx((81 + 8) / 100)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    metrics = compute_metrics(((5, 0), (5, 0)), [1, 1])
    assert metrics[:3] == (0.0, 0.0, 0.0)


def test_lines_are_grouped_by_variant_and_have_means() -> None:
    outcomes = {
        (variant, seed): Outcome(40, FOUR, seconds)
        for seed, seconds in ((1, 10.0), (2, 14.0))
        for variant in ("release", "encoder")
    }
    assert format_retraining(outcomes).rows == (
        ("release", "1", "0.8750", "0.8667", "10"),
        ("release", "2", "0.8750", "0.8667", "14"),
        ("release", "mean", "0.8750", "0.8667", "12"),
        ("encoder", "1", "0.8750", "0.8667", "10"),
        ("encoder", "2", "0.8750", "0.8667", "14"),
        ("encoder", "mean", "0.8750", "0.8667", "12"),
    )


def test_the_caption_has_the_share_of_the_rare_class() -> None:
    table = format_imbalance({("none", 1): Outcome(40, FOUR, 1.0)}, [98, 98, 98, 6], "the rows")
    assert table.caption == "Imbalanced classes: Sci/Tech has 2% of the rows"
    assert table.rows[0][:4] == ("none", "1", "0.500", "1.000")


def test_right_answers_are_shown_by_position() -> None:
    right = {"end": (1, 4), "beginning": (3, 4), "middle": (1, 2)}
    table = format_long_texts({("cut", 1): Outcome(40, FOUR, 9.0, right)})
    assert table.columns[2:] == ("beginning (4)", "middle (2)", "end (4)", "all", "CPU seconds")
    assert table.rows[0] == ("cut", "1", "75.0%", "50.0%", "25.0%", "50.0%", "9")
