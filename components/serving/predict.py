"""Predicts labels or numbers of texts, or of pairs, with a released model, after it is verified."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from components.artifacts.artifact import Artifact
from components.artifacts.predictions import select_labels
from components.artifacts.release import ReleaseContent
from components.confidence.threshold import are_confident
from components.data.text_columns import Text
from components.errors import UsageError
from components.registry.opened_release import open_reference

BATCH_TEXTS = 256


@dataclass(frozen=True)
class Prediction:
    """The predicted label of a text, or pair, and a score in [0, 1] for each class; sum 1.

    `is_confident`: whether the largest score reaches the release's threshold; None without one.
    """

    text: Text
    label: str
    scores: dict[str, float]
    is_confident: bool | None = None


@dataclass(frozen=True)
class LabelsPrediction:
    """The predicted labels of a text, or pair, perhaps none, in the order of the classes.

    `scores` has one in [0, 1] for each class, by itself: they have no sum. A class is predicted if
    its score reaches its threshold.
    """

    text: Text
    labels: tuple[str, ...]
    scores: dict[str, float]


@dataclass(frozen=True)
class ValuePrediction:
    """The predicted number of a text, or pair, in the units of the data."""

    text: Text
    value: float


AnyPrediction: TypeAlias = Any
"""Prediction, LabelsPrediction or ValuePrediction: the release says which, not the type checker."""


class Predictor:
    """A loaded release: predicts labels or numbers of any number of texts.

    Raises DataError if the release has operations outside the allowlist, or scores for other
    classes than its manifest names; the caller verified it.
    """

    def __init__(self, release: Artifact[ReleaseContent]) -> None:
        from components.model.serving_model import load_scorer  # TensorFlow takes seconds

        content = self._content = release.content
        self._scorer = load_scorer(
            release.directory, content.inputs, content.task.kind, len(content.classes)
        )

    def predict(self, texts: Iterable[Text]) -> Iterator[AnyPrediction]:
        """One prediction per text, in order; texts are read in batches.

        A model of pairs takes a tuple of two texts for each. UsageError for anything else.
        """
        stream = iter(texts)
        while batch := list(itertools.islice(stream, BATCH_TEXTS)):
            for text in batch:
                _check_text(text, self._content.inputs)
            yield from read_predictions(self._content, batch, self._scorer(batch))


def read_predictions(
    content: ReleaseContent, texts: Sequence[Text], scores: npt.NDArray[np.float32]
) -> Iterator[AnyPrediction]:
    """What the scores [texts, classes or 1] of a release mean for each text."""
    kind, classes = content.task.kind, content.classes
    if kind == "regression":
        for text, value in zip(texts, scores[:, 0], strict=True):
            yield ValuePrediction(text, float(str(value)))
    elif kind == "multi_label":
        predicted = select_labels(scores, content.thresholds)
        for text, row, chosen in zip(texts, scores, predicted, strict=True):
            labels = tuple(itertools.compress(classes, chosen))
            yield LabelsPrediction(text, labels, _name_scores(classes, row))
    else:
        confident = (
            [None] * len(texts)
            if content.threshold is None
            else are_confident(scores, content.threshold).tolist()
        )
        for text, row, is_confident in zip(texts, scores, confident, strict=True):
            label = classes[int(row.argmax())]
            yield Prediction(text, label, _name_scores(classes, row), is_confident)


def _name_scores(classes: Sequence[str], row: npt.NDArray[np.float32]) -> dict[str, float]:
    return {name: float(score) for name, score in zip(classes, row, strict=True)}


def format_prediction(prediction: AnyPrediction, inputs: Sequence[str]) -> dict[str, Any]:
    """The prediction as `kubert predict --json` prints it; scripts depend on these keys."""
    text = prediction.text
    fields: dict[str, Any] = {
        "text": text if isinstance(text, str) else dict(zip(inputs, text, strict=True))
    }
    if isinstance(prediction, ValuePrediction):
        return {**fields, "value": prediction.value}
    if isinstance(prediction, LabelsPrediction):
        return {**fields, "labels": [*prediction.labels], "scores": prediction.scores}
    fields |= {"label": prediction.label, "scores": prediction.scores}
    if prediction.is_confident is not None:
        fields["is_confident"] = prediction.is_confident
    return fields


def _check_text(text: Any, inputs: Sequence[str]) -> None:
    if len(inputs) == 1:
        if not isinstance(text, str):
            raise UsageError(
                f"the release takes single texts, not {type(text).__name__} objects; give a string "
                "for each"
            )
    elif (
        not isinstance(text, tuple)
        or len(text) != len(inputs)
        or not all(isinstance(part, str) for part in text)
    ):
        raise UsageError(
            f"the release takes pairs of texts; give a tuple ({', '.join(inputs)}) for each"
        )


def predict(reference: str, texts: Iterable[Text]) -> Iterator[AnyPrediction]:
    """One prediction per text, in order; texts are read in batches, so the input may be endless.

    `reference`: see `open_reference`. Raises DataError, before anything is loaded, if the release
    is incomplete, was changed, or has operations outside the allowlist.
    """
    with open_reference(reference) as release:
        yield from Predictor(release).predict(texts)
