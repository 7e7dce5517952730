from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from components.artifacts.report import CalibrationBin
from components.confidence import chunked_sums
from components.errors import DataError
from components.evaluate import metrics
from components.evaluate.confident_errors import (
    MAX_TEXT_CHARACTERS,
    ConfidentError,
    describe_errors,
)
from components.evaluate.roc import ABOVE_EVERY_SCORE, MAX_CURVE_POINTS, trace_roc_curve
from components.evaluate.roc.score_counts import HeldScores
from components.evaluate.row_means import CALIBRATION_BINS, expected_calibration_error
from components.evaluate.score_checks import Scores
from tests.support.releases.made_report import CLASSES, labels_and_scores


def certain(predicted: list[int], classes: int = 3) -> Scores:
    """Scores that put 0.8 on the predicted class and share out the rest."""
    scores = np.full((len(predicted), classes), 0.2 / (classes - 1), np.float32)
    scores[np.arange(len(predicted)), predicted] = 0.8
    return scores


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
    assert metrics.compute_metrics(labels, scores, CLASSES).loss == pytest.approx(
        sklearn_metrics.log_loss(labels, exact), rel=1e-6
    )


def test_a_score_that_underflowed_costs_much_but_not_infinity() -> None:
    scores = np.array([[1, 0], [0, 1]], np.float32)
    assert metrics.compute_metrics(np.array([1, 1]), scores, CLASSES[:2]).loss == pytest.approx(
        87.336545 / 2
    )
    assert metrics.compute_metrics(np.array([0, 1]), scores, CLASSES[:2]).loss == 0.0


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
        assert 2 < len(curve.fpr) == len(curve.tpr) == len(curve.thresholds) <= MAX_CURVE_POINTS
        assert (curve.fpr[0], curve.tpr[0], curve.thresholds[0]) == (
            0,
            0,
            ABOVE_EVERY_SCORE,
        )
        assert (curve.fpr[-1], curve.tpr[-1]) == (1, 1)
    pooled = sklearn_metrics.roc_auc_score(np.eye(3)[labels].ravel(), scores.ravel())
    assert actual.micro_roc.auc == pytest.approx(pooled)


def test_a_shortened_curve_stays_on_the_full_one() -> None:
    labels, scores = labels_and_scores(rows=20_000)
    held = HeldScores(len(labels), 3)
    held.add(labels, scores)
    curve = trace_roc_curve(held.count_class(0))
    assert curve is not None and 100 < len(curve.fpr) <= MAX_CURVE_POINTS
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
    bins = metrics.compute_metrics(labels, scores, CLASSES).calibration
    assert len(bins) == CALIBRATION_BINS and sum(part.rows for part in bins) == 1_000
    for part in bins:
        if part.confidence is not None:
            assert part.low < part.confidence <= part.high
        else:
            assert part.rows == 0 and part.accuracy is None


def test_certain_scores_lie_in_the_last_bin() -> None:
    bins = metrics.compute_metrics(
        np.array([0, 1], np.int32), np.array([[1, 0], [1, 0]], np.float32), ("a", "b")
    ).calibration
    assert bins[-1] == CalibrationBin(
        low=round(14 / 15, 6), high=1.0, rows=2, confidence=1.0, accuracy=0.5
    )
    assert expected_calibration_error(bins) == 0.5


def test_mistakes_come_by_confidence_then_by_row() -> None:
    labels = np.array([0, 0, 0, 0, 1], np.int32)
    scores = np.array([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.4, 0.6], [0.2, 0.8]], np.float32)
    for count, expected in ((10, [2, 0, 3]), (2, [2, 0]), (0, [])):
        for size in (5, 1):
            measured = metrics.MetricsAccumulator(("a", "b"), 5, count)
            for row in range(0, 5, size):
                measured.add(labels[row : row + size], scores[row : row + size])
            found = measured.list_most_confident_errors()
            assert [error.row for error in found] == expected


def test_a_mistake_says_what_was_right_and_how_sure_the_model_was() -> None:
    error = ConfidentError(row=0, label=0, predicted=1, confidence=0.75, label_score=0.25)
    (actual,) = describe_errors([error], ["x" * 10_000], ("a", "b"))
    assert (actual.row, actual.label, actual.predicted, actual.confidence, actual.label_score) == (
        0,
        "a",
        "b",
        0.75,
        0.25,
    )
    assert actual.text == "x" * MAX_TEXT_CHARACTERS + "…"


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
    measured = metrics.MetricsAccumulator(("a", "b"), 300, 300)
    for start in range(0, 300, 90):
        measured.add(labels[start : start + 90], scores[start : start + 90])
    found = measured.list_most_confident_errors()
    assert [error.row for error in found] == list(range(300))


