"""Scores of the test rows, or of another split, of token shards: for the evaluation and the gate.

The scores stay in the state: those of the same model and the same rows are found by the next step
or run, and not computed again. Imports no TensorFlow, unless the rows are scored in this process.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import progress
from components.artifacts.artifact import Artifact
from components.artifacts.manifest import Manifest
from components.artifacts.token_shards import TokenShards
from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.schema import EvaluateConfig
from components.data.split_names import SplitName
from components.errors import DataError
from components.progress import StepName
from components.scoring.job import ModelInput, ScoringJob, ShardRows, job_id
from components.scoring.launch import is_finished, run_scoring
from components.scoring.unit_results import UnitResult, read_results
from components.storage.uri import refuse_local_paths

STATE_DIRECTORY = "scores"
MORE_ROWS = {
    "test": "set data.test_source or a larger data.test_fraction",
    "validation": "set a larger data.validation_fraction",
}
BYTES_PER_PARAMETER = 4
FLOP_PER_PARAMETER = 2
"""Of each token: a product and a sum."""
FLOPS_PER_CORE = 3e10
FLOPS_PER_GPU = 5e12
"""Float operations per second that are reached, not those of a data sheet."""
LONGEST_SECONDS_IN_STEP = 600


@dataclass(frozen=True)
class TestRowScoring:
    """Where test rows are scored, and where their scores are kept.

    state: directory or URI for the scores of all models and rows; empty: they are not kept.
    cluster: the settings of the pods, which are those of training.
    max_workers: the number of training workers; `evaluate.workers=auto` takes no more.
    shards_uri: what workers in pods read instead of the local directory.
    checkpoint_uri: the same of the evaluated checkpoint.
    """

    __test__ = False  # not a class of tests

    state: str = ""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    max_workers: int = 1
    shards_uri: str = ""
    checkpoint_uri: str = ""


def score_split_rows(
    step: StepName,
    model: Artifact[Any],
    model_uri: str,
    shards: TokenShards,
    config: EvaluateConfig,
    scoring: TestRowScoring,
    split: SplitName = "test",
) -> Iterator[UnitResult]:
    """Verified scores of all rows of a split, in parts in the order of the rows; flat memory.

    The model, a checkpoint or a release, is read from its directory, by workers in pods from
    `model_uri`. Raises DataError for a split without rows, ConfigError for paths that pods cannot
    read, and what the scoring raises.
    """
    rows = shards.content.splits[split].rows
    if rows == 0:
        raise DataError(
            f"{shards.directory}: the {split} split has no rows; {MORE_ROWS.get(split, '')}"
        )
    workers = choose_workers(config, scoring, shards, model.manifest, split)
    in_pods = workers > 0 and scoring.cluster.backend == "jobset"
    job = ScoringJob(
        step=step,
        model=ModelInput.model_validate(
            {
                "kind": model.manifest.kind,
                "uri": model_uri if in_pods else str(model.directory),
                "digest": model.digest,
            }
        ),
        rows=ShardRows(
            uri=scoring.shards_uri if in_pods else str(shards.directory),
            digest=shards.digest,
            split=split,
        ),
        row_count=rows,
        state="",
        batch_rows=config.batch_size,
    )
    if in_pods:
        refuse_local_paths(
            [model_uri, scoring.shards_uri, scoring.state or "the state"],
            "use gs://, s3:// or minio:// URIs, or set evaluate.workers=0",
        )
    with tempfile.TemporaryDirectory(prefix="kubert-scores-") as temporary:
        root = temporary if _is_unmounted(scoring.state) else scoring.state.rstrip("/")
        job = job.model_copy(update={"state": f"{root}/{STATE_DIRECTORY}/{job_id(job)}"})
        if workers and not is_finished(job):
            count = min(workers, job.unit_count)
            one, many = ("pod", "pods") if in_pods else ("process", "processes")
            name = one if count == 1 else many
            progress.report(step, f"scoring the {split} rows by {count} {name}")
        run_scoring(job, workers, scoring.cluster, model=model)
        yield from read_results(job)


def choose_workers(
    config: EvaluateConfig,
    scoring: TestRowScoring,
    shards: TokenShards,
    manifest: Manifest,
    split: SplitName = "test",
) -> int:
    """Number of workers for the rows of a split; 0: the step's own process.

    `auto` is 0 unless workers have pods of their own and the step's pod would compute for more than
    LONGEST_SECONDS_IN_STEP. It is then as many as finish within this time, at most as many as
    train.
    """
    if config.workers != "auto":
        return config.workers
    if scoring.cluster.backend != "jobset":
        return 0
    from components.workers.kubernetes.jobset_manifest import parse_cpu_quantity

    cluster = scoring.cluster
    work = estimate_operations(manifest, shards.content.splits[split].tokens)
    step_cores, worker_cores = map(parse_cpu_quantity, (cluster.step_cpu, cluster.cpu))
    if work <= LONGEST_SECONDS_IN_STEP * FLOPS_PER_CORE * step_cores:
        return 0
    speed = cluster.gpus * FLOPS_PER_GPU if cluster.gpus else worker_cores * FLOPS_PER_CORE
    return min(scoring.max_workers, math.ceil(work / (LONGEST_SECONDS_IN_STEP * speed)))


def estimate_operations(manifest: Manifest, tokens: int) -> float:
    """Float operations of scoring `tokens` tokens with the model of a manifest, about.

    A token costs FLOP_PER_PARAMETER operations for each parameter of the model.
    """
    parameters = sum(entry.size for entry in manifest.files.values()) / BYTES_PER_PARAMETER
    return tokens * parameters * FLOP_PER_PARAMETER


def _is_unmounted(state: str) -> bool:
    """Whether there is no state, or only the volume of `cluster.checkpoint_pvc`, not mounted."""
    return not state or (state == STATE_MOUNT and not Path(state).is_dir())
