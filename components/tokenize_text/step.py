"""The tokenize step: turns raw text into token shards.

Every row is in exactly one split or counted as rejected. Memory does not grow with the rows: the
source is streamed twice (four times where the vocabulary is trained), once for its labels and
once to tokenize; the rows of a small source are cached in the first pass. The shards do not
depend on the number of threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from components.artifacts.manifest import staged_artifact
from components.artifacts.token_shards import ShardsContent, ShardWriter, SplitInfo, commit_shards
from components.artifacts.vocabulary import Vocabulary
from components.config.renamed_options import to_stored_names
from components.config.schema import DataConfig, ModelConfig, TokenizeConfig
from components.data.labelled_text import ExampleBatch, LabelledDataset, open_dataset
from components.data.read_stats import ReadStats
from components.data.split_names import SPLITS, SplitName
from components.errors import DataError
from components.progress import StepName, report
from components.tokenize_text.text_batches import batch_by_split, tokenize_batches
from components.tokenize_text.training_texts import build_vocabulary, report_rows

SplitInfos = dict[SplitName, SplitInfo]


def run(
    data: DataConfig, model: ModelConfig, tokenize: TokenizeConfig, output: Path
) -> ShardsContent:
    """Write token shards to `output` and return their description.

    Raises DataError for data that cannot be used: an unreadable source, more rejected rows than
    data.max_bad_rows, an empty split, fewer than two classes in training. Then `output` does not
    exist.
    """
    report(StepName.TOKENIZE, "reading labels")
    with open_dataset(data) as dataset:
        for note in _describe_excluded_rows(dataset):
            report(StepName.TOKENIZE, note)
        vocabulary = build_vocabulary(dataset, model)
        with staged_artifact(output) as directory:
            writers = {
                split: ShardWriter(
                    directory,
                    split,
                    len(vocabulary),
                    dataset.labels.classes,
                    tokenize.rows_per_shard,
                )
                for split in SPLITS
            }
            examples = dataset.read_examples()
            _write_shards(
                report_rows(examples, "tokenizing", dataset.rows),
                writers,
                vocabulary,
                model.max_length,
                tokenize.threads or len(os.sched_getaffinity(0)),
            )
            splits = {split: writer.close() for split, writer in writers.items()}
            _check_splits(splits, dataset)
            content = _describe_shards(dataset, model, vocabulary, splits, examples.stats)
            commit_shards(
                directory,
                vocabulary,
                content,
                _input_digests(dataset),
                _identity_options(data, model, tokenize),
            )
    return content


def _write_shards(
    examples: Iterable[ExampleBatch],
    writers: dict[SplitName, ShardWriter],
    vocabulary: Vocabulary,
    max_length: int,
    threads: int,
) -> None:
    from components.model.tokenizer import WordPiece

    tokenize = partial(WordPiece(vocabulary).tokenize_flat, max_length=max_length)
    for batch, (ids, row_splits) in tokenize_batches(batch_by_split(examples), tokenize, threads):
        writers[batch.split].add_rows(ids, row_splits, batch.labels, batch.texts)


def _check_splits(splits: SplitInfos, dataset: LabelledDataset) -> None:
    """Raise DataError for an empty split, and for training rows of one class only."""
    for split, info in splits.items():
        if info.rows:
            continue
        if split == "train":
            remedy = "give more rows, or smaller data.validation_fraction and data.test_fraction"
        elif split == "test" and dataset.test_source is not None:
            remedy = "data.test_source has no usable row"
        else:
            remedy = f"give more rows, or a larger data.{split}_fraction"
        raise DataError(
            f"{dataset.source.name}: the {split} split is empty "
            f"({dataset.rows} rows in all); {remedy}"
        )
    classes = [name for name, count in splits["train"].class_counts.items() if count]
    if len(classes) < 2:
        raise DataError(
            f"{dataset.source.name}: only one class ({classes[0]}) has training rows; "
            "a classifier needs at least two: check data.label and data.classes"
        )


def _describe_shards(
    dataset: LabelledDataset,
    model: ModelConfig,
    vocabulary: Vocabulary,
    splits: SplitInfos,
    stats: ReadStats,
) -> ShardsContent:
    digests = [*_source_digests(dataset).values()]
    return ShardsContent(
        classes=dataset.labels.classes,
        vocabulary_sha256=vocabulary.sha256,
        lower_case=vocabulary.lower_case,
        encoder=model.encoder,
        max_length=model.max_length,
        splits=splits,
        refused=dict(stats.rejected.counts),
        refused_examples=stats.rejected.examples,
        source_sha256=digests[0]
        if len(digests) == 1
        else hashlib.sha256(" ".join(digests).encode()).hexdigest(),
        notes=[*_describe_excluded_rows(dataset), *_describe_splits(splits, stats)],
        window={} if dataset.window is None else dataset.window.to_dict(),
    )


def _describe_splits(splits: SplitInfos, stats: ReadStats) -> list[str]:
    notes = [
        f"{count} {split} rows have a text that is in the given test split, too; they were kept"
        for split, count in sorted(stats.duplicates_of_test.items())
    ]
    for split, info in splits.items():
        if absent := [name for name, count in info.class_counts.items() if not count]:
            notes.append(f"the {split} split has no rows of: {', '.join(absent)}")
    return notes


def _describe_excluded_rows(dataset: LabelledDataset) -> list[str]:
    return [
        f"{count} rows were left out: {reason}"
        for reason, count in sorted(dataset.outside_window.items())
    ]


def _source_digests(dataset: LabelledDataset) -> dict[str, str]:
    digests = {"source": dataset.source.sha256}
    if dataset.test_source is not None:
        digests["test_source"] = dataset.test_source.sha256
    return digests


def _input_digests(dataset: LabelledDataset) -> dict[str, str]:
    """Return the digests of the files that the shards depend on.

    A file that is read through a time window is not among them: its other rows may come and go.
    """
    digests = _source_digests(dataset)
    if dataset.window is not None:
        del digests["source"]
    return digests


def _identity_options(
    data: DataConfig, model: ModelConfig, tokenize: TokenizeConfig
) -> dict[str, Any]:
    """Return the options that the shards depend on, under the names that manifests store.

    The number of threads, the location of the data and the time window, whose effect is in the
    rows, are not among them.
    """
    location_and_time = {
        "source",
        "test_source",
        "tfds_data_dir",
        "time_column",
        "window",
        "end_time",
    }
    model_options = {"encoder", "preprocessor", "max_length"}
    if model.encoder == "scratch":
        model_options |= {"vocab_size", "lower_case"}
    options = {
        "data": data.model_dump(mode="json", exclude=location_and_time),
        "model": model.model_dump(mode="json", include=model_options),
        "tokenize": tokenize.model_dump(mode="json", include={"rows_per_shard"}),
    }
    return {section: to_stored_names(section, values) for section, values in options.items()}
