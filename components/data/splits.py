"""Assigns each text to a split by a hash of the normalized text alone.

Equal texts are therefore always in the same split, and adding rows moves no other row.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.data.split_names import SPLITS

HASH_BYTES = 8
_EMPTY_HASH = hashlib.blake2b(digest_size=HASH_BYTES)
_SEPARATOR = "\xff"
_LOWER_CASE_AND_SPACES = bytes(
    ord(" " if chr(code).isspace() else chr(code).lower()) if code < 128 else code
    for code in range(256)
)


def normalize_text(text: str) -> str:
    """Return the text in NFKC, case-folded, with every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def hash_texts(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the BLAKE2b hash of each normalized text in UTF-8: uint64 [texts], at least one text.

    The hashes are evenly distributed and the same on every machine.
    """
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
    return np.frombuffer(b"".join(map(_hash_bytes, normalized)), ">u8").astype(np.uint64)


def assign_splits(
    hashes: npt.NDArray[np.uint64], validation_fraction: float, test_fraction: float
) -> npt.NDArray[np.int8]:
    """Return the split of each text with these hashes, as an index into SPLITS: int8 [hashes].

    `validation_fraction` is the share of the rows that are not test rows.
    """
    position = hashes.astype(np.float64) / 2 ** (8 * HASH_BYTES)
    is_test = position < test_fraction
    is_validation = position < test_fraction + (1 - test_fraction) * validation_fraction
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
