"""Equal texts are always in the same split, and a text's split does not depend on any other row.

The split comes from a hash of the normalized text alone, so a duplicate cannot sit in two splits
and adding data moves no old row.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.data.split_names import SPLITS, SplitName

HASH_BYTES = 8
_EMPTY = hashlib.blake2b(digest_size=HASH_BYTES)
_BETWEEN = "\xff"
_PLAIN = bytes(
    ord(" " if chr(code).isspace() else chr(code).lower()) if code < 128 else code
    for code in range(256)
)


def normalize_text(text: str) -> str:
    """The text in NFKC, case-folded, every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def hash_text(text: str) -> int:
    """BLAKE2b of the normalized text's UTF-8 as an unsigned 64-bit integer: evenly spread, the same on every machine."""
    return int.from_bytes(_digest(normalize_text(text).encode()))


def hash_texts(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """`hash_text` of each of the texts, of which there is at least one: uint64 [texts]."""
    others = (
        []
        if all(map(str.isascii, texts))
        else [index for index, text in enumerate(texts) if not text.isascii()]
    )
    keys = _normalized_ascii(
        [text if text.isascii() else "" for text in texts] if others else texts
    )
    for index in others:
        keys[index] = normalize_text(texts[index]).encode()
    return np.frombuffer(b"".join(map(_digest, keys)), ">u8").astype(np.uint64)


def _digest(key: bytes) -> bytes:
    """The hash's bytes; a copy of an empty hash takes a third less time than a new one."""
    hashed = _EMPTY.copy()
    hashed.update(key)
    digest: bytes = hashed.digest()
    return digest


def _normalized_ascii(texts: Sequence[str]) -> list[bytes]:
    """`normalize_text` for ASCII texts, which NFKC leaves as they are: all of them as one array, with a byte between that none holds."""
    plain = np.frombuffer(
        _BETWEEN.join(map(str.strip, texts)).encode("latin-1").translate(_PLAIN), np.uint8
    )
    spaces = plain == ord(" ")
    spaces[:-1] &= spaces[1:]
    kept: bytes = plain[~spaces].tobytes()
    return kept.split(_BETWEEN.encode("latin-1"))


def assign_split(hashed: int, validation_fraction: float, test_fraction: float) -> SplitName:
    """The split of a text with this hash; `validation_fraction` is of the rows that are not test rows."""
    position = hashed / 2 ** (8 * HASH_BYTES)
    if position < test_fraction:
        return "test"
    if position < test_fraction + (1 - test_fraction) * validation_fraction:
        return "validation"
    return "train"


def assign_splits(
    hashed: npt.NDArray[np.uint64], validation_fraction: float, test_fraction: float
) -> npt.NDArray[np.int8]:
    """`assign_split` of each hash, as an index into SPLITS: int8 [hashes]."""
    position = hashed.astype(np.float64) / 2 ** (8 * HASH_BYTES)
    tested = position < test_fraction
    validated = position < test_fraction + (1 - test_fraction) * validation_fraction
    codes = [SPLITS.index(name) for name in ("test", "validation", "train")]
    return np.select([tested, validated], codes[:2], codes[2]).astype(np.int8)
