"""Predicts the classes of texts with a released model, after all its files are verified."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.registry.opened_release import open_reference

BATCH_TEXTS = 256


@dataclass(frozen=True)
class Prediction:
    """The predicted label of a text, and a score in [0, 1] for each class; they sum to 1."""

    text: str
    label: str
    scores: dict[str, float]


def predict(reference: str, texts: Iterable[str]) -> Iterator[Prediction]:
    """One prediction per text, in order; texts are read in batches, so the input may be endless.

    `reference` is a version's directory, `<store>/<name>` (the champion) or
    `<store>/<name>/<version>`, local, gs:// or s3://. Raises DataError, before anything is loaded,
    if the release is incomplete, was changed, or has operations outside the allowlist.
    """
    with open_reference(reference) as release:
        from components.model.serving_model import load_scorer  # TensorFlow takes seconds

        classes = release.content.classes
        scorer = load_scorer(release.directory)
        stream = iter(texts)
        while batch := list(itertools.islice(stream, BATCH_TEXTS)):
            for text, scores in zip(batch, scorer(batch), strict=True):
                yield Prediction(
                    text,
                    classes[int(scores.argmax())],
                    {name: float(score) for name, score in zip(classes, scores, strict=True)},
                )
