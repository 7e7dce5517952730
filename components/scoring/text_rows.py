"""Rows of a text source by their position, cut into units; what is wrong with each rejected row.

Every worker reads the source from its start, because parsing a row takes a hundredth of the time
that scoring it takes: there are no parts to distribute, and no worker waits for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.config.data import DataConfig
from components.data.read_stats import RejectedRows
from components.data.readers.text_chunks import NOT_UNICODE
from components.data.readers.tfds import TFDS_PREFIX
from components.data.rows import ExcludedRows, MalformedRow, RowBatch, RowReader, Source
from components.data.source_files import SourceFile
from components.data.sources import open_files, open_source
from components.data.text_columns import Text, TextColumns, UnusableText
from components.data.time_window import WindowedRows, fill_date_placeholder, parse_window
from components.scoring.kept_columns import is_unicode
from components.scoring.unit_results import RejectedRow


@dataclass
class TextUnit:
    """The rows of one unit: positions, texts and kept columns of valid rows, and the others."""

    unit: int
    rows: list[int] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    kept: dict[str, list[Any]] = field(default_factory=dict)
    rejected: list[RejectedRow] = field(default_factory=list)


@dataclass(frozen=True)
class SourceSurvey:
    """What a first pass over a source found: its rows, and how many of them cannot be scored."""

    rows: int
    rejected: RejectedRows
    outside_window: int


@contextmanager
def open_text_source(data: DataConfig, paths: Mapping[str, str] | None = None) -> Iterator[Source]:
    """The source that `data` names, with its time window.

    `paths` are local files by the source's names; they are read instead of the source's own.
    """
    names = fill_date_placeholder(data)
    if not names[0].startswith(TFDS_PREFIX):
        # The delimiter of a file is found by its columns, of which there is no label here.
        data = data.model_copy(update={"label": data.text_columns[0]})
    with ExitStack() as stack:
        if paths:
            files = [SourceFile(name, Path(path)) for name, path in paths.items()]
            source = open_files(files, ", ".join(names), data)
        else:
            source = stack.enter_context(open_source(names, data, splits=("test", "train")))
        window = parse_window(data)
        reader: RowReader = source.reader
        yield replace(source, reader=reader if window is None else WindowedRows(reader, window))


def survey_source(source: Source, data: DataConfig, keep: Sequence[str]) -> SourceSurvey:
    """Count the source's rows in one pass, and those that cannot be scored, as workers do."""
    rejected, rows, outside = RejectedRows(data.max_bad_rows), 0, 0
    for batch in source.reader.read(_columns_of(data, keep)):
        if isinstance(batch, ExcludedRows):
            outside += batch.rows
            continue
        rows += 1 if isinstance(batch, MalformedRow) else len(batch.numbers)
        for row in _find_rejected(batch, data, keep, source.name, 0):
            rejected.add(row.file, row.number, row.line, row.reason, row.columns)
    return SourceSurvey(rows, rejected, outside)


def read_text_units(
    source: Source,
    data: DataConfig,
    keep: Sequence[str],
    unit_rows: int,
    is_wanted: Callable[[int], bool],
) -> Iterator[TextUnit]:
    """The wanted units in their order; rows of the others are parsed and left out."""
    position = 0
    current: TextUnit | None = None
    for batch in source.reader.read(_columns_of(data, keep)):
        if isinstance(batch, ExcludedRows):
            continue
        size = 1 if isinstance(batch, MalformedRow) else len(batch.numbers)
        start = 0
        while start < size:
            unit = (position + start) // unit_rows
            stop = min(size, (unit + 1) * unit_rows - position)
            if current is not None and current.unit != unit:
                yield current
                current = None
            if is_wanted(unit):
                current = current or TextUnit(unit, kept={column: [] for column in keep})
                part = batch if isinstance(batch, MalformedRow) else batch.slice(start, stop)
                _add_rows(current, part, data, keep, source.name, position + start)
            start = stop
        position += size
    if current is not None:
        yield current


def _columns_of(data: DataConfig, keep: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*data.text_columns, *keep]))


def _add_rows(
    unit: TextUnit,
    batch: RowBatch | MalformedRow,
    data: DataConfig,
    keep: Sequence[str],
    source: str,
    position: int,
) -> None:
    rejected = _find_rejected(batch, data, keep, source, position)
    unit.rejected.extend(rejected)
    if isinstance(batch, MalformedRow):
        return
    positions: Sequence[int] = range(position, position + len(batch.numbers))
    if rejected:
        left_out = {row.position for row in rejected}
        mask = [each not in left_out for each in positions]
        batch = batch.filter(mask)
        positions = [each for each in positions if each not in left_out]
    unit.rows.extend(positions)
    unit.texts.extend(_build_texts(batch, TextColumns.from_config(data)))
    for column in keep:
        unit.kept[column].extend(batch.columns[column])


def _build_texts(batch: RowBatch, columns: TextColumns) -> Sequence[Text]:
    values = columns.read(batch)
    texts = columns.build_texts(values)
    if texts is not None:
        return texts
    built = map(columns.build_text, zip(*values, strict=True))
    return [text for text in built if not isinstance(text, UnusableText)]


def _find_rejected(
    batch: RowBatch | MalformedRow,
    data: DataConfig,
    keep: Sequence[str],
    source: str,
    position: int,
) -> list[RejectedRow]:
    """The rows of a batch that cannot be scored; `position` is that of its first row."""
    file = batch.file or source
    if isinstance(batch, MalformedRow):
        return [RejectedRow(position, batch.number, batch.line, file, "", batch.reason)]
    columns = TextColumns.from_config(data)
    read = columns.read(batch)
    kept = [batch.columns[column] for column in keep]
    if columns.build_texts(read) is not None and all(
        is_unicode(value) for values in kept for value in values
    ):
        return []
    rejected = []
    for offset, parts in enumerate(zip(*read, strict=True)):
        text = columns.build_text(parts)
        reason, name = text if isinstance(text, UnusableText) else (None, "")
        for column, values in zip(keep, kept, strict=True):
            if reason is None and not is_unicode(values[offset]):
                reason, name = NOT_UNICODE, column
        if reason is not None:
            number, line = batch.numbers[offset], batch.lines[offset]
            rejected.append(RejectedRow(position + offset, number, line, file, name, reason))
    return rejected
