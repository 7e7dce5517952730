"""`kubert predict`: labels and scores, or numbers, of single texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from components.errors import escape_unprintable
from pipeline.cli.commands.releases.text_arguments import (
    ReleaseArgument,
    group_pairs,
    read_texts,
)

if TYPE_CHECKING:
    from components.serving.predict import AnyPrediction

NO_LABEL = "-"
"""Stands for the labels, and for their scores, of a text without any."""


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
            "release has a threshold; text, labels and scores of a model of several labels; text "
            "and value of a model of numbers.",
        ),
    ] = False,
) -> None:
    """Classify texts with a released model, or predict their numbers.

    Prints label, score and text; of a model of several labels these and their scores, separated by
    commas, or -; of a model of numbers the number. A label with a question mark has a score below
    the release's threshold. The lines of a file are
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


def _print_prediction(answer: AnyPrediction, inputs: Sequence[str], as_json: bool) -> None:
    """Print the answer to a text, or to a pair, whose texts are named as the model's inputs."""
    from components.data.text_columns import flatten_texts
    from components.serving.predict import format_prediction
    from pipeline.cli.tables import print_json

    if as_json:
        print_json(format_prediction(answer, inputs))
    else:
        shown = map(escape_unprintable, flatten_texts([answer.text]))
        typer.echo("\t".join([*_list_columns(answer), *shown]))


def _list_columns(answer: AnyPrediction) -> list[str]:
    """What is predicted, as the columns before the text."""
    from components.serving.predict import LabelsPrediction, ValuePrediction
    from pipeline.cli.tables import mark_label

    if isinstance(answer, ValuePrediction):
        return [str(answer.value)]
    if isinstance(answer, LabelsPrediction):
        labels = ",".join(map(escape_unprintable, answer.labels))
        scores = ",".join(f"{answer.scores[name]:.4f}" for name in answer.labels)
        return [labels or NO_LABEL, scores or NO_LABEL]
    label = mark_label(answer.label, answer.is_confident)
    return [label, f"{answer.scores[answer.label]:.4f}"]
