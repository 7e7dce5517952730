"""The vocabulary of the release that a training begins with, if the configured encoder fits it."""

from __future__ import annotations

from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.release import StartingRelease
from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError
from components.registry.starting_point import read_checkpoint, read_release_vocabulary

SCRATCH_OPTIONS = (
    "encoder",
    "max_length",
    "pooling",
    "num_layers",
    "num_heads",
    "hidden_size",
    "intermediate_size",
    "vocab_size",
    "lower_case",
)
"""Options that decide about the weights of a `scratch` encoder and the meaning of its inputs."""


def load_release_vocabulary(
    model: ModelConfig, release: StartingRelease, *, has_pairs: bool = False
) -> Vocabulary:
    """The vocabulary of a release, whose encoder the configured one continues.

    Raises ConfigError for an encoder of other sizes or with another vocabulary, and for a `scratch`
    encoder of single texts where the texts are pairs, or the other way round. Whether pretrained
    weights are those that the release began with is checked when they are loaded.
    """
    from components.model.encoders import load_vocabulary

    manifest, content = read_checkpoint(release)
    own = load_vocabulary(model)
    if own is None or content.model.encoder == "scratch":
        _check_scratch_options(model, content, release)
        _check_scratch_segments(content, release, has_pairs)
    elif own.sha256 != content.vocabulary_sha256:
        raise ConfigError(
            f"model.start_from: {release.title} was trained with another vocabulary than that of "
            f"model.encoder {model.encoder}; use {content.model.encoder}, or leave out "
            "model.start_from"
        )
    return read_release_vocabulary(release, manifest, content)


def _check_scratch_options(
    model: ModelConfig, content: CheckpointContent, release: StartingRelease
) -> None:
    for option in SCRATCH_OPTIONS:
        theirs, ours = getattr(content.model, option), getattr(model, option)
        if theirs != ours:
            raise ConfigError(
                f"model.start_from: {release.title} was trained with model.{option} {theirs}, "
                f"here it is {ours}; use the same, or leave out model.start_from"
            )


def _check_scratch_segments(
    content: CheckpointContent, release: StartingRelease, has_pairs: bool
) -> None:
    """Only of pairs does a `scratch` encoder have embeddings of the segments."""
    if has_pairs != (len(content.inputs) > 1):
        theirs, remedy = ("single texts", "leave out") if has_pairs else ("pairs", "set")
        raise ConfigError(
            f"model.start_from: {release.title} was trained on {theirs}; {remedy} data.text_pair, "
            "or leave out model.start_from"
        )
