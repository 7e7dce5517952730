"""Workers exchange feature files through a shared directory or object storage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from components.artifacts.token_shards import open_shards
from components.train.checkpointing.directory_state_store import open_directory_store
from components.train.checkpointing.object_state_store import open_object_store
from components.train.checkpointing.state_store import FeatureCache
from components.train.loop.feature_cache import load_or_compute_features
from tests.support.token_rows import list_token_ids
from tests.support.training import training_shards

WORKERS = 3


class ThreadCollectives:
    """`WorkerCollectives` over threads instead of worker processes."""

    workers = WORKERS

    def __init__(self, rank: int, barrier: Barrier, terms: list[int]) -> None:
        self.rank, self._barrier, self._terms = rank, barrier, terms

    def sum(self, value: int) -> int:
        self._terms[self.rank] = value
        self._barrier.wait(60)
        result = sum(self._terms)
        self._barrier.wait(60)
        return result

    def barrier(self) -> None:
        self.sum(1)


def directory_cache(home: Path, rank: int) -> FeatureCache:
    return open_directory_store(home / "state" / "key").features


def object_cache(home: Path, rank: int) -> FeatureCache:
    work = home / f"worker-{rank}"
    return open_object_store(f"file://{home}/bucket/key", work, "group", keep=2).features


@pytest.mark.parametrize("open_cache", [directory_cache, object_cache])
def test_workers_get_each_other_s_features_in_row_order_and_only_once(
    open_cache: Any, tmp_path: Path
) -> None:
    split = open_shards(training_shards.make(tmp_path / "shards")).open_split("train")
    computed: list[int] = []

    def compute(batches: Any) -> Any:
        computed.append(sum(len(ids) for ids in batches))
        return [np.stack([ids.sum(axis=1), (ids != 0).sum(axis=1)], axis=1) for ids in batches]

    def run(collectives: ThreadCollectives, home: Path) -> Any:
        cache = open_cache(home, collectives.rank)
        return load_or_compute_features(
            cache, "prefix", split, (20,), compute, 2, collectives, batches_per_call=2
        )

    for repeat in range(2):
        barrier, terms = Barrier(WORKERS), [0] * WORKERS
        group = [ThreadCollectives(rank, barrier, terms) for rank in range(WORKERS)]
        # The second time the workers are other pods: they have nothing but the store.
        home = tmp_path if open_cache is directory_cache or not repeat else move_bucket(tmp_path)
        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(run, group, [home] * WORKERS))
        for features in found:
            np.testing.assert_array_equal(features[:, 1], split.read_lengths())
            np.testing.assert_array_equal(
                features[:, 0], [row.sum() for row in list_token_ids(split)]
            )
    assert sum(computed) == len(split)


def move_bucket(home: Path) -> Path:
    (home / "elsewhere").mkdir()
    (home / "bucket").rename(home / "elsewhere" / "bucket")
    return home / "elsewhere"
