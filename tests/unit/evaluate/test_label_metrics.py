from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from components.artifacts.predictions import select_labels
from components.artifacts.report.multi_label import MultiLabelMetrics
from components.errors import DataError
from components.evaluate.multi_label import thresholds as label_thresholds
from components.evaluate.multi_label.label_metrics import LabelAccumulator
from components.evaluate.multi_label.thresholds import ChosenThreshold, choose_thresholds
from components.evaluate.score_checks import LabelSets, Scores
from tests.support.kinds.made_reports import label_sets_and_scores
from tests.support.releases.made_report import CLASSES

HALVES = tuple(ChosenThreshold(0.5, 10) for _ in CLASSES)


def measure(
    labels: LabelSets, scores: Scores, thresholds: tuple[ChosenThreshold, ...] = HALVES
) -> MultiLabelMetrics:
    accumulator = LabelAccumulator(CLASSES, thresholds, len(labels))
    accumulator.add(labels, scores)
    return accumulator.compute()


def give_scores(labels: LabelSets) -> Scores:
    """Scores of 0.9 for these labels, and 0.1 for the others."""
    return np.where(labels, 0.9, 0.1).astype(np.float32)


def test_the_figures_of_a_small_example_worked_by_hand() -> None:
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]], np.uint8)
    predicted = np.array([[1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    found = measure(labels, give_scores(predicted))
    assert found.micro_f1 == pytest.approx(2 * 3 / (4 + 4))
    assert found.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert (found.subset_accuracy, found.hamming_loss) == (0.5, 2 / 12)
    assert found.per_class["loud"].model_dump() == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
        "threshold": 0.5,
        "validation_rows": 10,
    }
    assert (found.per_class["odd"].precision, found.per_class["odd"].f1) == (0.0, None)
    assert found.missing_classes == ("odd",) and found.unpredicted_classes == ()
    assert [(each.labels, each.rows, each.predicted_rows) for each in found.label_counts] == [
        (0, 1, 1),
        (1, 2, 2),
        (2, 1, 1),
    ]
    assert found.co_occurrence == ((2, 1, 0), (1, 2, 0), (0, 0, 0))
    assert found.predicted_co_occurrence == ((2, 0, 1), (0, 1, 0), (1, 0, 1))
    # Giving every text "calm" and "loud": 4 right of 8 given, and all 4 are found.
    assert (found.baseline_labels, found.baseline_micro_f1) == (("calm", "loud"), 2 / 3)


def test_the_metrics_are_scikit_learns() -> None:
    labels, scores = label_sets_and_scores(rows=2_000)
    chosen = choose_thresholds([(labels, scores)], CLASSES, len(labels))
    found = measure(labels, scores, chosen)
    predicted = select_labels(scores, [each.threshold for each in chosen])
    expected = {
        "micro_f1": sklearn_metrics.f1_score(labels, predicted, average="micro"),
        "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro"),
        "subset_accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "hamming_loss": sklearn_metrics.hamming_loss(labels, predicted),
        "loss": sklearn_metrics.log_loss(labels.ravel(), scores.ravel().astype(float)),
        "micro_auc": sklearn_metrics.roc_auc_score(labels, scores, average="micro"),
    }
    scalars = found.scalar_metrics()
    assert {name: scalars[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted
    )
    for number, name in enumerate(CLASSES):
        each, curve = found.per_class[name], found.roc[name]
        assert (each.precision, each.recall, each.f1, each.support) == pytest.approx(
            (precision[number], recall[number], f1[number], support[number])
        )
        auc = sklearn_metrics.roc_auc_score(labels[:, number], scores[:, number])
        assert curve is not None and curve.auc == pytest.approx(auc)
    exact = round(found.subset_accuracy * found.test_rows)
    interval = binomtest(exact, found.test_rows).proportion_ci(method="wilson")
    assert (found.subset_accuracy_low, found.subset_accuracy_high) == pytest.approx(interval)


def test_the_interval_of_micro_f1_is_that_of_a_bootstrap_of_the_rows() -> None:
    labels, scores = label_sets_and_scores(rows=400)
    found = measure(labels, scores)
    random, predicted = np.random.default_rng(1), scores >= 0.5
    draws = [random.integers(0, len(labels), len(labels)) for _ in range(1_000)]
    values = [
        2 * (labels[rows] & predicted[rows]).sum() / (labels[rows].sum() + predicted[rows].sum())
        for rows in draws
    ]
    low, high = np.quantile(values, [0.025, 0.975])
    assert found.micro_f1_low == pytest.approx(low, abs=0.006)
    assert found.micro_f1_high == pytest.approx(high, abs=0.006)


def test_results_do_not_depend_on_how_the_rows_are_cut() -> None:
    labels, scores = label_sets_and_scores(rows=500)
    results = []
    for cuts in ([], [1], [100, 101, 350]):
        accumulator = LabelAccumulator(CLASSES, HALVES, len(labels), max_errors=7)
        for rows in np.split(np.arange(len(labels)), cuts):
            accumulator.add(labels[rows], scores[rows])
        results.append((accumulator.compute(), accumulator.list_most_confident_errors()))
    assert results[0] == results[1] == results[2]


def test_the_most_confident_errors_name_the_worst_label() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.uint8)
    scores = np.array([[0.02, 0.6, 0.1], [0.1, 0.9, 0.1], [0.7, 0.1, 0.8]], np.float32)
    accumulator = LabelAccumulator(CLASSES, HALVES, 3, max_errors=5)
    accumulator.add(labels, scores)
    first, second = accumulator.list_most_confident_errors()
    assert (first.row, first.labels, first.predicted, first.wrong) == (0, (0,), (1,), 0)
    assert first.confidence == pytest.approx(0.98)
    assert (second.row, second.labels, second.predicted, second.wrong) == (2, (2,), (0, 2), 0)
    assert second.confidence == pytest.approx(0.7)


def test_rows_without_any_label_have_no_micro_f1() -> None:
    found = measure(np.zeros((5, 3), np.uint8), np.full((5, 3), 0.1, np.float32))
    assert (found.micro_f1, found.micro_f1_low, found.macro_f1) == (None, None, None)
    assert (found.has_labels, found.micro_roc, found.subset_accuracy) == (False, None, 1.0)
    assert "micro_f1" not in found.scalar_metrics()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "the model's scores are NaN or infinite for 1 of 3 rows .the first is row 1"),
        (1.5, "the model's scores for row 1 are not probabilities from 0 to 1"),
        (-0.1, "the model's scores for row 1 are not probabilities from 0 to 1"),
    ],
    ids=["nan", "above-one", "below-zero"],
)
def test_scores_that_are_not_probabilities_are_refused(value: float, message: str) -> None:
    labels = np.zeros((3, 3), np.uint8)
    scores = np.full((3, 3), 0.4, np.float32)
    scores[1, 2] = value
    with pytest.raises(DataError, match=message):
        measure(labels, scores)
    with pytest.raises(DataError, match=message):
        choose_thresholds([(labels, scores)], CLASSES, 3)


