"""Token ids of a split, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts.token_shards import SplitReader, TokenIds


def list_token_ids(
    split: SplitReader, indices: Sequence[int] | npt.NDArray[np.int64] | None = None
) -> list[TokenIds]:
    """Return the unpadded token ids of the rows, of all rows by default."""
    rows = np.arange(len(split)) if indices is None else np.asarray(indices, np.int64)
    lengths = split.read_lengths()[rows]
    padded = split.read_padded(rows, int(lengths.max(initial=0)))
    return [ids[:length] for ids, length in zip(padded, lengths, strict=True)]
