"""AdamW that leaves the rows of the word-piece table alone until they are needed, and then makes up for the steps they missed.

A batch names a few hundred of the table's tens of thousands of rows. AdamW moves all of them at every step: a row without
a gradient goes on along its moments, which fade, and decays. What it would have been moved by has a closed form, so it is
added when the row is next read. The result is AdamW's own, up to rounding: nothing is approximated away that float32 can hold.

With a row's moments m and v after `s` steps, and none since, step t (counted from 0; j = t - s + 1 = 1, 2, ...) does

    p <- p (1 - rate_t decay) - alpha_t b1^j m / (b2^(j/2) sqrt(v) + epsilon)
    alpha_t = rate_t sqrt(1 - b2^(t+1)) / (1 - b1^(t+1))            (Kingma and Ba 2015, end of section 2)

The quotient is expanded in d_j = 1 - b2^(j/2), which is small as long as b1^j is not:

    1 / (b2^(j/2) sqrt(v) + epsilon) = sum over n of (d_j r)^n / (sqrt(v) + epsilon),   r = sqrt(v) / (sqrt(v) + epsilon)

and b1^j d_j^n is a sum of powers of c_k = b1 b2^(k/2) with binomial coefficients. So what the missed steps add up to is one number per
row and power n, whatever the row's width, and comes from sums over all steps to the end, which are known beforehand:

    later_k(s) = sum over t >= s of alpha_t c_k^(t - s + 1) kept(s) / kept(t + 1),   kept(s) = product of (1 - rate_t decay) before s
    sum over t = s ... n - 1 of alpha_t c_k^(t - s + 1) kept(n) / kept(t + 1) = kept(n) / kept(s) later_k(s) - c_k^(n - s) later_k(n)

The difference cancels digits, so these few numbers are float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from official.nlp import optimization

Tensor = Any

LAST_UPDATED_STEP_SLOT = "made_up_to"
MAX_RATE_TIMES_DECAY = 0.05
"""Largest rate times decay: with nearly 1 - b1 the sums to the end would no longer be finite."""
_POWERS = 4
_ROWS_AT_ONCE = 1 << 14


class DeferredAdamW(optimization.AdamWeightDecay):
    """Model Garden's `AdamWeightDecay` for all variables but `table`, whose rows are updated late.

    The table's gradient comes as `tf.IndexedSlices` with different indices. Its value is up to date where `read` gives it, and
    everywhere after `flush`. The slot `made_up_to` holds, per row, the steps that are in it (exact up to 2^24).
    """

    def __init__(
        self, table: tf.Variable, learning_rates: npt.NDArray[np.float64], **options: Any
    ) -> None:
        """`learning_rates`: the rate of every step that will be done, as the schedule in `options` gives it."""
        super().__init__(**options)
        self._table = table
        beta_1, beta_2 = options.get("beta_1", 0.9), options.get("beta_2", 0.999)
        steps = np.arange(1, len(learning_rates) + 1)
        decays = learning_rates * (
            self.weight_decay_rate if self._do_use_weight_decay(table.name) else 0.0
        )
        if decays.max(initial=0.0) > MAX_RATE_TIMES_DECAY:
            raise ValueError(
                f"rate times decay reaches {decays.max():.3g}; at most {MAX_RATE_TIMES_DECAY} can be made up for"
            )
        self._alphas = learning_rates * np.sqrt(1 - beta_2**steps) / (1 - beta_1**steps)
        self._log_kept = np.concatenate([[0.0], np.cumsum(np.log1p(-decays))])
        powers = np.arange(_POWERS)
        self._fading = beta_1 * beta_2 ** (powers / 2)
        self._later = _sums_to_the_end(self._alphas, decays, self._fading)
        self._binomials = np.array(
            [[(-1.0) ** k * math.comb(n, k) for n in powers] for k in powers]
        )

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        super()._create_slots(var_list)
        for variable in var_list:
            if variable is self._table:
                self.add_slot(variable, LAST_UPDATED_STEP_SLOT, shape=variable.shape[:1])

    def read(self, rows: Tensor) -> Tensor:
        """The table's rows as they would be had every step updated them: int32 [n] -> float32 [n, width]. Changes nothing."""
        return self._made_up(self._table, rows)[0]

    def flush(self, strategy: tf.distribute.Strategy) -> None:
        """Bring every row of the table up to date; call it outside of a step."""

        def flush_rows(table: tf.Variable) -> Any:
            size = table.shape[0]
            chunks = [
                tf.range(start, min(start + _ROWS_AT_ONCE, size))
                for start in range(0, size, _ROWS_AT_ONCE)
            ]
            return tf.group(
                *(
                    self._write(table, chunk, *self._made_up(table, chunk), self.iterations)
                    for chunk in chunks
                )
            )

        @tf.function
        def flush_all() -> None:
            strategy.extended.update(self._table, flush_rows)

        flush_all()

    def _decay_weights_op(self, var: tf.Variable, learning_rate: Tensor, apply_state: Any) -> Any:
        """The decay as in the class above, whose order of factors makes two copies of the weights instead of one."""
        if not self._do_use_weight_decay(var.name):
            return tf.no_op()
        rate = learning_rate * apply_state[(var.device, var.dtype.base_dtype)]["weight_decay_rate"]
        return var.assign_sub(var * rate, use_locking=self._use_locking)

    def _resource_apply_sparse_duplicate_indices(
        self, grad: Tensor, handle: tf.Variable, indices: Tensor, **_: Any
    ) -> Any:
        step = self.iterations
        row, first, second = self._made_up(handle, indices)
        beta_1, beta_2 = (
            self._get_hyper("beta_1", tf.float32),
            self._get_hyper("beta_2", tf.float32),
        )
        first = first * beta_1 + grad * (1.0 - beta_1)
        second = second * beta_2 + tf.square(grad) * (1.0 - beta_2)
        kept, alpha = (
            tf.cast(number, tf.float32)
            for number in (self._kept(step, step + 1), tf.gather(self._alphas, step))
        )
        row = row * kept - alpha * first / (tf.sqrt(second) + self.epsilon)
        return self._write(handle, indices, row, first, second, step + 1)

    def _made_up(self, table: tf.Variable, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values and both moments of the rows after all steps done so far: float32 [n, width] each."""
        slots = (self.get_slot(table, name) for name in ("m", "v", LAST_UPDATED_STEP_SLOT))
        value, first, second, since = (_gathered(kept, rows) for kept in (table, *slots))
        since = tf.cast(since, tf.int64)
        now = self.iterations
        kept = self._kept(since, now)[:, tf.newaxis]
        faded = tf.cast(self._fading, tf.float64) ** tf.cast(now - since, tf.float64)[:, tf.newaxis]
        later = tf.constant(self._later)
        sums = tf.cast(
            tf.matmul(kept * tf.gather(later, since) - faded * later[now], self._binomials),
            tf.float32,
        )
        root = tf.sqrt(second)
        share = root / (root + self.epsilon)
        moved = tf.zeros_like(first)
        for power in reversed(range(_POWERS)):
            moved = moved * share + sums[:, power, tf.newaxis]
        missed = tf.cast(now - since, tf.float32)[:, tf.newaxis]
        value = value * tf.cast(kept, tf.float32) - moved * first / (root + self.epsilon)
        return (
            value,
            first * self._get_hyper("beta_1", tf.float32) ** missed,
            second * self._get_hyper("beta_2", tf.float32) ** missed,
        )

    def _kept(self, start: Tensor, stop: Tensor) -> Tensor:
        """The share of a weight that the decay of steps `start` up to and without `stop` leaves: float64."""
        return tf.exp(tf.gather(self._log_kept, stop) - tf.gather(self._log_kept, start))

    def _write(
        self,
        table: tf.Variable,
        rows: Tensor,
        value: Tensor,
        first: Tensor,
        second: Tensor,
        steps: Tensor,
    ) -> Any:
        moments = zip(("m", "v"), (first, second), strict=True)
        targets = [
            (table, value),
            *((self.get_slot(table, name), moment) for name, moment in moments),
        ]
        targets += [
            (
                self.get_slot(table, LAST_UPDATED_STEP_SLOT),
                tf.fill(tf.shape(rows), tf.cast(steps, tf.float32)),
            )
        ]
        return tf.group(
            *(
                tf.raw_ops.ResourceScatterUpdate(resource=kept.handle, indices=rows, updates=values)
                for kept, values in targets
            )
        )


def _gathered(variable: tf.Variable, rows: Tensor) -> Tensor:
    """The variable's rows. `tf.gather` of a mirrored variable would copy it whole first."""
    return tf.raw_ops.ResourceGather(resource=variable.handle, indices=rows, dtype=variable.dtype)


def _sums_to_the_end(
    alphas: npt.NDArray[np.float64],
    decays: npt.NDArray[np.float64],
    fading: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """`later_k(s)` of the module's text for every step s and after the last one: [steps + 1, powers]."""
    later = np.zeros((len(alphas) + 1, len(fading)))
    for step in reversed(range(len(alphas))):
        later[step] = fading / (1 - decays[step]) * (alphas[step] + later[step + 1])
    return later
