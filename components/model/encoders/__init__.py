"""The encoders, chosen by `model.encoder`: a registry of modules that implement one protocol.

To add an encoder: write a module with the functions of `Encoder`, add it to `ENCODERS` under the
part of `model.encoder` before the colon, and have `ModelConfig.encoder` accept that name. The
module must not import TensorFlow before `build_layer`: sizes and fingerprints are read by
processes that do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.model.encoders import hugging_face, scratch, tf_hub
from components.model.encoders.fingerprint import hash_description

if TYPE_CHECKING:
    import tensorflow as tf

    from components.model.dropout import DropoutSeed


class EncoderLayer(Protocol):
    """A built Keras layer: token ids -> hidden states; its weights are float32.

    Inputs, [batch, tokens] of any length up to the encoder's positions:

    - input_mask (int32): 1 for a token, 0 for padding;
    - input_word_ids (int32), or token_embeddings (float32 [batch, tokens, width]), which replace
      the rows of `word_embeddings` that the ids name, where that is not None;
    - input_type_ids (int32): the segments, 0 or 1; zeros where not given. Only an encoder that was
      built for pairs gets them.

    Outputs: pooled_output [batch, width] and sequence_output [batch, tokens, width]; BERT without
    mean pooling gives the first token's vector only, [batch, 1, width].
    """

    hidden_size: int
    trainable: bool

    @property
    def variables(self) -> Sequence[tf.Variable]:
        """All weights."""

    @property
    def trainable_variables(self) -> Sequence[tf.Variable]:
        """The weights that training changes."""

    @property
    def word_embeddings(self) -> tf.Variable | None:
        """One row per word piece, [vocabulary, width]; None where token_embeddings are refused."""

    def __call__(
        self, inputs: Mapping[str, tf.Tensor], *, training: bool = False
    ) -> Mapping[str, tf.Tensor]:
        """The outputs; with training=True, with dropout."""

    def freeze_pooler(self) -> None:
        """Exclude from training what only the pooled output depends on."""

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Freeze the weights as they are now, with matrix products in `dtype`.

        ConfigError if the encoder cannot compute in that type.
        """


class Encoder(Protocol):
    """One kind of encoder: how it is described and built. A module with these functions is one."""

    def load_vocabulary(self, config: ModelConfig) -> Vocabulary | None:
        """The encoder's own vocabulary; None if it is learned from the training texts."""

    def validate_files(self, config: ModelConfig) -> bool:
        """Check the local files without loading weights; False if they are not on this machine.

        ConfigError or DataError for files that `build_layer` would refuse.
        """

    def find_hidden_size(self, config: ModelConfig) -> int | None:
        """The width of the encoder's vectors; None if its description does not have it."""

    def has_pooler(self, config: ModelConfig) -> bool:
        """Whether the encoder has a pooled output, which pooling `auto` then takes."""

    def describe_weights(self, config: ModelConfig) -> Mapping[str, object]:
        """JSON value that changes with the features of a text, but not with the files' path."""

    def check_segments(self, config: ModelConfig) -> None:
        """ConfigError if the encoder's description says that it cannot tell two segments apart."""

    def build_layer(
        self,
        config: ModelConfig,
        vocabulary: Vocabulary,
        seed: int,
        dropout_seed: DropoutSeed,
        *,
        has_pairs: bool,
    ) -> EncoderLayer:
        """The layer with its weights; ConfigError or DataError if it does not fit.

        `vocabulary` is the one that the texts were tokenized with. Units inside of the encoder
        are dropped with `config.dropout`. `has_pairs`: texts are pairs of two segments.
        """


ENCODERS: dict[str, Encoder] = {
    "scratch": scratch,
    "minilm": hugging_face,
    "hf": hugging_face,
    "hub": tf_hub,
}


def find_encoder(config: ModelConfig) -> Encoder:
    """The encoder of `model.encoder`."""
    return ENCODERS[config.encoder.partition(":")[0]]


def load_vocabulary(config: ModelConfig) -> Vocabulary | None:
    """The encoder's own vocabulary; None if it is learned from the training texts."""
    return find_encoder(config).load_vocabulary(config)


def validate_files(config: ModelConfig) -> bool:
    """Check the encoder's local files without loading weights; False if a hub has them.

    Nothing is downloaded. ConfigError or DataError for files that a step would refuse.
    """
    return find_encoder(config).validate_files(config)


def check_segments(config: ModelConfig) -> None:
    """ConfigError for an encoder that does not read pairs as two segments; for `data.text_pair`."""
    find_encoder(config).check_segments(config)


def resolve_pooling(config: ModelConfig) -> ModelConfig:
    """The configuration with the mean of the tokens where `auto` means a pooler that is not there.

    Weights are located, and downloaded if need be.
    """
    if config.pooling != "auto" or config.resolved_pooling != "pooled":
        return config
    if find_encoder(config).has_pooler(config):
        return config
    return config.model_copy(update={"pooling": "mean"})


def find_hidden_size(config: ModelConfig) -> int | None:
    """The width of the encoder's vectors; None if its description does not have it."""
    return find_encoder(config).find_hidden_size(config)


def compute_fingerprint(config: ModelConfig) -> str:
    """sha256 (hex) of what the features of a text depend on: the encoder and the pooling.

    The same weights under another path or name have the same fingerprint.
    """
    description = find_encoder(config).describe_weights(config)
    return hash_description({"pooling": config.resolved_pooling, **description})


def build_encoder(
    config: ModelConfig,
    vocabulary: Vocabulary,
    seed: int,
    dropout_seed: DropoutSeed | None = None,
    *,
    has_pairs: bool = False,
) -> EncoderLayer:
    """The encoder with its weights, not trainable when `config.freeze`.

    `vocabulary` is the one that the texts were tokenized with: ConfigError if the encoder has
    another. Units inside of a trained encoder are dropped under `dropout_seed` (None: a new one).
    `has_pairs`: texts are pairs of two segments.
    """
    from components.model.dropout import DropoutSeed

    layer = find_encoder(config).build_layer(
        config, vocabulary, seed, dropout_seed or DropoutSeed(seed), has_pairs=has_pairs
    )
    if config.resolved_pooling != "pooled":
        layer.freeze_pooler()
    if config.freeze:
        layer.trainable = False
    return layer
