"""Assigns each text to a split by a hash of the normalized text.

By default by the hash alone: equal texts are in the same split, and adding rows moves no other row.
Stratified splits compare the hash with thresholds of the text's class, which depend on its other
texts: equal texts are in the same split, and adding rows moves only texts near a threshold.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.data.split_names import SPLITS
from components.data.text_columns import Text, flatten_texts

Hashes = npt.NDArray[np.uint64]
HASH_BYTES = 8
_EMPTY_HASH = hashlib.blake2b(digest_size=HASH_BYTES)
_SEPARATOR = "\xff"
_PAIR_SEPARATOR = b"\x1f"
"""White space, of which a normalized text has spaces only."""
_LOWER_CASE_AND_SPACES = bytes(
    ord(" " if chr(code).isspace() else chr(code).lower()) if code < 128 else code
    for code in range(256)
)


class StratifiedThresholds(NamedTuple):
    """The hashes below which a text of a class is a test row, else a validation row: [classes].

    A text with several labels, one of `shared` (ascending), counts as of one class for all of its
    rows: the first one, in `shared_classes`.
    """

    test: Hashes
    validation: Hashes
    shared: Hashes
    shared_classes: npt.NDArray[np.int32]


def normalize_text(text: str) -> str:
    """Return the text in NFKC, case-folded, with every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def hash_texts(texts: Sequence[Text]) -> npt.NDArray[np.uint64]:
    """Return the BLAKE2b hash of each normalized text in UTF-8: uint64 [texts], at least one text.

    That of a pair is the hash of both texts in their order. The hashes are evenly distributed and
    the same on every machine.
    """
    if isinstance(texts[0], str):
        normalized = _normalize_texts(flatten_texts(texts))
    else:
        both = _normalize_texts(flatten_texts(texts))
        normalized = [
            first + _PAIR_SEPARATOR + second
            for first, second in zip(both[::2], both[1::2], strict=True)
        ]
    return np.frombuffer(b"".join(map(_hash_bytes, normalized)), ">u8").astype(np.uint64)


def _normalize_texts(texts: Sequence[str]) -> list[bytes]:
    others = (
        []
        if all(map(str.isascii, texts))
        else [index for index, text in enumerate(texts) if not text.isascii()]
    )
    normalized = _normalize_ascii(
        [text if text.isascii() else "" for text in texts] if others else texts
    )
    for index in others:
        normalized[index] = normalize_text(texts[index]).encode()
    return normalized


def assign_splits(
    hashes: npt.NDArray[np.uint64], validation_fraction: float, test_fraction: float
) -> npt.NDArray[np.int8]:
    """Return the split of each text with these hashes, as an index into SPLITS: int8 [hashes].

    `validation_fraction` is the share of the rows that are not test rows.
    """
    position = hashes.astype(np.float64) / 2 ** (8 * HASH_BYTES)
    is_test = position < test_fraction
    is_validation = position < test_fraction + (1 - test_fraction) * validation_fraction
    return _select_splits(is_test, is_validation)


def find_stratified_thresholds(
    hashes: Hashes,
    labels: npt.NDArray[np.int32],
    classes: int,
    validation_fraction: float,
    test_fraction: float,
) -> StratifiedThresholds:
    """Return the thresholds that give each split its share of the different texts of every class.

    `hashes` and `labels` are those of all rows, in any order. Shares are rounded to whole texts. A
    class with three different texts or more has at least one in each split (two, without a test
    split); the texts of a smaller class are all training rows.
    """
    order = np.lexsort((labels, hashes))
    hashes, labels = hashes[order], labels[order]
    is_repeated = hashes[1:] == hashes[:-1]
    shared = np.unique(hashes[1:][is_repeated & (labels[1:] != labels[:-1])])
    is_first = np.concatenate([[True], ~is_repeated])[: len(hashes)]
    hashes, labels = hashes[is_first], labels[is_first]
    shared_classes = labels[np.searchsorted(hashes, shared)]

    counts = np.bincount(labels, minlength=classes)
    tests = _count_texts(counts, test_fraction, reserved=2)
    validations = _count_texts(counts - tests, validation_fraction, reserved=1)
    validations[counts < (3 if test_fraction else 2)] = 0
    ordered = np.append(hashes[np.argsort(labels, kind="stable")], np.uint64(0))
    starts = np.cumsum(counts) - counts
    return StratifiedThresholds(
        np.where(tests > 0, ordered[starts + tests], np.uint64(0)),
        np.where(validations > 0, ordered[starts + tests + validations], np.uint64(0)),
        shared,
        shared_classes,
    )


def assign_stratified_splits(
    hashes: Hashes, labels: npt.NDArray[np.int32], thresholds: StratifiedThresholds
) -> npt.NDArray[np.int8]:
    """Return the split of each text with these hashes and class indices, as `assign_splits` does.

    The hashes and labels are among those that the thresholds were found for.
    """
    if len(thresholds.shared):
        nearest = np.searchsorted(thresholds.shared, hashes).clip(max=len(thresholds.shared) - 1)
        is_shared = thresholds.shared[nearest] == hashes
        labels = np.where(is_shared, thresholds.shared_classes[nearest], labels)
    return _select_splits(hashes < thresholds.test[labels], hashes < thresholds.validation[labels])


def _count_texts(
    counts: npt.NDArray[np.int64], fraction: float, *, reserved: int
) -> npt.NDArray[np.int64]:
    """The texts of each class in a split: its share, at least 1, and all but `reserved` at most."""
    if not fraction:
        return np.zeros_like(counts)
    share = np.rint(counts * fraction).astype(np.int64)
    limited: npt.NDArray[np.int64] = np.minimum(np.maximum(share, 1), counts - reserved)
    return np.maximum(limited, 0)


def _select_splits(
    is_test: npt.NDArray[np.bool_], is_validation: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int8]:
    codes = [SPLITS.index(name) for name in ("test", "validation", "train")]
    return np.select([is_test, is_validation], codes[:2], codes[2]).astype(np.int8)


def _hash_bytes(key: bytes) -> bytes:
    # Copying an empty hash takes a third less time than making one.
    hashed = _EMPTY_HASH.copy()
    hashed.update(key)
    digest: bytes = hashed.digest()
    return digest


def _normalize_ascii(texts: Sequence[str]) -> list[bytes]:
    """Return `normalize_text` of ASCII texts, which NFKC does not change, all in one array.

    The texts are separated by a byte that none of them holds.
    """
    joined = _SEPARATOR.join(map(str.strip, texts)).encode("latin-1")
    characters = np.frombuffer(joined.translate(_LOWER_CASE_AND_SPACES), np.uint8)
    is_repeated_space = characters == ord(" ")
    is_repeated_space[:-1] &= is_repeated_space[1:]
    collapsed: bytes = characters[~is_repeated_space].tobytes()
    return collapsed.split(_SEPARATOR.encode("latin-1"))
