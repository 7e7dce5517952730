"""Model Garden's BERT weights as plain values: all access to its layers' private attributes.

Model Garden has no public way to the weights inside of its layers. Everything that depends on how
`BertEncoderV2`, `TransformerEncoderBlock` and Keras's `MultiHeadAttention` name their parts stands
here, so that a new release of Model Garden (`tf-models-official`) changes this file and no other.

The values refer to the layers' own variables: reading a layer costs nothing, copies nothing, and
an assignment to a variable shows in what was read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from official.nlp.modeling.layers import PositionEmbedding, TransformerEncoderBlock
from official.nlp.modeling.networks import BertEncoderV2

from components.model.dropout import DropoutSeed, PerExampleDropout


@dataclass(frozen=True)
class DenseWeights:
    """Kernel [inputs..., outputs...] and bias [outputs...] of an affine map."""

    kernel: Any
    bias: Any


@dataclass(frozen=True)
class LayerNormWeights:
    """Scale `gamma` and offset `beta` [width], and what is added to the variance."""

    gamma: Any
    beta: Any
    epsilon: float


@dataclass(frozen=True)
class BlockDropout:
    """The dropout layers of one block, by what they are applied to."""

    attention_weights: Any
    attention_output: Any
    intermediate: Any
    output: Any


@dataclass(frozen=True)
class BlockWeights:
    """One transformer block, normalized after each half.

    query, key, value: kernel [width, heads, size], bias [heads, size].
    attention_output: kernel [heads, size, width]. intermediate: kernel [width, inner].
    output: kernel [inner, width].
    query_count: the block gives that many first tokens of each text; all of them where None.
    """

    query: DenseWeights
    key: DenseWeights
    value: DenseWeights
    attention_output: DenseWeights
    attention_norm: LayerNormWeights
    intermediate: DenseWeights
    output: DenseWeights
    output_norm: LayerNormWeights
    dropout: BlockDropout
    query_count: int | None


@dataclass(frozen=True)
class EmbeddingWeights:
    """BERT's input: one row per word piece, position and segment, [rows, width] each."""

    words: Any
    positions: Any
    types: Any
    norm: LayerNormWeights
    dropout: Any


def read_block(block: TransformerEncoderBlock) -> BlockWeights:
    """The weights of a built block."""
    attention = block._attention_layer
    return BlockWeights(
        query=_read_dense(attention._query_dense),
        key=_read_dense(attention._key_dense),
        value=_read_dense(attention._value_dense),
        attention_output=_read_dense(attention._output_dense),
        attention_norm=read_layer_norm(block._attention_layer_norm),
        intermediate=_read_dense(block._intermediate_dense),
        output=_read_dense(block._output_dense),
        output_norm=read_layer_norm(block._output_layer_norm),
        dropout=BlockDropout(
            attention_weights=attention._dropout_layer,
            attention_output=block._attention_dropout,
            intermediate=block._inner_dropout_layer,
            output=block._output_dropout,
        ),
        query_count=block._output_range or None,
    )


def read_embeddings(network: BertEncoderV2) -> EmbeddingWeights:
    """The weights of a built network below its blocks."""
    return EmbeddingWeights(
        words=network._embedding_layer.embeddings,
        positions=read_positions(network._position_embedding_layer),
        types=network._type_embedding_layer.embeddings,
        norm=read_layer_norm(network._embedding_norm_layer),
        dropout=network._embedding_dropout,
    )


def read_positions(layer: PositionEmbedding) -> tf.Variable:
    """The table of a built position embedding: [positions, width]."""
    return layer._position_embeddings


def read_pooler(network: BertEncoderV2) -> DenseWeights:
    """The weights of the pooler: kernel [width, width]."""
    return _read_dense(network.pooler_layer)


def read_layer_norm(layer: tf.keras.layers.LayerNormalization) -> LayerNormWeights:
    """The weights of a built Keras layer normalization."""
    return LayerNormWeights(layer.gamma, layer.beta, layer.epsilon)


def _read_dense(layer: Any) -> DenseWeights:
    return DenseWeights(layer.kernel, layer.bias)


def set_norm_epsilon(network: BertEncoderV2, epsilon: float) -> None:
    """Set the epsilon of every layer normalization: `BertEncoderV2` has no argument for it."""
    network._embedding_norm_layer.epsilon = epsilon
    for block in network.transformer_layers:
        block._attention_layer_norm.epsilon = block._output_layer_norm.epsilon = epsilon


def set_query_count(network: BertEncoderV2) -> None:
    """Store the network's `output_range` in its last block, which else gets it with each call."""
    network.transformer_layers[-1]._output_range = network.get_config()["output_range"]


def replace_dropout(network: BertEncoderV2, dropout_seed: DropoutSeed) -> None:
    """Replace every dropout layer of a built network by a `PerExampleDropout` of its rate."""
    _replace_layer(network, "_embedding_dropout", dropout_seed)
    replace_block_dropout(network.transformer_layers, dropout_seed)


def replace_block_dropout(
    blocks: Sequence[TransformerEncoderBlock], dropout_seed: DropoutSeed
) -> None:
    """Replace every dropout layer of built blocks by a `PerExampleDropout` of the same rate.

    The layers' numbers, and so their masks, follow from this order.
    """
    for block in blocks:
        _replace_layer(block._attention_layer, "_dropout_layer", dropout_seed)
        for attribute in ("_attention_dropout", "_inner_dropout_layer", "_output_dropout"):
            _replace_layer(block, attribute, dropout_seed)


def _replace_layer(owner: tf.keras.layers.Layer, attribute: str, dropout_seed: DropoutSeed) -> None:
    previous = getattr(owner, attribute)
    dropout = PerExampleDropout(previous.rate, dropout_seed, name=previous.name, dtype=tf.float32)
    setattr(owner, attribute, dropout)
