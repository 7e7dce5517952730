"""Assigns each text to the fold that holds it out, by a hash of the normalized text.

By default by the hash alone: equal texts are in the same fold, and adding rows moves no other row.
Stratified folds deal the different texts of every class out in the order of their hashes: equal
texts are in the same fold, and adding rows moves only texts near a limit between two folds. Both
depend on the low bytes of the hash, and the splits on its high ones: folds and splits are
independent of each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Folds = npt.NDArray[np.int64]


def assign_folds(hashes: Hashes, folds: int) -> Folds:
    """Return the fold, from 0, of each text with these hashes: int64 [hashes]."""
    return (hashes % np.uint64(folds)).astype(np.int64)


def assign_stratified_folds(
    hashes: Hashes, labels: npt.NDArray[np.int32], classes: int, folds: int
) -> Folds:
    """Return the fold, from 0, of each text, so that folds have equal shares of every class.

    `hashes` and `labels` are those of all rows, in any order: [rows]. A text with several labels
    counts as of the first one of these classes, in all of its rows. Numbers of different texts of a
    class differ by one at most between two folds; which folds have one more changes from class to
    class.
    """
    texts, rows, first_rows = find_distinct_texts(hashes, labels)
    owners = labels[first_rows]
    order = np.lexsort((texts.byteswap(), owners))
    counts = np.bincount(owners, minlength=classes)
    starts = np.cumsum(counts) - counts
    ordered = owners[order]
    ranks = np.arange(len(order)) - starts[ordered]
    text_folds = np.empty(len(order), np.int64)
    text_folds[order] = (ranks * folds // np.maximum(counts[ordered], 1) + ordered) % folds
    return text_folds[rows]


def count_distinct_texts(
    hashes: Hashes, labels: npt.NDArray[np.int32], classes: int
) -> npt.NDArray[np.int64]:
    """Return the number of different texts of each class, counted as for stratified folds."""
    _, _, first_rows = find_distinct_texts(hashes, labels)
    return np.bincount(labels[first_rows], minlength=classes)


def find_distinct_texts(
    hashes: Hashes, labels: npt.NDArray[np.int32]
) -> tuple[Hashes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the different hashes, the number of each row's hash among them, and a row of each.

    That row is one with the first of the classes that the hash has.
    """
    order = np.lexsort((labels, hashes))
    texts, first, rows_of_order = np.unique(hashes[order], return_index=True, return_inverse=True)
    rows = np.empty(len(hashes), np.int64)
    rows[order] = rows_of_order
    return texts, rows, order[first]
