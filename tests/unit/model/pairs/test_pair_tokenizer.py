"""Pairs of texts as token ids: two segments, truncated as Hugging Face's tokenizers do."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import BertWordPieceTokenizer

from components.artifacts.vocabulary import Vocabulary
from components.model.classifier import find_segments
from components.model.tokenizer import WordPiece, choose_pair_lengths

VOCABULARY = Vocabulary(
    tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "new", "##s", "x", ".", "[", "]", "sep"),
    lower_case=True,
)
SEP = 3


@pytest.mark.parametrize(
    ("lengths", "max_length", "kept"),
    [
        pytest.param((2, 3), 8, (2, 3), id="fits"),
        pytest.param((3, 9), 9, (3, 3), id="the-longer-second"),
        pytest.param((9, 2), 9, (4, 2), id="the-longer-first"),
        pytest.param((9, 9), 9, (3, 3), id="both-alike"),
        pytest.param((9, 9), 10, (3, 4), id="an-odd-number-favours-the-second"),
        pytest.param((9, 8), 10, (4, 3), id="or-the-longer-one"),
        pytest.param((0, 20), 9, (0, 6), id="an-empty-first"),
        pytest.param((0, 0), 8, (0, 0), id="nothing"),
    ],
)
def test_the_longer_text_is_truncated_first(
    lengths: tuple[int, int], max_length: int, kept: tuple[int, int]
) -> None:
    first, second = (np.array([length]) for length in lengths)
    assert [int(each[0]) for each in choose_pair_lengths(first, second, max_length)] == [*kept]


def make_pairs(count: int) -> list[tuple[str, str]]:
    draw = random.Random(4)
    words = ["new", "news", "x", ".", "unknown", "X"]

    def make_text() -> str:
        return " ".join(draw.choices(words, k=draw.randint(0, 14)))

    return [(make_text(), make_text()) for _ in range(count)]


@pytest.mark.parametrize("max_length", [8, 9, 17, 18, 40])
def test_ids_are_those_of_hugging_faces_longest_first(max_length: int) -> None:
    other = BertWordPieceTokenizer(
        {token: index for index, token in enumerate(VOCABULARY.tokens)}, lowercase=True
    )
    other.enable_truncation(max_length, strategy="longest_first")
    pairs = make_pairs(300)
    ids, splits = WordPiece(VOCABULARY).tokenize_flat(pairs, max_length)
    for number, pair in enumerate(pairs):
        expected = other.encode(*pair)
        row = ids[splits[number] : splits[number + 1]]
        assert row.tolist() == expected.ids
        types = find_segments(row[np.newaxis], np.ones((1, len(row)), np.int32), SEP)
        assert types.numpy()[0].tolist() == expected.type_ids


@pytest.mark.parametrize("max_length", [8, 17])
def test_the_graph_gives_the_ids_of_the_data_set(max_length: int) -> None:
    pairs = [*make_pairs(100), ("", ""), ("[SEP] new", "x [SEP] [SEP]")]
    wordpiece = WordPiece(VOCABULARY)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)] * 2)
    def tokenize(first: tf.Tensor, second: tf.Tensor) -> tf.RaggedTensor:
        return wordpiece.tokenize_pairs(first, second, max_length)

    for some in (pairs, pairs[:1]):
        ids, splits = wordpiece.tokenize_flat(some, max_length)
        served = tokenize(*map(tf.constant, zip(*some, strict=True)))
        np.testing.assert_array_equal(served.values, ids)
        np.testing.assert_array_equal(served.row_splits, splits)
    assert tokenize(tf.constant([], tf.string), tf.constant([], tf.string)).nrows() == 0


def test_a_written_separator_begins_no_segment() -> None:
    ids, _ = WordPiece(VOCABULARY).tokenize_flat([("new [SEP] x", "[SEP]")], 40)
    assert ids.tolist() == [2, 4, 8, 10, 9, 6, 3, 8, 10, 9, 3]
    assert (ids == SEP).sum() == 2


def test_padding_is_of_the_first_segment() -> None:
    ids = tf.constant([[2, 4, 3, 6, 3, 0, 0], [2, 3, 3, 0, 0, 0, 0]])
    mask = tf.cast(ids != 0, tf.int32)
    assert find_segments(ids, mask, SEP).numpy().tolist() == [
        [0, 0, 0, 1, 1, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
    ]
