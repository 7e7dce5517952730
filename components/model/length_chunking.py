"""A text is computed beside texts of about its own length, so that little padding is computed.

The rows of a request are sorted by length and cut into CHUNKS, each padded to its own longest row only; a request of fewer
rows goes through in one piece. The number is fixed because a graph that needs no loop always ends, and chunks that do not
wait for each other fill all cores.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

CHUNK_COUNT = 8
MIN_TOKENS = 2
"""Encoders need room for [CLS] and [SEP], also in a request without texts."""

Network = Callable[[tf.Tensor], tf.Tensor]
# A function that is called and not inlined: its operations stand in the graph once, and cost nothing in the branch that is not taken.
_CALLED = {"_noinline": True}


def length_chunked(
    network: Network, pad_id: int, chunks: int = CHUNK_COUNT
) -> Callable[[tf.RaggedTensor], tf.Tensor]:
    """`network` for rows of any lengths, in the order of the rows: ragged int32 [n, lengths] -> [n, outputs].

    `network` takes int32 [rows, length], padded with `pad_id` to at least SHORTEST, any number of rows (none included), and
    gives [rows, outputs] that do not depend on the padding.
    """
    ids_spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[ids_spec], experimental_attributes=_CALLED)
    def in_one_piece(ids: tf.Tensor) -> tf.Tensor:
        return network(ids)

    @tf.function(
        input_signature=[ids_spec, tf.TensorSpec([None], tf.int32)], experimental_attributes=_CALLED
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
