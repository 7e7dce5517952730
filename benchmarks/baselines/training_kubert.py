"""kubert as a contender: a real worker on a real job; a round is one epoch.

    python -m benchmarks.baselines.training_kubert JOB [--share RANK OF]

The worker runs as it does in production, with a callback that measures it. A round begins before
the epoch's first batch is read and ends when validation begins: reading, padding, the steps and
what the optimizer defers to an epoch's end are all part of it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness.contender import MeasurementLoop, cpu_seconds
from components.config.environment import ENV_GPUS
from components.data.split_names import SplitName
from components.gpu.tensorflow_gpus import check_gpus
from components.train import worker
from components.train.checkpointing.directory_state_store import open_directory_store
from components.train.loop.batch_plan import SliceRows
from components.train.loop.callback import TrainingCallback
from components.workers import worker_runtime
from components.workers.process_control import PreemptionHandler
from components.workers.topology import topology_from_environment


class EpochMeasurement(TrainingCallback):
    """Starts an epoch when a round is requested, and measures its steps and its waits for batches.

    Counts the outcomes that were read, and those read after the next step was started: at these the
    host waits while the device has work.

    Also measures the CPU time of a training row's features, from the end of the first batch on,
    whose computation includes compiling.
    """

    def __init__(self, rounds: MeasurementLoop) -> None:
        self._rounds = rounds
        self._rows = 0
        self._batches: list[tuple[float, float]] = []
        self._waits: list[float] = []
        self._outcomes = self._late_outcomes = 0
        self._features: list[tuple[int, float]] = []

    def on_features_computed(self, split: SplitName, rows: int) -> None:
        if split == "train":
            self._features.append((rows, cpu_seconds()))

    def on_epoch_begin(self, rows: int) -> None:
        self._rounds.wait_for_start()
        self._rows, self._batches, self._waits = rows, [], []
        self._outcomes = self._late_outcomes = 0

    def on_batch_begin(self) -> None:
        self._batches.append((time.perf_counter(), cpu_seconds()))

    def on_step_begin(self) -> None:
        self._waits.append(time.perf_counter() - self._batches[-1][0])

    def on_step_end(self, *_: object) -> None:
        self._outcomes += 1
        self._late_outcomes += len(self._waits) > self._outcomes

    def on_validation_begin(self) -> None:
        self.on_batch_begin()
        wall, cpu = np.median(np.diff(self._batches, axis=0), axis=0).tolist()
        self._rounds.report_measurement(
            self._rows,
            first_wait=self._waits[0],
            other_waits=sum(self._waits[1:]),
            step_wall=wall,
            step_cpu=cpu,
            feature_cpu=self._feature_seconds_per_row(),
            steps=len(self._waits),
            outcomes=self._outcomes,
            late_outcomes=self._late_outcomes,
        )

    def _feature_seconds_per_row(self) -> float:
        if not self._features:
            return 0.0
        seconds = self._features[-1][1] - self._features[0][1]
        return seconds / sum(rows for rows, _ in self._features[1:])


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
    if wanted := int(os.environ.get(ENV_GPUS, "0")):
        check_gpus(wanted)
    job = worker.read_job(str(arguments.job))
    callback = EpochMeasurement(MeasurementLoop())
    with tempfile.TemporaryDirectory() as work:
        worker.run_worker(
            job,
            open_directory_store(Path(job.state)),
            topology_from_environment(os.environ),
            Path(work),
            PreemptionHandler(worker_runtime.DEFAULT_STOP_GRACE_SECONDS),
            callbacks=[callback],
            slice_rows=_slice_of_share(*arguments.share) if arguments.share else None,
        )


def _slice_of_share(rank: int, workers: int) -> SliceRows:
    """The rows of one worker of a group, whatever the number of replicas is."""
    return lambda rows, *_: slice(rows * rank // workers, rows * (rank + 1) // workers)


if __name__ == "__main__":
    main()
