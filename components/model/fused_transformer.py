"""BERT's forward pass over Model Garden's weights: the same numbers from fewer and larger operations.

Model Garden's layers run one product each for query, key and value, transpose between every two of them, and leave the
gradient of GELU and of layer normalization to a dozen small operations. Here tokens are rows of one matrix from the
embeddings to the end, query, key and value are one product, and those two gradients are written out.

Under a mixed policy the matrix products are computed in its compute type, and everything else in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from official.nlp.modeling.layers import TransformerEncoderBlock

Tensor = Any
Shape = tuple[Tensor, Tensor]
"""Texts, and tokens of each."""

_MASKED = -1e9
_PROJECTIONS = ("query", "key", "value")
_APART = (("query",), ("key", "value"))


def run_blocks(
    blocks: Sequence[Any],
    x: Tensor,
    mask: Tensor,
    activation: Callable[[Tensor], Tensor],
    compute: tf.DType,
    training: bool,
) -> Tensor:
    """Run built `TransformerEncoderBlock`s: float32 [batch, length, hidden] and a 0/1 mask [batch, length] -> float32 [batch, length, hidden].

    Padding is never attended to. Blocks normalize after each half, as BERT does. `compute` is the type of the products. Where the last
    block has an `_output_range`, that many first tokens are given, and of the others no more is computed in it than what these attend to.
    """
    batch, length = tf.unstack(tf.shape(x)[:2])
    hidden = x.shape[-1]
    blocked = (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * _MASKED
    flat = tf.reshape(x, [-1, hidden])
    for block in blocks:
        flat = _block(block, flat, blocked, (batch, length), activation, compute, training)
    return tf.reshape(flat, [batch, _asking(blocks[-1], length), hidden])


def _block(
    block: Any,
    x: Tensor,
    blocked: Tensor,
    shape: Shape,
    activation: Callable[[Tensor], Tensor],
    compute: tf.DType,
    training: bool,
) -> Tensor:
    def drop(layer: Any, values: Tensor) -> Tensor:
        if not training or not layer.rate:
            return values
        return tf.reshape(
            layer(tf.reshape(values, [shape[0], -1]), training=True), tf.shape(values)
        )

    count = _asking(block, shape[1])
    asking = (
        x
        if count is shape[1]
        else tf.reshape(tf.reshape(x, [*shape, x.shape[-1]])[:, :count], [-1, x.shape[-1]])
    )
    attended = _attention(
        block._attention_layer, asking, count, x, blocked, shape, compute, training
    )
    x = layer_norm(block._attention_layer_norm, asking + drop(block._attention_dropout, attended))
    kernel, bias = _weights(block._intermediate_dense)
    inner = _affine(x, kernel, bias, compute)
    # Without a gradient to come, product, bias and activation are one operation, which rounds once.
    inner = activation(
        inner if hasattr(block._intermediate_dense, "kept") else tf.cast(inner, tf.float32)
    )
    inner = drop(block._inner_dropout_layer, inner)
    return layer_norm(
        block._output_layer_norm,
        x + drop(block._output_dropout, _dense(block._output_dense, inner, compute)),
    )


def _asking(block: Any, length: Tensor) -> Tensor:
    """How many tokens of each text the block gives; `length` itself where it gives all of them."""
    return tf.minimum(block._output_range, length) if block._output_range else length


def _attention(
    layer: Any,
    asking: Tensor,
    count: Tensor,
    x: Tensor,
    blocked: Tensor,
    shape: Shape,
    compute: tf.DType,
    training: bool,
) -> Tensor:
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2) of the tokens `asking`, `count` per text, to all the tokens x: float32 [tokens, hidden]."""
    if asking is x:
        query, key, value = _projected(layer, _PROJECTIONS, x, shape, compute)
    else:
        (query,) = _projected(layer, _APART[0], asking, (shape[0], count), compute)
        key, value = _projected(layer, _APART[1], x, shape, compute)
    scores = (
        tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        * (1.0 / math.sqrt(query.shape[-1]))
        + blocked
    )
    weights = layer._dropout_layer(tf.nn.softmax(scores), training=training)
    context = tf.transpose(tf.matmul(tf.cast(weights, compute), value), [0, 2, 1, 3])
    return _dense(layer._output_dense, tf.reshape(context, [-1, x.shape[-1]]), compute)


