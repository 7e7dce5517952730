"""Features of a frozen encoder: computed once per data and weights, then read from files.

The encoder never changes, so neither do its outputs: the head trains on them hundreds of times
faster. Batches are cut the same way for any number of workers, so the features are the same too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from components import progress
from components.artifacts.token_shards import SplitReader
from components.progress import StepName
from components.train.checkpointing.state_store import FeatureCache
from components.train.loop.batch_plan import EpochPlan, plan_by_length

FEATURE_BATCH_SIZE = 64
REPORT_EVERY_CALLS = 8


ComputeFeatures = Callable[[Sequence[npt.NDArray[np.int32]]], Sequence[npt.NDArray[np.float32]]]
"""Batches of token ids, int32 [rows, length] each -> features of each, float32 [rows, width]."""


class Collectives(Protocol):
    """What computing features needs of `WorkerCollectives`."""

    @property
    def rank(self) -> int: ...
    @property
    def workers(self) -> int: ...
    def sum(self, value: int) -> int: ...
    def barrier(self) -> None: ...


def load_or_compute_features(
    cache: FeatureCache,
    prefix: str,
    split: SplitReader,
    buckets: tuple[int, ...],
    compute: ComputeFeatures,
    width: int,
    collectives: Collectives,
    *,
    batches_per_call: int = 1,
    max_length: int | None = None,
) -> npt.NDArray[np.float32]:
    """Features of a split, float32 [rows, width], memory-mapped in row order.

    `prefix` names the data and the weights. `compute` gets `batches_per_call` batches at a time, or
    what is left at the end. With W workers each computes every W-th batch into a file of its own;
    the chief merges them. `max_length`: see `plan_by_length`.
    """
    plan = plan_by_length(
        split.read_lengths(), batch_size=FEATURE_BATCH_SIZE, buckets=buckets, max_length=max_length
    )
    rank, workers = collectives.rank, collectives.workers
    parts = [f"{prefix}/{split.name}-{index}-of-{workers}.npy" for index in range(workers)]
    merged = f"{prefix}/{split.name}.npy"
    is_missing = cache.get(merged) is None
    if collectives.sum(int(is_missing)):
        if cache.get(parts[rank]) is None:
            indices = range(rank, len(plan), workers)
            groups = [
                indices[start : start + batches_per_call]
                for start in range(0, len(indices), batches_per_call)
            ]
            values = _compute_part(split, plan, groups, compute, width, reports=rank == 0)
            cache.publish(parts[rank], partial(np.save, arr=values))
        collectives.barrier()
        if rank == 0:
            paths = [_require_file(cache, part) for part in parts]
            cache.publish(merged, partial(np.save, arr=_merge_parts(paths, plan, width)))
            for part in parts:
                cache.delete(part)
        collectives.barrier()
    features: npt.NDArray[np.float32] = np.load(_require_file(cache, merged), mmap_mode="r")
    return features


def _require_file(cache: FeatureCache, name: str) -> Path:
    path = cache.get(name)
    if path is None:
        raise FileNotFoundError(f"{name}: published by a worker, but not there")
    return path


def _compute_part(
    split: SplitReader,
    plan: EpochPlan,
    groups: Sequence[range],
    compute: ComputeFeatures,
    width: int,
    *,
    reports: bool,
) -> npt.NDArray[np.float32]:
    values = [np.zeros((0, width), np.float32)]
    for done, indices in enumerate(groups):
        values += compute(
            [split.read_padded(plan.batch(index), int(plan.widths[index])) for index in indices]
        )
        if reports and done % REPORT_EVERY_CALLS == 0:
            progress.report(
                StepName.TRAIN,
                f"features of the {split.name} rows",
                done=done,
                total=len(groups),
            )
    return np.concatenate(values)


def _merge_parts(paths: list[Path], plan: EpochPlan, width: int) -> npt.NDArray[np.float32]:
    merged = np.empty((len(plan.order), width), np.float32)
    for rank, path in enumerate(paths):
        rows = [plan.batch(index) for index in range(rank, len(plan), len(paths))]
        if rows:
            merged[np.concatenate(rows)] = np.load(path)
    return merged
