"""The classifier: encoder -> one vector per text -> dropout -> logits, one of a regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import tensorflow as tf

from components.artifacts.vocabulary import Vocabulary
from components.config.schema import ModelConfig
from components.model import encoders
from components.model.dropout import DropoutSeed, PerExampleDropout
from components.model.fused_transformer import mean_pool

_INITIAL_DEVIATION = 0.02


class Classifier(tf.keras.Model):
    """Token ids -> logits, float32 [batch, outputs] under every precision policy.

    There is an output per class, or one for a number (`components.model.heads`).

    `features` and `head` are its two halves: the features of a frozen encoder can be computed once
    and the head trained on them. Labels are no input.
    With `sep_id`, that of [SEP], rows are pairs: the tokens behind the first [SEP] are the second
    segment. It is found by the ids, so that nothing but these has to be stored and passed on.
    With `window_tokens`, longer rows are windows of so many tokens, which the encoder reads as rows
    of their own. The vector of a text is the mean of those of its windows: the logits are a linear
    function of it, so that they are the mean of the windows' logits.
    Training (training=True) with dropout runs inside
    `with classifier.dropout_seed.for_rows(step, first_row):`.
    """

    def __init__(
        self,
        encoder: encoders.EncoderLayer,
        pooling: Literal["mean", "cls", "pooled"],
        dropout: float,
        num_outputs: int,
        pad_id: int,
        dropout_seed: DropoutSeed,
        sep_id: int | None = None,
        window_tokens: int | None = None,
    ) -> None:
        super().__init__(name="classifier")
        self.encoder = encoder
        self.pooling = pooling
        self.pad_id = pad_id
        self.sep_id = sep_id
        self.window_tokens = window_tokens
        self.dropout_seed = dropout_seed
        self.dropout = PerExampleDropout(dropout, dropout_seed, name="dropout", dtype=tf.float32)
        initializer = tf.keras.initializers.TruncatedNormal(
            stddev=_INITIAL_DEVIATION, seed=dropout_seed.seed
        )
        self.logits = tf.keras.layers.Dense(
            num_outputs, kernel_initializer=initializer, dtype=tf.float32, name="logits"
        )
        self.logits.build([None, encoder.hidden_size])

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return self.head(self.features(inputs, training=training), training=training)

    def features(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """One vector per text: float32 [batch, width].

        `inputs` are those of an `EncoderLayer`; without input_mask, every id but [PAD] is a token.
        Of pairs input_word_ids are needed in any case. A frozen encoder runs without dropout.
        """
        mask = (
            inputs["input_mask"]
            if "input_mask" in inputs
            else tf.cast(inputs["input_word_ids"] != self.pad_id, tf.int32)
        )
        inputs = {**inputs, "input_mask": mask}
        if self.window_tokens is not None:
            return self._average_windows(inputs, self.window_tokens, training)
        if self.sep_id is not None:
            inputs["input_type_ids"] = find_segments(inputs["input_word_ids"], mask, self.sep_id)
        return self._pool(inputs, training)

    def _average_windows(
        self, inputs: Mapping[str, tf.Tensor], window_tokens: int, training: bool
    ) -> tf.Tensor:
        """The mean over the windows of each row that have a token; all rows have as many."""
        rows, tokens = tf.unstack(tf.shape(inputs["input_mask"]))
        windows = tf.maximum((tokens + window_tokens - 1) // window_tokens, 1)
        shape = tf.stack([rows * windows, tokens // windows])
        split = {
            name: tf.reshape(value, tf.concat([shape, tf.shape(value)[2:]], axis=0))
            for name, value in inputs.items()
        }
        has_tokens = split["input_mask"][:, 0]
        if training:
            with self.dropout_seed.for_parts(windows):
                features = self._pool(split, training)
        else:
            features = self._skip_empty_windows(split, has_tokens)
        features = tf.reshape(features, tf.stack([rows, windows, self.encoder.hidden_size]))
        return mean_pool(features, tf.reshape(has_tokens, tf.stack([rows, windows])))

    def _skip_empty_windows(
        self, inputs: Mapping[str, tf.Tensor], has_tokens: tf.Tensor
    ) -> tf.Tensor:
        """The features of the windows that have a token, and zeros for the others."""
        positions = tf.where(has_tokens)
        full = {name: tf.gather(value, positions[:, 0]) for name, value in inputs.items()}
        shape = tf.stack([tf.size(has_tokens, tf.int64), self.encoder.hidden_size])
        return tf.scatter_nd(positions, self._pool(full, training=False), shape)

    def _pool(self, inputs: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        mask = inputs["input_mask"]
        outputs = self.encoder(inputs, training=training and self.encoder.trainable)
        if self.pooling == "mean":
            return mean_pool(outputs["sequence_output"], mask)
        if self.pooling == "pooled":
            return tf.cast(outputs["pooled_output"], tf.float32)
        return tf.cast(outputs["sequence_output"][:, 0], tf.float32)

    def head(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Features [batch, width] -> logits, float32 [batch, outputs]."""
        return self.logits(self.dropout(features, training=training))

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Freeze the encoder's weights, with matrix products in `dtype`: training has no effect.

        ConfigError if the encoder cannot compute in that type.
        """
        self.encoder.fuse_weights_for_serving(dtype)


def find_segments(ids: tf.Tensor, mask: tf.Tensor, sep_id: int) -> tf.Tensor:
    """Token type ids of pairs, int32 [batch, tokens]: 1 behind the first [SEP], 0 for padding."""
    is_separator = tf.cast(tf.equal(ids, sep_id), tf.int32)
    return tf.minimum(tf.cumsum(is_separator, axis=1, exclusive=True), 1) * mask


def build_classifier(
    config: ModelConfig,
    vocabulary: Vocabulary,
    num_outputs: int,
    seed: int,
    *,
    has_pairs: bool = False,
) -> Classifier:
    """A built classifier: the encoder's own weights, and a head with the weights of this seed.

    Set the precision policy, and enter the distribution strategy's scope, before calling this.
    Raises ConfigError or DataError if the encoder is unavailable or does not fit `config` or
    `vocabulary`.
    """
    dropout_seed = DropoutSeed(seed)
    encoder = encoders.build_encoder(config, vocabulary, seed, dropout_seed, has_pairs=has_pairs)
    return Classifier(
        encoder,
        config.resolved_pooling,
        config.dropout,
        num_outputs,
        vocabulary.pad_id,
        dropout_seed,
        vocabulary.token_id("[SEP]") if has_pairs else None,
        config.max_length if config.long_text_reading.has_windows else None,
    )
