"""`kubert predict`: labels and scores of single texts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from components.errors import escape_unprintable
from pipeline.cli.commands.releases.text_arguments import ReleaseArgument, read_texts

UNSURE_MARK = "?"
"""Follows the label of an answer whose score is below the release's threshold."""


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
        typer.Option(
            "--json",
            help="Print one JSON object per text: text, label, scores, and is_confident if the "
            "release has a threshold.",
        ),
    ] = False,
) -> None:
    """Classify texts with a released model.

    A label with a question mark has a score below the release's threshold. The lines of a file are
    classified with `kubert predict RELEASE - < FILE`, the rows of CSV, JSON and Parquet files with
    `kubert score`.
    """
    given = read_texts("predict", release, texts)
    from components.serving.predict import predict
    from pipeline.cli.tables import print_json

    for answer in predict(release, given):
        if as_json:
            fields: dict[str, Any] = {
                "text": answer.text,
                "label": answer.label,
                "scores": answer.scores,
            }
            if answer.is_confident is not None:
                fields["is_confident"] = answer.is_confident
            print_json(fields)
        else:
            label, text = map(escape_unprintable, (answer.label, answer.text))
            mark = UNSURE_MARK if answer.is_confident is False else ""
            typer.echo(f"{label}{mark}\t{answer.scores[answer.label]:.4f}\t{text}")
