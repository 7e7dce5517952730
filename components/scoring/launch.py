"""Runs a scoring to its end: in this process, in local worker processes, or in pods.

Imports no TensorFlow, unless the scoring runs in this process.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from components import progress
from components.artifacts.artifact import Artifact
from components.config.cluster import ClusterConfig
from components.gpu.local_gpus import build_gpu_variables, find_local_gpus
from components.progress import StepName
from components.scoring.inputs import FETCHED_DIRECTORIES, fetch_inputs
from components.scoring.job import (
    ScoringJob,
)
from components.scoring.state_identity import claim_state
from components.scoring.unit_results import find_finished_units, list_results
from components.storage.store import open_store
from components.storage.uri import has_scheme
from components.workers.group import WorkerGroup
from components.workers.local.launcher import run_local
from components.workers.process_control import count_usable_cores

DEFAULT_MAX_RESTARTS = 3
_WORKERS_OPTIONS = {
    StepName.EVALUATE: "evaluate.workers",
    StepName.GATE: "evaluate.workers",
    StepName.SCORE: "score.workers",
}
WORKERS_DIRECTORY = "workers"
"""Below a local state: the job document and the logs of local workers."""


def run_scoring(
    job: ScoringJob,
    workers: int,
    cluster: ClusterConfig | None = None,
    max_restarts: int = DEFAULT_MAX_RESTARTS,
    model: Artifact[Any] | None = None,
) -> None:
    """Return when every unit of the job has a valid result in `job.state`.

    `workers` is the number of worker processes (with cluster.backend=jobset: of pods); 0 scores in
    this process, with `model` if the caller has verified it. Each worker is restarted up to
    `max_restarts` times. Raises DataError if the state is that of another job, and what the workers
    report; finished units stay in any case.
    """
    cluster = cluster or ClusterConfig()
    store = open_store(job.state)
    claim_state(store, job)
    if is_finished(job):  # otherwise workers start, and verify the units that are theirs
        for problem in find_finished_units(store, job, range(job.unit_count))[1]:
            progress.report(job.step, problem)
    if is_finished(job):
        progress.report(
            job.step, "these rows were scored before", done=job.row_count, total=job.row_count
        )
    elif workers and cluster.backend == "jobset":
        from components.workers.kubernetes.launcher import run_jobset

        run_jobset(build_worker_group(job, workers, max_restarts), cluster)
    else:
        _run_on_this_machine(job, workers, max_restarts, model)


def is_finished(job: ScoringJob) -> bool:
    """Whether every unit has a result; `read_results` verifies them."""
    return len(list_results(open_store(job.state)).keys() & {*range(job.unit_count)}) == (
        job.unit_count
    )


def build_worker_group(job: ScoringJob, workers: int, max_restarts: int) -> WorkerGroup:
    """What the launchers need to know of the job; no more workers than units start."""
    return WorkerGroup(
        step=job.step,
        workers=min(workers, job.unit_count),
        module="components.scoring.worker",
        job_document=job.model_dump_json(),
        directory=job.state,
        max_restarts=max_restarts,
        is_finished=partial(is_finished, job),
        workers_option=_WORKERS_OPTIONS[job.step],
        memory_remedy="" if job.step == StepName.SCORE else "lower evaluate.batch_size",
        independent=True,
    )


def _assign_gpus(group: WorkerGroup) -> list[dict[str, str]]:
    """Variables that give each local worker GPUs of its own, equally many.

    They share what this machine, or the step's pod, has. ConfigError if it cannot be divided: each
    process takes all memory of its GPU. On CPUs there is nothing to divide.
    """
    gpus = find_local_gpus(group.workers, 0, group.workers_option)
    if gpus.unused is not None:
        progress.report_note(group.step, gpus.unused.note)
    return build_gpu_variables(group.workers, 0, gpus)


def _run_on_this_machine(
    job: ScoringJob, workers: int, max_restarts: int, model: Artifact[Any] | None
) -> None:
    home = Path(tempfile.mkdtemp(prefix="kubert-score-"))
    try:
        job = fetch_inputs(job, home)
        if workers:
            logs = home if has_scheme(job.state) else Path(job.state) / WORKERS_DIRECTORY
            group = build_worker_group(job, workers, max_restarts)
            run_local(group, logs, _assign_gpus(group))
        else:
            from components.scoring.unit_scoring import score_units

            score_units(job, 0, 1, count_usable_cores(), model=model)
    finally:
        for name in FETCHED_DIRECTORIES:
            shutil.rmtree(home / name, ignore_errors=True)
        with suppress(OSError):
            home.rmdir()  # unless logs of a failure are there
    shutil.rmtree(home, ignore_errors=True)
