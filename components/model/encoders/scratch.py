"""The encoder that is trained from zero: token and position embeddings, then transformer blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from official.nlp.modeling import layers

from components.config.schema import ModelConfig
from components.model.dropout import DropoutSeed, PerExampleDropout, replace_block_dropout
from components.model.fused_transformer import run_blocks


class ScratchEncoder(tf.keras.layers.Layer):
    """input_word_ids, input_mask (int32 [batch, length]) -> sequence_output [batch, length, hidden], pooled_output [batch, hidden].

    Padding is never attended to. The pooled output is the mean over the real tokens. Both are float32. Where `token_embeddings`
    (float32 [batch, length, hidden]) is given, it stands for the rows of `word_embeddings` that the ids name.
    """

    def __init__(
        self, config: ModelConfig, vocabulary_size: int, state: DropoutSeed, **kwargs: Any
    ) -> None:
        super().__init__(dtype=tf.float32, **kwargs)
        self.hidden_size = config.hidden_size
        self.tokens = tf.keras.layers.Embedding(vocabulary_size, config.hidden_size, name="tokens")
        self.positions = layers.PositionEmbedding(
            config.max_length, initializer="uniform", name="positions"
        )
        self.dropout = PerExampleDropout(config.dropout, state, name="dropout", dtype=tf.float32)
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
        self.matmul_dtype = tf.as_dtype(tf.keras.mixed_precision.global_policy().compute_dtype)

    @property
    def word_embeddings(self) -> tf.Variable:
        """The embeddings of the word pieces: [vocabulary, hidden]."""
        return self.tokens.embeddings

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        mask = inputs["input_mask"]
        words = (
            inputs["token_embeddings"]
            if "token_embeddings" in inputs
            else tf.gather(self.word_embeddings, inputs["input_word_ids"])
        )
        embedded = self.dropout(
            words + self.positions._position_embeddings[: tf.shape(mask)[1]], training=training
        )
        x = run_blocks(self.blocks, embedded, mask, tf.nn.relu, self.matmul_dtype, training)
        return {"pooled_output": mean_pool(x, mask), "sequence_output": x}

    def freeze_pooler(self) -> None:
        """The pooled output has no weights of its own."""


def mean_pool(vectors: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """[batch, length, hidden] and a 0/1 mask [batch, length] -> float32 [batch, hidden], the mean where the mask is 1; zeros for an empty row."""
    weights = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    return tf.math.divide_no_nan(
        tf.reduce_sum(tf.cast(vectors, tf.float32) * weights, axis=1),
        tf.reduce_sum(weights, axis=1),
    )


def build(
    config: ModelConfig, vocabulary_size: int, seed: int, state: DropoutSeed
) -> ScratchEncoder:
    """A built encoder whose initial weights depend on the sizes and the seed alone."""
    encoder = ScratchEncoder(config, vocabulary_size, state, name="scratch")
    embedded = encoder.positions(encoder.tokens(tf.zeros([1, 2], tf.int32)))
    for block in encoder.blocks:
        block([embedded, tf.ones([1, 2, 2])])
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
