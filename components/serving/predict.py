"""Predicts the classes of texts with a released model, after all its files are verified."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.artifacts.artifact import Artifact
from components.artifacts.release import ReleaseContent
from components.confidence.threshold import are_confident
from components.registry.opened_release import open_reference

BATCH_TEXTS = 256


@dataclass(frozen=True)
class Prediction:
    """The predicted label of a text, and a score in [0, 1] for each class; they sum to 1.

    `is_confident`: whether the largest score reaches the release's threshold; None without one.
    """

    text: str
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
        self._scorer = load_scorer(release.directory)

    def predict(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """One prediction per text, in order; texts are read in batches."""
        stream = iter(texts)
        while batch := list(itertools.islice(stream, BATCH_TEXTS)):
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


def predict(reference: str, texts: Iterable[str]) -> Iterator[Prediction]:
    """One prediction per text, in order; texts are read in batches, so the input may be endless.

    `reference`: see `open_reference`. Raises DataError, before anything is loaded, if the release
    is incomplete, was changed, or has operations outside the allowlist.
    """
    with open_reference(reference) as release:
        yield from Predictor(release).predict(texts)
