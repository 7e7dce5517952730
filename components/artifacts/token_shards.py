"""Token shards: tokenized rows of each split in memory-mapped Arrow files, verified on opening.

Layout of the directory: `vocab.txt`, `<split>-00000.arrow`, ... and the manifest. The Arrow IPC
files are uncompressed, so that they can be memory-mapped: `input_ids: list<uint16>` (`list<int32>`
for vocabularies over 65,536) without padding, `label` (int32; of other tasks than single_label see
`components.artifacts.task.label_columns`), and for validation and test also
`text: string`, of pairs also `text_pair: string`. The segments of a pair need no column: the second
one begins behind the first [SEP], which no text contains as a token. Nor do the windows of a long
text: they follow each other, each of `max_length` tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import manifest
from components.artifacts.artifact import verify_artifact
from components.artifacts.shard_metadata import (
    PROVENANCE,
    ShardsContent,
    SplitInfo,
    parse_shards_content,
)
from components.artifacts.task import TaskInfo
from components.artifacts.task.label_columns import (
    LabelArray,
    create_label_column,
    read_label_columns,
)
from components.artifacts.vocabulary import VOCABULARY_FILE, Vocabulary
from components.config.data import PAIR_INPUTS, SINGLE_INPUT
from components.config.task import TaskKind
from components.data.split_names import SplitName
from components.data.text_columns import Text
from components.errors import DataError

__all__ = [
    "ShardWriter",
    "ShardsContent",
    "SplitInfo",
    "SplitReader",
    "TokenIds",
    "TokenShards",
    "TokenizedTexts",
    "commit_shards",
    "open_shards",
]

TokenIds = npt.NDArray[np.int32]


class TokenizedTexts(NamedTuple):
    """Rows of ids, int32 [tokens], their splits, int64 [n + 1], and the pieces of each text before
    anything was cut, of a pair those of both: int64 [n]."""

    ids: TokenIds
    row_splits: npt.NDArray[np.int64]
    pieces: npt.NDArray[np.int64]


class ShardWriter:
    """Writes the rows of one split, in order, to files of at most `shard_rows` rows.

    Memory does not grow with the rows: `add_rows` writes at once. `close` describes the split. The
    texts of training rows are stored with `keep_texts` only.
    """

    def __init__(
        self,
        directory: Path,
        split: SplitName,
        vocabulary_size: int,
        classes: Sequence[str],
        shard_rows: int,
        *,
        has_pairs: bool = False,
        keep_texts: bool = False,
        kind: TaskKind = "single_label",
    ) -> None:
        self._labels = create_label_column(kind)
        ids = pa.uint16() if vocabulary_size <= 1 << 16 else pa.int32()
        fields = [
            pa.field("input_ids", pa.list_(ids), nullable=False),
            pa.field("label", self._labels.type, nullable=False),
        ]
        self._keeps_texts = keep_texts or split != "train"
        if self._keeps_texts:
            names = PAIR_INPUTS if has_pairs else SINGLE_INPUT
            fields += [pa.field(name, pa.string(), nullable=False) for name in names]
        self._schema = pa.schema(fields)
        self._ids_type = ids.to_pandas_dtype()
        self._directory, self._split, self._classes, self._shard_rows = (
            directory,
            split,
            tuple(classes),
            shard_rows,
        )
        self._files: list[str] = []
        self._writer: Any = None
        self._rows_in_file = 0
        self._tokens = 0
        self._lengths: Counter[int] = Counter()

    def add_rows(
        self,
        ids: TokenIds,
        row_splits: npt.NDArray[Any],
        labels: Sequence[Any] | npt.NDArray[Any],
        texts: Sequence[Text],
    ) -> None:
        """Append rows.

        `ids`: int32 [tokens]; `row_splits`: [rows + 1]; `labels`: [rows], or what
        `SplitReader.read_labels` gives for rows; `texts`: texts or pairs [rows], not stored for
        train without `keep_texts`.
        """
        lengths = np.diff(row_splits)
        columns = [
            pa.ListArray.from_arrays(
                pa.array(row_splits, pa.int32()), pa.array(ids.astype(self._ids_type))
            ),
            self._labels.add(labels),
        ]
        if self._keeps_texts:
            columns += build_text_arrays(texts)
        batch = pa.record_batch(columns, schema=self._schema)
        start = 0
        while start < len(batch):
            if self._writer is None:
                self._open_next()
            part = batch.slice(start, self._shard_rows - self._rows_in_file)
            self._writer.write_batch(part)
            start += len(part)
            self._rows_in_file += len(part)
            if self._rows_in_file == self._shard_rows:
                self._close_file()
        self._tokens += len(ids)
        counts = enumerate(np.bincount(lengths).tolist())
        self._lengths.update({length: count for length, count in counts if count})

    def close(self) -> SplitInfo:
        """Finish the last file and describe the split."""
        if self._writer is not None:
            self._close_file()
        counts = self._labels.count_classes()
        return SplitInfo(
            rows=sum(self._lengths.values()),
            tokens=self._tokens,
            class_counts={name: counts.get(index, 0) for index, name in enumerate(self._classes)},
            length_histogram=dict(sorted(self._lengths.items())),
            files=tuple(self._files),
        )

    def describe_task(self) -> TaskInfo:
        """The kind of task; of a regression with mean and standard deviation of the rows so far.

        Raises DataError if these rows all have the same number.
        """
        return self._labels.describe_task()

    def _open_next(self) -> None:
        self._files.append(f"{self._split}-{len(self._files):05d}.arrow")
        self._writer = pa.ipc.new_file(str(self._directory / self._files[-1]), self._schema)

    def _close_file(self) -> None:
        self._writer.close()
        self._writer, self._rows_in_file = None, 0


class SplitReader:
    """Reads rows of one split, numbered from 0 over its files; memory-mapped, read on access."""

    def __init__(
        self,
        directory: Path,
        name: SplitName,
        info: SplitInfo,
        pad_id: int,
        kind: TaskKind = "single_label",
    ) -> None:
        self.name, self.info, self._kind = name, info, kind
        self._pad_id = pad_id
        self._batches = [batch for file in info.files for batch in _batches(directory / file)]
        self._values = [batch.column(0).values.to_numpy() for batch in self._batches]
        self._offsets = [batch.column(0).offsets.to_numpy() for batch in self._batches]
        self._starts = np.cumsum([0, *(len(batch) for batch in self._batches)])
        if self._starts[-1] != info.rows:
            raise DataError(
                f"{directory}: split {name} has {self._starts[-1]} rows, "
                f"its manifest says {info.rows}; tokenize again"
            )

    def __len__(self) -> int:
        return self.info.rows

    def read_lengths(self) -> TokenIds:
        """Tokens of every row, [CLS] and [SEP] included: int32 [rows]."""
        return _concatenate([np.diff(offsets) for offsets in self._offsets])

    def read_labels(self) -> LabelArray:
        """Labels of all rows: `[rows]` gives those of a slice or of row numbers as an array.

        An index into the classes, int32 [rows]; of several labels uint8 [rows, classes]; numbers in
        the units of the data, float64 [rows].
        """
        columns = [batch.column(1) for batch in self._batches]
        return read_label_columns(columns, self._kind, len(self.info.class_counts))

    def read_padded(self, indices: Sequence[int] | npt.NDArray[Any], width: int) -> TokenIds:
        """The token ids of the rows, padded with [PAD] to `width`: int32 [len(indices), width].

        Raises DataError if a row is longer than `width`; rows are never truncated here.
        """
        locations = self._locate_rows(indices)
        padded = np.full((len(locations), width), self._pad_id, np.int32)
        for line, location in zip(padded, locations, strict=True):
            row = self._row(*location)
            if len(row) > width:
                raise DataError(
                    f"split {self.name}: a row has {len(row)} tokens and does not fit into {width}"
                )
            line[: len(row)] = row
        return padded

    def read_flat(
        self, indices: Sequence[int] | npt.NDArray[Any]
    ) -> tuple[TokenIds, npt.NDArray[np.int64]]:
        """The token ids of the rows, one row after the other: int32 [tokens], [rows + 1].

        The second array has the begin of each row and the end of the last, as `add_rows` takes it.
        """
        rows = [self._row(*location) for location in self._locate_rows(indices)]
        return _concatenate(rows), np.cumsum([0, *map(len, rows)], dtype=np.int64)

    def read_texts(self, indices: Sequence[int] | npt.NDArray[Any]) -> list[Text]:
        """The texts, or pairs, of the rows; DataError for training rows without their texts."""
        if self.name == "train" and any(len(batch.columns) <= 2 for batch in self._batches):
            raise DataError(
                "the training split keeps no texts; set tokenize.keep_texts=true and tokenize again"
            )
        columns = [batch.columns[2:] for batch in self._batches]
        found = (
            tuple(column[row].as_py() for column in columns[batch])
            for batch, row in self._locate_rows(indices)
        )
        return [texts if len(texts) > 1 else texts[0] for texts in found]

    def _locate_rows(self, indices: Sequence[int] | npt.NDArray[Any]) -> list[tuple[int, int]]:
        wanted = np.asarray(indices, np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"split {self.name} has rows 0 to {len(self) - 1}")
        batches = np.searchsorted(self._starts, wanted, side="right") - 1
        return list(zip(batches.tolist(), (wanted - self._starts[batches]).tolist(), strict=True))

    def _row(self, batch: int, row: int) -> npt.NDArray[Any]:
        offsets = self._offsets[batch]
        ids: npt.NDArray[Any] = self._values[batch][offsets[row] : offsets[row + 1]]
        return ids


class TokenShards:
    """Opened token shards: `content`, `manifest`, `vocabulary` and the splits."""

    def __init__(
        self,
        directory: Path,
        sealed: manifest.Manifest,
        content: ShardsContent,
        vocabulary: Vocabulary,
    ) -> None:
        self.directory, self.manifest, self.content, self.vocabulary = (
            directory,
            sealed,
            content,
            vocabulary,
        )

    @property
    def digest(self) -> str:
        """The manifest's digest: equal shards have equal digests."""
        return self.manifest.digest

    def open_split(self, name: SplitName) -> SplitReader:
        """The split's rows."""
        content = self.content
        return SplitReader(
            self.directory, name, content.splits[name], self.vocabulary.pad_id, content.task.kind
        )


