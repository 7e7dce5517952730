"""kubert's side: a real worker on a real job; one round is one epoch over the training rows.

    python -m benchmarks.baselines.training_kubert JOB [--share RANK OF]

All that is put in is a gate between `Training` and its feed, and a clock around the features of a frozen encoder. A round begins before the epoch's first batch is read and ends when
validation asks for its own batches: reading, padding, the steps and what the optimizer puts off until an epoch's end are all in it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.contender import MeasurementLoop, cpu_seconds
from components.train import worker
from components.train.checkpointing.state_store import SharedDirectoryStore
from components.workers.process_control import PreemptionHandler
from components.workers.topology import topology_from_environment

Feed = Callable[..., Iterator[Any]]


class Features:
    """Stands for `cached_features`: takes the CPU time of a training row's features, after the first batch, which compiles."""

    def __init__(self, cached_features: Callable[..., Any]) -> None:
        self._cached_features = cached_features
        self.seconds_per_row = 0.0

    def __call__(
        self,
        exchange: Any,
        folder: str,
        split: Any,
        buckets: Any,
        compute: Callable[[Any], Any],
        **options: Any,
    ) -> Any:
        done: list[tuple[int, float]] = []

        def timed(ids: Any) -> Any:
            values = compute(ids)
            done.append((len(ids), cpu_seconds()))
            return values

        features = self._cached_features(exchange, folder, split, buckets, timed, **options)
        if split.name == "train":
            self.seconds_per_row = (done[-1][1] - done[0][1]) / sum(rows for rows, _ in done[1:])
        return features


class Gate:
    """Stands for `feed`: lets an epoch begin when a round is asked for, and takes the time of its steps."""

    def __init__(
        self, feed: Feed, rounds: MeasurementLoop, validation_rows: int, features: Features
    ) -> None:
        self._feed, self._rounds, self._validation_rows, self._features = (
            feed,
            rounds,
            validation_rows,
            features,
        )
        self._examples = 0
        self._waits: list[float] = []
        self._steps: list[tuple[float, float]] = []

    def __call__(self, strategy: Any, rows: Any, plan: Any, first: int = 0) -> Iterator[Any]:
        if len(rows) != self._validation_rows:
            self._rounds.wait_for_start()
            self._examples, self._waits, self._steps = len(rows), [], []
            return self._timed(self._feed(strategy, rows, plan, first))
        wall, cpu = np.median(np.diff(self._steps, axis=0), axis=0).tolist()
        more = {"step_wall": wall, "step_cpu": cpu, "feature_cpu": self._features.seconds_per_row}
        self._rounds.report_measurement(
            self._examples, first_wait=self._waits[0], other_waits=sum(self._waits[1:]), **more
        )
        return self._feed(strategy, rows, plan, first)

    def _timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            asked = time.perf_counter()
            self._steps.append((asked, cpu_seconds()))
            batch = next(batches, None)
            self._waits.append(time.perf_counter() - asked)
            if batch is None:
                return
            yield batch


def main() -> None:
    """Train until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("job", type=Path)
    parser.add_argument(
        "--share",
        type=int,
        nargs=2,
        metavar=("RANK", "OF"),
        help="alone, but with the rows of one worker of several",
    )
    arguments = parser.parse_args()
    job = worker.read_job(str(arguments.job))
    stop = PreemptionHandler(worker.DEFAULT_STOP_GRACE_SECONDS)
    rounds = MeasurementLoop()
    _put_in(rounds, Path(job.shards), arguments.share)
    topology = topology_from_environment(os.environ)
    with tempfile.TemporaryDirectory() as work:
        worker._train(job, SharedDirectoryStore(Path(job.state)), topology, Path(work), stop)


def _put_in(rounds: MeasurementLoop, shards: Path, share: tuple[int, int] | None) -> None:
    from components.artifacts.token_shards import open_shards
    from components.train.loop import batch_plan, trainer
    from components.train.loop import input_pipeline as feed

    validation_rows = len(open_shards(shards, verify=False).open_split("validation"))
    features = Features(vars(trainer)["cached_features"])
    vars(trainer)["cached_features"] = features
    vars(trainer)["read_batches"] = Gate(feed.read_batches, rounds, validation_rows, features)
    if share is not None:
        rank, of = share
        vars(feed)["replica_slice"] = lambda rows, replica, replicas: batch_plan.replica_slice(
            rows, rank, of
        )


if __name__ == "__main__":
    main()
