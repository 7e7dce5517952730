"""BERT as a Keras layer: Model Garden's `BertEncoderV2` with sizes from a config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from official.nlp.modeling.networks import BertEncoderV2

from components.model import garden_adapter
from components.model.dropout import DropoutSeed
from components.model.encoders.checkpoint.checkpoint_files import BertSizes
from components.model.fused_transformer import (
    TransformerStack,
    exact_gelu,
    layer_norm,
    look_up_few,
)


class BertEncoder(tf.keras.layers.Layer):
    """Token ids -> hidden states of a built `BertEncoderV2`; an `EncoderLayer`.

    A network with an output range gives that many first tokens of the sequence only. Both outputs
    are float32; matrix products are of the precision policy's compute type at construction.
    """

    def __init__(self, network: BertEncoderV2, **kwargs: Any) -> None:
        super().__init__(dtype=tf.float32, **kwargs)
        self.network = network
        self.hidden_size: int = network.get_config()["hidden_size"]
        garden_adapter.set_query_count(network)
        self.transformer = TransformerStack(network.transformer_layers, exact_gelu)

    @property
    def word_embeddings(self) -> tf.Variable:
        """The embeddings of the word pieces: [vocabulary, width]."""
        return garden_adapter.read_embeddings(self.network).words

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        weights, mask = garden_adapter.read_embeddings(self.network), inputs["input_mask"]
        words = (  # [batch, tokens, width]
            inputs["token_embeddings"]
            if "token_embeddings" in inputs
            else tf.gather(weights.words, inputs["input_word_ids"])
        )
        positions = weights.positions[: tf.shape(mask)[1]]  # [tokens, width]
        types = (  # [batch, tokens, width], or [width] where all tokens are of the first segment
            look_up_few(weights.types, inputs["input_type_ids"])
            if "input_type_ids" in inputs
            else weights.types[0]
        )
        embeddings = layer_norm(weights.norm, words + (positions + types))
        embeddings = weights.dropout(embeddings, training=training)
        sequence = self.transformer.forward(embeddings, mask, training)
        pooled = tf.cast(self.network.pooler_layer(sequence[:, 0]), tf.float32)
        return {"pooled_output": pooled, "sequence_output": sequence}

    def freeze_pooler(self) -> None:
        """Exclude the pooler from training: its output is not used."""
        self.network.pooler_layer.trainable = False

    def fuse_weights_for_serving(self, dtype: tf.DType) -> None:
        """Freeze the weights as they are now, with matrix products in `dtype`."""
        self.transformer.freeze_weights(dtype)


def build_network(
    sizes: BertSizes,
    dropout: float,
    dropout_seed: DropoutSeed | None,
    output_range: int | None = None,
) -> BertEncoderV2:
    """A built network with random weights and exact GELU (the tanh approximation is 4e-3 off).

    With an `output_range`, the last block computes that many first tokens only.
    Dropout is per example under `dropout_seed`; with None, it is Keras's own, as other programs
    that load an exported network expect.
    """
    network = BertEncoderV2(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        inner_dim=sizes.inner,
        inner_activation=exact_gelu,
        max_sequence_length=sizes.positions,
        type_vocab_size=sizes.types,
        output_dropout=dropout,
        attention_dropout=dropout,
        output_range=output_range,
        name="bert",
    )
    ids = tf.zeros([1, 2], tf.int32)
    network({"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": ids})
    if dropout_seed is not None:
        garden_adapter.replace_dropout(network, dropout_seed)
    garden_adapter.set_norm_epsilon(network, sizes.norm_epsilon)
    return network
