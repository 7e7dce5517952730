"""Reads a text file in chunks of complete lines, so that a file may be larger than memory.

A byte order mark is skipped; CR, LF and CRLF end a line; bytes that are not UTF-8 become lone
surrogates. A line of MAX_LINE_CHARACTERS, UTF-16 and damaged compression stop the reading with a
DataError.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from components.errors import DataError

MAX_LINE_CHARACTERS = 1 << 24
CHUNK_CHARACTERS = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Chunk:
    """Complete lines of a text, line ends included, and their number."""

    text: str
    lines: int

    def __iter__(self) -> Iterator[str]:
        """Iterate over the lines."""
        return iter(io.StringIO(self.text, newline=""))


@contextmanager
def open_chunks(path: Path, name: str) -> Iterator[Iterator[Chunk]]:
    """Open a text file, compressed with gzip or not, as chunks; `name` is what messages call it."""
    with open(path, "rb") as raw:
        start = raw.read(len(GZIP_MAGIC))
    opener: Callable[..., TextIO] = gzip.open if start == GZIP_MAGIC else open
    with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        yield _read_chunks(stream, name)


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
            if line == 0 and text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
                raise DataError(f"{name}: the file is UTF-16; save it as UTF-8")
            text += stream.readline(MAX_LINE_CHARACTERS)
            chunk = Chunk(text, count_line_breaks(text) + (text[-1] not in "\r\n"))
            line += chunk.lines
            if len(text) >= MAX_LINE_CHARACTERS and max(map(len, chunk)) >= MAX_LINE_CHARACTERS:
                raise DataError(
                    f"{name}, line {line}: longer than {MAX_LINE_CHARACTERS:,} characters; "
                    "is this the right file and data.format?"
                )
            yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: the compression is damaged after line {line} ({error})") from None
