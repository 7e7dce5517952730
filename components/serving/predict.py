"""Predicts the classes of texts, or of pairs, with a released model, after it is verified."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.artifacts.artifact import Artifact
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


class Predictor:
    """A loaded release: predicts the classes of any number of texts.

    Raises DataError if the release has operations outside the allowlist; the caller verified it.
    """

    def __init__(self, release: Artifact[ReleaseContent]) -> None:
        from components.model.serving_model import load_scorer  # TensorFlow takes seconds

        self._classes, self._threshold = release.content.classes, release.content.threshold
        self._inputs = release.content.inputs
        self._scorer = load_scorer(release.directory, self._inputs)

    def predict(self, texts: Iterable[Text]) -> Iterator[Prediction]:
        """One prediction per text, in order; texts are read in batches.

        A model of pairs takes a tuple of two texts for each. UsageError for anything else.
        """
        stream = iter(texts)
        while batch := list(itertools.islice(stream, BATCH_TEXTS)):
            for text in batch:
                _check_text(text, self._inputs)
            scores = self._scorer(batch)
            confident = (
                [None] * len(batch)
                if self._threshold is None
                else are_confident(scores, self._threshold).tolist()
            )
            for text, row, is_confident in zip(batch, scores, confident, strict=True):
                named = zip(self._classes, row, strict=True)
                yield Prediction(
                    text,
                    self._classes[int(row.argmax())],
                    {name: float(score) for name, score in named},
                    is_confident,
                )


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


def predict(reference: str, texts: Iterable[Text]) -> Iterator[Prediction]:
    """One prediction per text, in order; texts are read in batches, so the input may be endless.

    `reference`: see `open_reference`. Raises DataError, before anything is loaded, if the release
    is incomplete, was changed, or has operations outside the allowlist.
    """
    with open_reference(reference) as release:
        yield from Predictor(release).predict(texts)
