"""The texts of a command, or pairs of them: its arguments, or the lines of standard input."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer

from components.errors import UsageError, shorten_value

ReleaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="RELEASE",
        help="A release: its directory as `kubert run` prints it, or STORE/NAME or "
        "STORE/NAME/VERSION with a path, gs:// or s3:// as STORE.",
    ),
]


class InputLines:
    """The lines of standard input that are not blank, which may be endless.

    UsageError for a line that is not UTF-8. At the end, a note on standard error says how many
    blank lines were skipped. number: of the last line that was read, counted from 1.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.number = 0
        self._lines = lines

    def __iter__(self) -> Iterator[str]:
        blank = 0
        for number, line in enumerate(self._lines, 1):
            self.number = number
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UsageError(
                    f"standard input, line {number}: is not UTF-8 ({error.reason}); convert "
                    "it first: iconv -f latin1 -t utf-8, with the encoding that it has"
                ) from None
            if text.strip():
                yield text
            else:
                blank += 1
        if blank:
            lines = "line" if blank == 1 else "lines"
            typer.echo(f"note: {blank:,} blank {lines} of standard input skipped", err=True)


def read_texts(
    command: str, release: str, texts: Sequence[str] | None
) -> Sequence[str] | InputLines:
    """The texts, or one per line of standard input.

    UsageError for a blank text, and for one that names a file, whose rows or lines rather than its
    name are meant.
    """
    for number, text in enumerate(texts or (), 1):
        if not text.strip():
            raise UsageError(
                f"TEXT {number}: is blank, and a model has nothing to read in it; give a text, or "
                "leave it out"
            )
        if os.path.isfile(text):  # noqa: PTH113 - False, and no error, for any long text
            _refuse_file(command, release, text)
    if texts and texts != ["-"]:
        return texts
    return InputLines(sys.stdin.buffer)


def group_pairs(
    texts: Sequence[str] | InputLines, inputs: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """The pairs of what `read_texts` returned: arguments two by two, or one pair per line.

    A line has the two texts with a tab in between, or a JSON object with a text for each of
    `inputs`. UsageError for anything else.
    """
    names = " and ".join(inputs)
    if not isinstance(texts, InputLines):
        if len(texts) % 2:
            raise UsageError(
                f"{len(texts)} text{'s' if len(texts) > 1 else ''}: the release takes pairs of "
                f"{names}; give both texts of each pair, or one pair per line of standard input"
            )
        yield from zip(texts[::2], texts[1::2], strict=True)
        return
    for line in texts:
        pair = _parse_json_pair(line, inputs) if line.startswith("{") else tuple(line.split("\t"))
        if len(pair) != 2:
            raise UsageError(
                f"standard input, line {texts.number}: no pair of {names}"
                f"{_name_extra_keys(line, inputs)}; write both with a tab in between, or a JSON "
                f"object with the keys {', '.join(inputs)}"
            )
        yield pair


def _parse_json(line: str) -> dict[str, Any]:
    """The JSON object of a line; empty for any other line."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _name_extra_keys(line: str, inputs: Sequence[str]) -> str:
    extra = [repr(shorten_value(key)) for key in _parse_json(line) if key not in inputs]
    return f" (unknown key {extra[0]})" if extra else ""


def _parse_json_pair(line: str, inputs: Sequence[str]) -> tuple[str, ...]:
    """The texts in a JSON object; none if it has other keys or values."""
    values = _parse_json(line)
    is_pair = values.keys() == {*inputs} and all(isinstance(text, str) for text in values.values())
    return tuple(values[name] for name in inputs) if is_pair else ()


def _refuse_file(command: str, release: str, text: str) -> None:
    release, name = shlex.quote(release), shlex.quote(text)
    raise UsageError(
        f"{text}: is a file, and its name would be taken for a text; score its rows: "
        f"kubert score {release} --source {name} --to DIR; give its lines, one text each: "
        f"kubert {command} {release} - < {name}; if the name is the text: "
        f"echo {name} | kubert {command} {release} -"
    )
