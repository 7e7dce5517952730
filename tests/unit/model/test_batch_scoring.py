from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from components.errors import DataError
from components.model.batch_scoring import score_split


class Ragged:
    """Rows in memory that remember the widths they were asked for; 0 is [PAD]."""

    def __init__(self, lengths: list[int]) -> None:
        random = np.random.default_rng(len(lengths))
        self._rows = [random.integers(1, 50, length).astype(np.int32) for length in lengths]
        self.widths: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def read_lengths(self) -> npt.NDArray[np.int32]:
        return np.array([len(row) for row in self._rows], np.int32)

    def read_padded(self, indices: npt.NDArray[np.intp], width: int) -> npt.NDArray[np.int32]:
        self.widths.append(width)
        return np.stack(
            [np.pad(self._rows[index], (0, width - len(self._rows[index]))) for index in indices]
        )


class Bag(tf.keras.Model):
    """The masked mean of embeddings -> three logits: wrong padding or order changes the result."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        tf.keras.utils.set_random_seed(7)
        self.embedding = tf.keras.layers.Embedding(50, 8)
        self.dense = tf.keras.layers.Dense(
            3, kernel_initializer=tf.keras.initializers.RandomNormal(stddev=20 * scale)
        )

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> Any:
        assert training is False
        ids = inputs["input_word_ids"]
        mask = tf.cast(ids != 0, tf.float32)[:, :, None]
        return self.dense(tf.reduce_sum(self.embedding(ids) * mask, 1) / tf.reduce_sum(mask, 1))


LENGTHS = [3, 17, 9, 20, 4, 4, 12, 19, 3, 8, 16]


def test_scores_are_those_of_each_row_alone_in_the_splits_order() -> None:
    model, rows = Bag(), Ragged(LENGTHS)
    scores = score_split(model, rows, batch_size=4)
    alone = [
        tf.nn.softmax(
            model({"input_word_ids": rows.read_padded(np.array([row]), LENGTHS[row])})
        ).numpy()[0]
        for row in range(len(rows))
    ]
    assert scores.dtype == np.float32 and scores.shape == (11, 3)
    np.testing.assert_allclose(scores, np.stack(alone), atol=1e-6)
    assert np.ptp(scores, axis=0).min() > 0.05


@pytest.mark.parametrize("batch_size", [1, 3, 11, 500])
def test_the_batch_size_does_not_matter(batch_size: int) -> None:
    model = Bag()
    np.testing.assert_allclose(
        score_split(model, Ragged(LENGTHS), batch_size),
        score_split(model, Ragged(LENGTHS), batch_size=4),
        atol=1e-6,
    )


def test_batches_are_padded_to_little_more_than_their_longest_row() -> None:
    rows = Ragged(LENGTHS)
    score_split(Bag(), rows, batch_size=4)
    assert rows.widths == [20, 16, 8]


def test_progress_counts_every_row() -> None:
    reports: list[tuple[int, int]] = []
    score_split(Bag(), Ragged(LENGTHS), 4, lambda done, total: reports.append((done, total)))
    assert reports == [(4, 11), (8, 11), (11, 11)]


def test_huge_logits_give_finite_scores() -> None:
    scores = score_split(Bag(scale=1e6), Ragged(LENGTHS), 4)
    assert np.isfinite(scores).all() and scores.max() == 1.0
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)


def test_a_split_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        score_split(Bag(), Ragged([]), 4)
