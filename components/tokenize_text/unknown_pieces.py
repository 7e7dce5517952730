"""Counts the pieces that are [UNK]: many of them show that the tokenizer does not fit the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts.token_shards import TokenIds, TokenizedTexts
from components.artifacts.vocabulary import Vocabulary
from components.data.text_columns import Text, flatten_texts
from components.errors import DataError, shorten_value
from components.model.text_windows import count_row_windows

MAX_EXAMPLES = 5
MAX_EXAMPLE_TEXTS = 20


class UnknownPieces:
    """Number of word pieces and of those that are [UNK], without [CLS] and [SEP].

    `special_tokens`: how many of these a row has, or each of its windows of `max_length` tokens.
    """

    def __init__(self, vocabulary: Vocabulary, special_tokens: int, max_length: int) -> None:
        self._special_tokens, self._max_length = special_tokens, max_length
        self._unknown_id = vocabulary.token_id("[UNK]")
        self._pieces = self._unknown = 0
        self._texts: list[Text] = []

    def add_rows(self, ids: TokenIds, row_splits: npt.NDArray[Any], texts: Sequence[Text]) -> None:
        """Count the pieces of rows: `ids` int32 [tokens], `row_splits` [rows + 1]."""
        is_unknown = ids == self._unknown_id
        count = int(np.count_nonzero(is_unknown))
        windows = int(count_row_windows(np.diff(row_splits), self._max_length).sum())
        self._pieces += len(ids) - self._special_tokens * windows
        self._unknown += count
        if count and len(self._texts) < MAX_EXAMPLE_TEXTS:
            rows = np.searchsorted(row_splits, np.flatnonzero(is_unknown), side="right") - 1
            room = MAX_EXAMPLE_TEXTS - len(self._texts)
            self._texts += [texts[row] for row in np.unique(rows)[:room]]

    def check(self, limit: float, tokenize: Callable[[Sequence[str]], TokenizedTexts]) -> None:
        """Raise DataError, with some of the words, if more than `limit` of the pieces are [UNK]."""
        if self._unknown <= limit * self._pieces:
            return
        texts = flatten_texts(self._texts)
        words = list(dict.fromkeys(word for text in texts for word in text.split()))
        examples = [word for word in words if self._unknown_id in tokenize([word]).ids]
        shown = ", ".join(map(repr, map(shorten_value, examples[:MAX_EXAMPLES])))
        raise DataError(
            f"{self._unknown} of {self._pieces} word pieces ({self._unknown / self._pieces:.1%}) "
            f"are [UNK], tokenize.max_unknown allows {limit:.1%}; words such as {shown}. The "
            "vocabulary does not fit the texts: choose an encoder for their language or "
            "model.encoder=scratch, or raise tokenize.max_unknown"
        )