@pytest.mark.parametrize("spread", [0.1, 2.0, 40.0], ids=["diffuse", "usual", "saturated"])
@pytest.mark.parametrize("decimals", [1, 6], ids=["many equal scores", "distinct scores"])
@pytest.mark.parametrize(("rows", "classes"), [(2, 2), (60, 5), (3_000, 3)])
def test_metrics_are_scikit_learns_to_the_last_digit_however_the_rows_are_cut(
    spread: float, decimals: int, rows: int, classes: int
) -> None:
    random = np.random.default_rng(rows + classes)
    labels = random.integers(0, classes, rows).astype(np.int32)
    logits = spread * (random.normal(0, 1, (rows, classes)) + np.eye(classes)[labels])
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)).round(decimals))
    scores = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    names = [f"class {number}" for number in range(classes)]
    expected = metrics.compute_metrics(labels, scores, names)
    measured = metrics.MetricsAccumulator(names, rows)
    cuts = [0, *sorted(random.integers(0, rows, 3)), rows]
    for start, end in itertools.pairwise(cuts):
        measured.add(labels[start:end], scores[start:end])
    actual = measured.compute()
    assert actual == expected

    predicted = scores.argmax(axis=1)
    numbers = np.arange(classes)
    assert np.array_equal(
        actual.confusion, sklearn_metrics.confusion_matrix(labels, predicted, labels=numbers)
    )
    figures = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=0.0
    )
    for number, name in enumerate(names):
        found = actual.per_class[name]
        assert (found.precision or 0, found.recall or 0, found.f1 or 0, found.support) == tuple(
            float(column[number]) for column in figures
        )
    present = np.unique(labels)
    if len(present) > 1:
        assert actual.macro_f1 == sklearn_metrics.f1_score(
            labels, predicted, labels=present, average="macro", zero_division=0.0
        )
    for number in present if len(present) > 1 else ():
        curve = actual.roc[names[number]]
        fpr, tpr, thresholds = sklearn_metrics.roc_curve(labels == number, scores[:, number])
        assert curve is not None and curve.auc == sklearn_metrics.auc(fpr, tpr)
        assert curve.auc_error == 0
        if len(fpr) <= MAX_CURVE_POINTS:
            assert curve.fpr == tuple(fpr.round(6)) and curve.tpr == tuple(tpr.round(6))
            assert curve.thresholds[1:] == tuple(thresholds[1:].astype(np.float64).round(6))
    truth = scores[np.arange(rows), labels].astype(np.float64)
    least = np.finfo(np.float32).tiny
    assert actual.loss == max(0.0, float(-np.log(np.maximum(truth, least)).mean()))
    low, high = binomtest(int((predicted == labels).sum()), rows).proportion_ci(method="wilson")
    assert (actual.accuracy_low, actual.accuracy_high) == (low, high)


def test_sums_of_many_rows_do_not_depend_on_how_they_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunked_sums, "CHUNK_ROWS", 64)
    labels, scores = labels_and_scores(rows=1_000)
    found = set()
    for size in (1_000, 64, 63, 1, 190):
        measured = metrics.MetricsAccumulator(CLASSES, 1_000)
        for start in range(0, 1_000, size):
            measured.add(labels[start : start + size], scores[start : start + size])
        found.add(measured.compute().model_dump_json())
    assert len(found) == 1


def test_what_is_wrong_with_scores_is_named_by_the_first_row_of_all_parts() -> None:
    labels, scores = labels_and_scores()
    scores[170], scores[230], scores[120, 0] = np.nan, np.nan, 0.9
    measured = metrics.MetricsAccumulator(CLASSES, 240)
    for start in range(0, 240, 50):
        measured.add(labels[start : start + 50], scores[start : start + 50])
    with pytest.raises(DataError, match=r"infinite for 2 of 240 rows \(the first is row 170\)"):
        measured.compute()
    labels[[171]] = 3
    measured = metrics.MetricsAccumulator(CLASSES, 240)
    measured.add(labels[:150], scores[:150])
    with pytest.raises(DataError, match="row 120 are not probabilities"):
        measured.compute()
    with pytest.raises(DataError, match="row 171 has label 3"):
        measured.add(labels[150:], scores[150:])
