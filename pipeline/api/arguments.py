"""Arguments of the functions of the API, and of the options of the same commands.

A mistake is a UsageError that names the argument, before anything is begun.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from os import PathLike, fspath
from typing import Any, SupportsIndex

from components.errors import UsageError, shorten_value


def split_names(name: str, value: str) -> tuple[str, ...]:
    """The names of columns in a text, separated by commas; UsageError for an empty one."""
    columns = tuple(column.strip() for column in value.split(","))
    if not all(columns):
        raise UsageError(
            f"{name} {value!r}: has an empty name; write the names of columns, separated by "
            f"commas: {name} title,body"
        )
    return columns


def parse_numbers(name: str, value: str, words: tuple[str, ...]) -> tuple[int, ...] | str:
    """The numbers, or one of the words as it is; UsageError for anything else."""
    if value in words:
        return value
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(
            f"{name} {value}: write numbers from 1, separated by commas, or "
            f"{', '.join(words[:-1])} or {words[-1]}"
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def read_columns(name: str, value: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns: one text, as the command's option takes it, or a list of them."""
    if isinstance(value, str):
        return split_names(name, value)
    columns = _list_items(name, value, "a name, or a list of names")
    if not all(isinstance(column, str) and column for column in columns):
        raise UsageError(f"{name}={shorten_value(value)}: give a name, or a list of names")
    return tuple(columns)


def read_sources(value: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[str]:
    """Locations of a source: one, or several."""
    if isinstance(value, str | PathLike):
        return [fspath(value)]
    sources = _list_items("source", value, "a file, or a list of files")
    for source in sources:
        read_location("source", source)
    return [fspath(source) for source in sources]


def read_location(name: str, value: str | PathLike[str]) -> str:
    """A path or a URI as text."""
    if not isinstance(value, str | PathLike) or not isinstance(fspath(value), str):
        raise UsageError(f"{name}: give a path or a URI, not {_name_type(value)}")
    return fspath(value)


def read_integer(name: str, value: SupportsIndex, minimum: int) -> int:
    """A whole number, also of NumPy."""
    try:
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if isinstance(value, bool) or number < minimum:
        raise UsageError(f"{name}={shorten_value(value)}: give a whole number of {minimum} or more")
    return number


def read_choice(
    name: str, value: int | str | Iterable[int], words: tuple[str, ...]
) -> tuple[int, ...] | str:
    """Numbers from 1 (one, several, or as the command's option takes them), or one of the words."""
    if isinstance(value, str):
        return parse_numbers(name, value, words)
    if isinstance(value, SupportsIndex):
        return (read_integer(name, value, 1),)
    items = _list_items(name, value, f"a number, a list of numbers, or {' or '.join(words)}")
    return tuple(dict.fromkeys(read_integer(name, number, 1) for number in items))


def read_text(name: str, value: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise UsageError(f"{name}={shorten_value(value)}: give a text that is not empty")
    return value


def read_word(name: str, value: str, words: Sequence[str]) -> str:
    """One of some words."""
    if value not in words:
        raise UsageError(f"{name}={shorten_value(value)}: must be {' or '.join(words)}")
    return value


def list_texts(texts: Iterable[Any]) -> list[Any]:
    """The texts of a list or an iterator; what each of them must be depends on the model."""
    return _list_items("texts", texts, "a string, or a list of them")


def check_single_texts(texts: Sequence[Any]) -> None:
    """UsageError for anything but strings, such as pairs."""
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(
                f"texts[{number}]: explanations are of single texts; give a string, not "
                f"{_name_type(text)}"
            )


def check_function(name: str, value: Callable[..., Any] | None) -> None:
    """UsageError for a value that is neither None nor can be called."""
    if value is not None and not callable(value):
        raise UsageError(f"{name}: give a function of one event, not {_name_type(value)}")


def _list_items(name: str, value: Iterable[Any], wanted: str) -> list[Any]:
    if isinstance(value, bytes | bytearray) or not hasattr(value, "__iter__"):
        raise UsageError(f"{name}: give {wanted}, not {_name_type(value)}")
    return list(value)


def _name_type(value: object) -> str:
    return "None" if value is None else type(value).__name__
