"""Scores every row of a split, in batches of rows of about equal length.

Rows are batched by falling length, so that there is little padding, and a batch that is too large
for the memory fails at the start. The result does not depend on the batch size beyond rounding:
padding is masked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.errors import DataError
from components.model.heads import compute_scores

PADDING_MULTIPLE = 8


class TokenizedRows(Protocol):
    """What is needed of a split; `components.artifacts.token_shards.SplitReader` has it."""

    def __len__(self) -> int: ...

    def read_lengths(self) -> npt.NDArray[np.int32]:
        """Tokens per row: int32 [rows]."""

    def read_padded(self, indices: npt.NDArray[np.intp], width: int) -> npt.NDArray[np.int32]:
        """Token ids of the rows, padded with [PAD]: int32 [len(indices), width]."""


def score_split(
    model: Callable[..., Any],
    split: TokenizedRows,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
    task: TaskInfo = SINGLE_LABEL,
) -> npt.NDArray[np.float32]:
    """Scores of every row (`compute_scores`), in the split's order: float32 [rows, outputs].

    `model` maps {"input_word_ids": int32 [batch, tokens]} to logits [batch, outputs].
    `on_progress(done, total)` is called in rows after each batch. Raises DataError for a split
    without rows; scores that are not finite are returned as they are.
    """
    if len(split) == 0:
        raise DataError("the split to score has no rows")

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def score(ids: Any) -> Any:
        return compute_scores(model({"input_word_ids": ids}, training=False), task)

    lengths = split.read_lengths()
    order = np.argsort(-lengths, kind="stable")
    longest = int(lengths[order[0]])
    parts = []
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        parts.append(
            score(split.read_padded(rows, padded_width(int(lengths[rows[0]]), longest))).numpy()
        )
        if on_progress is not None:
            on_progress(start + len(rows), len(order))
    scores = np.concatenate(parts)
    restored = np.empty_like(scores)
    restored[order] = scores
    return restored


def padded_width(length: int, longest: int, max_length: int | None = None) -> int:
    """The next multiple of PADDING_MULTIPLE, at most `longest`: the model may end there.

    With `max_length`, the length itself where it is above: that of a row of several windows.
    """
    if max_length is not None:
        if length > max_length:
            return length
        longest = min(longest, max_length)
    return min(-(-length // PADDING_MULTIPLE) * PADDING_MULTIPLE, longest)
