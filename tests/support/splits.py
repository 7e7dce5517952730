"""Reference implementations of the hash and the split of a single text."""

from __future__ import annotations

import hashlib

from components.data.split_names import SplitName
from components.data.splits import HASH_BYTES, normalize_text


def hash_text(text: str) -> int:
    """Return the BLAKE2b hash of the normalized text as an unsigned integer."""
    return int.from_bytes(
        hashlib.blake2b(normalize_text(text).encode(), digest_size=HASH_BYTES).digest()
    )


def assign_split(hashed: int, validation_fraction: float, test_fraction: float) -> SplitName:
    """Return the split of a text with this hash."""
    position = hashed / 2 ** (8 * HASH_BYTES)
    if position < test_fraction:
        return "test"
    if position < test_fraction + (1 - test_fraction) * validation_fraction:
        return "validation"
    return "train"
