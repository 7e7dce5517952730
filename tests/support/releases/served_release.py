"""Releases that can be served: an untrained `scratch` model with its tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components import registry
from components.artifacts import manifest
from components.artifacts.release import open_release
from components.storage.store import open_store
from tests.support.releases.release_directories import CONTENT
from tests.support.training.tiny_checkpoint import CLASSES, MODEL, VOCABULARY


def publish_release(root: Path, seed: int, name: str = "news") -> int:
    """Publish the model of this seed below `root`/models, and return its version."""
    from components.model.classifier import build_classifier
    from components.model.serving_model import ServingModel, save_serving_model

    classifier = build_classifier(MODEL, VOCABULARY, len(CLASSES), seed=seed)
    kernel, bias = classifier.logits.get_weights()
    classifier.logits.set_weights([kernel * np.float32(60.0), bias])
    with manifest.staged_artifact(root / f"source-{seed}") as directory:
        save_serving_model(
            ServingModel(classifier, VOCABULARY, CLASSES, MODEL.max_length), directory
        )
        content = CONTENT.model_copy(
            update={"classes": CLASSES, "max_length": MODEL.max_length, "accuracy": seed / 100}
        )
        manifest.commit(directory, "release", content=content.model_dump(mode="json"))
    return registry.publish(
        open_release(root / f"source-{seed}"), open_store(str(root / "models")), name, str(seed)
    ).version