@pytest.mark.parametrize("is_binned", [False, True], ids=["exact", "binned"])
def test_a_threshold_has_the_largest_f1_of_the_validation_rows(
    is_binned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_binned:
        monkeypatch.setattr("components.evaluate.roc.score_counts.EXACT_SCORES", 0)
    labels, scores = label_sets_and_scores(rows=600)
    parts = [(labels[rows], scores[rows]) for rows in np.split(np.arange(600), [90, 91])]
    chosen = choose_thresholds(parts, CLASSES, 600)
    for number, each in enumerate(chosen):
        precision, recall, _ = sklearn_metrics.precision_recall_curve(
            labels[:, number], scores[:, number]
        )
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
        selected = select_labels(scores[:, number : number + 1], [each.threshold])[:, 0]
        f1 = sklearn_metrics.f1_score(labels[:, number], selected)
        assert f1 == pytest.approx(best, abs=1e-3 if is_binned else 1e-9)
        assert each.rows == labels[:, number].sum()


def test_a_class_that_no_validation_row_has_gets_one_half() -> None:
    labels, scores = label_sets_and_scores(rows=60)
    labels[:, 2] = 0
    assert choose_thresholds([(labels, scores)], CLASSES, 60)[2] == (0.5, 0)


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        pytest.param(0.1, 0.9, 0.5, id="halfway"),
        pytest.param(0.0, 0.3, 0.15, id="below-the-smallest-score"),
        pytest.param(0.12345, 0.12346, 0.123455, id="more-decimals-where-it-must"),
    ],
)
def test_a_threshold_lies_between_the_scores_that_it_separates(
    lower: float, upper: float, expected: float
) -> None:
    low, high = (float(np.float32(value)) for value in (lower, upper))
    found = label_thresholds.separate(low, high)
    assert found == pytest.approx(expected, rel=1e-6) and low < np.float32(found) <= high


def test_neighbouring_scores_are_separated() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    assert float(low) < np.float32(label_thresholds.separate(float(low), float(high))) <= high
