"""`kubert predict`: labels and scores of single texts."""

from __future__ import annotations

from typing import Annotated

import typer

from components.errors import escape_unprintable
from pipeline.cli.commands.releases.text_arguments import ReleaseArgument, read_texts


def predict_texts(
    release: ReleaseArgument,
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

    The lines of a file are classified with `kubert predict RELEASE - < FILE`, the rows of CSV,
    JSON and Parquet files with `kubert score`.
    """
    given = read_texts("predict", release, texts)
    from components.serving.predict import predict
    from pipeline.cli.tables import print_json

    for answer in predict(release, given):
        if as_json:
            print_json({"text": answer.text, "label": answer.label, "scores": answer.scores})
        else:
            label, text = map(escape_unprintable, (answer.label, answer.text))
            typer.echo(f"{label}\t{answer.scores[answer.label]:.4f}\t{text}")
