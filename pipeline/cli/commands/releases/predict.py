"""`kubert predict`: labels and scores of single texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.errors import escape_unprintable
from pipeline.cli.commands.releases.text_arguments import (
    ReleaseArgument,
    group_pairs,
    read_texts,
)

if TYPE_CHECKING:
    from components.serving.predict import Prediction


def predict_texts(
    release: ReleaseArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Texts to classify, two for each pair of a model of pairs; - or none: one text "
            "per line of standard input, or one pair with a tab in between or as a JSON object.",
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
    from components.registry.opened_release import open_reference
    from components.serving.predict import Predictor

    with open_reference(release) as opened:
        inputs = opened.content.inputs
        rows = group_pairs(given, inputs) if opened.content.takes_pairs else given
        for answer in Predictor(opened).predict(rows):
            _print_prediction(answer, inputs, as_json)


def _print_prediction(answer: Prediction, inputs: Sequence[str], as_json: bool) -> None:
    """Print the answer to a text, or to a pair, whose texts are named as the model's inputs."""
    from components.data.text_columns import flatten_texts
    from pipeline.cli.tables import mark_label, print_json

    if as_json:
        text = answer.text
        fields: dict[str, Any] = {
            "text": text if isinstance(text, str) else dict(zip(inputs, text, strict=True)),
            "label": answer.label,
            "scores": answer.scores,
        }
        if answer.is_confident is not None:
            fields["is_confident"] = answer.is_confident
        print_json(fields)
    else:
        shown = map(escape_unprintable, flatten_texts([answer.text]))
        label = mark_label(answer.label, answer.is_confident)
        typer.echo("\t".join([label, f"{answer.scores[answer.label]:.4f}", *shown]))
