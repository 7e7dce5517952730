"""Equal texts are always in the same split, and a text's split does not depend on any other row.

The split comes from a hash of the normalized text alone, so a duplicate cannot sit in two splits and adding data moves no
old row.
"""

from __future__ import annotations

import hashlib
import unicodedata

from components.artifacts.token_shards import SplitName

HASH_BYTES = 8


def normalized(text: str) -> str:
    """The text in NFKC, case-folded, every run of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_hash(text: str) -> int:
    """BLAKE2b of the normalized text's UTF-8 as an unsigned 64-bit integer: evenly spread, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(normalized(text).encode(), digest_size=HASH_BYTES).digest())


def split_of(hashed: int, validation_fraction: float, test_fraction: float) -> SplitName:
    """The split of a text with this hash; `validation_fraction` is of the rows that are not test rows."""
    position = hashed / 2 ** (8 * HASH_BYTES)
    if position < test_fraction:
        return "test"
    if position < test_fraction + (1 - test_fraction) * validation_fraction:
        return "validation"
    return "train"
