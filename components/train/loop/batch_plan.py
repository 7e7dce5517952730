"""Which rows make up each batch: a pure function of row lengths, seed and epoch.

Every worker computes the same plan and reads its slice of each batch. So all of them run the same
shape at the same step, a training can go on at any step, and the rows of a step do not depend on
the number of workers.

Rows are shuffled, grouped by length within windows of many batches, cut into batches, and the
batches are shuffled. If the rows do not fill the last batch, the short one is a random draw: as the
remainder of the sorting it would always have a window's longest rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from components.config.schema import TrainConfig
from components.model.text_windows import batch_by_windows, count_row_windows

MAX_XLA_WIDTHS = 4
"""XLA compiles the step once per shape, each time for seconds to minutes; padding costs less."""
RowIndices = npt.NDArray[np.int64]
SliceRows = Callable[[int, int, int], slice]
"""(rows of a batch, replica, number of replicas) -> the replica's rows: `replica_slice`."""


@dataclass(frozen=True)
class EpochPlan:
    """One epoch's batches: batch i is `order[starts[i]:starts[i + 1]]`, and has each row once.

    `widths[i]` is the length in tokens that batch i is padded to.
    """

    order: RowIndices
    starts: RowIndices
    widths: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.widths)

    def batch(self, index: int) -> RowIndices:
        """The row numbers of one batch."""
        return self.order[self.starts[index] : self.starts[index + 1]]


def count_batches(rows: int, batch_size: int) -> int:
    """Batches in an epoch; the last one may be short, so that every row is seen once."""
    return -(-rows // batch_size)


def select_length_buckets(
    config: TrainConfig, max_length: int, max_windows: int = 1
) -> tuple[int, ...]:
    """The configured widths below max_length, then those of 1 to `max_windows` windows."""
    widths = (width for width in config.length_buckets if width < max_length)
    return (*widths, *(max_length * windows for windows in range(1, max_windows + 1)))


def select_train_buckets(config: TrainConfig, buckets: tuple[int, ...]) -> tuple[int, ...]:
    """The widths of training batches: with XLA a few of `buckets`, evenly chosen, and the last."""
    if not config.xla:
        return buckets
    stride = -(-len(buckets) // MAX_XLA_WIDTHS)
    return buckets[::-1][::stride][::-1]


def widen_short_batch(plan: EpochPlan, batch_size: int, width: int) -> EpochPlan:
    """The plan with the short batch padded to `width`, so that it has one shape in all epochs."""
    is_short = np.diff(plan.starts) < batch_size
    return replace(plan, widths=np.where(is_short, np.int32(width), plan.widths))


def plan_epoch(
    lengths: npt.NDArray[np.int32],
    *,
    batch_size: int,
    buckets: tuple[int, ...],
    window: int,
    seed: int,
    epoch: int,
) -> EpochPlan:
    """The plan of one training epoch.

    `lengths` are tokens per row, none above the last bucket; `window` is the number of batches
    within which rows are grouped by length.
    """
    random = _random(seed, epoch)
    order = random.permutation(len(lengths)).astype(np.int64)
    full = len(order) // batch_size * batch_size
    reach = window * batch_size
    for start in range(0, full, reach):
        part = order[start : min(start + reach, full)]
        part[:] = part[np.argsort(lengths[part], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    arranged = [batches[i] for i in random.permutation(len(batches))]
    return _assemble(arranged, lengths, buckets)


def plan_by_length(
    lengths: npt.NDArray[np.int32],
    *,
    batch_size: int,
    buckets: tuple[int, ...],
    max_length: int | None = None,
) -> EpochPlan:
    """Every row once, shortest first: for validation and features, where order is irrelevant.

    With `max_length`, longer rows are windows, of which a batch has at most `batch_size`.
    """
    order = np.argsort(lengths, kind="stable").astype(np.int64)
    windows = count_row_windows(lengths[order], max_length or max(buckets))
    return _assemble(list(batch_by_windows(order, windows, batch_size)), lengths, buckets)


def replica_slice(rows: int, replica: int, replicas: int) -> slice:
    """The rows of a batch that one replica computes; sizes differ by one at most, and may be 0."""
    return slice(rows * replica // replicas, rows * (replica + 1) // replicas)


def padding_efficiency(plan: EpochPlan, lengths: npt.NDArray[np.int32]) -> float:
    """Real tokens as a share of all positions computed."""
    sizes = np.diff(plan.starts)
    return float(lengths.sum(dtype=np.int64) / (sizes * plan.widths).sum(dtype=np.int64))


def _random(seed: int, epoch: int) -> np.random.Generator:
    # The lowest word of the counter counts the draws: with the epoch there, each epoch would repeat
    # the numbers of the one before, shifted.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, epoch]))


def _assemble(
    batches: list[RowIndices], lengths: npt.NDArray[np.int32], buckets: tuple[int, ...]
) -> EpochPlan:
    edges = np.asarray(buckets, dtype=np.int32)
    longest = np.array([lengths[rows].max() for rows in batches], dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in batches])]).astype(np.int64)
    return EpochPlan(np.concatenate(batches), starts, edges[np.searchsorted(edges, longest)])
