"""Folds: equal texts together, each text once, and equal shares of every class if stratified."""

from __future__ import annotations

import numpy as np
import pytest

from components.cross_validation.fold_assignment import (
    assign_folds,
    assign_stratified_folds,
    count_distinct_texts,
)
from components.data.splits import assign_splits, hash_texts

TEXTS = [f"text number {number}" for number in range(3000)]
HASHES = hash_texts(TEXTS)


@pytest.mark.parametrize("folds", [2, 3, 5, 8, 20])
def test_folds_have_about_the_same_size_and_are_independent_of_the_splits(folds: int) -> None:
    assigned = assign_folds(HASHES, folds)
    splits = assign_splits(HASHES, 0.1, 0.2)
    for split in range(3):
        counts = np.bincount(assigned[splits == split], minlength=folds)
        expected = (splits == split).sum() / folds
        assert np.abs(counts - expected).max() < 4 * expected**0.5


def test_a_text_has_the_same_fold_whatever_else_there_is() -> None:
    assert assign_folds(HASHES[7:8], 5) == assign_folds(HASHES, 5)[7:8]
    assert assign_folds(hash_texts(["Text  NUMBER 7"]), 5) == assign_folds(HASHES[7:8], 5)


def test_stratified_folds_share_the_texts_of_every_class_out() -> None:
    labels = np.where(np.arange(3000) < 17, 0, np.where(np.arange(3000) < 600, 1, 2))
    assigned = assign_stratified_folds(HASHES, labels.astype(np.int32), 3, 5)
    for label, count in ((0, 17), (1, 583), (2, 2400)):
        sizes = np.bincount(assigned[labels == label], minlength=5)
        assert set(sizes.tolist()) <= {count // 5, -(-count // 5)}
    totals = np.bincount(assigned, minlength=5)
    assert totals.max() - totals.min() <= 3


def test_stratified_folds_are_independent_of_the_splits() -> None:
    assigned = assign_stratified_folds(HASHES, np.zeros(3000, np.int32), 1, 5)
    is_validation = assign_splits(HASHES, 0.1, 0.0) == 1
    counts = np.bincount(assigned[is_validation], minlength=5)
    assert counts.min() > is_validation.sum() / 5 * 0.6


def test_equal_texts_are_never_in_two_folds_also_with_different_labels() -> None:
    """Fault K3."""
    hashes = hash_texts(["a b", "A  b", "c", "a b", "d", "e", "f"])
    labels = np.array([1, 0, 0, 1, 1, 0, 1], np.int32)
    assigned = assign_stratified_folds(hashes, labels, 2, 2)
    assert assigned[0] == assigned[1] == assigned[3]
    assert count_distinct_texts(hashes, labels, 2).tolist() == [3, 2]
    order = np.array([3, 6, 5, 0, 4, 1, 2])
    assert (assign_stratified_folds(hashes[order], labels[order], 2, 2) == assigned[order]).all()
