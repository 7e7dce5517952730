"""Reads the sources of a run as far as that takes about a second, before any step starts.

Sources of a few MiB are read in full. Of larger ones the kind of every file and the first rows of
the first files are read. The messages are those of the tokenize step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.config.schema import DataConfig, TaskConfig
from components.data.readers import open_file_reader
from components.data.readers.jsonl import JsonReader
from components.data.readers.remedies import suggest_remedies
from components.data.readers.text_chunks import GZIP_MAGIC
from components.data.readers.tfds import TFDS_PREFIX
from components.data.rows import MalformedRow, RowBatch, column_index
from components.data.source_files import SourceFile, check_disjoint, refuse_web_address
from components.data.sources import check_files, list_files
from components.data.text_columns import ColumnLayout
from components.data.time_window import fill_date_placeholder, parse_window
from components.errors import DataError
from components.storage.uri import is_remote_uri

MAX_BYTES_READ_IN_FULL = 4 << 20
"""Uncompressed; all sources together."""
COMPRESSED_FORMAT_FACTOR = 8
"""How much larger than a compressed or Parquet file its rows may be."""
MAX_EXAMINED_FILES = 20
MIN_EXAMINED_ROWS = 1000
PARQUET_MAGIC = b"PAR1"


def validate_sources(data: DataConfig, task: TaskConfig | None = None) -> list[str]:
    """Read what is cheap to read of the sources; return the names of those that were not read.

    Objects in object storage and TensorFlow data sets are not read. Without `task` a text has one
    of the classes. Raises DataError or ConfigError
    for a source that the tokenize step would refuse.
    """
    parse_window(data)
    ColumnLayout.from_config(data)
    names, test_names = fill_date_placeholder(data), data.test_sources
    for name in (*names, *test_names):
        refuse_web_address(name)
    unread = [name for name in (*names, *test_names) if not _is_local(name)]
    with tempfile.TemporaryDirectory(prefix="kubert-source-") as temporary:
        files, test_files = (
            list_files(local, Path(temporary)) if (local := [*filter(_is_local, each)]) else []
            for each in (names, test_names)
        )
    # Kinds and formats first: they say more about a wrong file than its rows do.
    for found, each in ((files, names), (test_files, test_names)):
        check_files(found, ", ".join(each), data)
    check_disjoint([file.name for file in files], [file.name for file in test_files])
    if not unread and _estimate_bytes([*files, *test_files]) <= MAX_BYTES_READ_IN_FULL:
        _read_all_rows(data, task)
    else:
        for file in [*files[:MAX_EXAMINED_FILES], *test_files[:MAX_EXAMINED_FILES]]:
            _read_first_rows(file, data)
    return unread


def _is_local(name: str) -> bool:
    return not is_remote_uri(name) and not name.startswith(TFDS_PREFIX)


def _estimate_bytes(files: Sequence[SourceFile]) -> int:
    return sum(file.path.stat().st_size * _expansion_of(file.path) for file in files)


def _expansion_of(path: Path) -> int:
    with path.open("rb") as stream:
        start = stream.read(len(PARQUET_MAGIC))
    is_compressed = start.startswith((GZIP_MAGIC, PARQUET_MAGIC))
    return COMPRESSED_FORMAT_FACTOR if is_compressed else 1


def _read_all_rows(data: DataConfig, task: TaskConfig | None) -> None:
    """Make the passes of the tokenize step, without the tokenizing."""
    from components.data.labelled_text import open_dataset

    with open_dataset(data, task) as dataset:
        for _ in dataset.read_examples():
            pass


def _read_first_rows(file: SourceFile, data: DataConfig) -> None:
    """DataError if the columns are not there, or too many of the first rows are malformed."""
    from components.data.read_stats import RejectedRows

    window = parse_window(data)
    required = [*data.label_columns, *([window.column] if window else [])]
    wanted = max(MIN_EXAMINED_ROWS, data.max_bad_rows + 1)
    reader = open_file_reader(file.path, file.name, data)
    if isinstance(reader, JsonReader):
        _check_fields(reader.list_fields(wanted), required, data, file.name)
    rejected, rows = RejectedRows(data.max_bad_rows), 0
    for batch in reader.read([*data.text_columns, *required]):
        if isinstance(batch, MalformedRow):
            rejected.add(file.name, batch.number, batch.line, batch.reason)
            rows += 1
        elif isinstance(batch, RowBatch):
            rows += len(batch.numbers)
        if rows >= wanted:
            break
    if rejected.is_over_limit:
        remedies = suggest_remedies({file.name: file.path}, data, rejected.counts)
        rejected.raise_error(remedies, {}, rows)
    if not rows:
        raise DataError(f"{file.name}: holds no rows")


def _check_fields(
    fields: Sequence[str], required: Sequence[str], data: DataConfig, name: str
) -> None:
    """DataError where no row can be used; a row may lack some of several text columns."""
    needed = [*required, *(data.text_pair or ())]
    missing = [column for column in needed if column not in fields]
    if data.text_pair is None and not any(column in fields for column in data.text):
        missing += data.text
    if fields and missing:
        column_index(min(missing), fields, name)
