"""The tokenize step: turns raw text into token shards.

Every row is in exactly one split or counted as rejected. Memory does not grow with the rows: the
source is streamed twice (four times where the vocabulary is trained), once for its labels and
once to tokenize; the rows of a small source are cached in the first pass. The shards do not
depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.artifacts.manifest import staged_artifact
from components.artifacts.release import StartingPoint
from components.artifacts.shard_metadata import describe_absent_classes
from components.artifacts.task import TaskInfo
from components.artifacts.token_shards import (
    ShardsContent,
    ShardWriter,
    SplitInfo,
    TokenizedTexts,
    commit_shards,
)
from components.artifacts.vocabulary import Vocabulary
from components.config.renamed_options import to_stored_names
from components.config.schema import DataConfig, ModelConfig, TaskConfig, TokenizeConfig
from components.data.labelled_text import ExampleBatch, LabelledDataset, open_dataset
from components.data.labels.class_names import find_similar_names
from components.data.read_stats import ReadStats
from components.data.sources import combine_digests
from components.data.split_names import SPLITS, SplitName
from components.data.text_columns import Text
from components.errors import DataError
from components.progress import StepName, report, report_note
from components.registry.starting_point import resolve_starting_point
from components.tokenize_text.long_text_counter import LongTextCounter
from components.tokenize_text.text_batches import batch_by_split, tokenize_batches
from components.tokenize_text.training_texts import build_vocabulary, report_rows
from components.tokenize_text.unknown_pieces import UnknownPieces

SplitInfos = dict[SplitName, SplitInfo]
MAX_GROUPS = 5


def run(
    data: DataConfig,
    model: ModelConfig,
    tokenize: TokenizeConfig,
    output: Path,
    task: TaskConfig | None = None,
) -> ShardsContent:
    """Write token shards to `output` and return their description.

    Without `task` a text has one of the classes. Raises DataError for data that cannot be used: an
    unreadable source, more rejected rows than data.max_bad_rows, a larger share of [UNK] than
    tokenize.max_unknown, an empty split, fewer than two classes, or numbers, in training, or a
    release of model.start_from that cannot be used. Then `output` does not exist.
    """
    task = task or TaskConfig()
    start = resolve_starting_point(model.start_from) if model.start_from else None
    report(StepName.TOKENIZE, "reading labels")
    with open_dataset(data, task) as dataset:
        survey_notes = _describe_start(start) + _describe_survey(dataset)
        for note in survey_notes:
            report_note(StepName.TOKENIZE, note)
        vocabulary = build_vocabulary(dataset, model, start.release if start else None)
        # Imported here because mistakes in the data should show before TensorFlow is loaded.
        from components.model.tokenizer import (
            SPECIAL_TOKENS_OF_PAIR,
            SPECIAL_TOKENS_OF_TEXT,
            WordPiece,
        )

        with staged_artifact(output) as directory:
            writers = {
                split: ShardWriter(
                    directory,
                    split,
                    len(vocabulary),
                    dataset.labels.classes,
                    tokenize.rows_per_shard,
                    has_pairs=data.text_pair is not None,
                    keep_texts=tokenize.keep_texts,
                    kind=task.kind,
                )
                for split in SPLITS
            }
            examples = dataset.read_examples()
            wordpiece = WordPiece(vocabulary)
            length, reading = model.max_length, model.long_text_reading
            tokenize_texts = partial(wordpiece.tokenize_rows, max_length=length, reading=reading)
            special_tokens = SPECIAL_TOKENS_OF_PAIR if data.text_pair else SPECIAL_TOKENS_OF_TEXT
            unknown = UnknownPieces(vocabulary, special_tokens, length)
            long_texts = LongTextCounter(length, special_tokens, reading)
            _write_shards(
                report_rows(examples, "tokenizing", dataset.rows),
                writers,
                unknown,
                long_texts,
                tokenize_texts,
                tokenize.threads or len(os.sched_getaffinity(0)),
            )
            splits = {split: writer.close() for split, writer in writers.items()}
            _check_splits(splits, dataset, may_lack_test_rows=tokenize.keep_texts)
            unknown.check(tokenize.max_unknown, tokenize_texts)
            long_text_counts = long_texts.compute()
            described = writers["train"].describe_task()
            split_notes = [
                *_describe_splits(splits, dataset, examples.stats),
                *described.describe_rounding(),
            ]
            for note in split_notes:
                report_note(StepName.TOKENIZE, note)
            if long_text_counts is not None:
                note = long_text_counts.describe(
                    length, reading, has_pairs=data.text_pair is not None
                )
                report_note(StepName.TOKENIZE, note)
            content = _describe_shards(
                dataset,
                model,
                vocabulary,
                splits,
                examples.stats,
                [*survey_notes, *split_notes],
                described,
            ).model_copy(update={"start_from": start, "long_text_counts": long_text_counts})
            commit_shards(
                directory,
                vocabulary,
                content,
                _input_digests(dataset),
                _identity_options(data, model, tokenize, task),
            )
    return content


def _write_shards(
    examples: Iterable[ExampleBatch],
    writers: dict[SplitName, ShardWriter],
    unknown: UnknownPieces,
    long_texts: LongTextCounter,
    tokenize: Callable[[Sequence[Text]], TokenizedTexts],
    threads: int,
) -> None:
    for batch, rows in tokenize_batches(batch_by_split(examples), tokenize, threads):
        unknown.add_rows(rows.ids, rows.row_splits, batch.texts)
        long_texts.add(rows.pieces)
        writers[batch.split].add_rows(rows.ids, rows.row_splits, batch.labels, batch.texts)


def _check_splits(
    splits: SplitInfos, dataset: LabelledDataset, *, may_lack_test_rows: bool
) -> None:
    """Raise DataError for an empty split, and for training rows of one class only.

    A test split that is empty on purpose (`data.test_fraction` 0) may be allowed.
    """
    is_without_test = may_lack_test_rows and not dataset.data.test_fraction
    for split, info in splits.items():
        if info.rows or (split == "test" and is_without_test and dataset.test_source is None):
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
    counts = splits["train"].class_counts
    classes = [name for name, count in counts.items() if count]
    if counts and len(classes) < 2:
        found = f"only one class ({classes[0]}) has" if classes else "no class has"
        raise DataError(
            f"{dataset.source.name}: {found} training rows; "
            "a classifier needs at least two: check data.label and data.classes"
        )


def _describe_shards(
    dataset: LabelledDataset,
    model: ModelConfig,
    vocabulary: Vocabulary,
    splits: SplitInfos,
    stats: ReadStats,
    notes: list[str],
    task: TaskInfo,
) -> ShardsContent:
    return ShardsContent(
        classes=dataset.labels.classes,
        vocabulary_sha256=vocabulary.sha256,
        lower_case=vocabulary.lower_case,
        strip_accents=vocabulary.stored_strip_accents,
        encoder=model.encoder,
        max_length=model.max_length,
        long_texts=model.long_text_reading,
        inputs=dataset.data.inputs,
        splits=splits,
        refused=dict(stats.rejected.counts),
        refused_examples=stats.rejected.examples,
        source_sha256=combine_digests([*_source_digests(dataset).values()]),
        notes=notes,
        window={} if dataset.window is None else dataset.window.to_dict(),
        task=task,
    )


def _describe_start(start: StartingPoint | None) -> list[str]:
    """Return a note on the release that the training begins with."""
    if start is None:
        return []
    if start.release is None:
        return [
            f"nothing is released as {start.reference} yet: the training begins with the weights "
            "of model.encoder"
        ]
    store = start.release.store
    return [f"model.start_from means {start.release.title} in {store}"]


def _describe_survey(dataset: LabelledDataset) -> list[str]:
    """Return notes on how the sources are read, the rows outside of the window and the classes."""
    notes = [*dataset.source.notes]
    if dataset.test_source is not None:
        notes += dataset.test_source.notes
    notes += [
        f"{count} rows were left out: {reason}"
        for reason, count in sorted(dataset.outside_window.items())
    ]
    if similar := find_similar_names(dataset.labels.classes):
        groups = "; ".join(", ".join(map(repr, group)) for group in similar[:MAX_GROUPS])
        more = "; ..." if len(similar) > MAX_GROUPS else ""
        notes.append(
            "classes whose names differ in case, width, composition, invisible characters or the "
            f"way a number is written only: {groups}{more}"
        )
    return [*notes, *dataset.label_notes]


def _describe_splits(splits: SplitInfos, dataset: LabelledDataset, stats: ReadStats) -> list[str]:
    """Return notes on rejected rows, number columns, and what the splits hold."""
    notes = [
        f"{count} {split} rows have a text that is in the given test split, too; they were kept"
        for split, count in sorted(stats.duplicates_of_test.items())
    ]
    if stats.number_columns:
        columns = ", ".join(sorted(stats.number_columns))
        notes.append(f"numbers in the text columns are read as their digits: {columns}")
    rejected = stats.rejected
    if rejected.counts:
        lost = ", ".join(f"{name} {count}" for name, count in rejected.lost.most_common())
        classes = f"; rows of these labels: {lost}" if lost else ""
        notes.append(
            f"{rejected.counts.total()} rows were left out: {rejected.describe()}{classes}"
        )
    notes += describe_absent_classes(splits)
    return notes


def _source_digests(dataset: LabelledDataset) -> dict[str, str]:
    digests = {"source": dataset.source.sha256}
    if dataset.test_source is not None:
        digests["test_source"] = dataset.test_source.sha256
    return digests


def _input_digests(dataset: LabelledDataset) -> dict[str, str]:
    """Return the digests of the files that the shards depend on.

    A file that is read through a time window is not among them: its other rows may come and go.
    """
    sources = {"source": dataset.source, "test_source": dataset.test_source}
    digests = _source_digests(dataset) | {
        f"{option}/{number:05d}-{name.rpartition('/')[2]}": digest
        for option, source in sources.items()
        if source is not None
        for number, (name, digest) in enumerate(source.file_digests.items())
    }
    if dataset.window is not None:
        return {name: digest for name, digest in digests.items() if name.startswith("test_source")}
    return digests


def _identity_options(
    data: DataConfig, model: ModelConfig, tokenize: TokenizeConfig, task: TaskConfig
) -> dict[str, Any]:
    """Return the options that the shards depend on, under the names that manifests store.

    The number of threads, the location of the data, how its files are read and the time window,
    whose effect is in the rows, are not among them.
    """
    location_and_reading = {
        "source",
        "test_source",
        "encoding",
        "delimiter",
        "quoting",
        "escape",
        "max_classes",
        "tfds_data_dir",
        "time_column",
        "window",
        "end_time",
    }
    model_options = {"encoder", "preprocessor", "max_length", "long_texts"}
    if model.long_texts == "windows":
        model_options |= {"window_overlap", "max_windows"}
    if model.encoder == "scratch":
        model_options |= {"vocab_size", "lower_case"}
    options = {
        "data": data.model_dump(mode="json", exclude=location_and_reading),
        "model": model.model_dump(mode="json", include=model_options),
        "tokenize": tokenize.model_dump(mode="json", include={"rows_per_shard"}),
    }
    if task.kind != "single_label":
        options["task"] = task.model_dump(mode="json")
    return {section: to_stored_names(section, values) for section, values in options.items()}
