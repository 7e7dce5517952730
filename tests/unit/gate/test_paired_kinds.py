"""Paired differences of models of several labels and of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from components.artifacts.gate_decision import PairedDifference
from components.gate.paired_labels import PairedLabelCounts
from components.gate.paired_numbers import PairedErrors, PairedNumberSums
from tests.support.kinds.made_reports import label_sets_and_scores, numbers_and_scores

ROWS = 400
LABELS, SCORES = label_sets_and_scores(ROWS)
FLIPPED = np.random.default_rng(4).random(SCORES.shape) < 0.06
CANDIDATE, CHAMPION = SCORES >= 0.5, (SCORES >= 0.5) ^ FLIPPED
NUMBERS, PREDICTED = numbers_and_scores(ROWS)
FIRST = PREDICTED[:, 0].astype(float)
SECOND = FIRST + np.random.default_rng(4).normal(0.1, 0.2, ROWS)
DRAWS = np.random.default_rng(5).integers(0, ROWS, (1_000, ROWS))


def count_labels(cuts: Sequence[int] = ()) -> PairedLabelCounts:
    counts = PairedLabelCounts(LABELS.shape[1])
    for rows in np.split(np.arange(ROWS), cuts):
        counts.add(LABELS[rows].astype(bool), CANDIDATE[rows], CHAMPION[rows])
    return counts


def add_numbers(cuts: Sequence[int] = ()) -> PairedErrors:
    sums = PairedNumberSums(NUMBERS.mean(), NUMBERS.std())
    for rows in np.split(np.arange(ROWS), cuts):
        sums.add(NUMBERS[rows], FIRST[rows], SECOND[rows])
    return sums.summarize()


def micro_f1(rows: np.ndarray, given: np.ndarray) -> float:
    has = LABELS[rows].astype(bool)
    return float(2 * (has & given[rows]).sum() / (has.sum() + given[rows].sum()))


def check_interval(found: PairedDifference, drawn: Sequence[float]) -> None:
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_the_difference_of_micro_f1_is_that_of_the_same_rows() -> None:
    found, rows = count_labels().compare_micro_f1(), np.arange(ROWS)
    assert found.difference == pytest.approx(micro_f1(rows, CANDIDATE) - micro_f1(rows, CHAMPION))
    assert count_labels().champion_micro_f1 == pytest.approx(micro_f1(rows, CHAMPION))
    check_interval(found, [micro_f1(rows, CANDIDATE) - micro_f1(rows, CHAMPION) for rows in DRAWS])


def test_rows_whose_labels_are_all_right_are_compared() -> None:
    right, was_right = ((each == LABELS.astype(bool)).all(axis=1) for each in (CANDIDATE, CHAMPION))
    found = count_labels().compare_subset_accuracy()
    assert found.difference == pytest.approx(right.mean() - was_right.mean())
    assert found.low < found.difference < found.high


def test_differences_of_errors_are_those_of_a_bootstrap() -> None:
    found = add_numbers()
    errors = [((each - NUMBERS) ** 2)[DRAWS].mean(axis=1) for each in (FIRST, SECOND)]
    check_interval(found.compare_rmse(), errors[0] ** 0.5 - errors[1] ** 0.5)
    check_interval(found.compare_r2(), (errors[1] - errors[0]) / NUMBERS[DRAWS].var(axis=1))
    rmse = [((each - NUMBERS) ** 2).mean() ** 0.5 for each in (FIRST, SECOND)]
    assert found.compare_rmse().difference == pytest.approx(rmse[0] - rmse[1])
    assert found.champion_rmse == pytest.approx(rmse[1])
    r2 = (rmse[1] ** 2 - rmse[0] ** 2) / NUMBERS.var()
    assert found.compare_r2().difference == pytest.approx(r2) and r2 > 0


def test_results_do_not_depend_on_how_the_rows_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.confidence.chunked_sums.CHUNK_ROWS", 64)
    cuts = [1, 64, 300]
    assert add_numbers() == add_numbers(cuts)
    assert count_labels().compare_micro_f1() == count_labels(cuts).compare_micro_f1()


def test_equal_models_differ_by_nothing() -> None:
    counts = PairedLabelCounts(LABELS.shape[1])
    counts.add(LABELS.astype(bool), CANDIDATE, CANDIDATE)
    sums = PairedNumberSums(NUMBERS.mean(), NUMBERS.std())
    sums.add(NUMBERS, FIRST, FIRST)
    for found in (counts.compare_micro_f1(), sums.summarize().compare_r2()):
        assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_models_without_errors_or_labels_can_be_compared() -> None:
    sums = PairedNumberSums(NUMBERS.mean(), NUMBERS.std())
    sums.add(NUMBERS, NUMBERS, NUMBERS)
    assert sums.summarize().compare_rmse().difference == 0
    counts, none = PairedLabelCounts(3), np.zeros((5, 3), bool)
    counts.add(none, none, none)
    assert (counts.compare_micro_f1().difference, counts.champion_micro_f1) == (0, 0)
