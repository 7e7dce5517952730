"""AdamW that leaves the rows of the word-piece table alone until they are needed, and then makes up for the steps they missed.

A batch names a few hundred of the table's tens of thousands of rows. AdamW moves all of them at every step: a row without
a gradient goes on along its moments, which fade, and decays. What it would have been moved by has a closed form, so it is
added when the row is next read. The result is AdamW's own, up to rounding: nothing is approximated away that float32 can hold.

With a row's moments m and v after `s` steps, and none since, step t (counted from 0; j = t - s + 1 = 1, 2, ...) does

    p <- p (1 - rate_t decay) - alpha_t b1^j m / (b2^(j/2) sqrt(v) + epsilon)
    alpha_t = rate_t sqrt(1 - b2^(t+1)) / (1 - b1^(t+1))            (Kingma and Ba 2015, end of section 2)

The quotient is expanded in d_j = 1 - b2^(j/2), which is small as long as b1^j is not:

    1 / (b2^(j/2) sqrt(v) + epsilon) = sum over n of (d_j r)^n / (sqrt(v) + epsilon),   r = sqrt(v) / (sqrt(v) + epsilon)

so that the sum over the missed steps is one number per row and power n, whatever the row's width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from official.nlp import optimization

Tensor = Any

MADE_UP_TO = "made_up_to"
_POWERS = 4
_NEGLIGIBLE = 1e-8
_ROWS_AT_ONCE = 1 << 14


class DelayedAdamW(optimization.AdamWeightDecay):
    """Model Garden's `AdamWeightDecay` for all variables but `table`, whose rows are updated late.

    The table's gradient comes as `tf.IndexedSlices` with different indices. Its value is up to date where `read` gives it, and
    everywhere after `settle`. The slot `made_up_to` holds, per row, the steps that are in it (exact up to 2^24).
    """

    def __init__(self, table: tf.Variable, learning_rates: npt.NDArray[np.float64], **options: Any) -> None:
        """`learning_rates`: the rate of every step that will be done, as the schedule in `options` gives it."""
        super().__init__(**options)
        self._table = table
        beta_1, beta_2 = options.get("beta_1", 0.9), options.get("beta_2", 0.999)
        steps = np.arange(1, len(learning_rates) + 1)
        decay = self.weight_decay_rate if self._do_use_weight_decay(table.name) else 0.0
        self._alphas = (learning_rates * np.sqrt(1 - beta_2**steps) / (1 - beta_1**steps)).astype(np.float32)
        self._log_kept = np.concatenate([[0.0], np.cumsum(np.log1p(-learning_rates * decay))]).astype(np.float32)
        missed = np.arange(1, math.ceil(math.log(_NEGLIGIBLE) / math.log(beta_1)) + 1)
        faded = 1 - beta_2 ** (missed / 2)
        self._series = (beta_1**missed)[:, None] * faded[:, None] ** np.arange(_POWERS)

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        super()._create_slots(var_list)
        for variable in var_list:
            if variable is self._table:
                self.add_slot(variable, MADE_UP_TO, shape=variable.shape[:1])

    def read(self, rows: Tensor) -> Tensor:
        """The table's rows as they would be had every step updated them: int32 [n] -> float32 [n, width]. Changes nothing."""
        return self._made_up(self._table, rows)[0]

    def settle(self, strategy: tf.distribute.Strategy) -> None:
        """Bring every row of the table up to date; call it outside of a step."""

        def settle_rows(table: tf.Variable) -> Any:
            size = table.shape[0]
            chunks = [tf.range(start, min(start + _ROWS_AT_ONCE, size)) for start in range(0, size, _ROWS_AT_ONCE)]
            return tf.group(*(self._write(table, chunk, *self._made_up(table, chunk), self.iterations) for chunk in chunks))

        @tf.function
        def settle_all() -> None:
            strategy.extended.update(self._table, settle_rows)

        settle_all()

    def _resource_apply_sparse_duplicate_indices(self, grad: Tensor, handle: tf.Variable, indices: Tensor, **_: Any) -> Any:
        step = self.iterations
        row, first, second = self._made_up(handle, indices)
        beta_1, beta_2 = self._get_hyper("beta_1", tf.float32), self._get_hyper("beta_2", tf.float32)
        first = first * beta_1 + grad * (1.0 - beta_1)
        second = second * beta_2 + tf.square(grad) * (1.0 - beta_2)
        row = row * self._kept(step, step + 1) - tf.gather(self._alphas, step) * first / (tf.sqrt(second) + self.epsilon)
        return self._write(handle, indices, row, first, second, step + 1)

    def _made_up(self, table: tf.Variable, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values and both moments of the rows after all steps done so far: float32 [n, width] each."""
        slots = (self.get_slot(table, name) for name in ("m", "v", MADE_UP_TO))
        value, first, second, since = (_gathered(kept, rows) for kept in (table, *slots))
        since = tf.cast(since, tf.int64)
        now = self.iterations
        step = since[:, tf.newaxis] + tf.range(len(self._series), dtype=tf.int64)
        last = len(self._alphas) - 1
        alpha = tf.gather(self._alphas, tf.minimum(step, last)) * self._kept(tf.minimum(step + 1, last + 1), now)
        sums = tf.matmul(tf.where(step < now, alpha, 0.0), tf.constant(self._series, tf.float32))
        root = tf.sqrt(second)
        share = root / (root + self.epsilon)
        moved = tf.zeros_like(first)
        for power in reversed(range(_POWERS)):
            moved = moved * share + sums[:, power, tf.newaxis]
        missed = tf.cast(now - since, tf.float32)[:, tf.newaxis]
        value = value * self._kept(since, now)[:, tf.newaxis] - moved * first / (root + self.epsilon)
        return value, first * self._get_hyper("beta_1", tf.float32) ** missed, second * self._get_hyper("beta_2", tf.float32) ** missed

    def _kept(self, start: Tensor, stop: Tensor) -> Tensor:
        """The share of a weight that the decay of steps `start` up to and without `stop` leaves."""
        return tf.exp(tf.gather(self._log_kept, stop) - tf.gather(self._log_kept, start))

    def _write(self, table: tf.Variable, rows: Tensor, value: Tensor, first: Tensor, second: Tensor, steps: Tensor) -> Any:
        moments = zip(("m", "v"), (first, second), strict=True)
        targets = [(table, value), *((self.get_slot(table, name), moment) for name, moment in moments)]
        targets += [(self.get_slot(table, MADE_UP_TO), tf.fill(tf.shape(rows), tf.cast(steps, tf.float32)))]
        return tf.group(*(tf.raw_ops.ResourceScatterUpdate(resource=kept.handle, indices=rows, updates=values) for kept, values in targets))


def _gathered(variable: tf.Variable, rows: Tensor) -> Tensor:
    """The variable's rows. `tf.gather` of a mirrored variable would copy it whole first."""
    return tf.raw_ops.ResourceGather(resource=variable.handle, indices=rows, dtype=variable.dtype)
