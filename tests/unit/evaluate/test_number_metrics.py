from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from components.artifacts.report.regression import RegressionMetrics
from components.confidence import chunked_sums
from components.errors import DataError
from components.evaluate.regression import error_profiles
from components.evaluate.regression.number_metrics import NumberAccumulator, TrainingNumbers
from components.evaluate.regression.rank_correlation import HeldNumbers
from components.evaluate.score_checks import Numbers, Scores
from tests.support.kinds.made_reports import numbers_and_scores

TRAINING = TrainingNumbers(3.0, 1.5)


def measure(numbers: Numbers, scores: Scores) -> RegressionMetrics:
    accumulator = NumberAccumulator(numbers, TRAINING, 20)
    accumulator.add(numbers, scores, np.full(len(numbers), 7, np.int32))
    return accumulator.compute()


def test_the_metrics_are_scikit_learns_and_scipys() -> None:
    numbers, scores = numbers_and_scores(rows=2_000)
    found, predicted = measure(numbers, scores), scores[:, 0].astype(float)
    expected = {
        "rmse": sklearn_metrics.root_mean_squared_error(numbers, predicted),
        "mae": sklearn_metrics.mean_absolute_error(numbers, predicted),
        "r2": sklearn_metrics.r2_score(numbers, predicted),
        "spearman": stats.spearmanr(numbers, predicted).statistic,
        "mean_error": (predicted - numbers).mean(),
        "baseline_rmse": ((numbers - 3) ** 2).mean() ** 0.5,
        "baseline_mae": np.abs(numbers - 3).mean(),
        "loss": (((predicted - numbers) / 1.5) ** 2).mean(),
    }
    scalars = found.scalar_metrics()
    assert {name: scalars[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    summary = found.predicted
    assert (summary.mean, summary.std) == pytest.approx((predicted.mean(), predicted.std()))
    assert (summary.low, summary.high) == (predicted.min(), predicted.max())


def test_the_intervals_are_those_of_a_bootstrap_of_the_rows() -> None:
    random = np.random.default_rng(3)
    numbers = random.normal(10, 4, 600)
    scores = (numbers * 0.8 + random.normal(2, 2, 600)).astype(np.float32)[:, np.newaxis]
    found, predicted = measure(numbers, scores), scores[:, 0].astype(float)
    draws = random.integers(0, 600, (1_000, 600))
    drawn, errors = numbers[draws], (predicted - numbers)[draws]
    squared = (errors**2).mean(axis=1)
    ranks = [each[draws].argsort(axis=1).argsort(axis=1) for each in (numbers, predicted)]
    values = {
        "rmse": squared**0.5,
        "mae": np.abs(errors).mean(axis=1),
        "r2": 1 - squared / drawn.var(axis=1),
        "spearman": [np.corrcoef(*pair)[0, 1] for pair in zip(*ranks, strict=True)],
    }
    for name, each in values.items():
        low, high = np.quantile(each, [0.025, 0.975])
        bounds = getattr(found, f"{name}_low"), getattr(found, f"{name}_high")
        assert bounds == pytest.approx((low, high), abs=0.15 * (high - low)), name


def test_results_do_not_depend_on_how_the_rows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_sums, "CHUNK_ROWS", 64)
    numbers, scores = numbers_and_scores(rows=500)
    lengths = np.resize(np.arange(3, 20, dtype=np.int32), 500)
    results = []
    for cuts in ([], [1], [63, 64, 350]):
        accumulator = NumberAccumulator(numbers, TRAINING, 20, max_errors=4)
        for rows in np.split(np.arange(500), cuts):
            accumulator.add(numbers[rows], scores[rows], lengths[rows])
        results.append((accumulator.compute(), accumulator.list_largest_errors()))
    assert results[0] == results[1] == results[2]


def test_numbers_far_from_zero_lose_no_digits() -> None:
    numbers, scores = numbers_and_scores()
    near, far = (
        NumberAccumulator(numbers + shift, TrainingNumbers(3.0 + shift, 1.5), 20)
        for shift in (0.0, 2.0**40)
    )
    lengths = np.full(len(numbers), 7, np.int32)
    exact = np.rint(scores * 4) / 4  # so that float32 has the shifted numbers, too
    near.add(numbers, exact.astype(np.float32), lengths)
    shifted = (exact.astype(np.float64) + 2.0**40).astype(np.float32)
    far.add(numbers + 2.0**40, shifted, lengths)
    errors = shifted[:, 0].astype(np.float64) - (numbers + 2.0**40)
    assert far.compute().rmse == pytest.approx(float((errors**2).mean() ** 0.5))
    assert near.compute().rmse == pytest.approx(float(((exact[:, 0] - numbers) ** 2).mean() ** 0.5))


def test_equal_numbers_have_no_r2_and_no_correlation() -> None:
    found = measure(np.full(9, 2.5), np.linspace(2, 3, 9, dtype=np.float32)[:, np.newaxis])
    assert (found.r2, found.r2_low, found.spearman, found.spearman_low) == (None,) * 4
    assert found.rmse == pytest.approx(np.std(np.linspace(2, 3, 9)))
    assert "r2" not in found.scalar_metrics()


def test_equal_predictions_have_no_correlation() -> None:
    numbers, _ = numbers_and_scores(rows=30)
    found = measure(numbers, np.full((30, 1), 3, np.float32))
    assert found.spearman is None and found.r2 is not None and found.r2 <= 0


def test_few_rows_have_no_interval() -> None:
    numbers, scores = numbers_and_scores(rows=3)
    found = measure(numbers, scores)
    assert (found.rmse_low, found.mae_high, found.r2_low, found.spearman_low) == (None,) * 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_are_refused(value: float) -> None:
    numbers, scores = numbers_and_scores(rows=5)
    scores[2] = value
    with pytest.raises(DataError, match=r"predictions are NaN or infinite for 1 of 5 rows .*row 2"):
        measure(numbers, scores)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="test split: no rows"):
        NumberAccumulator(np.zeros(0), TRAINING, 20).compute()