def open_shards(directory: Path, verify: bool = True) -> TokenShards:
    """Open and verify the token shards in a directory.

    `verify=False` skips the files' digests, for further workers on the same machine. Raises
    DataError for a directory that is unfinished, damaged, of another kind, or whose vocabulary is
    not the one that its rows were tokenized with.
    """
    sealed = (
        verify_artifact(directory, "token_shards")
        if verify
        else manifest.read_manifest(directory, "token_shards")
    )
    content = parse_shards_content(sealed, directory)
    vocabulary = Vocabulary.read(
        directory / VOCABULARY_FILE, content.lower_case, content.strip_accents
    )
    if vocabulary.sha256 != content.vocabulary_sha256:
        raise DataError(
            f"{directory}: {VOCABULARY_FILE} is not the vocabulary of these rows; tokenize again"
        )
    return TokenShards(directory, sealed, content, vocabulary)


def commit_shards(
    directory: Path,
    vocabulary: Vocabulary,
    content: ShardsContent,
    inputs: Mapping[str, str],
    config: Mapping[str, Any],
) -> None:
    """Write the vocabulary and then the manifest, which makes the directory an artifact."""
    vocabulary.write(directory / VOCABULARY_FILE)
    manifest.commit(
        directory,
        "token_shards",
        content=content.model_dump(mode="json", exclude=set(PROVENANCE)),
        inputs=inputs,
        config=config,
        provenance=content.model_dump(mode="json", include=set(PROVENANCE)),
    )


def build_text_arrays(texts: Sequence[Text]) -> list[pa.Array]:
    """The texts as a column, or those of pairs as two columns."""
    if texts and not isinstance(texts[0], str):
        return [pa.array(column, pa.string()) for column in zip(*texts, strict=True)]
    return [pa.array(texts, pa.string())]


def _batches(path: Path) -> list[Any]:
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        return [reader.get_batch(index) for index in range(reader.num_record_batches)]
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path}: not a readable shard ({' '.join(str(error).split())}); tokenize again"
        ) from None


def _concatenate(parts: list[Any]) -> TokenIds:
    return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int32)
