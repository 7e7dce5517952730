"""The Keras layer of encoder `scratch`: token and position embeddings, then transformer blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from official.nlp.modeling import layers

from components.config.schema import ModelConfig
from components.model import garden_adapter
from components.model.dropout import DropoutSeed, PerExampleDropout
from components.model.fused_transformer import TransformerStack, look_up_few, mean_pool

_INITIAL_DEVIATION = 0.02
_MAX_DEVIATIONS = 2


class ScratchEncoder(tf.keras.layers.Layer):
    """Token ids -> hidden states; an `EncoderLayer`, for pairs with embeddings of the segments.

    The pooled output is the mean over the real tokens. Both outputs are float32; matrix products
    are of the precision policy's compute type at construction.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary_size: int,
        dropout_seed: DropoutSeed,
        *,
        has_pairs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=tf.float32, **kwargs)
        self.hidden_size = config.hidden_size
        self.tokens = tf.keras.layers.Embedding(vocabulary_size, config.hidden_size, name="tokens")
        self.positions = layers.PositionEmbedding(
            config.max_length, initializer="uniform", name="positions"
        )
        self.segments = (
            tf.keras.layers.Embedding(2, config.hidden_size, name="segments") if has_pairs else None
        )
        self.dropout = PerExampleDropout(
            config.dropout, dropout_seed, name="dropout", dtype=tf.float32
        )
        self.blocks = [
            layers.TransformerEncoderBlock(
                num_attention_heads=config.num_heads,
                inner_dim=config.intermediate_size,
                inner_activation="relu",
                norm_epsilon=1e-6,
                output_dropout=config.dropout,
                attention_dropout=config.dropout,
                name=f"block_{i}",
            )
            for i in range(config.num_layers)
        ]
        self.transformer = TransformerStack(self.blocks, tf.nn.relu)

    @property
    def word_embeddings(self) -> tf.Variable:
        """The embeddings of the word pieces: [vocabulary, width]."""
        return self.tokens.embeddings

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        mask = inputs["input_mask"]
        words = (  # [batch, tokens, width]
            inputs["token_embeddings"]
            if "token_embeddings" in inputs
            else tf.gather(self.word_embeddings, inputs["input_word_ids"])
        )
        positions = garden_adapter.read_positions(self.positions)[: tf.shape(mask)[1]]
        embeddings = words + positions
        if self.segments is not None:
            embeddings += look_up_few(self.segments.embeddings, inputs["input_type_ids"])
        embeddings = self.dropout(embeddings, training=training)
        sequence = self.transformer.forward(embeddings, mask, training)
        return {"pooled_output": mean_pool(sequence, mask), "sequence_output": sequence}

    def freeze_pooler(self) -> None:
        """Nothing to do: the pooled output has no weights of its own."""

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Freeze the weights as they are now, with matrix products in `dtype`."""
        self.transformer.freeze_weights(dtype)


def build_scratch_encoder(
    config: ModelConfig,
    vocabulary_size: int,
    seed: int,
    dropout_seed: DropoutSeed,
    *,
    has_pairs: bool = False,
) -> ScratchEncoder:
    """A built encoder whose initial weights depend on the sizes and the seed only."""
    encoder = ScratchEncoder(
        config, vocabulary_size, dropout_seed, has_pairs=has_pairs, name="scratch"
    )
    if encoder.segments is not None:
        encoder.segments(tf.zeros([1, 2], tf.int32))
    embeddings = encoder.positions(encoder.tokens(tf.zeros([1, 2], tf.int32)))
    for block in encoder.blocks:
        block([embeddings, tf.ones([1, 2, 2])])
    garden_adapter.replace_block_dropout(encoder.blocks, dropout_seed)
    for number, variable in enumerate(encoder.trainable_variables):
        if "kernel" in variable.name or "embeddings" in variable.name:
            random = np.random.default_rng([seed, number])
            variable.assign(_truncated_normal(tuple(variable.shape), random))
    return encoder


def _truncated_normal(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """BERT's initial weights (Devlin et al. 2018): normal, redrawn beyond two deviations."""
    values = random.standard_normal(shape, np.float32)
    while (outside := np.abs(values) > _MAX_DEVIATIONS).any():
        values[outside] = random.standard_normal(int(outside.sum()), np.float32)
    return values * np.float32(_INITIAL_DEVIATION)
