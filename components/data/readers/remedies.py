"""Says which option helps where rows of a file cannot be read, after a look at the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from components.config.data import DataConfig
from components.data.readers import file_format_of
from components.data.readers.delimited import UNBALANCED_QUOTES, parse_field_count
from components.data.readers.encoding_guess import guess_encoding
from components.data.readers.jsonl import NOT_AN_OBJECT, NOT_JSON
from components.data.readers.text_chunks import NOT_UNICODE, open_bytes

DELIMITED_FORMATS = ("csv", "tsv")
MAX_EXAMINED_FILES = 8
_EXAMINED_BYTES = 1 << 20
_ESCAPED_QUOTE = b'\\"'


def suggest_remedies(
    files: Mapping[str, Path], data: DataConfig, reasons: Mapping[str, int]
) -> list[str]:
    """Return one sentence per kind of reason that an option or a change of the file mends.

    `files` are the files of the source by their names; of the first of them the first MiB is read.
    """
    formats = {file_format_of(name, data) for name in files}
    starts = [*map(_read_start, islice(files.values(), MAX_EXAMINED_FILES))]
    remedies: list[str] = []
    if NOT_UNICODE in reasons and formats & {*DELIMITED_FORMATS, "jsonl"}:
        remedies += _suggest_encoding(starts, data)
    if formats & {*DELIMITED_FORMATS}:
        remedies += _suggest_dialect(starts, data, reasons)
    if {NOT_JSON, NOT_AN_OBJECT} & reasons.keys():
        remedies.append(
            "A JSON file has one object per line, or is one array of objects; write it again so, "
            "for example with pandas' to_json(orient='records', lines=True)."
        )
    return remedies


def _suggest_encoding(starts: Iterable[bytes], data: DataConfig) -> Iterator[str]:
    if data.encoding is not None:
        yield f"data.encoding={data.encoding} does not fit these rows."
        return
    guessed = {found for start in starts if (found := guess_encoding(start)) is not None}
    if guessed:
        encoding = min(guessed)
        yield f"The file is not UTF-8; it looks like {encoding}: set data.encoding={encoding}."
    else:
        yield "The file is not UTF-8: set data.encoding to its encoding, or save it as UTF-8."


def _suggest_dialect(
    starts: Iterable[bytes], data: DataConfig, reasons: Mapping[str, int]
) -> Iterator[str]:
    counts = {reason: count for reason in reasons if (count := parse_field_count(reason))}
    if UNBALANCED_QUOTES not in reasons and not counts:
        return
    escaped = sum(start.count(_ESCAPED_QUOTE) for start in starts)
    if escaped and data.escape != "backslash":
        yield (
            f'A backslash stands before {escaped} quotes (\\"), as Spark writes them: set '
            "data.escape=backslash."
        )
    elif UNBALANCED_QUOTES in reasons and data.quoting != "none":
        yield "If quotes are ordinary characters in this file, set data.quoting=none."
    elif counts:
        yield _describe_field_counts(counts, reasons)


def _describe_field_counts(
    counts: Mapping[str, tuple[int, int]], reasons: Mapping[str, int]
) -> str:
    most = max(counts, key=lambda reason: reasons[reason])
    fields, width = counts[most]
    if fields == width + 1:
        return (
            "If each row ends with a delimiter, or has an index at its start, the header lacks a "
            "name for that column: add one, even an unused one."
        )
    if width == 1:
        return "The first row has one field only: set data.delimiter to what separates the fields."
    return "Check data.delimiter and data.quoting, and that the first row names all columns."


def _read_start(path: Path) -> bytes:
    with open_bytes(path) as stream:
        return stream.read(_EXAMINED_BYTES)
