from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score

from components.confidence.bootstrap import RESAMPLES
from components.evaluate.metrics import compute_metrics
from components.gate.paired_comparison import PairedCounts


def draw_predictions(
    rows: int, classes: int = 4, accuracies: tuple[float, float] = (0.9, 0.8), seed: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of uneven classes, and two predictions that are right this often."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) ** 2 * classes).astype(np.int32)
    predicted = [
        np.where(random.random(rows) < accuracy, labels, random.integers(0, classes, rows))
        for accuracy in accuracies
    ]
    return labels, predicted[0].astype(np.int32), predicted[1].astype(np.int32)


def count_rows(*rows: np.ndarray, classes: int = 4, cuts: tuple[int, ...] = ()) -> PairedCounts:
    counts = PairedCounts(classes)
    for start, end in itertools.pairwise([0, *cuts, len(rows[0])]):
        counts.add(*(each[start:end] for each in rows))
    return counts


def test_rows_are_counted_by_who_is_right() -> None:
    labels, candidate, champion = draw_predictions(500)
    counts = count_rows(labels, candidate, champion)
    assert counts.rows == 500
    assert counts.candidate_correct == (candidate == labels).sum()
    assert counts.champion_correct == (champion == labels).sum()
    compared = counts.compare_accuracy()
    assert compared.difference == pytest.approx(
        (candidate == labels).mean() - (champion == labels).mean()
    )
    assert compared.low < compared.difference < compared.high


def test_the_difference_of_macro_f1_is_that_of_the_evaluation() -> None:
    labels, candidate, champion = draw_predictions(300)
    expected = [
        compute_metrics(labels, np.eye(4, dtype=np.float32)[predicted], ("a", "b", "c", "d"))
        for predicted in (candidate, champion)
    ]
    compared = count_rows(labels, candidate, champion).compare_macro_f1()
    values = [metrics.macro_f1 or 0 for metrics in expected]
    assert compared.difference == pytest.approx(values[0] - values[1], abs=1e-12)


def test_the_interval_of_macro_f1_is_that_of_drawing_rows_with_replacement() -> None:
    labels, candidate, champion = draw_predictions(400)
    random = np.random.default_rng(11)
    drawn = [
        [
            f1_score(labels[rows], predicted[rows], average="macro")
            for predicted in (candidate, champion)
        ]
        for rows in random.integers(0, 400, (1000, 400))
    ]
    low, high = np.quantile([first - second for first, second in drawn], [0.025, 0.975])
    compared = count_rows(labels, candidate, champion).compare_macro_f1()
    assert (compared.low, compared.high) == pytest.approx((low, high), abs=0.01)


@pytest.mark.parametrize("cuts", [(1,), (17, 250, 251), (399,)], ids=str)
def test_no_bit_depends_on_how_the_rows_are_cut_or_ordered(cuts: tuple[int, ...]) -> None:
    rows = draw_predictions(400)
    whole = count_rows(*rows)
    shuffled = np.random.default_rng(5).permutation(400)
    parts = count_rows(*(each[shuffled] for each in rows), cuts=cuts)
    assert parts.compare_accuracy() == whole.compare_accuracy()
    assert parts.compare_macro_f1() == whole.compare_macro_f1()
    assert whole.compare_macro_f1().model_dump_json() == (
        '{"difference":0.1326425043077763,"low":0.08750854953464277,"high":0.18161362100154088}'
    )


def test_equal_predictions_do_not_differ() -> None:
    labels, candidate, _ = draw_predictions(50)
    counts = count_rows(labels, candidate, candidate)
    assert counts.compare_macro_f1().model_dump() == {"difference": 0.0, "low": 0.0, "high": 0.0}
    assert counts.compare_accuracy().low < 0 == counts.compare_accuracy().difference


def test_many_classes_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = draw_predictions(2_000, classes=60)
    whole = count_rows(*rows, classes=60).compare_macro_f1()
    monkeypatch.setattr("components.confidence.bootstrap.BLOCK_COUNTS", 7 * RESAMPLES)
    assert count_rows(*rows, classes=60).compare_macro_f1() == whole
