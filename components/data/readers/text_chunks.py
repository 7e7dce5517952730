"""A text file in chunks that end where a line ends, so that no reader needs more than one of them, and no file is too large.

A byte order mark is skipped; CR, LF and CRLF all end a line; bytes that are not UTF-8 come out as lone surrogates. A line of
`LONGEST_LINE` characters, UTF-16 and damaged compression stop the reading with a DataError.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from components.errors import DataError

LONGEST_LINE = 1 << 24
CHARACTERS_PER_CHUNK = 1 << 18


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a text, line ends included, and how many these are."""

    text: str
    lines: int

    def __iter__(self) -> Iterator[str]:
        """The lines."""
        return iter(io.StringIO(self.text, newline=""))


@contextmanager
def open_chunks(path: Path, name: str) -> Iterator[Iterator[Chunk]]:
    """The chunks of a text file, compressed with gzip or not; `name` is what errors call it."""
    with open(path, "rb") as raw:
        start = raw.read(2)
    opener: Callable[..., TextIO] = gzip.open if start == b"\x1f\x8b" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        yield _chunks(stream, name)


def line_breaks(text: str) -> int:
    """How many line ends the text holds."""
    feeds = text.count("\n")
    # Looking for two characters takes several times as long as for one, and most texts have no carriage return.
    return feeds + text.count("\r") - text.count("\r\n") if "\r" in text else feeds


def _chunks(stream: TextIO, name: str) -> Iterator[Chunk]:
    number = 0
    try:
        while text := stream.read(CHARACTERS_PER_CHUNK):
            if number == 0 and text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
                raise DataError(f"{name}: the file is UTF-16; save it as UTF-8")
            text += stream.readline(LONGEST_LINE)
            chunk = Chunk(text, line_breaks(text) + (text[-1] not in "\r\n"))
            number += chunk.lines
            if len(text) >= LONGEST_LINE and max(map(len, chunk)) >= LONGEST_LINE:
                raise DataError(
                    f"{name}, line {number}: longer than {LONGEST_LINE:,} characters; is this the right file and data.format?"
                )
            yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name}: the compression is damaged after line {number} ({error})"
        ) from None
