"""Reads one JSON array item by item, so that a file may be larger than memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from components.data.readers.text_chunks import CHUNK_CHARACTERS, MAX_LINE_CHARACTERS
from components.errors import DataError

_START = re.compile(r"\s*\[\s*(\{|\]|$)")
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def starts_array_of_objects(start: str) -> bool:
    """Whether a text that begins like this is an array whose first item is an object."""
    return _START.match(start) is not None


def read_array_items(stream: TextIO, name: str) -> Iterator[tuple[int, Any]]:
    """Yield first line and value of each item; DataError, naming the line, for what is no JSON.

    An item may have up to MAX_LINE_CHARACTERS.
    """
    text = _Window(stream)
    text.skip_space()
    text.take("[")
    is_first = True
    while text.skip_space() != "]":
        if not is_first and not text.take(","):
            raise _syntax_error(name, text.line, "no comma or closing bracket after an item")
        text.skip_space()
        line = text.line
        try:
            yield line, text.take_value()
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise _syntax_error(name, line, reason) from None
        is_first = False
    text.take("]")
    if text.skip_space():
        raise _syntax_error(name, text.line, "text after the end of the array")


class _Window:
    """The part of a text that is not read yet, of which the beginning is in memory."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text, self._index = "", 0
        self.line = 1

    def skip_space(self) -> str:
        """Skip white space; return the next character, or nothing at the end."""
        while True:
            match = _SPACE.match(self._text, self._index)
            self._move(match.end() if match else self._index)
            if self._index < len(self._text) or not self._read_more():
                return self._text[self._index : self._index + 1]

    def take(self, character: str) -> bool:
        """Skip this character if it is the next one; whether it was."""
        found = self._text[self._index : self._index + 1] == character
        self._index += found
        return found

    def take_value(self) -> Any:
        """Return the next JSON value; ValueError if there is none."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._index)
            except ValueError:
                # The value may go on in what is not read yet.
                if len(self._text) - self._index > MAX_LINE_CHARACTERS or not self._read_more():
                    raise
                continue
            if end == len(self._text) and self._read_more():
                continue  # a number may go on
            self._move(end)
            return value

    def _move(self, index: int) -> None:
        self.line += self._text.count("\n", self._index, index)
        self._index = index

    def _read_more(self) -> bool:
        # What grows with each failure keeps the number of attempts at a long value small.
        more = self._stream.read(max(CHUNK_CHARACTERS, len(self._text) - self._index))
        self._text, self._index = self._text[self._index :] + more, 0
        return bool(more)


def _syntax_error(name: str, line: int, reason: str) -> DataError:
    return DataError(f"{name}, line {line}: the array is not JSON from here on: {reason}")
