"""A frozen encoder's features, computed once per data and weights and then read from disk.

The encoder never changes, so neither do its outputs: the head trains on them hundreds of times faster. Batches are cut
the same way whatever the number of workers, so the features are too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from components import progress
from components.artifacts.token_shards import SplitReader
from components.progress import StepName
from components.train.loop.batch_plan import plan_by_length

FEATURE_BATCH_SIZE = 64


class FeatureExchange(Protocol):
    """How workers get each other's feature files."""

    def obtain(self, name: str) -> Path | None: ...
    def share(self, path: Path) -> None: ...
    def forget(self, name: str) -> None: ...
    def feature_file(self, name: str) -> Path: ...


def cached_features(
    exchange: FeatureExchange,
    folder: str,
    split: SplitReader,
    buckets: tuple[int, ...],
    compute: Callable[[Any], Any],
    *,
    width: int,
    rank: int,
    workers: int,
    total: Callable[[int], int],
) -> npt.NDArray[np.float32]:
    """Features of a split, float32 [rows, width], memory-mapped in row order.

    `compute` maps int32 ids [n, length] to float32 [n, width]; `total` sums a number over all workers. Each worker computes every
    `workers`-th batch into its own file; the chief puts them together. A file appears only when it is complete.
    """
    plan = plan_by_length(split.read_lengths(), batch_size=FEATURE_BATCH_SIZE, buckets=buckets)
    parts = [f"{folder}/{split.name}-{index}-of-{workers}.npy" for index in range(workers)]
    whole = f"{folder}/{split.name}.npy"
    found = exchange.obtain(whole)
    if total(found is None):
        if exchange.obtain(parts[rank]) is None:
            values = _compute(
                split, plan, range(rank, len(plan), workers), compute, width, rank == 0
            )
            exchange.share(_write(exchange.feature_file(parts[rank]), values))
        total(0)
        if rank == 0:
            merged = _merge([_obtained(exchange, part) for part in parts], plan, workers, width)
            exchange.share(_write(exchange.feature_file(whole), merged))
            for part in parts:
                exchange.forget(part)
        total(0)
    features: npt.NDArray[np.float32] = np.load(_obtained(exchange, whole), mmap_mode="r")
    return features


def _obtained(exchange: FeatureExchange, name: str) -> Path:
    path = exchange.obtain(name)
    if path is None:
        raise FileNotFoundError(f"{name}: shared by a worker, but not there")
    return path


def _compute(
    split: SplitReader,
    plan: Any,
    mine: range,
    compute: Callable[[Any], Any],
    width: int,
    speak: bool,
) -> npt.NDArray[np.float32]:
    parts = [np.zeros((0, width), np.float32)]
    for done, index in enumerate(mine):
        ids = split.read_padded(plan.batch(index), int(plan.widths[index]))
        parts.append(np.asarray(compute(ids), np.float32))
        if speak and done % 8 == 0:
            progress.report(
                StepName.TRAIN, f"features of the {split.name} rows", done=done, total=len(mine)
            )
    return np.concatenate(parts)


def _merge(paths: list[Path], plan: Any, workers: int, width: int) -> npt.NDArray[np.float32]:
    merged = np.empty((len(plan.order), width), np.float32)
    for rank, path in enumerate(paths):
        rows = [plan.batch(index) for index in range(rank, len(plan), workers)]
        if rows:
            merged[np.concatenate(rows)] = np.load(path)
    return merged


def _write(path: Path, values: npt.NDArray[np.float32]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            np.save(stream, values)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
