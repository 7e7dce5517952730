"""A frozen encoder's features, computed once per data and weights and then read from disk.

The encoder never changes, so neither do its outputs: the head trains on them hundreds of times faster. Batches are cut
the same way whatever the number of workers, so the features are too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components import progress
from components.artifacts.token_shards import Split
from components.train.batches import plan_in_order_of_length

BATCH = 64


def cached_features(
    directory: Path,
    split: Split,
    buckets: tuple[int, ...],
    compute: Callable[[Any], Any],
    *,
    width: int,
    rank: int,
    workers: int,
    barrier: Callable[[], None],
) -> npt.NDArray[np.float32]:
    """Features of a split, float32 [rows, width], memory-mapped in row order.

    `compute` maps int32 ids [n, length] to float32 [n, width]. Each worker computes every `workers`-th batch into its own
    file; after the barrier all of them read all files. A file appears only when it is complete.
    """
    plan = plan_in_order_of_length(split.lengths(), batch_size=BATCH, buckets=buckets)
    paths = [directory / f"{split.name}-{index}-of-{workers}.npy" for index in range(workers)]
    whole = directory / f"{split.name}.npy"
    if not whole.exists():
        directory.mkdir(parents=True, exist_ok=True)
        mine = range(rank, len(plan), workers)
        if not paths[rank].exists():
            _write(paths[rank], _compute(split, plan, mine, compute, width, rank == 0))
        barrier()
        if rank == 0:
            _write(whole, _merge(paths, plan, workers, width))
            for path in paths:
                path.unlink()
        barrier()
    features: npt.NDArray[np.float32] = np.load(whole, mmap_mode="r")
    return features


def _compute(split: Split, plan: Any, mine: range, compute: Callable[[Any], Any], width: int, speak: bool) -> npt.NDArray[np.float32]:
    parts = [np.zeros((0, width), np.float32)]
    for done, index in enumerate(mine):
        ids = split.padded(plan.batch(index), int(plan.widths[index]))
        parts.append(np.asarray(compute(ids), np.float32))
        if speak and done % 8 == 0:
            progress.report("train", f"features of the {split.name} rows", done=done, total=len(mine))
    return np.concatenate(parts)


def _merge(paths: list[Path], plan: Any, workers: int, width: int) -> npt.NDArray[np.float32]:
    merged = np.empty((len(plan.order), width), np.float32)
    for rank, path in enumerate(paths):
        rows = [plan.batch(index) for index in range(rank, len(plan), workers)]
        if rows:
            merged[np.concatenate(rows)] = np.load(path)
    return merged


def _write(path: Path, values: npt.NDArray[np.float32]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            np.save(stream, values)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
