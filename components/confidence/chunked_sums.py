"""Sums over rows that do not depend on how the rows are cut into parts.

A sum of floating-point numbers depends on their order and grouping in the last digits. So the rows
are added up in chunks of CHUNK_ROWS, wherever the parts begin and end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CHUNK_ROWS = 65_536


class RowChunks:
    """Joins figures of parts of the rows to chunks of CHUNK_ROWS rows; memory is that of one."""

    def __init__(self) -> None:
        self._pending: list[npt.NDArray[Any]] = []
        self._pending_rows = 0

    def add(self, figures: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """Add figures [figures, rows] of a part; yields the chunks that are full."""
        while self._pending_rows + figures.shape[1] >= CHUNK_ROWS:
            missing = CHUNK_ROWS - self._pending_rows
            self._pending.append(figures[:, :missing])
            figures = figures[:, missing:]
            yield from self.take_rest()
        self._pending.append(figures)
        self._pending_rows += figures.shape[1]

    def take_rest(self) -> Iterator[npt.NDArray[Any]]:
        """Yields the chunk that is not full, if there is one."""
        if self._pending:
            chunk = np.concatenate(self._pending, axis=1)
            self._pending, self._pending_rows = [], 0
            yield chunk


class ChunkedSums:
    """Sums of figures of the rows, the same for any cut into parts."""

    def __init__(self) -> None:
        self._chunks = RowChunks()
        self._sums: npt.NDArray[np.float64] | float = 0.0

    def add(self, figures: Sequence[npt.NDArray[np.float64]]) -> None:
        """Add a part: each figure [rows]."""
        for chunk in self._chunks.add(np.stack(figures)):
            self._sums = self._sums + chunk.sum(axis=1)

    def totals(self) -> list[float]:
        """The sums of all rows; after it, no rows may be added."""
        for chunk in self._chunks.take_rest():
            self._sums = self._sums + chunk.sum(axis=1)
        totals: list[float] = np.atleast_1d(self._sums).tolist()
        return totals
