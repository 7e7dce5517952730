"""Encoder -> one vector per text -> dropout -> logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import tensorflow as tf

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.model import encoders
from components.model.dropout import DropoutSeed, PerExampleDropout
from components.model.encoders.scratch import mean_pool


class Classifier(tf.keras.Model):
    """Token ids -> logits, float32 [batch, classes] under every precision policy. A label never enters.

    `features` and `head` are its two halves: those of a frozen encoder can be computed once and the head trained on them.
    Training (training=True) with dropout runs inside `with classifier.dropout_seed.for_rows(step, first_row):`.
    """

    def __init__(
        self,
        encoder: Any,
        pooling: Literal["mean", "cls", "pooled"],
        dropout: float,
        classes: int,
        pad_id: int,
        seed: int,
        state: DropoutSeed,
    ) -> None:
        super().__init__(name="classifier")
        self.encoder = encoder
        self.pooling = pooling
        self.pad_id = pad_id
        self.dropout_seed = state
        self.dropout = PerExampleDropout(dropout, state, name="dropout", dtype=tf.float32)
        initial = tf.keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
        self.logits = tf.keras.layers.Dense(
            classes, kernel_initializer=initial, dtype=tf.float32, name="logits"
        )

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return self.head(self.features(inputs, training=training), training=training)

    def features(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """One vector per text, float32 [batch, hidden].

        `inputs`: input_word_ids (int32 [batch, length]); input_mask (1: a real token) and input_type_ids where they are not
        simply "not [PAD]" and zeros; `token_embeddings` where the word pieces' vectors come from elsewhere (see the encoders). A frozen
        encoder never drops units.
        """
        mask = (
            inputs["input_mask"]
            if "input_mask" in inputs
            else tf.cast(inputs["input_word_ids"] != self.pad_id, tf.int32)
        )
        outputs = self.encoder(
            {**inputs, "input_mask": mask}, training=training and self.encoder.trainable
        )
        if self.pooling == "mean":
            return mean_pool(outputs["sequence_output"], mask)
        vector = (
            outputs["pooled_output"]
            if self.pooling == "pooled"
            else outputs["sequence_output"][:, 0]
        )
        return tf.cast(vector, tf.float32)

    def head(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Features [batch, hidden] -> logits, float32 [batch, classes]."""
        return self.logits(self.dropout(features, training=training))


def build_classifier(
    config: ModelConfig, vocabulary: Vocabulary, num_classes: int, seed: int
) -> Classifier:
    """A built classifier: the encoder's own weights, a head drawn from the seed.

    Set the precision policy, and enter the distribution strategy's scope, before calling this. Raises ConfigError or
    DataError when the encoder cannot be had or does not fit `config` or `vocabulary`.
    """
    state = DropoutSeed(seed)
    encoder = encoders.build_encoder(config, vocabulary, seed, state)
    classifier = Classifier(
        encoder,
        config.resolved_pooling,
        config.dropout,
        num_classes,
        vocabulary.pad_id,
        seed,
        state,
    )
    classifier.logits.build([None, encoder.hidden_size])
    return classifier
