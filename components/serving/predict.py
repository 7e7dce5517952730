"""Ask a released model, after every file of it was verified."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.artifacts import release
from components.artifacts.manifest import MANIFEST_FILENAME
from components.model.serving_model import load_scorer
from components.registry.reference import parse_model_reference, pull, resolve_version
from components.storage.uri import is_remote_uri

BATCH_TEXTS = 256


@dataclass(frozen=True)
class Prediction:
    """What the model says about one text: its label, and a score from 0 to 1 for each class; the scores add up to 1."""

    text: str
    label: str
    scores: dict[str, float]


def predict(reference: str, texts: Iterable[str]) -> Iterator[Prediction]:
    """One prediction per text, in order; texts are read and answered in batches, so the input may be endless.

    `reference` is a version's directory, or `<store>/<name>` (the champion), or `<store>/<name>/<version>`, local, gs:// or
    s3://. Raises DataError, before anything is loaded, if the release is incomplete, was changed, or holds operations
    that a classifier has no use for.
    """
    with _verified(reference) as directory:
        classes = release.open_release(directory).content.classes
        scorer = load_scorer(directory)
        stream = iter(texts)
        while batch := list(itertools.islice(stream, BATCH_TEXTS)):
            for text, scores in zip(batch, scorer(batch), strict=True):
                yield Prediction(
                    text,
                    classes[int(scores.argmax())],
                    {name: float(score) for name, score in zip(classes, scores, strict=True)},
                )


@contextmanager
def _verified(reference: str) -> Iterator[Path]:
    """The release's local directory; a remote one is pulled for as long as it is needed."""
    if is_remote_uri(reference):
        with tempfile.TemporaryDirectory(prefix="kubert-predict-") as temporary:
            yield pull(reference, Path(temporary))[1]
        return
    directory = Path(reference.removeprefix("file://"))
    if (directory / MANIFEST_FILENAME).exists() or (directory / release.MODEL_FILENAME).exists():
        yield directory
        return
    place = parse_model_reference(reference)
    yield Path(place.store.uri(f"{place.name}/{resolve_version(place)}"))
