"""Rows of words that fill a model's length: token shards for kubert, texts for the baselines.

No batch has padding, so examples per second are tokens per second times a constant, and no data has
to be downloaded. Words are drawn by Zipf's law, because the optimizer's cost depends on the number
of different tokens in a batch; half of them depend on the class, so that there is something to
learn.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.artifacts import manifest
from components.artifacts.token_shards import ShardsContent, ShardWriter, commit_shards
from components.artifacts.vocabulary import Vocabulary
from components.data.split_names import SPLITS, SplitName

CLASSES = ("first", "second", "third", "fourth")
HELD_OUT_ROWS = 8
_SPECIAL_TOKENS = 2


def write_full_rows(
    home: Path, encoder: str, vocabulary: Vocabulary, rows: int, length: int
) -> None:
    """`rows` training rows of `length` tokens: `home/shards`, and `home/rows/train.json`."""
    words = find_words(vocabulary)
    counts: dict[SplitName, int] = {
        "train": rows,
        "validation": HELD_OUT_ROWS,
        "test": HELD_OUT_ROWS,
    }
    with manifest.staged_artifact(home / "shards") as work:
        splits = {}
        for seed, name in enumerate(SPLITS):
            labels = np.arange(counts[name]) % len(CLASSES)
            chosen = draw_words(np.random.default_rng(seed), words, labels, length)
            texts = [" ".join(vocabulary.tokens[word] for word in row) for row in chosen]
            writer = ShardWriter(work, name, len(vocabulary), CLASSES, shard_rows=100_000)
            ids = _add_special_tokens(chosen, vocabulary)
            writer.add_rows(
                ids.ravel(), np.arange(len(ids) + 1) * length, [*map(int, labels)], texts
            )
            splits[name] = writer.close()
            if name == "train":
                _write_texts(home / "rows", texts, [*map(int, labels)])
        content = ShardsContent(
            classes=CLASSES,
            vocabulary_sha256=vocabulary.sha256,
            lower_case=vocabulary.lower_case,
            encoder=encoder,
            max_length=length,
            splits=splits,
            source_sha256="0" * 64,
        )
        commit_shards(work, vocabulary, content, {}, {})


def find_words(vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """The ids of entire words: a text of such words has these ids in every tokenizer of BERT's."""
    found = [
        index
        for index, piece in enumerate(vocabulary.tokens)
        if re.fullmatch(r"[a-z]{3,}", piece) is not None
    ]
    return np.array(found, np.int64)


def draw_words(
    random: np.random.Generator,
    words: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    length: int,
) -> npt.NDArray[np.int64]:
    """Words of every row, int64 [rows, length - 2]; the frequency of a word is 1 / its rank."""
    frequencies = 1 / np.arange(1, len(words) + 1)
    shape = (len(labels), length - _SPECIAL_TOKENS)
    ranks = random.choice(len(words), shape, p=frequencies / frequencies.sum())
    of_class = ranks // len(CLASSES) * len(CLASSES) + labels[:, None]
    is_telling = random.random(shape) < 0.5
    chosen = np.where(is_telling, np.minimum(of_class, len(words) - 1), ranks)
    return words[chosen]


def _add_special_tokens(
    chosen: npt.NDArray[np.int64], vocabulary: Vocabulary
) -> npt.NDArray[np.int32]:
    first, last = (
        np.full((len(chosen), 1), vocabulary.token_id(name)) for name in ("[CLS]", "[SEP]")
    )
    return np.concatenate([first, chosen, last], axis=1).astype(np.int32)


def _write_texts(directory: Path, texts: list[str], labels: list[int]) -> None:
    """What `training_inputs.read_rows` reads."""
    directory.mkdir(parents=True, exist_ok=True)
    value = {"texts": texts, "labels": labels, "classes": len(CLASSES)}
    (directory / "train.json").write_text(json.dumps(value), encoding="utf-8")
