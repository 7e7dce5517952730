"""`kubert predict`: labels and scores of single texts."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from components.errors import UsageError, escape_unprintable


def predict_texts(
    release: Annotated[
        str,
        typer.Argument(
            metavar="RELEASE",
            help="A release: its directory as `kubert run` prints it, or STORE/NAME or "
            "STORE/NAME/VERSION with a path, gs:// or s3:// as STORE.",
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Texts to classify; - or none: one text per line of standard input.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per text: text, label, scores."),
    ] = False,
) -> None:
    """Classify texts with a released model.

    The lines of a file are classified with `kubert predict RELEASE - < FILE`.
    """
    for text in texts or ():
        _refuse_file(release, text)
    from components.serving.predict import predict
    from pipeline.cli.tables import print_json

    lines: Iterable[str] = (line.rstrip("\n") for line in sys.stdin)
    for answer in predict(release, texts if texts and texts != ["-"] else lines):
        if as_json:
            print_json({"text": answer.text, "label": answer.label, "scores": answer.scores})
        else:
            label, text = map(escape_unprintable, (answer.label, answer.text))
            typer.echo(f"{label}\t{answer.scores[answer.label]:.4f}\t{text}")


def _refuse_file(release: str, text: str) -> None:
    """UsageError for a text that names a file, whose lines rather than its name are meant."""
    if not os.path.isfile(text):  # noqa: PTH113 - False, and no error, for any long text
        return
    release, name = shlex.quote(release), shlex.quote(text)
    raise UsageError(
        f"{text}: is a file, and its name would be classified as a text; classify its lines, one "
        f"text each: kubert predict {release} - < {name}; if the name is the text: "
        f"echo {name} | kubert predict {release} -"
    )
