"""Rows fill the length, and their texts are tokenized to the same ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.baselines.full_rows import find_words, write_full_rows
from components.artifacts.token_shards import open_shards
from components.artifacts.vocabulary import Vocabulary

PIECES = ("calm", "loud", "##er", "a", "odd", "12", "fine", "grey", "b2c", "tall")
VOCABULARY = Vocabulary(tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", *PIECES), lower_case=True)


def test_words_are_entire_and_of_letters() -> None:
    assert [VOCABULARY.tokens[word] for word in find_words(VOCABULARY)] == [
        *("calm", "loud", "odd", "fine", "grey", "tall")
    ]


def test_every_row_fills_the_length_and_is_its_text(tmp_path: Path) -> None:
    write_full_rows(tmp_path, "scratch", VOCABULARY, rows=6, length=12)
    split = open_shards(tmp_path / "shards").open_split("train")
    assert split.read_lengths().tolist() == [12] * 6
    ids = split.read_padded(range(6), 12)
    assert set(ids[:, 0]) == {2} and set(ids[:, -1]) == {3}
    written = json.loads((tmp_path / "rows" / "train.json").read_text(encoding="utf-8"))
    assert written["texts"] == [
        " ".join(VOCABULARY.tokens[word] for word in row[1:-1]) for row in ids
    ]
    assert written["labels"] == split.read_labels()[:].tolist()
    assert len(np.unique(ids)) > 4
