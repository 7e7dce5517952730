"""BERT's forward pass over Model Garden's weights, in fewer and larger operations than its layers.

Model Garden's layers run one matrix product each for query, key and value, transpose between every
two of them, and leave the gradients of GELU and of layer normalization to a dozen small operations.
Here tokens are rows of one matrix from the embeddings to the end, query, key and value are one
product, and those two gradients are written out.

Under a mixed precision policy the matrix products are computed in its compute type, and everything
else in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf
from official.nlp.modeling.layers import TransformerEncoderBlock

from components.model.garden_adapter import (
    BlockWeights,
    DenseWeights,
    LayerNormWeights,
    read_block,
)

Tensor = Any
Activation = Callable[[Tensor], Tensor]

_MASKED_SCORE = -1e9


@dataclass(frozen=True)
class FusedBlock:
    """A block's weights as the forward pass multiplies by them.

    `projections` is one matrix for query, key and value: kernel [width, 3 width], bias [3 width].
    Where the block gives the first tokens only, it is two: one for the query, and one for key and
    value, which all tokens have.
    `rounds_once`: the activation is computed in the type of the product before it, so that product,
    bias and activation are one operation; only where no gradient is needed.
    """

    weights: BlockWeights
    projections: tuple[DenseWeights, ...]
    rounds_once: bool = False


class TransformerStack:
    """Runs built Model Garden blocks; holds the weights that were frozen for serving.

    It is no Keras layer and no `tf.Module`: the blocks own the variables, under the names by which
    checkpoints know them, and the frozen copies belong to no checkpoint.
    `matmul_dtype`, the type of the matrix products, is the precision policy's at construction.
    """

    def __init__(self, blocks: Sequence[TransformerEncoderBlock], activation: Activation) -> None:
        self._blocks = blocks
        self._activation = activation
        self._frozen_blocks: tuple[FusedBlock, ...] | None = None
        self.matmul_dtype = tf.as_dtype(tf.keras.mixed_precision.global_policy().compute_dtype)

    def forward(self, x: Tensor, mask: Tensor, training: bool) -> Tensor:
        """Hidden states [batch, tokens, width] and a 0/1 mask [batch, tokens] -> the same, float32.

        Padding is never attended to. Where the last block has a `query_count`, the result has that
        many first tokens, and no more of the others is computed in it than what these attend to.
        """
        blocks = self._frozen_blocks or tuple(fuse_block(read_block(b)) for b in self._blocks)
        batch, tokens = tf.unstack(tf.shape(x)[:2])
        width = x.shape[-1]
        padding_scores = (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :]
        state = _PassState(
            batch=batch,
            tokens=tokens,
            score_bias=padding_scores * _MASKED_SCORE,
            activation=self._activation,
            dtype=self.matmul_dtype,
            training=training,
        )
        rows = tf.reshape(x, [-1, width])  # [batch * tokens, width]
        for block in blocks:
            rows = _run_block(block, rows, state)
        return tf.reshape(rows, [batch, _count_queries(blocks[-1], tokens), width])

    def freeze_weights(self, dtype: tf.DType) -> None:
        """Keep the weights of the products as they are now, fused and of type `dtype`.

        From now on the products are of that type, and training does not change them. In a request
        of one short text, fusing the weights costs as much as a seventh of all the rest.
        """
        fused_blocks = [fuse_block(read_block(block)) for block in self._blocks]
        self._frozen_blocks = tuple(_freeze_block(block, dtype) for block in fused_blocks)
        self.matmul_dtype = dtype


@dataclass(frozen=True)
class _PassState:
    """What all blocks of one forward pass share; `score_bias`: float32 [batch, 1, 1, tokens]."""

    batch: Tensor
    tokens: Tensor
    score_bias: Tensor
    activation: Activation
    dtype: tf.DType
    training: bool

    def drop(self, layer: Any, rows: Tensor) -> Tensor:
        """Dropout of rows [batch * n, width], whose mask belongs to the text."""
        if not self.training or not layer.rate:
            return rows
        texts = tf.reshape(rows, [self.batch, -1])
        return tf.reshape(layer(texts, training=True), tf.shape(rows))


def fuse_block(weights: BlockWeights) -> FusedBlock:
    """The block with its projections side by side; in a graph, these operations are part of it."""
    query, key, value = weights.query, weights.key, weights.value
    groups = ((query, key, value),) if weights.query_count is None else ((query,), (key, value))
    return FusedBlock(weights, tuple(_fused_projection(group) for group in groups))


def _fused_projection(group: Sequence[DenseWeights]) -> DenseWeights:
    """Kernels [width, heads, size] and biases [heads, size], side by side."""
    width, heads, size = group[0].kernel.shape
    return DenseWeights(
        kernel=tf.concat(
            [tf.reshape(part.kernel, [width, heads * size]) for part in group], axis=1
        ),
        bias=tf.concat([tf.reshape(part.bias, [heads * size]) for part in group], axis=0),
    )


def _freeze_block(block: FusedBlock, dtype: tf.DType) -> FusedBlock:
    projections = tuple(_freeze_dense(projection, dtype) for projection in block.projections)
    if dtype == tf.float32:
        # The other products need no copy: their variables have this type and one matrix each.
        return replace(block, projections=projections)
    weights = replace(
        block.weights,
        attention_output=_freeze_dense(block.weights.attention_output, dtype),
        intermediate=_freeze_dense(block.weights.intermediate, dtype),
        output=_freeze_dense(block.weights.output, dtype),
    )
    return FusedBlock(weights, projections, rounds_once=True)


def _freeze_dense(dense: DenseWeights, dtype: tf.DType) -> DenseWeights:
    kernel, bias = tf.cast(_as_matrix(dense.kernel), dtype), tf.cast(dense.bias, dtype)
    return DenseWeights(tf.Variable(kernel, trainable=False), tf.Variable(bias, trainable=False))


def _run_block(block: FusedBlock, x: Tensor, state: _PassState) -> Tensor:
    """x: float32 [batch * tokens, width] -> float32 [batch * query_count, width]."""
    weights, dropout = block.weights, block.weights.dropout
    query_count = _count_queries(block, state.tokens)
    queries = x
    if query_count is not state.tokens:
        texts = tf.reshape(x, [state.batch, state.tokens, x.shape[-1]])
        queries = tf.reshape(texts[:, :query_count], [-1, x.shape[-1]])
    attention = _run_attention(block, queries, query_count, x, state)
    x = layer_norm(
        weights.attention_norm, queries + state.drop(dropout.attention_output, attention)
    )
    inner = _apply_dense(weights.intermediate, x, state.dtype)  # [batch * query_count, inner]
    inner = state.activation(inner if block.rounds_once else tf.cast(inner, tf.float32))
    inner = state.drop(dropout.intermediate, inner)
    output = tf.cast(_apply_dense(weights.output, inner, state.dtype), tf.float32)
    return layer_norm(weights.output_norm, x + state.drop(dropout.output, output))


def _count_queries(block: FusedBlock, tokens: Tensor) -> Tensor:
    """How many tokens of each text the block gives; `tokens` itself where it gives all of them."""
    count = block.weights.query_count
    return tokens if count is None else tf.minimum(count, tokens)


def _run_attention(
    block: FusedBlock, queries: Tensor, query_count: Tensor, x: Tensor, state: _PassState
) -> Tensor:
    """Multi-head attention of `queries` to x (Vaswani et al. 2017, section 3.2.2).

    queries: [batch * query_count, width], x: [batch * tokens, width]; the result is float32
    [batch * query_count, width].
    """
    weights, dtype = block.weights, state.dtype
    _, heads, size = weights.query.kernel.shape

    def project(projection: DenseWeights, rows: Tensor, count: Tensor) -> list[Tensor]:
        """[batch * count, width] -> n tensors [batch, heads, count, size]."""
        parts = projection.bias.shape[0] // (heads * size)
        products = _apply_dense(projection, rows, dtype)  # [batch * count, n * width]
        products = tf.reshape(products, [state.batch, count, parts, heads, size])
        return list(tf.unstack(tf.transpose(products, [2, 0, 3, 1, 4]), axis=0))

    if queries is x:
        query, key, value = project(block.projections[0], x, state.tokens)
    else:
        (query,) = project(block.projections[0], queries, query_count)
        key, value = project(block.projections[1], x, state.tokens)
    scores = tf.matmul(query, key, transpose_b=True)  # [batch, heads, query_count, tokens]
    scores = tf.cast(scores, tf.float32) * (1.0 / math.sqrt(size)) + state.score_bias
    attention = weights.dropout.attention_weights(tf.nn.softmax(scores), training=state.training)
    context = tf.matmul(tf.cast(attention, dtype), value)  # [batch, heads, query_count, size]
    rows = tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, x.shape[-1]])
    return tf.cast(_apply_dense(weights.attention_output, rows, dtype), tf.float32)


def _apply_dense(dense: DenseWeights, x: Tensor, dtype: tf.DType) -> Tensor:
    """x kernel + bias, in `dtype` throughout: TensorFlow makes one operation of it."""
    kernel, bias = tf.cast(_as_matrix(dense.kernel), dtype), tf.cast(dense.bias, dtype)
    return tf.nn.bias_add(tf.matmul(tf.cast(x, dtype), kernel), bias)


def _as_matrix(kernel: Tensor) -> Tensor:
    """[inputs..., outputs] -> [inputs, outputs]: what a product sums over may be several axes."""
    return kernel if kernel.shape.rank == 2 else tf.reshape(kernel, [-1, kernel.shape[-1]])


def layer_norm(weights: LayerNormWeights, x: Tensor) -> Tensor:
    """Layer normalization (Ba et al. 2016) over the last axis: float32 [..., width]."""
    return _normalize_rows(x, weights.epsilon) * weights.gamma + weights.beta


def _normalize_rows(x: Tensor, epsilon: float) -> Tensor:
    @tf.custom_gradient
    def function(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
        normal = centred * scale

        def gradient(upstream: Tensor) -> Tensor:
            mean = tf.reduce_mean(upstream, axis=-1, keepdims=True)
            along = tf.reduce_mean(upstream * normal, axis=-1, keepdims=True)
            return (upstream - mean - normal * along) * scale

        return normal, gradient

    result: Tensor = function(x)
    return result


def look_up_few(table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
    """Rows of a small table: [rows, width] and ids [batch, tokens] -> [batch, tokens, width].

    A product with one-hot vectors: the gradient of a gather is added up token by token.
    """
    return tf.tensordot(tf.one_hot(ids, table.shape[0]), tf.convert_to_tensor(table), 1)


def mean_pool(vectors: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The mean over the tokens whose mask is 1; zeros for a row without any.

    [batch, tokens, width] and a 0/1 mask [batch, tokens] -> float32 [batch, width].
    """
    weights = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
    return tf.math.divide_no_nan(
        tf.reduce_sum(tf.cast(vectors, tf.float32) * weights, axis=1),
        tf.reduce_sum(weights, axis=1),
    )


@tf.custom_gradient
def exact_gelu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """x * Phi(x) by the error function (Hendrycks and Gimpel 2016): Hugging Face's `gelu`."""
    below = 0.5 * (1.0 + tf.math.erf(x * math.sqrt(0.5)))

    def gradient(upstream: Tensor) -> Tensor:
        density = tf.exp(-0.5 * tf.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))
        return upstream * (below + x * density)

    return x * below, gradient
