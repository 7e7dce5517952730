"""The vocabulary of the shards: the encoder's own, or one that is trained on the training split."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, compress, islice

from components.artifacts.release import StartingRelease
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.data.labelled_text import ExampleBatch, LabelledDataset
from components.data.split_names import SPLITS
from components.data.text_columns import flatten_texts
from components.model.encoders import check_segments, load_vocabulary
from components.progress import StepName, report
from components.tokenize_text.release_vocabulary import load_release_vocabulary

MAX_VOCABULARY_TRAINING_ROWS = 200_000
REPORT_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class TrainingTexts:
    """The texts of the training split, of pairs both; each iteration reads them again.

    Of more than MAX_VOCABULARY_TRAINING_ROWS rows every n-th is used, over all of the source: the
    trainer's memory grows with the number of distinct words, and there is no end of new numbers
    and names.
    """

    dataset: LabelledDataset

    def __iter__(self) -> Iterator[str]:
        batches = report_rows(
            self.dataset.read_examples(), "learning the vocabulary", self.dataset.rows
        )
        train = SPLITS.index("train")
        texts = chain.from_iterable(
            compress(batch.texts, (batch.splits == train).tolist()) for batch in batches
        )
        step = -(-self.dataset.rows // MAX_VOCABULARY_TRAINING_ROWS)
        return chain.from_iterable(flatten_texts([text]) for text in islice(texts, 0, None, step))


def build_vocabulary(
    dataset: LabelledDataset, model: ModelConfig, start: StartingRelease | None = None
) -> Vocabulary:
    """Return the vocabulary of the release to begin with, or else the encoder's own.

    For `scratch` it is trained on the training split. ConfigError for pairs of texts and an encoder
    that cannot tell them apart.
    """
    has_pairs = dataset.data.text_pair is not None
    if has_pairs:
        check_segments(model)
    if start is not None:
        return load_release_vocabulary(model, start, has_pairs=has_pairs)
    from components.model.tokenizer import train_vocabulary

    return load_vocabulary(model) or train_vocabulary(
        TrainingTexts(dataset), model.vocab_size, model.lower_case
    )


def report_rows(
    batches: Iterable[ExampleBatch], message: str, total: int
) -> Iterator[ExampleBatch]:
    """Yield the batches, and report the number of rows read at most once a second."""
    last_report, done = time.monotonic(), 0
    for batch in batches:
        if time.monotonic() - last_report >= REPORT_INTERVAL_SECONDS:
            last_report = time.monotonic()
            report(StepName.TOKENIZE, message, done=done, total=total)
        yield batch
        done += len(batch.texts)
