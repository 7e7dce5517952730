from __future__ import annotations

import numpy as np
import pytest

from components.evaluate.roc import trace_roc_curve
from components.evaluate.roc.score_counts import (
    EXACT_SCORES,
    MAX_BINS,
    BinnedScores,
    HeldScores,
    make_score_counter,
)
from components.evaluate.score_checks import Labels, Scores


def make_scores(rows: int, classes: int, spread: float) -> tuple[Labels, Scores]:
    """Labels and scores whose logits have this standard deviation."""
    random = np.random.default_rng(11)
    labels = random.integers(0, classes, rows).astype(np.int32)
    logits = spread * (random.normal(0, 1, (rows, classes)) + 2 * np.eye(classes)[labels])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return labels, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("spread", "error", "bound"),
    [(0.05, 1e-2, 0.05), (1, 1e-5, 0.005), (6, 1e-4, 0.005), (40, 0.03, 0.1)],
    ids=["diffuse", "usual", "confident", "saturated"],
)
def test_the_area_from_bins_is_as_close_to_the_exact_one_as_it_says(
    spread: float, error: float, bound: float
) -> None:
    labels, scores = make_scores(rows=4_000, classes=50, spread=spread)
    held, binned = HeldScores(4_000, 50), BinnedScores(50, max_bins=50 * 2048)
    held.add(labels, scores)
    for start in range(0, 4_000, 700):
        binned.add(labels[start : start + 700], scores[start : start + 700])
    pairs = [(held.count_pairs(), binned.count_pairs())]
    pairs += [(held.count_class(number), binned.count_class(number)) for number in range(50)]
    for exact_counts, binned_counts in pairs:
        exact, found = trace_roc_curve(exact_counts), trace_roc_curve(binned_counts)
        assert exact is not None and found is not None
        assert abs(found.auc - exact.auc) <= found.auc_error <= bound
        assert binned_counts.positives.sum() == exact_counts.positives.sum()
        assert binned_counts.negatives.sum() == exact_counts.negatives.sum()
        assert all(np.diff(binned_counts.thresholds) < 0)
    exact, found = trace_roc_curve(pairs[0][0]), trace_roc_curve(pairs[0][1])
    assert exact is not None and found is not None and abs(found.auc - exact.auc) < error


@pytest.mark.parametrize("classes", [2, 1_000, 100_000])
def test_bins_are_in_the_order_of_the_scores_and_above_their_thresholds(classes: int) -> None:
    random = np.random.default_rng(3)
    near = 10.0 ** random.uniform(-44, 0, 3_000)
    scores = np.sort(
        np.concatenate([near, 1 - near, random.random(3_000), [0, 0.5, 1]]).astype(np.float32)
    )
    counter = BinnedScores(2, max_bins=2 * MAX_BINS // classes)
    counter.add(np.ones(len(scores), np.int32), np.stack([1 - scores, scores], axis=1))
    counts = counter.count_class(1)
    rows = np.cumsum(counts.positives)
    assert rows[-1] == len(scores) and len(counts.thresholds) > 50
    falling = scores[::-1]
    for index, threshold in enumerate(counts.thresholds):
        assert falling[rows[index] - 1] >= threshold
        if rows[index] < len(scores):
            assert falling[rows[index]] <= threshold


def test_memory_is_bounded_by_the_number_of_bins() -> None:
    for classes in (2, 1_000, 20_000):
        counter = make_score_counter(rows=EXACT_SCORES, classes=classes)
        assert isinstance(counter, BinnedScores)
        assert counter.count_bins() <= max(MAX_BINS, 64 * classes)
    assert isinstance(make_score_counter(EXACT_SCORES // 4, 4), HeldScores)
