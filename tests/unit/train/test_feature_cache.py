"""Feature files go from worker to worker through whatever place the state has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from components.artifacts.token_shards import open_shards
from components.train.checkpointing.object_state_store import ObjectStateStore
from components.train.checkpointing.state_store import SharedDirectoryStore
from components.train.loop.feature_cache import FeatureExchange, cached_features
from tests.support.training import training_shards

WORKERS = 3


class Sum:
    """What the strategy's all-reduce does, over threads."""

    def __init__(self) -> None:
        self._barrier = Barrier(WORKERS)
        self._terms = [0] * WORKERS

    def of(self, rank: int) -> Any:
        def total(value: int) -> int:
            self._terms[rank] = int(value)
            self._barrier.wait(60)
            result = sum(self._terms)
            self._barrier.wait(60)
            return result

        return total


def shared(home: Path, rank: int) -> FeatureExchange:
    return SharedDirectoryStore(home / "state" / "key")


def mirrored(home: Path, rank: int) -> FeatureExchange:
    return ObjectStateStore(f"file://{home}/bucket/key", home / f"worker-{rank}", "gang", keep=2)


@pytest.mark.parametrize("place", [shared, mirrored])
def test_workers_get_each_other_s_features_in_row_order_and_only_once(
    place: Any, tmp_path: Path
) -> None:
    split = open_shards(training_shards.make(tmp_path / "shards")).open_split("train")
    computed: list[int] = []

    def compute(ids: Any) -> Any:
        computed.append(len(ids))
        return np.stack([ids.sum(axis=1), (ids != 0).sum(axis=1)], axis=1)

    def run(rank: int, total: Any, home: Path) -> Any:
        return cached_features(
            place(home, rank),
            "folder",
            split,
            (20,),
            compute,
            width=2,
            rank=rank,
            workers=WORKERS,
            total=total,
        )

    for repeat in range(2):
        total = Sum()
        with ThreadPoolExecutor(WORKERS) as pool:
            # The second time the workers are other pods: they have nothing but the store.
            home = tmp_path if place is shared or not repeat else moved(tmp_path)
            found = list(pool.map(lambda rank: run(rank, total.of(rank), home), range(WORKERS)))  # noqa: B023
        for features in found:
            np.testing.assert_array_equal(features[:, 1], split.read_lengths())
            np.testing.assert_array_equal(
                features[:, 0], [row.sum() for row in split.read_rows(range(len(split)))]
            )
    assert sum(computed) == len(split)


def moved(home: Path) -> Path:
    (home / "elsewhere").mkdir()
    (home / "bucket").rename(home / "elsewhere" / "bucket")
    return home / "elsewhere"
