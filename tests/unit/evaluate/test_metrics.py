from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from components.artifacts.report import CalibrationBin
from components.errors import DataError
from components.evaluate import metrics
from tests.support.releases.made_report import CLASSES, labels_and_scores


def certain(predicted: list[int], classes: int = 3) -> metrics.Scores:
    """Scores that put 0.8 on the predicted class and share out the rest."""
    scores = np.full((len(predicted), classes), 0.2 / (classes - 1), np.float32)
    scores[np.arange(len(predicted)), predicted] = 0.8
    return scores


@pytest.mark.parametrize(
    ("right", "rows"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 10), (7_123, 7_600), (1, 1_000_000)]
)
def test_the_interval_is_that_of_wilsons_formula(right: int, rows: int) -> None:
    z = statistics.NormalDist().inv_cdf(0.975)
    share, weight = right / rows, z * z / rows
    center = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * (share * (1 - share) / rows + weight / (4 * rows)) ** 0.5
    low, high = metrics.wilson_interval(right, rows)
    assert (low, high) == pytest.approx((center - half, center + half), abs=1e-12)
    assert 0 <= low <= right / rows <= high <= 1


@pytest.mark.parametrize("rows", [1, 20, 1_000_000])
def test_the_interval_of_an_extreme_proportion_ends_at_it(rows: int) -> None:
    assert metrics.wilson_interval(0, rows)[0] == 0.0
    assert metrics.wilson_interval(rows, rows)[1] == 1.0


def test_the_figures_of_a_small_example_worked_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2], np.int32)
    actual = metrics.compute_metrics(labels, certain([0, 0, 1, 1, 1, 0]), CLASSES)
    assert actual.confusion == ((2, 1, 0), (0, 2, 0), (1, 0, 0))
    assert actual.accuracy == pytest.approx(4 / 6)
    assert (actual.majority_class, actual.majority_accuracy) == ("calm", 0.5)
    assert actual.unpredicted_classes == ("odd",)
    assert actual.per_class["calm"].model_dump() == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
    )
    assert actual.per_class["loud"].model_dump() == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2}
    )
    assert actual.per_class["odd"].model_dump() == {
        "precision": None,
        "recall": 0.0,
        "f1": 0.0,
        "support": 1,
    }
    assert actual.macro_f1 == pytest.approx((2 / 3 + 0.8 + 0) / 3)
    assert actual.loss == pytest.approx(-(4 * math.log(0.8) + 2 * math.log(0.1)) / 6, rel=1e-6)
    assert actual.ece == pytest.approx(0.8 - 4 / 6, rel=1e-6)
    assert actual.missing_classes == () and not actual.one_class


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 1, 1, 2, 2], "loud"), ([2, 2, 0], "odd")],
    ids=["the first of equal ones", "the last class"],
)
def test_the_majority_class_has_the_most_test_rows(labels: list[int], expected: str) -> None:
    actual = metrics.compute_metrics(np.array(labels, np.int32), certain(labels), CLASSES)
    assert actual.majority_class == expected
    assert actual.unpredicted_classes == ()


def test_the_loss_is_scikit_learns() -> None:
    labels, scores = labels_and_scores()
    exact = scores.astype(float) / scores.sum(axis=1, keepdims=True, dtype=float)
    assert metrics.mean_cross_entropy(labels, scores) == pytest.approx(
        sklearn_metrics.log_loss(labels, exact), rel=1e-6
    )


def test_a_score_that_underflowed_costs_much_but_not_infinity() -> None:
    scores = np.array([[1, 0], [0, 1]], np.float32)
    assert metrics.mean_cross_entropy(np.array([1, 1], np.int32), scores) == pytest.approx(
        87.336545 / 2
    )
    assert metrics.mean_cross_entropy(np.array([0, 1], np.int32), scores) == 0.0


def test_equal_scores_go_to_the_first_class() -> None:
    actual = metrics.compute_metrics(
        np.array([0, 1], np.int32), np.full((2, 2), 0.5, np.float32), ("a", "b")
    )
    assert actual.confusion == ((1, 0), (1, 0))


def test_the_areas_are_scikit_learns_and_the_curves_short() -> None:
    labels, scores = labels_and_scores(rows=5_000)
    actual = metrics.compute_metrics(labels, scores, CLASSES)
    for number, name in enumerate(CLASSES):
        curve = actual.roc[name]
        assert curve is not None
        assert curve.auc == pytest.approx(
            sklearn_metrics.roc_auc_score(labels == number, scores[:, number])
        )
        assert (
            2
            < len(curve.fpr)
            == len(curve.tpr)
            == len(curve.thresholds)
            <= metrics.MAX_CURVE_POINTS
        )
        assert (curve.fpr[0], curve.tpr[0], curve.thresholds[0]) == (
            0,
            0,
            metrics.ABOVE_EVERY_SCORE,
        )
        assert (curve.fpr[-1], curve.tpr[-1]) == (1, 1)
    pooled = sklearn_metrics.roc_auc_score(np.eye(3)[labels].ravel(), scores.ravel())
    assert actual.micro_roc.auc == pytest.approx(pooled)


