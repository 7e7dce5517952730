from __future__ import annotations

import numpy as np
import pytest

from components.confidence.threshold import (
    MAX_CURVE_POINTS,
    STEPS,
    AnswerCounter,
    are_confident,
)
from tests.support.releases.made_report import labels_and_scores

LABELS, SCORES = labels_and_scores(3_000)


def count_answers(labels: np.ndarray = LABELS, scores: np.ndarray = SCORES) -> AnswerCounter:
    counter = AnswerCounter()
    counter.add(labels, scores)
    return counter


@pytest.mark.parametrize("threshold", [0.0001, 0.3333, 0.5, 0.7, 0.9, 0.9999])
def test_answers_are_counted_as_they_are_compared(threshold: float) -> None:
    confident = are_confident(SCORES, threshold)
    found = count_answers().measure(threshold)
    assert (found.threshold, found.rows, found.answered) == (threshold, 3_000, confident.sum())
    assert found.correct == (SCORES.argmax(axis=1) == LABELS)[confident].sum()


@pytest.mark.parametrize("step", [1, 3_333, 7_000, STEPS - 1, STEPS])
def test_a_score_that_equals_the_threshold_is_confident(step: int) -> None:
    threshold = step / STEPS
    below = np.nextafter(np.float32(threshold), np.float32(0))
    scores = np.array([[threshold, 0], [below, 0]], np.float32)
    assert are_confident(scores, threshold).tolist() == [True, False]
    assert count_answers(np.zeros(2, np.int32), scores).measure(threshold).answered == 1


@pytest.mark.parametrize("precision", [0.8, 0.9, 0.95, 0.99])
def test_the_chosen_threshold_is_the_smallest_that_reaches_the_precision(precision: float) -> None:
    chosen = count_answers().choose_threshold(precision)
    assert chosen is not None and chosen.precision is not None
    assert chosen.precision >= precision
    is_right = SCORES.argmax(axis=1) == LABELS
    for step in range(round(chosen.threshold * STEPS)):
        assert is_right[are_confident(SCORES, step / STEPS)].mean() < precision


def test_a_precision_that_nothing_reaches_has_no_threshold() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]], np.float32)
    counter = count_answers(np.array([1, 0, 0], np.int32), scores)
    assert counter.choose_threshold(0.7) is None
    best = counter.find_most_precise()
    assert (best.threshold, best.answered, best.correct) == (0.0, 3, 2)


def test_a_precision_of_all_answers_needs_no_abstaining() -> None:
    chosen = count_answers().choose_threshold(0.01)
    assert chosen is not None and (chosen.threshold, chosen.coverage) == (0.0, 1.0)


def test_parts_in_any_order_give_the_same_counts() -> None:
    order = np.random.default_rng(2).permutation(3_000)
    counter = AnswerCounter()
    for rows in np.array_split(order, 7):
        counter.add(LABELS[rows], SCORES[rows])
    assert counter.trace_curve() == count_answers().trace_curve()


def test_the_curve_goes_from_all_texts_to_few() -> None:
    curve = count_answers().trace_curve()
    assert 50 < len(curve) <= MAX_CURVE_POINTS
    assert (curve[0].threshold, curve[0].coverage) == (0.0, 1.0)
    assert [point.threshold for point in curve] == sorted(point.threshold for point in curve)
    coverages = [point.coverage for point in curve]
    assert coverages == sorted(coverages, reverse=True) and 0 < coverages[-1] < 0.02
    assert curve[-1].precision == pytest.approx(1.0, abs=0.05)


def test_equal_scores_are_one_point() -> None:
    scores = np.full((4, 2), 0.5, np.float32)
    (point,) = count_answers(np.array([0, 1, 0, 0], np.int32), scores).trace_curve()
    assert (point.threshold, point.answered, point.correct) == (0.0, 4, 3)
