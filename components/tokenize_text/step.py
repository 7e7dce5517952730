"""Raw text in, token shards out: every row is in exactly one split or counted as refused, and memory does not grow with the rows.

The source is read twice as a stream (four times where the vocabulary is learned): once for its labels, once to
tokenize; the rows of a small one are kept from the first time. Texts are tokenized in batches, with more than one thread
while the next ones are read; the shards do not depend on the number of threads.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain, compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts.manifest import staged_artifact
from components.artifacts.token_shards import (
    ShardsContent,
    ShardWriter,
    SplitInfo,
    TokenIds,
    commit_shards,
)
from components.artifacts.vocabulary import Vocabulary
from components.config.renamed_options import to_stored_names
from components.config.schema import DataConfig, ModelConfig, TokenizeConfig
from components.data.labelled_text import ExampleBatch, LabelledDataset, RejectedRows, open_dataset
from components.data.split_names import SPLITS, SplitName
from components.errors import DataError
from components.progress import StepName, report

Tokens = tuple[TokenIds, npt.NDArray[np.int64]]
BATCH_ROWS = 4000
BATCH_CHARACTERS = 1 << 22
LEARNED_ROWS = 200_000
SECONDS_BETWEEN_REPORTS = 1.0
SECONDS_UNTIL_READING_GIVES_WAY = 0.0005


def run(
    data: DataConfig, model: ModelConfig, tokenize: TokenizeConfig, output: Path
) -> ShardsContent:
    """Write token shards to `output` and return their description.

    Raises DataError for data that cannot be used: an unreadable source, more refused rows than data.max_bad_rows, an empty
    split, fewer than two classes in training. Then nothing is left at `output`.
    """
    report(StepName.TOKENIZE, "reading labels")
    with open_dataset(data) as corpus:
        for note in _left_out(corpus):
            report(StepName.TOKENIZE, note)
        vocabulary = _vocabulary(corpus, model)
        refusals, overlap = RejectedRows(data.max_bad_rows), Counter[str]()
        with staged_artifact(output) as directory:
            writers = {
                split: ShardWriter(
                    directory,
                    split,
                    len(vocabulary),
                    corpus.labels.classes,
                    tokenize.rows_per_shard,
                )
                for split in SPLITS
            }
            blocks = _reported(corpus.blocks(refusals, overlap), "tokenizing", corpus.rows)
            _write(
                blocks,
                writers,
                vocabulary,
                model.max_length,
                tokenize.threads or len(os.sched_getaffinity(0)),
            )
            splits = {split: writer.close() for split, writer in writers.items()}
            _check(splits, corpus)
            content = ShardsContent(
                classes=corpus.labels.classes,
                vocabulary_sha256=vocabulary.sha256,
                lower_case=vocabulary.lower_case,
                encoder=model.encoder,
                max_length=model.max_length,
                splits=splits,
                refused=dict(refusals.counts),
                refused_examples=refusals.examples,
                source_sha256=_source_sha256(corpus),
                notes=[*_left_out(corpus), *_notes(splits, overlap)],
                window={} if corpus.window is None else corpus.window.described,
            )
            commit_shards(
                directory, vocabulary, content, _inputs(corpus), _options(data, model, tokenize)
            )
    return content


@dataclass
class Batch:
    """Rows of one split that are tokenized together."""

    split: SplitName
    texts: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    characters: int = 0

    @property
    def full(self) -> bool:
        """Whether no row may be added."""
        return len(self.texts) == BATCH_ROWS or self.characters >= BATCH_CHARACTERS

    def take(self, texts: Sequence[str], labels: Sequence[int]) -> int:
        """Add the first of the rows, until the batch is full, and return how many that were."""
        texts = texts[: BATCH_ROWS - len(self.texts)]
        if self.characters + sum(map(len, texts)) >= BATCH_CHARACTERS:
            totals = list(accumulate(map(len, texts), initial=self.characters))[1:]
            texts = texts[: bisect_left(totals, BATCH_CHARACTERS) + 1]
        self.texts += texts
        self.labels += labels[: len(texts)]
        self.characters += sum(map(len, texts))
        return len(texts)


@dataclass(frozen=True)
class TrainingTexts:
    """The texts of the training split, read again from the source by each iteration.

    Of more than `LEARNED_ROWS` rows every n-th is taken, over the whole source: the trainer keeps each different word, and
    numbers and names never stop being new.
    """

    corpus: LabelledDataset

    def __iter__(self) -> Iterator[str]:
        refusals = RejectedRows(self.corpus.data.max_bad_rows)
        blocks = _reported(
            self.corpus.blocks(refusals, Counter()), "learning the vocabulary", self.corpus.rows
        )
        train = SPLITS.index("train")
        texts = chain.from_iterable(
            compress(block.texts, (block.splits == train).tolist()) for block in blocks
        )
        return islice(texts, 0, None, -(-self.corpus.rows // LEARNED_ROWS))


def _vocabulary(corpus: LabelledDataset, model: ModelConfig) -> Vocabulary:
    from components.model.encoders import load_vocabulary
    from components.model.tokenizer import train_vocabulary

    return load_vocabulary(model) or train_vocabulary(
        TrainingTexts(corpus), model.vocab_size, model.lower_case
    )


def _write(
    blocks: Iterable[ExampleBatch],
    writers: dict[SplitName, ShardWriter],
    vocabulary: Vocabulary,
    max_length: int,
    threads: int,
) -> None:
    from components.model.tokenizer import WordPiece

    tokenize = partial(WordPiece(vocabulary).tokenize_flat, max_length=max_length)
    for batch, (ids, row_splits) in _tokenized(_batches(blocks), tokenize, threads):
        writers[batch.split].add(ids, row_splits, batch.labels, batch.texts)


def _tokenized(
    batches: Iterable[Batch], tokenize: Callable[[Sequence[str]], Tokens], threads: int
) -> Iterator[tuple[Batch, Tokens]]:
    """Every batch with its ids, in order.

    One thread reads and tokenizes in turn. More of them tokenize while this one reads on, and at most two batches per thread
    wait in memory.
    """
    if threads == 1:
        yield from ((batch, tokenize(batch.texts)) for batch in batches)
        return
    waiting: deque[tuple[Batch, Future[Tokens]]] = deque()
    with _prompt_switching(), ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append((batch, pool.submit(tokenize, batch.texts)))
            if len(waiting) > 2 * threads:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        yield from ((batch, future.result()) for batch, future in waiting)


@contextmanager
def _prompt_switching() -> Iterator[None]:
    """Threads that come back from TensorFlow wait for the reading one to give way: 5 ms by default, as long as a batch takes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SECONDS_UNTIL_READING_GIVES_WAY)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _batches(blocks: Iterable[ExampleBatch]) -> Iterator[Batch]:
    open_batches = {split: Batch(split) for split in SPLITS}
    for block in blocks:
        for index, split in enumerate(SPLITS):
            in_split = block.splits == index
            if not in_split.any():
                continue
            chosen = in_split.tolist()
            texts, labels = (
                list(compress(block.texts, chosen)),
                list(compress(block.labels, chosen)),
            )
            while texts:
                batch = open_batches[split]
                taken = batch.take(texts, labels)
                texts, labels = texts[taken:], labels[taken:]
                if batch.full:
                    yield batch
                    open_batches[split] = Batch(split)
    yield from (batch for batch in open_batches.values() if batch.texts)


