"""`kubert predict`: labels and scores of single texts."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer


def predict_texts(
    release: Annotated[
        str,
        typer.Argument(
            help="A release: its directory as `kubert run` prints it, or STORE/NAME or "
            "STORE/NAME/VERSION with a path, gs:// or s3:// as STORE."
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
    """Classify texts with a released model."""
    from components.serving.predict import predict
    from pipeline.cli.tables import print_json

    lines: Iterable[str] = (line.rstrip("\n") for line in sys.stdin)
    for answer in predict(release, texts if texts and texts != ["-"] else lines):
        if as_json:
            print_json({"text": answer.text, "label": answer.label, "scores": answer.scores})
        else:
            typer.echo(f"{answer.label}\t{answer.scores[answer.label]:.4f}\t{answer.text}")
