"""Token shards of synthetic rows of many lengths, whose words determine the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.artifacts import manifest
from components.artifacts.release import StartingPoint
from components.artifacts.token_shards import ShardsContent, ShardWriter, commit_shards
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.data.split_names import SPLITS, SplitName

CLASSES = ("calm", "loud", "odd")
VOCABULARY = Vocabulary(
    tokens=("[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(60))),
    lower_case=True,
)
MODEL = ModelConfig(
    encoder="scratch",
    max_length=20,
    vocab_size=100,
    hidden_size=16,
    intermediate_size=16,
    num_heads=2,
)
ROWS: dict[SplitName, int] = {"train": 203, "validation": 61, "test": 20}


def make(
    directory: Path,
    *,
    encoder: str = MODEL.encoder,
    vocabulary: Vocabulary = VOCABULARY,
    max_length: int = MODEL.max_length,
    rows: dict[SplitName, int] | None = None,
    rare_in_train: tuple[int, int] | None = None,
    start_from: StartingPoint | None = None,
) -> Path:
    """The committed directory; `rare_in_train` (row, token) puts a token into that row only."""
    counts = ROWS | (rows or {})
    random = np.random.default_rng(sum(counts.values()))
    with manifest.staged_artifact(directory) as work:
        splits = {}
        for name in SPLITS:
            labels = random.integers(0, len(CLASSES), counts[name])
            written = [
                _row(random, int(label), vocabulary, max_length, rare_in_train) for label in labels
            ]
            if rare_in_train and name == "train":
                written[rare_in_train[0]][1] = rare_in_train[1]
            writer = ShardWriter(work, name, len(vocabulary), CLASSES, shard_rows=80)
            if written:
                offsets = np.cumsum([0, *(len(row) for row in written)])
                writer.add_rows(
                    np.concatenate(written),
                    offsets,
                    labels.tolist(),
                    [f"text {number}" for number in range(len(written))],
                )
            splits[name] = writer.close()
        content = ShardsContent(
            classes=CLASSES,
            vocabulary_sha256=vocabulary.sha256,
            lower_case=vocabulary.lower_case,
            encoder=encoder,
            max_length=max_length,
            splits=splits,
            source_sha256="5" * 64,
            start_from=start_from,
        )
        commit_shards(work, vocabulary, content, {}, {})
    return directory


def _row(
    random: np.random.Generator,
    label: int,
    vocabulary: Vocabulary,
    max_length: int,
    rare: tuple[int, int] | None,
) -> npt.NDArray[np.int32]:
    """[CLS], 2 to `max_length` - 2 words, [SEP]; about every other word is typical of the class."""
    first = 5
    words = random.integers(first, len(vocabulary), random.integers(2, max_length - 1))
    telling = random.random(len(words)) < 0.5
    words[telling] = first + (words[telling] - first) // len(CLASSES) * len(CLASSES) + label
    words = np.minimum(words, len(vocabulary) - 1)
    if rare is not None:
        words[words == rare[1]] = first
    return np.array([vocabulary.token_id("[CLS]"), *words, vocabulary.token_id("[SEP]")], np.int32)
