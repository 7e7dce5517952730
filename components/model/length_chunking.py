"""Splits a request into chunks of rows of about equal length, to compute little padding.

The rows are sorted by length and cut into CHUNK_COUNT chunks, each padded to its own longest row; a
request of fewer rows is one chunk. The number is fixed, because a graph without loops always ends,
and chunks that do not wait for each other use all cores.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

CHUNK_COUNT = 8
MIN_TOKENS = 2
"""Width of the shortest batch: [CLS] and [SEP], also for a request without texts."""

Network = Callable[[tf.Tensor], tf.Tensor]
# The function is called, not inlined: its operations are in the graph once, and cost nothing in
# the branch that is not executed.
_NOT_INLINED = {"_noinline": True}


def length_chunked(
    network: Network, pad_id: int, chunks: int = CHUNK_COUNT
) -> Callable[[tf.RaggedTensor], tf.Tensor]:
    """`network` for rows of any length, in their order: ragged int32 [n, tokens] -> [n, outputs].

    `network` maps int32 [rows, tokens], padded with `pad_id` to at least MIN_TOKENS, of any number
    of rows, to [rows, outputs] that do not depend on the padding.
    """
    ids_spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[ids_spec], experimental_attributes=_NOT_INLINED)
    def in_one_piece(ids: tf.Tensor) -> tf.Tensor:
        return network(ids)

    @tf.function(
        input_signature=[ids_spec, tf.TensorSpec([None], tf.int32)],
        experimental_attributes=_NOT_INLINED,
    )
    def in_chunks(ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        order = tf.argsort(lengths, direction="DESCENDING")
        ids, lengths = tf.gather(ids, order), tf.gather(lengths, order)
        cuts = [tf.size(order) * number // chunks for number in range(chunks + 1)]
        parts = [
            in_one_piece(ids[cuts[i] : cuts[i + 1], : lengths[cuts[i]]]) for i in range(chunks)
        ]
        return tf.gather(tf.concat(parts, axis=0), tf.math.invert_permutation(order))

    def call(rows: tf.RaggedTensor) -> tf.Tensor:
        ids = rows.to_tensor(pad_id)
        ids = tf.pad(
            ids, [[0, 0], [0, tf.maximum(0, MIN_TOKENS - tf.shape(ids)[1])]], constant_values=pad_id
        )
        lengths = tf.maximum(tf.cast(rows.row_lengths(), tf.int32), MIN_TOKENS)
        return tf.cond(
            tf.size(lengths) < chunks, lambda: in_one_piece(ids), lambda: in_chunks(ids, lengths)
        )

    return call
