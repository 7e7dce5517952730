"""Encoder `scratch`: trained from random weights, with a vocabulary learned from the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig

if TYPE_CHECKING:
    from components.model.dropout import DropoutSeed
    from components.model.encoders.scratch_layer import ScratchEncoder


def load_vocabulary(config: ModelConfig) -> None:
    """None: the vocabulary is learned from the training texts."""


def validate_files(config: ModelConfig) -> bool:
    """True: it has no files."""
    return True


def find_hidden_size(config: ModelConfig) -> int:
    """The configured width."""
    return config.hidden_size


def has_pooler(config: ModelConfig) -> bool:
    """True: the mean of its tokens is what `auto` means in any case."""
    return True


def describe_weights(config: ModelConfig) -> dict[str, object]:
    """The sizes; initial weights depend on nothing else but the seed."""
    return {
        "kind": "scratch",
        # Keys are part of the fingerprints that checkpoints hold: they stay when options change.
        "max_length": config.max_length,
        "vocabulary_size": config.vocab_size,
        "layers": config.num_layers,
        "heads": config.num_heads,
        "hidden_size": config.hidden_size,
        "inner_size": config.intermediate_size,
    }


def check_segments(config: ModelConfig) -> None:
    """Nothing to check: of pairs, the segments get embeddings of their own."""


def build_layer(
    config: ModelConfig,
    vocabulary: Vocabulary,
    seed: int,
    dropout_seed: DropoutSeed,
    *,
    has_pairs: bool,
) -> ScratchEncoder:
    """A layer with the weights of this seed."""
    from components.model.encoders import scratch_layer

    return scratch_layer.build_scratch_encoder(
        config, len(vocabulary.tokens), seed, dropout_seed, has_pairs=has_pairs
    )
