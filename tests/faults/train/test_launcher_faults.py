"""Workers of a JobSet whose launcher is killed: real processes, with the state in a store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from components.config.environment import ENV_FAILURE_FILE, ENV_OWNER, ENV_THREADS
from components.config.schema import TrainConfig
from components.train.checkpointing.remote_checkpoints import RemoteCheckpoints
from components.train.job import Job
from components.workers import exit_codes
from components.workers.topology import WorkerTopology, find_free_port
from tests.support.training import local_training, training_shards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
JOBSET = "kubert-train-x"
SILENCE_SECONDS = 3.0
LAUNCHER = f"""
import sys, time
from components.storage.store import open_store
from components.workers.launcher_heartbeat import LauncherHeartbeat
with LauncherHeartbeat(open_store(sys.argv[1]), "{JOBSET}", interval=0.2):
    print("there", flush=True)
    time.sleep(600)
"""
SUPERVISOR = """
import sys
from components.workers import worker_supervisor
from components.workers.launcher_heartbeat import WatchLimits
silence, save = map(float, sys.argv[1:3])
limits = WatchLimits(poll=0.2, first_silence=silence, silence=silence, save=save)
sys.exit(worker_supervisor.main(sys.argv[3:], limits))
"""


class WorkerProcesses:
    """Two workers of one JobSet with their supervisors; the last messages are in `home`."""

    def __init__(self, home: Path, job: Job, save_seconds: float) -> None:
        self.home = home
        document = home / "job.json"
        document.write_text(job.model_dump_json())
        for rank in range(2):
            (home / f"failure-{rank}").write_text("")  # each pod has a new one
        hosts = tuple(f"127.0.0.1:{find_free_port()}" for _ in range(2))
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    SUPERVISOR,
                    str(SILENCE_SECONDS),
                    str(save_seconds),
                    job.state,
                    "components.train.worker",
                    str(document),
                ],
                env={
                    **os.environ,
                    "TF_CONFIG": WorkerTopology(workers=hosts, rank=rank).to_tf_config(),
                    "JOBSET_NAME": JOBSET,
                    ENV_OWNER: "uid-of-the-jobset",
                    ENV_THREADS: "1",
                    ENV_FAILURE_FILE: str(self.home / f"failure-{rank}"),
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(2)
        ]

    def wait(self) -> list[int]:
        """The exit codes by rank."""
        return [process.wait(timeout=120) for process in self.processes]

    def messages(self) -> list[str]:
        """The workers' last messages by rank."""
        return [(self.home / f"failure-{rank}").read_text().strip() for rank in range(2)]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def running_launcher(job: Job) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER, job.state], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_workers(
    home: Path, job: Job, *, save_seconds: float = 60.0
) -> Iterator[WorkerProcesses]:
    workers = WorkerProcesses(home, job, save_seconds)
    try:
        yield workers
    finally:
        workers.kill()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    shards = training_shards.make(tmp_path / "shards", rows={"train": 192, "validation": 20})
    return Job(
        model=training_shards.MODEL,
        train=TrainConfig(batch_size=8, epochs=500, workers=2, checkpoint_every_steps=10),
        shards=str(shards),
        state=f"file://{tmp_path}/state/training",
    )


def newest_step(job: Job) -> int:
    return max((found.step for found in RemoteCheckpoints(job.state).list_checkpoints()), default=0)


def test_workers_of_a_killed_launcher_save_and_end_for_good(job: Job, tmp_path: Path) -> None:
    """Fault W13."""
    with running_launcher(job) as launcher, running_workers(tmp_path, job) as workers:
        local_training.wait_for(lambda: newest_step(job) >= 20, "step 20")
        launcher.kill()
        killed_at = time.monotonic()
        assert workers.wait() == [exit_codes.LAUNCHER_LOST] * 2
        # The time of the test's limits, and of a step, a save and an orderly end.
        assert SILENCE_SECONDS - 1 <= time.monotonic() - killed_at < SILENCE_SECONDS + 20
        saved = newest_step(job)
        assert workers.messages() == [f"stopped at step {saved}: the launcher is gone"] * 2
    # Whoever starts workers again does not make them train for nobody.
    with running_workers(tmp_path, job) as workers:
        assert workers.wait() == [exit_codes.LAUNCHER_LOST] * 2
        assert workers.messages() == ["the launcher is gone"] * 2
    assert newest_step(job) == saved


@pytest.mark.nightly
@pytest.mark.parametrize("rank", [0, 1], ids=["chief", "peer"])
def test_a_worker_whose_peer_hangs_ends_all_the_same(rank: int, job: Job, tmp_path: Path) -> None:
    """Fault W13."""
    with (
        running_launcher(job) as launcher,
        running_workers(tmp_path, job, save_seconds=3) as workers,
    ):
        local_training.wait_for(lambda: newest_step(job) >= 20, "step 20")
        (hanging,) = psutil.Process(workers.processes[1 - rank].pid).children()
        hanging.suspend()
        launcher.kill()
        assert workers.processes[rank].wait(timeout=60) == exit_codes.LAUNCHER_LOST
