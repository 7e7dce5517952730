"""Predicts the classes of texts with a released model, after all its files are verified."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.artifacts.artifact import Artifact
from components.artifacts.manifest import MANIFEST_FILENAME
from components.artifacts.release import MODEL_FILENAME, ReleaseContent, open_release
from components.registry.reference import parse_model_reference, pull, resolve_version
from components.storage.uri import is_remote_uri

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
    with _open_reference(reference) as release:
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


@contextmanager
def _open_reference(reference: str) -> Iterator[Artifact[ReleaseContent]]:
    """The verified release; one in object storage is pulled for the duration of the block."""
    if is_remote_uri(reference):
        with tempfile.TemporaryDirectory(prefix="kubert-predict-") as temporary:
            yield pull(reference, Path(temporary))
        return
    directory = Path(reference.removeprefix("file://"))
    if not ((directory / MANIFEST_FILENAME).exists() or (directory / MODEL_FILENAME).exists()):
        directory = Path(resolve_version(parse_model_reference(reference)).uri)
    yield open_release(directory)