@pytest.mark.parametrize("decimals", [0, 6], ids=["many-equal-numbers", "distinct-numbers"])
def test_ranks_of_more_rows_than_are_held_are_those_of_fine_bins(decimals: int) -> None:
    random = np.random.default_rng(2)
    first = np.round(random.normal(0, 3, 5_000), decimals)
    second = first**3 + random.normal(0, 20, 5_000)
    held = HeldNumbers(5_000, exact_rows=1_000, bins=256)
    for rows in np.split(np.arange(5_000), [999, 1_000, 3_000]):
        held.add(first[rows], second[rows])
    assert not held.is_exact
    expected = stats.spearmanr(first, second).statistic
    assert held.correlate_ranks() == pytest.approx(expected, abs=1e-3)


def test_the_largest_errors_are_listed_first() -> None:
    numbers = np.array([1.0, 2.0, 3.0, 4.0])
    accumulator = NumberAccumulator(numbers, TRAINING, 20, max_errors=3)
    scores = np.array([[1.5], [0.0], [3.0], [6.0]], np.float32)
    accumulator.add(numbers, scores, np.array([3, 4, 5, 6], np.int32))
    assert accumulator.list_largest_errors() == [(1, 2.0, 0.0), (3, 4.0, 6.0), (0, 1.0, 1.5)]
    found = accumulator.compute()
    assert sum(part.rows for part in found.error_bins) == 4
    assert [(part.low, part.high, part.rmse) for part in found.length_errors] == [
        (3, 3, 0.5),
        (4, 4, 2.0),
        (5, 5, 0.0),
        (6, 6, 2.0),
    ]


@pytest.mark.parametrize(
    ("span", "width"), [(0.0, 1.0), (39.0, 1.0), (40.0, 2.0), (0.05, 0.002), (3e7, 1e6)]
)
def test_the_width_of_bins_is_round(span: float, width: float) -> None:
    assert error_profiles.round_width(span, 39) == pytest.approx(width)


def test_a_histogram_has_every_error() -> None:
    for errors in (
        np.array([0.0]),
        np.array([5.0, 5.0]),
        np.random.default_rng(1).normal(9, 3, 99),
    ):
        bins = error_profiles.count_errors(errors)
        assert sum(part.rows for part in bins) == len(errors)
        assert len(bins) <= error_profiles.ERROR_BINS
        assert bins[0].low <= errors.min() and errors.max() < bins[-1].high
