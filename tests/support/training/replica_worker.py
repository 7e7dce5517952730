"""Runs real workers whose replicas are logical CPU devices, in place of the GPUs of a machine.

    python -m tests.support.training.replica_worker REPLICAS STOP_AT JOB...

One process is one worker. It does the jobs one after another, to save the time of starting; with
peers (TF_CONFIG) it can do one job only. With STOP_AT it sends itself SIGTERM after that step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.harness import logical_devices
from components.config.schema import ModelConfig, TrainConfig
from components.logging_config import configure_logging
from components.train import worker
from components.train.checkpointing.directory_state_store import open_directory_store
from components.train.job import Job, StateLayout
from components.train.loop.callback import TrainingCallback
from components.workers import exit_codes
from components.workers.process_control import PreemptionHandler
from components.workers.topology import WorkerTopology, find_free_port, topology_from_environment

TIMEOUT_SECONDS = 1000
SMALL_PACK_BYTES = 2048


def write_job(home: Path, shards: Path, options: Mapping[str, Any]) -> Path:
    """Write a job with options such as train__epochs, whose state is below `home`; its path."""
    sections: dict[str, dict[str, Any]] = {"model": {}, "train": {}}
    for name, value in options.items():
        section, _, option = name.partition("__")
        sections[section][option] = value
    job = Job(
        model=ModelConfig.model_validate(sections["model"]),
        train=TrainConfig.model_validate(sections["train"]),
        shards=str(shards),
        state=str(home / "scratch" / "state"),
    )
    home.mkdir(parents=True, exist_ok=True)
    path = home / "job.json"
    path.write_text(job.model_dump_json(), encoding="utf-8")
    return path


def run_jobs(
    jobs: Sequence[Path], *, workers: int = 1, replicas: int = 1, stop_at: int = 0
) -> list[str]:
    """Do the jobs by this many workers with this many replicas each; what each worker logs.

    With `stop_at` the workers must end preempted after that step, otherwise with success.
    """
    addresses = tuple(f"127.0.0.1:{find_free_port()}" for _ in range(workers))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(replicas), str(stop_at), *map(str, jobs)],
            env={
                **os.environ,
                "TF_CONFIG": WorkerTopology(workers=addresses, rank=rank).to_tf_config(),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(workers)
    ]
    try:
        outputs = [process.communicate(timeout=TIMEOUT_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    wanted = exit_codes.PREEMPTED if stop_at else exit_codes.SUCCESS
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == wanted, output
    return outputs


def read_finished(job: Path) -> Path:
    """The finished checkpoint of a job."""
    return StateLayout(Path(worker.read_job(str(job)).state)).finished_checkpoint


class StopAtStep(TrainingCallback):
    """Sends this process SIGTERM after one step, and waits until the handler has seen it."""

    def __init__(self, step: int, stop: PreemptionHandler) -> None:
        self._step, self._stop = step, stop

    def on_step_end(self, state: Any, metrics: Any, plan: Any, index: int) -> None:
        if state.step == self._step:
            os.kill(os.getpid(), signal.SIGTERM)
            assert self._stop.wait(60)


def _use_logical_devices(count: int) -> None:
    """Let this worker have `count` logical CPU devices, each with a replica, as if it had GPUs.

    It asks for NCCL, which TensorFlow replaces by its ring on CPUs, and reduces in small packs.
    """
    import tensorflow as tf

    from components.train.loop import build_trainer, collectives

    logical_devices.use_logical_devices(count)
    mock.patch.object(collectives, "choose_communication", lambda _: "NCCL").start()
    mock.patch.object(build_trainer, "choose_pack_bytes", _choose_small_packs).start()
    tf.get_logger().setLevel("INFO")  # it says how it reduces


def _use_collective_keys(number: int) -> None:
    """Let the process's next strategy not name its collectives as one before it did."""
    import tensorflow as tf

    tf.distribute.MultiWorkerMirroredStrategy._collective_key_base = number * 100_000


def _choose_small_packs(_: Any, train: TrainConfig) -> int:
    return SMALL_PACK_BYTES if train.gradient_accumulation_steps == 1 and not train.xla else 0


def _main(replicas: int, stop_at: int, jobs: Sequence[str]) -> int:
    stop = PreemptionHandler(TIMEOUT_SECONDS)
    configure_logging()
    topology = topology_from_environment(os.environ)
    if replicas > 1:
        _use_logical_devices(replicas)
    for number, uri in enumerate(jobs):
        _use_collective_keys(number)
        job = worker.read_job(uri)
        with tempfile.TemporaryDirectory() as work:
            code, _ = worker.run_worker(
                job,
                open_directory_store(Path(job.state)),
                topology,
                Path(work),
                stop,
                callbacks=[StopAtStep(stop_at, stop)] if stop_at else [],
            )
        if code != exit_codes.SUCCESS:
            return code
    return exit_codes.SUCCESS


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
