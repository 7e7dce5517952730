"""Loads a finished checkpoint as the classifier that was trained, in float32."""

from __future__ import annotations

import tensorflow as tf

from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import (
    VOCABULARY_FILENAME,
    WEIGHTS_PREFIX,
    CheckpointContent,
)
from components.artifacts.vocabulary import Vocabulary
from components.errors import ConfigError
from components.model.classifier import Classifier, build_classifier
from components.model.encoders import compute_fingerprint


def load_classifier(
    checkpoint: Artifact[CheckpointContent],
) -> tuple[Classifier, CheckpointContent, Vocabulary]:
    """The classifier with its best weights, the checkpoint's content, and its vocabulary.

    From here on this process multiplies float32 as such on GPUs, too, where TensorFlow's default is
    TF32: its 10 bits would differ from a server's CPU by more than the parity check of a release
    allows.

    Raises ConfigError if the encoder here differs from the one it was trained with.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    directory, content = checkpoint.directory, checkpoint.content
    vocabulary = Vocabulary.read(
        directory / VOCABULARY_FILENAME, content.lower_case, content.strip_accents
    )
    if (fingerprint := compute_fingerprint(content.model)) != content.encoder_fingerprint:
        raise ConfigError(
            f"{directory}: trained from another {content.model.encoder} "
            f"(fingerprint {content.encoder_fingerprint[:12]}, here {fingerprint[:12]}); "
            "use the same encoder files, or train again"
        )
    model = build_classifier(content.model, vocabulary, len(content.classes), seed=0)
    tf.train.Checkpoint(model=model).read(
        str(directory / WEIGHTS_PREFIX)
    ).assert_existing_objects_matched().expect_partial()
    return model, content, vocabulary
