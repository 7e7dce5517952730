"""A finished checkpoint back as the classifier that was trained, in float32."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from components.artifacts import checkpoint
from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.vocabulary import Vocabulary
from components.errors import ConfigError
from components.model.classifier import Classifier, build_classifier
from components.model.encoders import compute_fingerprint


def load_classifier(directory: Path) -> tuple[Classifier, CheckpointContent, Vocabulary]:
    """The classifier with its best weights, what the checkpoint says of itself, and its vocabulary.

    Every file is verified first. Raises DataError for a damaged checkpoint and ConfigError where the encoder that is
    installed here is not the one it was trained with.
    """
    content = checkpoint.read_checkpoint(directory)
    vocabulary = Vocabulary.read(directory / checkpoint.VOCABULARY_FILENAME, content.lower_case)
    if (found := compute_fingerprint(content.model)) != content.encoder_fingerprint:
        raise ConfigError(
            f"{directory}: trained from another {content.model.encoder} (fingerprint {content.encoder_fingerprint[:12]}, "
            f"here {found[:12]}); use the same encoder files, or train again"
        )
    model = build_classifier(content.model, vocabulary, len(content.classes), seed=0)
    tf.train.Checkpoint(model=model).read(
        str(directory / checkpoint.WEIGHTS_PREFIX)
    ).assert_existing_objects_matched().expect_partial()
    return model, content, vocabulary