def _reported(blocks: Iterator[ExampleBatch], message: str, total: int) -> Iterator[ExampleBatch]:
    last, done = time.monotonic(), 0
    for block in blocks:
        if time.monotonic() - last >= SECONDS_BETWEEN_REPORTS:
            last = time.monotonic()
            report(StepName.TOKENIZE, message, done=done, total=total)
        yield block
        done += len(block.texts)


def _check(splits: dict[SplitName, SplitInfo], corpus: LabelledDataset) -> None:
    for split, info in splits.items():
        if info.rows == 0:
            given = split == "test" and corpus.test_source is not None
            remedy = (
                "data.test_source has no usable row"
                if given
                else f"give more rows, or a larger data.{split}_fraction"
            )
            if split == "train":
                remedy = (
                    "give more rows, or smaller data.validation_fraction and data.test_fraction"
                )
            raise DataError(
                f"{corpus.source.name}: the {split} split is empty ({corpus.rows} rows in all); {remedy}"
            )
    trained = [name for name, count in splits["train"].class_counts.items() if count]
    if len(trained) < 2:
        raise DataError(
            f"{corpus.source.name}: only one class ({trained[0]}) has training rows; a classifier needs at least two: check data.label and data.classes"
        )


def _notes(splits: dict[SplitName, SplitInfo], overlap: Counter[str]) -> list[str]:
    notes = [
        f"{count} {split} rows have a text that is in the given test split, too; they were kept"
        for split, count in sorted(overlap.items())
    ]
    for split, info in splits.items():
        if absent := [name for name, count in info.class_counts.items() if not count]:
            notes.append(f"the {split} split has no rows of: {', '.join(absent)}")
    return notes


def _left_out(corpus: LabelledDataset) -> list[str]:
    return [
        f"{count} rows were left out: {reason}" for reason, count in sorted(corpus.left_out.items())
    ]


def _inputs(corpus: LabelledDataset) -> dict[str, str]:
    """What the shards are made of: files as a whole, not one of which a window is read, as its other rows may come and go."""
    return {
        name: digest
        for name, digest in _digests(corpus).items()
        if name != "source" or corpus.window is None
    }


def _digests(corpus: LabelledDataset) -> dict[str, str]:
    digests = {"source": corpus.source.sha256}
    return (
        digests
        if corpus.test_source is None
        else {**digests, "test_source": corpus.test_source.sha256}
    )


def _source_sha256(corpus: LabelledDataset) -> str:
    digests = list(_digests(corpus).values())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()
    )


def _options(data: DataConfig, model: ModelConfig, tokenize: TokenizeConfig) -> dict[str, Any]:
    """The options that the shards depend on: not the threads, not where the same bytes lie, and not the window, whose rows are in them."""
    own = {"encoder", "preprocessor", "max_length"} | (
        {"vocab_size", "lower_case"} if model.encoder == "scratch" else set()
    )
    location_and_time = {
        "source",
        "test_source",
        "tfds_data_dir",
        "time_column",
        "window",
        "end_time",
    }
    options = {
        "data": data.model_dump(mode="json", exclude=location_and_time),
        "model": model.model_dump(mode="json", include=own),
        "tokenize": tokenize.model_dump(mode="json", include={"rows_per_shard"}),
    }
    return {section: to_stored_names(section, values) for section, values in options.items()}
