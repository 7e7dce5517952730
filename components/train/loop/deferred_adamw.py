"""AdamW that defers the updates of embedding rows until the rows are read.

A batch names a few hundred of the table's tens of thousands of rows. AdamW updates all of them at
every step: a row without a gradient still moves along its decaying moments, and its weights decay.
The sum of these updates has a closed form, so it is added when the row is next read. The result is
AdamW's, up to rounding in float32.

With a row's moments m and v after `s` steps, and no gradient since, step t (counted from 0;
j = t - s + 1 = 1, 2, ...) does

    p <- p (1 - rate_t decay) - alpha_t b1^j m / (b2^(j/2) sqrt(v) + epsilon)
    alpha_t = rate_t sqrt(1 - b2^(t+1)) / (1 - b1^(t+1))

(alpha_t: Kingma and Ba 2015, end of section 2).

The quotient is expanded in d_j = 1 - b2^(j/2), which is small as long as b1^j is not small:

    1 / (b2^(j/2) sqrt(v) + epsilon) = sum over n of (d_j r)^n / (sqrt(v) + epsilon)
    r = sqrt(v) / (sqrt(v) + epsilon)


and b1^j d_j^n is a sum of powers of c_k = b1 b2^(k/2) with binomial coefficients. So the deferred
steps add up to one number per row and power n, independent of the row's width. It comes from suffix
sums over all steps to the end, which are known in advance. With R(s), the remaining fraction of a
weight, the product of (1 - rate_t decay) over the steps before s:

    S_k(s) = sum over t >= s of alpha_t c_k^(t - s + 1) R(s) / R(t + 1)
    sum over t = s ... n - 1 of alpha_t c_k^(t - s + 1) R(n) / R(t + 1)
        = R(n) / R(s) S_k(s) - c_k^(n - s) S_k(n)

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
"""Largest rate times decay: near 1 - b1 the suffix sums would no longer be finite."""
_POWERS = 4
_FLUSH_CHUNK_ROWS = 1 << 14


class DeferredAdamW(optimization.AdamWeightDecay):
    """Model Garden's `AdamWeightDecay`, which defers the updates of the rows of `table`.

    The table's gradient is `tf.IndexedSlices` with unique indices. `read` returns current rows, and
    after `flush` the table itself is current. The slot `made_up_to` holds the number of steps that
    are in each row (exact up to 2^24).
    """

    def __init__(
        self, table: tf.Variable, learning_rates: npt.NDArray[np.float64], **options: Any
    ) -> None:
        """`learning_rates`: the rate of every step, as the schedule in `options` gives it."""
        super().__init__(**options)
        self._table = table
        beta_1, beta_2 = options.get("beta_1", 0.9), options.get("beta_2", 0.999)
        steps = np.arange(1, len(learning_rates) + 1)
        decays = learning_rates * (
            self.weight_decay_rate if self._do_use_weight_decay(table.name) else 0.0
        )
        if decays.max(initial=0.0) > MAX_RATE_TIMES_DECAY:
            raise ValueError(
                f"rate times decay reaches {decays.max():.3g}; updates can be deferred up to "
                f"{MAX_RATE_TIMES_DECAY}"
            )
        self._alphas = learning_rates * np.sqrt(1 - beta_2**steps) / (1 - beta_1**steps)
        self._log_remaining = np.concatenate([[0.0], np.cumsum(np.log1p(-decays))])
        powers = np.arange(_POWERS)
        self._decay_factors = beta_1 * beta_2 ** (powers / 2)
        self._suffix_sums = _compute_suffix_sums(self._alphas, decays, self._decay_factors)
        self._binomials = np.array(
            [[(-1.0) ** k * math.comb(n, k) for n in powers] for k in powers]
        )

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        super()._create_slots(var_list)
        for variable in var_list:
            if variable is self._table:
                self.add_slot(variable, LAST_UPDATED_STEP_SLOT, shape=variable.shape[:1])

    def read(self, rows: Tensor) -> Tensor:
        """Current values of the rows, int32 [n] -> float32 [n, width]; changes nothing."""
        return self._catch_up(self._table, rows)[0]

    def flush(self, strategy: tf.distribute.Strategy) -> None:
        """Bring every row of the table up to date; call it outside of a step."""

        def flush_rows(table: tf.Variable) -> Any:
            size = table.shape[0]
            chunks = [
                tf.range(start, min(start + _FLUSH_CHUNK_ROWS, size))
                for start in range(0, size, _FLUSH_CHUNK_ROWS)
            ]
            return tf.group(
                *(
                    self._write(table, chunk, *self._catch_up(table, chunk), self.iterations)
                    for chunk in chunks
                )
            )

        @tf.function
        def flush_all() -> None:
            strategy.extended.update(self._table, flush_rows)

        flush_all()

    def _decay_weights_op(self, var: tf.Variable, learning_rate: Tensor, apply_state: Any) -> Any:
        """As in the base class, whose order of factors copies the weights twice instead of once."""
        if not self._do_use_weight_decay(var.name):
            return tf.no_op()
        rate = learning_rate * apply_state[(var.device, var.dtype.base_dtype)]["weight_decay_rate"]
        return var.assign_sub(var * rate, use_locking=self._use_locking)

    def _resource_apply_sparse_duplicate_indices(
        self, grad: Tensor, handle: tf.Variable, indices: Tensor, **_: Any
    ) -> Any:
        step = self.iterations
        row, first, second = self._catch_up(handle, indices)
        beta_1, beta_2 = (
            self._get_hyper("beta_1", tf.float32),
            self._get_hyper("beta_2", tf.float32),
        )
        first = first * beta_1 + grad * (1.0 - beta_1)
        second = second * beta_2 + tf.square(grad) * (1.0 - beta_2)
        kept, alpha = (
            tf.cast(number, tf.float32)
            for number in (
                self._remaining_weight_fraction(step, step + 1),
                tf.gather(self._alphas, step),
            )
        )
        row = row * kept - alpha * first / (tf.sqrt(second) + self.epsilon)
        return self._write(handle, indices, row, first, second, step + 1)

    def _catch_up(self, table: tf.Variable, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values and both moments of the rows after all steps so far, float32 [n, width] each."""
        slots = (self.get_slot(table, name) for name in ("m", "v", LAST_UPDATED_STEP_SLOT))
        value, first, second, since = (_gather_rows(kept, rows) for kept in (table, *slots))
        since = tf.cast(since, tf.int64)
        now = self.iterations
        kept = self._remaining_weight_fraction(since, now)[:, tf.newaxis]
        faded = (
            tf.cast(self._decay_factors, tf.float64)
            ** tf.cast(now - since, tf.float64)[:, tf.newaxis]
        )
        later = tf.constant(self._suffix_sums)
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

    def _remaining_weight_fraction(self, start: Tensor, stop: Tensor) -> Tensor:
        """The fraction of a weight that decay leaves in steps `start` to `stop - 1`, float64."""
        return tf.exp(tf.gather(self._log_remaining, stop) - tf.gather(self._log_remaining, start))

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


def _gather_rows(variable: tf.Variable, rows: Tensor) -> Tensor:
    """The variable's rows. `tf.gather` of a mirrored variable would copy it whole first."""
    return tf.raw_ops.ResourceGather(resource=variable.handle, indices=rows, dtype=variable.dtype)


def _compute_suffix_sums(
    alphas: npt.NDArray[np.float64],
    decays: npt.NDArray[np.float64],
    fading: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """S_k(s) of the module's docstring for every step and after the last: [steps + 1, powers]."""
    later = np.zeros((len(alphas) + 1, len(fading)))
    for step in reversed(range(len(alphas))):
        later[step] = fading / (1 - decays[step]) * (alphas[step] + later[step + 1])
    return later