def _projected(
    layer: Any, parts: tuple[str, ...], x: Tensor, shape: Shape, compute: tf.DType
) -> list[Tensor]:
    """Some of query, key and value, by one product: [batch, heads, tokens, size] each."""
    _, heads, size = layer._query_dense.kernel.shape
    kernel, bias = getattr(_part(layer, parts[0]), "joined", None) or _joined(layer, parts)
    together = _affine(x, kernel, bias, compute)
    separate = tf.transpose(
        tf.reshape(together, [*shape, len(parts), heads, size]), [2, 0, 3, 1, 4]
    )
    found: list[Tensor] = tf.unstack(separate, axis=0)
    return found


def _joined(layer: Any, parts: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The weights of some of query, key and value side by side: kernel [hidden, parts * hidden], bias [parts * hidden]."""
    hidden, heads, size = layer._query_dense.kernel.shape
    dense = [_part(layer, name) for name in parts]
    kernel = tf.concat([tf.reshape(part.kernel, [hidden, heads * size]) for part in dense], axis=1)
    return kernel, tf.concat([tf.reshape(part.bias, [heads * size]) for part in dense], axis=0)


def _part(layer: Any, name: str) -> Any:
    """The dense layer that makes query, key or value; the first one of a product keeps the product's joined weights."""
    return getattr(layer, f"_{name}_dense")


def fuse_weights_for_serving(model: tf.Module, compute: tf.DType = tf.float32) -> None:
    """The weights of the products are kept as they are now, joined and in the type that they are multiplied in: `model` can be trained no longer.

    In a request of one short text, joining them costs as much as a seventh of all the rest. With another type than float32, `model` is
    an encoder of such blocks, and its products are of that type from now on.
    """
    for block in model.submodules:
        if not isinstance(block, TransformerEncoderBlock):
            continue
        layer = block._attention_layer
        for parts in _APART if block._output_range else (_PROJECTIONS,):
            _part(layer, parts[0]).joined = _kept(_joined(layer, parts), compute)
        if compute != tf.float32:
            for dense in (layer._output_dense, block._intermediate_dense, block._output_dense):
                dense.kept = _kept(_weights(dense), compute)
    if compute != tf.float32:
        model.matmul_dtype = compute


def _kept(weights: tuple[Tensor, Tensor], compute: tf.DType) -> tuple[tf.Variable, ...]:
    return tuple(tf.Variable(tf.cast(part, compute), trainable=False) for part in weights)


def _weights(dense: Any) -> tuple[Tensor, Tensor]:
    """Kernel [inputs, outputs] and bias of a built dense layer; what it sums over may be several axes."""
    kept: tuple[Tensor, Tensor] | None = getattr(dense, "kept", None)
    return kept or (tf.reshape(dense.kernel, [-1, dense.kernel.shape[-1]]), dense.bias)


def _dense(layer: Any, x: Tensor, compute: tf.DType) -> Tensor:
    kernel, bias = _weights(layer)
    return tf.cast(_affine(x, kernel, bias, compute), tf.float32)


def _affine(x: Tensor, kernel: Tensor, bias: Tensor, compute: tf.DType) -> Tensor:
    """x kernel + bias, in the compute type throughout: TensorFlow makes one operation of it."""
    return tf.nn.bias_add(
        tf.matmul(tf.cast(x, compute), tf.cast(kernel, compute)), tf.cast(bias, compute)
    )


def layer_norm(layer: Any, x: Tensor) -> Tensor:
    """Layer normalization (Ba et al. 2016) with a built Keras layer's weights: float32 [..., hidden], over the last axis."""
    return _normalized(x, layer.epsilon) * layer.gamma + layer.beta


def _normalized(x: Tensor, epsilon: float) -> Tensor:
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


@tf.custom_gradient
def exact_gelu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """x * Phi(x), with the error function (Hendrycks and Gimpel 2016): the form that Hugging Face calls `gelu`."""
    below = 0.5 * (1.0 + tf.math.erf(x * math.sqrt(0.5)))

    def gradient(upstream: Tensor) -> Tensor:
        density = tf.exp(-0.5 * tf.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))
        return upstream * (below + x * density)

    return x * below, gradient
