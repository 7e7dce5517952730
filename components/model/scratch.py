"""The encoder that is trained from zero: token and position embeddings, then transformer blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from official.nlp.modeling import layers

from components.config import ModelConfig
from components.model.dropout import DropoutState, ExampleDropout, replace_block_dropout


class ScratchEncoder(tf.keras.layers.Layer):
    """input_word_ids, input_mask (int32 [batch, length]) -> sequence_output [batch, length, hidden], pooled_output [batch, hidden].

    Padding is never attended to. The pooled output is the mean over the real tokens.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, state: DropoutState, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_size = config.hidden_size
        self.tokens = tf.keras.layers.Embedding(vocabulary_size, config.hidden_size, name="tokens")
        self.positions = layers.PositionEmbedding(config.max_length, initializer="uniform", name="positions")
        self.dropout = ExampleDropout(config.dropout, state, name="dropout")
        self.mask = layers.SelfAttentionMask(name="mask")
        self.blocks = [
            layers.TransformerEncoderBlock(
                num_attention_heads=config.heads,
                inner_dim=config.inner_size,
                inner_activation="relu",
                norm_epsilon=1e-6,
                output_dropout=config.dropout,
                attention_dropout=config.dropout,
                name=f"block_{i}",
            )
            for i in range(config.layers)
        ]

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        embedded = self.tokens(inputs["input_word_ids"])
        x = self.dropout(embedded + self.positions(embedded), training=training)
        mask = self.mask(x, inputs["input_mask"])
        for block in self.blocks:
            x = block([x, mask], training=training)
        return {"pooled_output": mean_of_tokens(x, inputs["input_mask"]), "sequence_output": x}

    def leave_out_pooler(self) -> None:
        """The pooled output has no weights of its own."""


def mean_of_tokens(vectors: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """[batch, length, hidden] and a 0/1 mask [batch, length] -> float32 [batch, hidden], the mean where the mask is 1; zeros for an empty row."""
    weights = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    return tf.math.divide_no_nan(tf.reduce_sum(tf.cast(vectors, tf.float32) * weights, axis=1), tf.reduce_sum(weights, axis=1))


def build(config: ModelConfig, vocabulary_size: int, seed: int, state: DropoutState) -> ScratchEncoder:
    """A built encoder whose initial weights depend on the sizes and the seed alone."""
    encoder = ScratchEncoder(config, vocabulary_size, state, name="scratch")
    ids = tf.zeros([1, 2], tf.int32)
    encoder({"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": ids})
    for block in encoder.blocks:
        replace_block_dropout(block, state)
    for number, variable in enumerate(encoder.trainable_variables):
        if "kernel" in variable.name or "embeddings" in variable.name:
            variable.assign(_initial(tuple(variable.shape), np.random.default_rng([seed, number])))
    return encoder


def _initial(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal with standard deviation 0.02, cut at two deviations (BERT's initial weights, Devlin et al. 2018)."""
    values = rng.standard_normal(shape, np.float32)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()), np.float32)
    return values * np.float32(0.02)