def test_a_shortened_curve_stays_on_the_full_one() -> None:
    labels, scores = labels_and_scores(rows=20_000)
    curve = metrics.compute_roc_curve(labels == 0, scores[:, 0])
    assert curve is not None and 100 < len(curve.fpr) <= metrics.MAX_CURVE_POINTS
    full_fpr, full_tpr, _ = sklearn_metrics.roc_curve(
        labels == 0, scores[:, 0], drop_intermediate=False
    )
    grid = np.linspace(0, 1, 2_001)
    assert (
        np.abs(np.interp(grid, curve.fpr, curve.tpr) - np.interp(grid, full_fpr, full_tpr)).max()
        < 0.015
    )
    assert sklearn_metrics.auc(curve.fpr, curve.tpr) == pytest.approx(curve.auc, abs=5e-4)
    assert (
        all(np.diff(curve.fpr) >= 0)
        and all(np.diff(curve.tpr) >= 0)
        and all(np.diff(curve.thresholds) < 0)
    )


def test_the_calibration_bins_hold_every_row_once() -> None:
    labels, scores = labels_and_scores(rows=1_000)
    bins = metrics.compute_calibration_bins(labels, scores)
    assert len(bins) == metrics.CALIBRATION_BINS and sum(part.rows for part in bins) == 1_000
    for part in bins:
        if part.confidence is not None:
            assert part.low < part.confidence <= part.high
        else:
            assert part.rows == 0 and part.accuracy is None


def test_certain_scores_lie_in_the_last_bin() -> None:
    bins = metrics.compute_calibration_bins(
        np.array([0, 1], np.int32), np.array([[1, 0], [1, 0]], np.float32)
    )
    assert bins[-1] == CalibrationBin(
        low=round(14 / 15, 6), high=1.0, rows=2, confidence=1.0, accuracy=0.5
    )
    assert metrics.expected_calibration_error(bins) == 0.5


def test_mistakes_come_by_confidence_then_by_row() -> None:
    labels = np.array([0, 0, 0, 0, 1], np.int32)
    scores = np.array([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.4, 0.6], [0.2, 0.8]], np.float32)
    assert metrics.find_most_confident_errors(labels, scores, 10).tolist() == [2, 0, 3]
    assert metrics.find_most_confident_errors(labels, scores, 2).tolist() == [2, 0]
    assert metrics.find_most_confident_errors(labels, scores, 0).tolist() == []


def test_a_mistake_says_what_was_right_and_how_sure_the_model_was() -> None:
    scores = np.array([[0.25, 0.75]], np.float32)
    (actual,) = metrics.describe_errors(
        np.array([0]), ["x" * 10_000], np.array([0], np.int32), scores, ("a", "b")
    )
    assert (actual.row, actual.label, actual.predicted, actual.confidence, actual.label_score) == (
        0,
        "a",
        "b",
        0.75,
        0.25,
    )
    assert actual.text == "x" * metrics.MAX_TEXT_CHARACTERS + "…"


@pytest.mark.parametrize(
    ("labels", "scores", "classes", "message"),
    [
        pytest.param([], np.zeros((0, 2)), ("a", "b"), "no rows", id="no rows"),
        pytest.param([0], np.ones((1, 1)), ("a",), "at least two", id="one class in the list"),
        pytest.param(
            [0],
            np.ones((2, 2)) / 2,
            ("a", "b"),
            r"shape \(2, 2\) for 1 rows",
            id="more scores than labels",
        ),
        pytest.param(
            [0], np.ones((1, 3)) / 3, ("a", "b"), "2 classes", id="more scores than classes"
        ),
        pytest.param(
            [0, 2], np.ones((2, 2)) / 2, ("a", "b"), "row 1 has label 2", id="label too large"
        ),
        pytest.param(
            [-1, 1], np.ones((2, 2)) / 2, ("a", "b"), "row 0 has label -1", id="negative label"
        ),
        pytest.param(
            [0, 1],
            [[0.5, 0.5], [0.9, 0.3]],
            ("a", "b"),
            "row 1 are not probabilities",
            id="sum above 1",
        ),
        pytest.param(
            [0, 1],
            [[1.5, -0.5], [0.5, 0.5]],
            ("a", "b"),
            "row 0 are not probabilities",
            id="negative score",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    labels: list[int], scores: object, classes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        metrics.compute_metrics(np.array(labels, np.int32), np.asarray(scores, np.float32), classes)


def test_many_equal_mistakes_come_by_row() -> None:
    labels, scores = (
        np.zeros(300, np.int32),
        np.tile(np.array([[0.25, 0.75]], np.float32), (300, 1)),
    )
    assert metrics.find_most_confident_errors(labels, scores, 300).tolist() == list(range(300))
