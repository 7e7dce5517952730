"""Small token shards with the texts of all rows, as a cross-validation needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import manifest
from components.artifacts.task import SINGLE_LABEL
from components.artifacts.token_shards import ShardsContent, ShardWriter, commit_shards
from components.artifacts.vocabulary import Vocabulary
from components.config.task import TaskKind
from components.data.split_names import SPLITS, SplitName
from components.data.text_columns import Text

CLASSES = ("calm", "loud")
VOCABULARY = Vocabulary(tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"), lower_case=True)
Row = tuple[Text, Any]
"""A text, or pair, and its label: the index of its class, those of several, or a number."""


def number_rows(prefix: str, count: int) -> list[Row]:
    """Different texts, of both classes in turn."""
    return [(f"{prefix} {number}", number % 2) for number in range(count)]


def make_shards(
    directory: Path,
    rows: Mapping[SplitName, Sequence[Row]],
    *,
    keep_texts: bool = True,
    notes: Sequence[str] = (),
    kind: TaskKind = "single_label",
) -> Path:
    """The committed directory; the length of a row's ids follows from its text."""
    classes = () if kind == "regression" else CLASSES
    task = SINGLE_LABEL
    has_pairs = any(not isinstance(text, str) for split in rows.values() for text, _ in split)
    with manifest.staged_artifact(directory) as work:
        splits = {}
        for name in SPLITS:
            writer = ShardWriter(
                work,
                name,
                len(VOCABULARY),
                classes,
                shard_rows=7,
                has_pairs=has_pairs,
                keep_texts=keep_texts,
                kind=kind,
            )
            given = rows.get(name, ())
            if given:
                ids = [find_token_ids(text) for text, _ in given]
                writer.add_rows(
                    np.concatenate(ids),
                    np.cumsum([0, *map(len, ids)]),
                    [label for _, label in given],
                    [text for text, _ in given],
                )
            splits[name] = writer.close()
            if name == "train":
                task = writer.describe_task()
        content = ShardsContent(
            classes=classes,
            vocabulary_sha256=VOCABULARY.sha256,
            lower_case=True,
            encoder="scratch",
            max_length=16,
            inputs=("text", "text_pair") if has_pairs else ("text",),
            splits=splits,
            source_sha256="5" * 64,
            notes=list(notes),
            task=task,
        )
        commit_shards(work, VOCABULARY, content, {}, {"tokenize": {"shard_rows": 7}})
    return directory


def find_token_ids(text: Text) -> np.ndarray:
    """Ids by which a text is told from most others: [CLS], its last digits in binary, [SEP]."""
    number = int("".join(filter(str.isdigit, str(text))) or 0)
    return np.array([2, *(4 + int(bit) for bit in f"{number:b}"), 3], np.int32)
