"""Opens the source that `data.source` names: files, objects, a TensorFlow data set or the sample.

What is downloaded stays in a temporary directory until the source is closed.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.config.data import SAMPLE_SOURCES, DataConfig
from components.data.readers import file_format_of, open_file_reader
from components.data.readers.delimited import DelimitedReader
from components.data.readers.dialect import CANDIDATE_DELIMITERS
from components.data.readers.file_signatures import check_file_signature
from components.data.readers.tfds import TFDS_PREFIX, open_tfds_source
from components.data.rows import ExcludedRows, RowReader, RowStream, Source
from components.data.sample import SAMPLE_FILES
from components.data.source_files import SourceFile, find_files
from components.errors import ConfigError, DataError
from components.storage.atomic_files import file_sha256

MAX_LISTED_FILES = 3


@contextmanager
def open_source(
    names: Sequence[str], data: DataConfig, splits: Sequence[str] = ("train",)
) -> Iterator[Source]:
    """Open the source that `names` stand for, read as `data` says.

    Of a source that defines splits, the first of `splits` that it has is selected. Raises
    DataError for a source that does not exist, is empty or has none of the splits, ConfigError
    for an unknown format.
    """
    if names[0].startswith(TFDS_PREFIX):
        source = open_tfds_source(names[0], data.label_columns[0], data.tfds_data_dir)
        available = [split for split in splits if split in source.splits]
        yield source.select_split(available[0] if available else splits[-1])
        return
    with tempfile.TemporaryDirectory(prefix="kubert-source-") as temporary:
        yield open_files(list_files(names, Path(temporary)), ", ".join(names), data)


def list_files(names: Sequence[str], temporary: Path) -> list[SourceFile]:
    """Return the files of a source, which may be a built-in sample; see `find_files`."""
    if len(names) == 1 and names[0] in SAMPLE_SOURCES:
        return [SourceFile(names[0], SAMPLE_FILES[names[0]])]
    return find_files(names, temporary)


def check_files(files: Sequence[SourceFile], uri: str, data: DataConfig) -> None:
    """DataError or ConfigError for a file of a kind that is not read, and for several formats.

    `uri` is what messages call all files together.
    """
    for file in files:
        _check_file(file)
    try:
        formats = {file_format_of(file.name, data) for file in files}
    except ConfigError as error:
        advice = "" if len(files) == 1 else f"; or name the data files by a pattern, {uri}/*.csv"
        raise ConfigError(f"{error}{advice}") from None
    if len(formats) > 1:
        raise DataError(
            f"{uri}: files of several formats ({', '.join(sorted(formats))}); name one kind with a "
            "pattern such as *.csv, or set data.format"
        )


@dataclass(frozen=True)
class ConcatenatedRows:
    """The rows of several files, one file after the other, each batch with its file's name."""

    readers: Mapping[str, RowReader]

    def read(self, columns: Sequence[str]) -> RowStream:
        """Stream the columns of all files."""
        for name, reader in self.readers.items():
            for batch in reader.read(columns):
                yield batch if isinstance(batch, ExcludedRows) else batch._replace(file=name)


def open_files(files: Sequence[SourceFile], uri: str, data: DataConfig) -> Source:
    """Open local files as one source, which messages call `uri`; errors as of `open_source`."""
    check_files(files, uri, data)
    readers, digests = {}, {}
    for file in files:
        readers[file.name] = open_file_reader(file.path, file.name, data)
        digests[file.name] = file_sha256(file.path)
    first = next(iter(readers.values()))
    return Source(
        uri,
        first if len(files) == 1 else ConcatenatedRows(readers),
        combine_digests([*digests.values()]),
        notes=tuple(_describe_files(files, uri, [*readers.values()], data)),
        files={file.name: file.path for file in files},
        file_digests=digests if len(files) > 1 else {},
    )


def _check_file(file: SourceFile) -> None:
    try:
        check_file_signature(file.path, file.name)
    except OSError as error:
        raise DataError(
            f"{file.name}: {error.strerror or error}; check data.source and data.test_source"
        ) from None


def combine_digests(digests: Sequence[str]) -> str:
    """Return the only digest, or the SHA-256 (hex) of several in their order."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _describe_files(
    files: Sequence[SourceFile], uri: str, readers: Sequence[RowReader], data: DataConfig
) -> Iterator[str]:
    if len(files) > 1:
        listed = ", ".join(Path(file.name).name for file in files[:MAX_LISTED_FILES])
        more = ", ..." if len(files) > MAX_LISTED_FILES else ""
        yield f"{uri}: {len(files)} files are read, in this order: {listed}{more}"
    delimiters = {
        reader.dialect.delimiter
        for reader in readers
        if isinstance(reader, DelimitedReader) and file_format_of(files[0].name, data) == "csv"
    }
    for delimiter in sorted(delimiters - {CANDIDATE_DELIMITERS[0]}):
        if data.delimiter is None:
            shown = "a tab" if delimiter == "\t" else repr(delimiter)
            yield f"{uri}: fields are separated by {shown} (data.delimiter sets it)"
