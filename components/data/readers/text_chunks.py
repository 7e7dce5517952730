"""Reads a text file in chunks of complete lines, so that a file may be larger than memory.

A byte order mark is skipped; CR, LF and CRLF end a line; bytes that are not of the encoding become
lone surrogates. A line of MAX_LINE_CHARACTERS, an encoding that does not fit and damaged
compression stop the reading with a DataError.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO, cast

from components.errors import DataError

MAX_LINE_CHARACTERS = 1 << 24
CHUNK_CHARACTERS = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"
DEFAULT_ENCODING = "utf-8-sig"
NOT_UNICODE = "text that is not UTF-8 or holds a lone surrogate"
"""Reason for rejecting a row with bytes that are not of the encoding."""
ENCODINGS_BY_MARK = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; that of UTF-32-LE begins with that of UTF-16-LE, so it comes first."""
READ_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error, UnicodeError)
_EXAMINED_BYTES = 1 << 12
_MIN_SHARE_OF_NUL = 0.2


@dataclass(frozen=True)
class Chunk:
    """Complete lines of a text, line ends included, and their number."""

    text: str
    lines: int

    def __iter__(self) -> Iterator[str]:
        """Iterate over the lines."""
        return iter(io.StringIO(self.text, newline=""))


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, compressed with gzip or not, as bytes."""
    with open(path, "rb") as raw:
        start = raw.read(len(GZIP_MAGIC))
    if start == GZIP_MAGIC:
        with gzip.open(path, "rb") as compressed:
            yield cast(IO[bytes], compressed)
    else:
        with open(path, "rb") as plain:
            yield plain


@contextmanager
def open_text(path: Path, name: str, encoding: str | None = None) -> Iterator[TextIO]:
    """Open a text file, compressed with gzip or not; `name` is what messages call it.

    Without an encoding the file is UTF-8, or what its byte order mark says. Reading it may raise
    one of READ_ERRORS: see `translate_read_error`.
    """
    chosen = encoding or find_encoding(path, name)
    with open_bytes(path) as stream:
        yield io.TextIOWrapper(stream, chosen, errors="surrogateescape", newline="")


@contextmanager
def open_chunks(path: Path, name: str, encoding: str | None = None) -> Iterator[Iterator[Chunk]]:
    """Open a text file as chunks of complete lines; `name` is what messages call it."""
    with open_text(path, name, encoding) as stream:
        yield _read_chunks(stream, name)


def find_encoding(path: Path, name: str) -> str:
    """Return the encoding that the byte order mark of a file names, else UTF-8.

    DataError for a file with so many NUL bytes that it is UTF-16 without a mark.
    """
    try:
        with open_bytes(path) as stream:
            start = stream.read(_EXAMINED_BYTES)
    except READ_ERRORS as error:
        raise translate_read_error(error, name, 0) from None
    for mark, encoding in ENCODINGS_BY_MARK.items():
        if start.startswith(mark):
            return encoding
    if start.count(0) > len(start) * _MIN_SHARE_OF_NUL:
        is_little_endian = start[1::2].count(0) >= start[::2].count(0)
        likely = "utf-16-le" if is_little_endian else "utf-16-be"
        raise DataError(
            f"{name}: many NUL bytes, as in UTF-16 without a byte order mark; "
            f"if it is a text file, set data.encoding={likely}"
        )
    return DEFAULT_ENCODING


def translate_read_error(error: Exception, name: str, line: int) -> DataError:
    """Return the DataError for one of READ_ERRORS that reading stopped with after a line."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(
            f"{name}: cannot be decoded as {error.encoding} after line {line} ({error.reason}); "
            "check data.encoding"
        )
    if isinstance(error, UnicodeError):
        return DataError(f"{name}: cannot be decoded ({error}); check data.encoding")
    return DataError(f"{name}: the compression is damaged after line {line} ({error})")


def count_line_breaks(text: str) -> int:
    """Count the line ends in the text."""
    feeds = text.count("\n")
    # Searching for two characters takes several times as long as for one; most texts have no CR.
    return feeds + text.count("\r") - text.count("\r\n") if "\r" in text else feeds


def decode_value(value: Any) -> Any:
    """Decode bytes, with a lone surrogate per byte that is not UTF-8; return other values as is."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _read_chunks(stream: TextIO, name: str) -> Iterator[Chunk]:
    line = 0
    try:
        while text := stream.read(CHUNK_CHARACTERS):
            text += stream.readline(MAX_LINE_CHARACTERS)
            chunk = Chunk(text, count_line_breaks(text) + (text[-1] not in "\r\n"))
            line += chunk.lines
            if len(text) >= MAX_LINE_CHARACTERS and max(map(len, chunk)) >= MAX_LINE_CHARACTERS:
                raise DataError(
                    f"{name}, line {line}: longer than {MAX_LINE_CHARACTERS:,} characters; "
                    "is this the right file and data.format?"
                )
            yield chunk
    except READ_ERRORS as error:
        raise translate_read_error(error, name, line) from None
