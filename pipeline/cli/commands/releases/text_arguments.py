"""The texts of a command: its arguments, or the lines of standard input."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from components.errors import UsageError

ReleaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="RELEASE",
        help="A release: its directory as `kubert run` prints it, or STORE/NAME or "
        "STORE/NAME/VERSION with a path, gs:// or s3:// as STORE.",
    ),
]


def read_texts(command: str, release: str, texts: Sequence[str] | None) -> Iterable[str]:
    """The texts, or one per line of standard input, which may be endless.

    UsageError for a text that names a file, whose rows or lines rather than its name are meant.
    """
    for text in texts or ():
        if os.path.isfile(text):  # noqa: PTH113 - False, and no error, for any long text
            _refuse_file(command, release, text)
    if texts and texts != ["-"]:
        return texts
    return (line.rstrip("\n") for line in sys.stdin)


def _refuse_file(command: str, release: str, text: str) -> None:
    release, name = shlex.quote(release), shlex.quote(text)
    raise UsageError(
        f"{text}: is a file, and its name would be taken for a text; score its rows: "
        f"kubert score {release} --source {name} --to DIR; give its lines, one text each: "
        f"kubert {command} {release} - < {name}; if the name is the text: "
        f"echo {name} | kubert {command} {release} -"
    )
