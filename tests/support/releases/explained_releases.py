"""Releases whose graphs are explained: one per kind of encoder, untrained, with strong logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models.export_hub_encoder import export_encoder
from components.artifacts import manifest
from components.artifacts.artifact import Artifact
from components.artifacts.release import ReleaseContent, open_release
from components.config.schema import ModelConfig
from components.model import encoders
from components.model.classifier import Classifier, build_classifier
from components.model.encoders import bert
from components.model.encoders.checkpoint import bert_weights, checkpoint_files, tokenizer_files
from components.model.serving_model import ServingModel, save_serving_model
from tests.support.releases.release_directories import CONTENT
from tests.support.training import tiny_bert

CLASSES = ("calm", "loud", "odd")
MAX_LENGTH = 16


def make_classifier(encoder: str, pooling: str = "mean") -> tuple[Classifier, Any]:
    """A classifier on this encoder, and its vocabulary."""
    config = ModelConfig.model_validate(
        {"encoder": encoder, "max_length": MAX_LENGTH, "pooling": pooling}
    )
    vocabulary = encoders.load_vocabulary(config)
    assert vocabulary is not None
    classifier = build_classifier(config, vocabulary, len(CLASSES), seed=4)
    kernel, bias = classifier.logits.get_weights()
    classifier.logits.set_weights([kernel * np.float32(6.0), bias])
    return classifier, vocabulary


def make_release(
    directory: Path, classifier: Classifier, vocabulary: Any, precision: Any = "float32"
) -> Artifact[ReleaseContent]:
    """The release of a classifier, which cannot be trained any more."""
    served = ServingModel(classifier, vocabulary, CLASSES, MAX_LENGTH, precision)
    with manifest.staged_artifact(directory) as work:
        save_serving_model(served, work)
        content = CONTENT.model_copy(update={"classes": CLASSES, "max_length": MAX_LENGTH})
        manifest.commit(work, "release", content=content.model_dump(mode="json"))
    return open_release(directory)


def export_tiny_hub_encoder(checkpoint: Path, directory: Path) -> Path:
    """The tiny BERT as TF-Hub publishes encoders: a SavedModel."""
    network = bert.build_network(checkpoint_files.parse_sizes(tiny_bert.CONFIG, "tiny"), 0.3, None)
    tensors = checkpoint_files.SafetensorsFiles(checkpoint)
    bert_weights.load_weights(network, tensors.names(), tensors.read, "tiny")
    export_encoder(network, tokenizer_files.read_vocabulary(checkpoint), directory)
    return directory
