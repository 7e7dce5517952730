"""Dropout with one mask per example, so that training does not depend on the number of workers.

The mask of an example is a pure function of (seed, step, layer, the example's row in the global
batch): every split of the batch into slices drops the same units. The bits come from Philox4x32-10
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), addressed directly:

    key              = seed (high 32 bits), layer (low 32 bits)
    counter, high    = step
    counter, low     = row * (Philox blocks per row)

A block is 128 bits, used as eight 16-bit numbers: each row is padded to whole blocks, so that a row
starts at a counter of its own, and the rate is exact to 1/65536. Two forward passes of one step
must pad to the same length to draw the same masks.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

_PHILOX = 1
_RATE_LEVELS = 1 << 16
_NUMBERS_PER_BLOCK = 8


class DropoutSeed:
    """Seed of all `PerExampleDropout` layers built with it, and the rows that they work on.

    The rows are Python state, not a variable: `for_rows` is entered inside of the traced function,
    around the forward pass, and the layers capture the tensors that it was given. Nothing has to be
    assigned, replicated or saved. Each thread has rows of its own, because a distribution strategy
    traces every replica in its own thread.
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed {seed}: must lie in [0, 2**31)")
        self.seed = seed
        self._layers = 0
        self._position = threading.local()

    def next_layer_number(self) -> int:
        """A number that no other layer has; it depends on the order of construction only."""
        self._layers += 1
        return self._layers

    @contextmanager
    def for_rows(self, step: Any, first_row: Any) -> Iterator[None]:
        """Inside, row i of every input is row `first_row` + i of the global batch of step `step`.

        Both are non-negative integers or scalar integer tensors.
        """
        outer = getattr(self._position, "value", None)
        self._position.value = (tf.cast(step, tf.uint64), tf.cast(first_row, tf.uint64))
        try:
            yield
        finally:
            self._position.value = outer

    @contextmanager
    def for_parts(self, parts: Any) -> Iterator[None]:
        """Inside of `for_rows`: each of its rows is `parts` rows of the inputs after each other."""
        step, first_row = self.position
        with self.for_rows(step, first_row * tf.cast(parts, tf.uint64)):
            yield

    @property
    def position(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Step and first row, scalar uint64; RuntimeError outside of `for_rows`."""
        value: tuple[tf.Tensor, tf.Tensor] | None = getattr(self._position, "value", None)
        if value is None:
            raise RuntimeError(
                "training with dropout needs `with dropout_seed.for_rows(step, first_row):` "
                "around the forward pass"
            )
        return value


class PerExampleDropout(tf.keras.layers.Layer):
    """Sets a fraction `rate` of the units to zero and scales the others by 1 / (1 - rate).

    The result is the same for any split of the batch. Input and output: [rows, ...], any floating
    type. With training=False, or a rate that rounds to zero, the input itself is returned and the
    graph gets no operation.
    """

    def __init__(self, rate: float, dropout_seed: DropoutSeed, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate {rate}: must lie in [0, 1)")
        self.rate = rate
        self._threshold = min(round(rate * _RATE_LEVELS), _RATE_LEVELS - 1)
        self._seed = dropout_seed
        self._layer = dropout_seed.next_layer_number()

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not training or self._threshold == 0:
            return inputs
        is_retained = tf.reshape(self._random_numbers(inputs), tf.shape(inputs)) >= tf.constant(
            self._threshold - _RATE_LEVELS // 2, tf.int16
        )
        scale = tf.constant(_RATE_LEVELS / (_RATE_LEVELS - self._threshold), inputs.dtype)
        return inputs * tf.where(is_retained, scale, tf.zeros([], inputs.dtype))

    def _random_numbers(self, inputs: tf.Tensor) -> tf.Tensor:
        """Uniform int16 [rows, units per row]."""
        step, first_row = self._seed.position
        units = _count_units_per_row(inputs)
        blocks = (units + (_NUMBERS_PER_BLOCK - 1)) // _NUMBERS_PER_BLOCK
        rows = tf.shape(inputs)[0]
        key = tf.constant([(self._seed.seed << 32) | self._layer], tf.uint64)
        counter = tf.stack([first_row * tf.cast(blocks, tf.uint64), step])
        words = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=tf.stack([rows * blocks * 4]),
            key=key,
            counter=counter,
            alg=_PHILOX,
            dtype=tf.uint32,
        )
        numbers = tf.reshape(
            tf.bitcast(words, tf.int16), tf.stack([rows, blocks * _NUMBERS_PER_BLOCK])
        )
        return numbers[:, :units]


def _count_units_per_row(inputs: tf.Tensor) -> Any:
    """Units of one example: an int if the shape is static, else a scalar int32 tensor."""
    static = inputs.shape[1:]
    if static.is_fully_defined():
        return math.prod(static.as_list())
    return tf.reduce_prod(tf.shape(inputs)[1:])
