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

_MASKED = -1e9


def transform(
    blocks: Sequence[Any], x: Tensor, mask: Tensor, activation: Callable[[Tensor], Tensor], compute: tf.DType, training: bool
) -> Tensor:
    """Run built `TransformerEncoderBlock`s: float32 [batch, length, hidden] and a 0/1 mask [batch, length] -> float32 [batch, length, hidden].

    Padding is never attended to. Blocks normalize after each half, as BERT does. `compute` is the type of the products.
    """
    shape = tf.shape(x)
    hidden = x.shape[-1]
    blocked = (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * _MASKED
    flat = tf.reshape(x, [-1, hidden])
    for block in blocks:
        flat = _block(block, flat, blocked, shape[:2], activation, compute, training)
    return tf.reshape(flat, shape)


def _block(
    block: Any, x: Tensor, blocked: Tensor, batch: Tensor, activation: Callable[[Tensor], Tensor], compute: tf.DType, training: bool
) -> Tensor:
    def drop(layer: Any, values: Tensor) -> Tensor:
        if not training or not layer.rate:
            return values
        return tf.reshape(layer(tf.reshape(values, [batch[0], -1]), training=True), tf.shape(values))

    attended = _attention(block._attention_layer, x, blocked, batch, compute, training)
    x = normalize(block._attention_layer_norm, x + drop(block._attention_dropout, attended))
    kernel, bias = _weights(block._intermediate_dense)
    inner = _affine(x, kernel, bias, compute)
    # Without a gradient to come, product, bias and activation are one operation, which rounds once.
    inner = activation(inner if hasattr(block._intermediate_dense, "kept") else tf.cast(inner, tf.float32))
    inner = drop(block._inner_dropout_layer, inner)
    return normalize(block._output_layer_norm, x + drop(block._output_dropout, _dense(block._output_dense, inner, compute)))


def _attention(layer: Any, x: Tensor, blocked: Tensor, batch: Tensor, compute: tf.DType, training: bool) -> Tensor:
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2): float32 [tokens, hidden] -> float32 [tokens, hidden]."""
    _, heads, size = layer._query_dense.kernel.shape
    kernel, bias = getattr(layer, "joined", None) or _joined(layer)
    together = _affine(x, kernel, bias, compute)
    separate = tf.transpose(tf.reshape(together, [batch[0], batch[1], 3, heads, size]), [2, 0, 3, 1, 4])
    query, key, value = tf.unstack(separate, axis=0)
    scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32) * (1.0 / math.sqrt(size)) + blocked
    weights = layer._dropout_layer(tf.nn.softmax(scores), training=training)
    context = tf.transpose(tf.matmul(tf.cast(weights, compute), value), [0, 2, 1, 3])
    return _dense(layer._output_dense, tf.reshape(context, [-1, heads * size]), compute)


def _joined(layer: Any) -> tuple[Tensor, Tensor]:
    """The weights of query, key and value side by side: kernel [hidden, 3 * hidden], bias [3 * hidden]."""
    hidden, heads, size = layer._query_dense.kernel.shape
    parts = (layer._query_dense, layer._key_dense, layer._value_dense)
    kernel = tf.concat([tf.reshape(part.kernel, [hidden, heads * size]) for part in parts], axis=1)
    return kernel, tf.concat([tf.reshape(part.bias, [heads * size]) for part in parts], axis=0)


def keep_for_serving(model: tf.Module, compute: tf.DType = tf.float32) -> None:
    """The weights of the products are kept as they are now, joined and in the type that they are multiplied in: `model` can be trained no longer.

    In a request of one short text, joining them costs as much as a seventh of all the rest. With another type than float32, `model` is
    an encoder of such blocks, and its products are of that type from now on.
    """
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.MultiHeadAttention):
            layer.joined = _kept(_joined(layer), compute)
        elif isinstance(layer, TransformerEncoderBlock) and compute != tf.float32:
            for dense in (layer._attention_layer._output_dense, layer._intermediate_dense, layer._output_dense):
                dense.kept = _kept(_weights(dense), compute)
    if compute != tf.float32:
        model.products = compute


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
    return tf.nn.bias_add(tf.matmul(tf.cast(x, compute), tf.cast(kernel, compute)), tf.cast(bias, compute))


def normalize(layer: Any, x: Tensor) -> Tensor:
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
