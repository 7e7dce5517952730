"""Counts the texts that are longer than the model reads, and the pieces that are not read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.artifacts.shard_metadata import LongTextCounts
from components.config.model import LongTexts
from components.model.text_windows import count_read_pieces


class LongTextCounter:
    """Adds up the pieces of texts, or pairs; `special_tokens`: those of a row of one window."""

    def __init__(self, max_length: int, special_tokens: int, reading: LongTexts) -> None:
        self._max_length, self._special_tokens, self._reading = max_length, special_tokens, reading
        self._texts = self._longer = self._cut = self._pieces = self._lost = 0

    def add(self, pieces: npt.NDArray[np.int64]) -> None:
        """Add texts of so many pieces before anything is cut: int64 [texts]."""
        space = self._max_length - self._special_tokens
        longer = pieces[pieces > space]
        read = (
            count_read_pieces(longer, self._max_length, self._reading)
            if self._reading.has_windows
            else np.minimum(longer, space)
        )
        self._texts += len(pieces)
        self._longer += len(longer)
        self._cut += int(np.count_nonzero(read < longer))
        self._pieces += int(pieces.sum())
        self._lost += int((longer - read).sum())

    def compute(self) -> LongTextCounts | None:
        """The counts; None if no text is longer."""
        if not self._longer:
            return None
        return LongTextCounts(
            texts=self._texts,
            longer=self._longer,
            cut=self._cut,
            pieces=self._pieces,
            lost=self._lost,
        )
