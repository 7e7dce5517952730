"""The four encoders behind one interface, chosen by `model.encoder`.

An encoder is a built Keras layer: input_word_ids, input_mask and, where not zeros, input_type_ids (int32 [batch, length], any length up to
its table of positions) -> pooled_output [batch, hidden] and sequence_output [batch, length, hidden], with `hidden_size`; a BERT that is not pooled
by the mean gives the first token's vector alone, [batch, 1, hidden]. Weights are float32.
Its `word_embeddings` is the variable with one row per word piece, and the caller may give the rows of the ids as `token_embeddings`; None where that cannot be done.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.errors import ConfigError
from components.model.encoders import hugging_face

if TYPE_CHECKING:
    from components.model.dropout import DropoutSeed


def load_vocabulary(config: ModelConfig) -> Vocabulary | None:
    """The encoder's own vocabulary; None for `scratch`, which learns one from the training texts."""
    if config.encoder == "scratch":
        return None
    if config.encoder.startswith("hub:"):
        from components.model.encoders import tf_hub

        return tf_hub.read_vocabulary(config)
    return hugging_face.read_vocabulary(
        hugging_face.locate_checkpoint(config.encoder, weights=False)
    )


def find_hidden_size(config: ModelConfig) -> int | None:
    """The width of the encoder's vectors; None where its description does not say (`hub:`). Loads no TensorFlow."""
    if config.encoder == "scratch":
        return config.hidden_size
    if config.encoder.startswith("hub:"):
        return None
    size = hugging_face.read_json(
        hugging_face.locate_checkpoint(config.encoder, weights=False) / "config.json"
    ).get("hidden_size")
    return size if isinstance(size, int) else None


def compute_fingerprint(config: ModelConfig) -> str:
    """sha256 (hex) over what the features of a text depend on: the encoder's files or sizes, and the pooling.

    The same weights under another path or name have the same fingerprint.
    """
    described: dict[str, Any] = {"pooling": config.resolved_pooling}
    if config.encoder == "scratch":
        # These keys are part of stored fingerprints, so they do not follow the options' names.
        described |= {
            "kind": "scratch",
            "max_length": config.max_length,
            "vocabulary_size": config.vocab_size,
            "layers": config.num_layers,
            "heads": config.num_heads,
            "hidden_size": config.hidden_size,
            "inner_size": config.intermediate_size,
        }
    elif config.encoder.startswith("hub:"):
        from components.model.encoders import tf_hub

        directory = tf_hub.locate_saved_model(config.encoder)
        described |= {
            "kind": "hub",
            "files": {name: _digest(directory / name) for name in tf_hub.weight_files(directory)},
        }
    else:
        directory = hugging_face.locate_checkpoint(config.encoder)
        described |= {
            "kind": "bert",
            "files": {
                name: _digest(directory / name)
                for name in ("config.json", hugging_face.WEIGHTS_FILE)
            },
        }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _digest(file: Path) -> str:
    status = file.stat()
    return _digest_of(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_of(file: Path, size: int, modified: int) -> str:
    """Cached by size and time of change: weights are large, and several parts of one run ask for them."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def build_encoder(
    config: ModelConfig, vocabulary: Vocabulary, seed: int, state: DropoutSeed | None = None
) -> Any:
    """The encoder with its weights, not trainable when `config.freeze`.

    `vocabulary` is the one that the texts were tokenized with: ConfigError when the encoder has another. Units inside a
    trained encoder are dropped with `config.dropout` under `state` (a new one when None).
    """
    from components.model.dropout import DropoutSeed

    state = state or DropoutSeed(seed)
    if config.encoder == "scratch":
        from components.model.encoders import scratch

        return scratch.build(config, len(vocabulary.tokens), seed, state)
    if config.encoder.startswith("hub:"):
        from components.model.encoders import tf_hub

        encoder: Any = tf_hub.build(config, vocabulary)
    else:
        encoder = _build_bert(config, vocabulary, seed, state)
    if config.resolved_pooling != "pooled":
        encoder.freeze_pooler()
    if config.freeze:
        encoder.trainable = False
    return encoder


def _build_bert(config: ModelConfig, vocabulary: Vocabulary, seed: int, state: DropoutSeed) -> Any:
    from components.model.encoders import bert

    directory = hugging_face.locate_checkpoint(config.encoder)
    source = f"model.encoder {config.encoder}"
    sizes = bert.parse_sizes(hugging_face.read_json(directory / "config.json"), source)
    check_vocabulary(hugging_face.read_vocabulary(directory), vocabulary, source)
    if len(vocabulary.tokens) > sizes.vocabulary:
        raise ConfigError(
            f"{source}: {len(vocabulary.tokens)} word pieces, but config.json: vocab_size is {sizes.vocabulary}"
        )
    if config.max_length > sizes.positions:
        raise ConfigError(
            f"model.max_length {config.max_length}: {config.encoder} has only {sizes.positions} positions"
        )
    network = bert.build_network(
        sizes, config.dropout, state, None if config.resolved_pooling == "mean" else 1
    )
    tensors = hugging_face.SafetensorsFile(directory)
    has_pooler = bert.load_weights(network, tensors.names(), tensors.read, source)
    if config.resolved_pooling == "pooled" and not has_pooler:
        raise ConfigError(
            f"model.pooling: {config.encoder} has no pooler in its weights; use mean or cls"
        )
    return bert.BertEncoder(network, name="encoder")


def check_vocabulary(own: Vocabulary, given: Vocabulary, source: str) -> None:
    """ConfigError unless the texts were tokenized with the encoder's own vocabulary."""
    if own.sha256 != given.sha256:
        raise ConfigError(
            f"{source}: the texts were tokenized with another vocabulary; tokenize them again for this encoder"
        )
