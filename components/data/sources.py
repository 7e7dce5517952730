"""A place that rows come from, wherever it is: a local file, an object in a store, a TensorFlow data set, the sample.

A source can be read any number of times, as a stream; a small one is taken apart once. What is fetched is kept in a temporary
directory until the source is closed.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.config.schema import SAMPLE, DataConfig
from components.data import readers
from components.data.row_cache import kept
from components.data.rows import MAX_BATCH_ROWS, MalformedRow, Row, Rows, batch_rows
from components.data.sample import NEWS
from components.errors import DataError
from components.storage.atomic_files import file_sha256
from components.storage.store import open_store
from components.storage.uri import is_remote_uri, parse_uri

TFDS = "tfds:"


@dataclass(frozen=True)
class Source:
    """`rows(columns)` streams from the start; `class_names`, if any, name the integer labels from 0; `sha256` is of the bytes."""

    name: str
    rows: Callable[[Sequence[str]], Rows]
    sha256: str
    class_names: tuple[str, ...] | None = None


@contextmanager
def open_source(uri: str, data: DataConfig, split: str = "train") -> Iterator[Source]:
    """The source that `uri` names, read as `data` says; `split` is the one to read of a TensorFlow data set.

    Raises DataError for a source that is not there or empty, ConfigError for a name of unknown format.
    """
    if uri.startswith(TFDS):
        yield _prepared(uri, data, split)
        return
    with tempfile.TemporaryDirectory(prefix="kubert-source-") as temporary:
        path = NEWS if uri == SAMPLE else _local(uri, Path(temporary))
        yield Source(uri, kept(_reader(path, uri, data)), file_sha256(path))


def has_test_split(uri: str, data: DataConfig) -> bool:
    """Whether the source has a test split of its own, which then is kept."""
    return uri.startswith(TFDS) and "test" in _builder(uri, data).info.splits


def _local(uri: str, temporary: Path) -> Path:
    if is_remote_uri(uri):
        scheme, bucket, key = parse_uri(uri)
        if not key:
            raise DataError(f"{uri}: names a bucket; name a file in it")
        path = temporary / "source"
        open_store(f"{scheme}://{bucket}").download(key, path)
    else:
        path = Path(uri.removeprefix("file://"))
    if path.is_dir():
        raise DataError(f"{uri}: is a directory; data.source and data.test_source name one file")
    try:
        with open(path, "rb") as stream:
            if not stream.read(1):
                raise DataError(f"{uri}: the file is empty")
    except OSError as error:
        raise DataError(
            f"{uri}: {error.strerror or error}; check data.source and data.test_source"
        ) from None
    return path


def _reader(path: Path, uri: str, data: DataConfig) -> Callable[[Sequence[str]], Rows]:
    kind = (
        "csv" if uri == SAMPLE else data.format if data.format != "auto" else readers.format_of(uri)
    )
    if kind == "parquet":
        return partial(readers.parquet_rows, path, uri)
    if kind == "jsonl":
        return partial(readers.json_rows, path, uri)
    return partial(
        readers.csv_rows, path, uri, delimiter="," if kind == "csv" else "\t", header=data.header
    )


def _prepared(uri: str, data: DataConfig, split: str) -> Source:
    import tensorflow_datasets as tfds

    builder = _builder(uri, data)
    splits = builder.info.splits
    if split not in splits:
        raise DataError(f"{uri}: has no split {split!r}; splits: {', '.join(splits)}")
    features = builder.info.features
    label = features[data.label] if data.label in features else None  # noqa: SIM401 - it is no dict and has no get
    names = (
        tuple(label.names) if isinstance(label, tfds.features.ClassLabel) and label.names else None
    )
    digest = hashlib.sha256()
    for path in sorted(Path(builder.data_dir).iterdir()):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())

    def rows(columns: Sequence[str]) -> Rows:
        return Rows(batch_rows(_prepared_rows(builder, uri, split, columns)))

    return Source(f"{uri} ({split})", kept(rows), digest.hexdigest(), names)


def _builder(uri: str, data: DataConfig) -> Any:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    name = uri.removeprefix(TFDS)
    try:
        builder = tfds.builder(name, data_dir=data.tfds_data_dir)
    except Exception as error:
        raise DataError(
            f"{uri}: no such TensorFlow data set{_in(data)}: {_first_line(error)}"
        ) from None
    if builder.info.splits:
        return builder
    if data.tfds_data_dir:
        raise DataError(
            f"{uri}: not prepared{_in(data)}; leave data.tfds_data_dir out to have it downloaded"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise DataError(
            f"{uri}: cannot be downloaded and prepared: {_first_line(error)}; "
            "prepare it on a machine with access and set data.tfds_data_dir, or use a file"
        ) from None
    return builder


def _prepared_rows(
    builder: Any, uri: str, split: str, columns: Sequence[str]
) -> Iterator[Row | MalformedRow]:
    features = builder.info.features
    for column in columns:
        if column not in features:
            raise DataError(
                f"{uri}: no column {column!r}; columns: {', '.join(sorted(features))} (options data.text, data.label and data.time)"
            )
        if features[column].shape != ():
            raise DataError(f"{uri}: column {column!r} holds lists or records, not plain values")
    stream = builder.as_dataset(split=split, shuffle_files=False).map(
        lambda row: tuple(row[column] for column in columns)
    )
    number = 0
    for batch in stream.batch(MAX_BATCH_ROWS).as_numpy_iterator():
        for values in zip(*(column.tolist() for column in batch), strict=True):
            number += 1
            yield Row(number, 0, [readers.decoded(value) for value in values])


def _in(data: DataConfig) -> str:
    return f" in {data.tfds_data_dir}" if data.tfds_data_dir else ""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
