"""The worker process: scores its units, and exits with a code for the launcher.

python -m components.scoring.worker JOB, the path or URI of a `ScoringJob` in JSON. The command is
the same in a local process and in a pod. Workers do not know of each other.
"""

from __future__ import annotations

import logging
import os
import sys

from components import progress
from components.config.environment import ENV_THREADS
from components.errors import ExitCode, KubertError
from components.scoring.inputs import fetch_inputs
from components.scoring.job import ScoringJob
from components.workers import exit_codes
from components.workers.process_control import count_usable_cores
from components.workers.topology import WorkerTopology, topology_from_environment
from components.workers.worker_runtime import (
    WorkerProcess,
    describe_crash,
    is_disk_full,
    read_job_document,
    start_worker_process,
)

_LOGGER = logging.getLogger("components.scoring.worker")


def main(job_uri: str) -> None:
    """Run one worker and exit at once: TensorFlow's threads may block a normal exit."""
    process = start_worker_process()
    code, message = _run_and_classify(job_uri, process)
    process.exit(code, message)


def _run_and_classify(job_uri: str, process: WorkerProcess) -> tuple[int, str]:
    """Score the worker's units; the exit code, and the reason for it."""
    try:
        topology = topology_from_environment(os.environ)
        job = read_job_document(job_uri, ScoringJob.model_validate_json)
        return _score(job, topology, process)
    except Exception as error:
        if is_disk_full(error):
            return exit_codes.DISK_FULL, f"no space left ({error}); finished units stay"
        if isinstance(error, KubertError):
            return error.exit_code, str(error)
        _LOGGER.exception("the worker failed")
        return ExitCode.FAILURE, describe_crash(error)


def _score(job: ScoringJob, topology: WorkerTopology, process: WorkerProcess) -> tuple[int, str]:
    from components.gpu.tensorflow_gpus import check_worker_gpus
    from components.scoring.unit_scoring import ScoringStoppedError, score_units

    if note := check_worker_gpus(job.state, topology.rank):
        _LOGGER.warning("%s", note)
        if topology.is_chief:
            progress.report_note(job.step, note)
    job = fetch_inputs(job, process.work, report=topology.is_chief)
    threads = int(os.environ.get(ENV_THREADS, count_usable_cores()))
    stop = process.stop
    stop.allow_saving()

    def should_stop() -> bool:
        return stop.is_stop_requested() or stop.is_launcher_lost()

    try:
        score_units(job, topology.rank, len(topology.workers), threads, should_stop)
    except ScoringStoppedError:
        return exit_codes.PREEMPTED, "asked to stop; all units that were finished stay"
    return exit_codes.SUCCESS, ""


if __name__ == "__main__":
    main(sys.argv[1])
