"""Loads a finished checkpoint: as the classifier that was trained, or to begin a training with."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from components.artifacts.artifact import Artifact
from components.artifacts.checkpoint import (
    VOCABULARY_FILENAME,
    WEIGHTS_PREFIX,
    CheckpointContent,
)
from components.artifacts.task import SINGLE_LABEL, TaskInfo
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
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
    model = build_classifier(
        content.model,
        vocabulary,
        content.task.count_outputs(len(content.classes)),
        seed=0,
        has_pairs=len(content.inputs) > 1,
    )
    tf.train.Checkpoint(model=model).read(
        str(directory / WEIGHTS_PREFIX)
    ).assert_existing_objects_matched().expect_partial()
    return model, content, vocabulary


def load_initial_weights(
    model: Classifier,
    config: ModelConfig,
    classes: Sequence[str],
    checkpoint: Artifact[CheckpointContent],
    task: TaskInfo = SINGLE_LABEL,
) -> None:
    """Give a new classifier of `classes` the weights of a checkpoint: encoder and head, by name.

    Rows of the head for classes that the checkpoint does not have stay as they are; rows for
    classes that are gone are dropped. The head of a regression is scaled to the mean and the
    standard deviation of the new `task`, so that it says the same numbers. Of a checkpoint of
    another kind of task the head says something else: only the encoder is taken. Call it in the
    strategy's scope. Raises ConfigError if the checkpoint began with another encoder than `config`
    names.
    """
    content, prefix = checkpoint.content, str(checkpoint.directory / WEIGHTS_PREFIX)
    if compute_fingerprint(config) != content.encoder_fingerprint:
        raise ConfigError(
            f"model.start_from: that release was trained from another encoder, "
            f"{content.model.encoder} with pooling {content.model.resolved_pooling}, than "
            f"{config.encoder} with pooling {config.resolved_pooling}; use the same encoder files "
            "and model.pooling, or leave out model.start_from"
        )
    # Only the encoder: the head has other rows.
    encoder = tf.train.Checkpoint(model=tf.train.Checkpoint(encoder=model.encoder))
    encoder.read(prefix).assert_existing_objects_matched().expect_partial()
    if content.task.kind != task.kind:
        return
    reader = tf.train.load_checkpoint(prefix)
    stored = {
        name: reader.get_tensor(f"model/logits/{name}/.ATTRIBUTES/VARIABLE_VALUE")
        for name in ("kernel", "bias")
    }
    if task.kind == "regression":
        (mean, std), (new_mean, new_std) = content.task.scale, task.scale
        model.logits.kernel.assign(stored["kernel"] * (std / new_std))
        model.logits.bias.assign((stored["bias"] * std + (mean - new_mean)) / new_std)
        return
    shared = [name for name in classes if name in content.classes]
    new = [classes.index(name) for name in shared]
    old = [content.classes.index(name) for name in shared]
    for name, weights in stored.items():
        variable = getattr(model.logits, name)
        values = variable.numpy()
        values[..., new] = weights[..., old]
        variable.assign(values)
