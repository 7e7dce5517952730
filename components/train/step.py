"""The train verb: token shards -> checkpoint. Runs without TensorFlow, numpy and Arrow: only the workers need them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from components import progress
from components.artifacts import manifest, transfer
from components.artifacts.artifact import verify_artifact
from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.manifest import Manifest
from components.artifacts.shard_metadata import ShardsContent, parse_shards_content
from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.schema import ModelConfig, TrainConfig
from components.errors import ConfigError, DataError
from components.progress import StepName
from components.storage.uri import has_scheme, is_remote_uri
from components.train.checkpointing.finished_checkpoint import (
    export_finished_checkpoint,
    is_finished,
)
from components.train.hardware import resolve_precision
from components.train.job import Job, training_id
from components.workers.group import WorkerGroup
from components.workers.local import run_local


def run(
    model: ModelConfig,
    train: TrainConfig,
    shards: Path | str,
    output: Path,
    scratch: Path | str,
    cluster: ClusterConfig | None = None,
) -> CheckpointContent:
    """Train a classifier on the shards' training rows and seal it in `output`.

    `shards` and `scratch` are paths or URIs. `scratch` keeps what a killed run needs to go on; runs with equal data, model and options
    share it, and what one of them has finished is not trained again. Raises DataError or ConfigError before any worker starts where
    the shards and the options do not fit, and what the gang reports later.
    """
    cluster = cluster or ClusterConfig()
    shards, scratch = _absolute(shards), _absolute(scratch)
    if cluster.backend == "jobset":
        _refuse_unreachable(cluster, shards, scratch)
    sealed = _manifest_of(shards)
    check_compatible(model, train, parse_shards_content(sealed, shards))
    train = resolve_precision(train, cluster.backend)
    job = Job(
        model=model,
        train=train,
        shards=shards,
        state=f"{scratch}/{training_id(model, train, sealed.digest)}",
    )
    if is_finished(job.state):
        progress.report(
            StepName.TRAIN,
            "these rows were learned with these options before; nothing is trained again",
            unchanged=True,
        )
    else:
        workers = f"{train.workers} workers" if train.workers > 1 else "1 worker"
        progress.report(StepName.TRAIN, f"starting {workers}, products in {train.precision}")
        _run_workers(job, cluster)
    return export_finished_checkpoint(job.state, output)


def _run_workers(job: Job, cluster: ClusterConfig) -> None:
    if cluster.backend == "jobset":
        from components.workers.kubernetes.launcher import run_jobset

        run_jobset(build_worker_group(job), cluster)
    elif not has_scheme(job.state) and not has_scheme(job.shards):
        run_local(build_worker_group(job), Path(job.state))
    else:
        home = Path(tempfile.mkdtemp(prefix="kubert-train-"))
        if has_scheme(job.shards):
            transfer.download_artifact(job.shards, home / "shards", "token_shards")
            job = job.model_copy(update={"shards": str(home / "shards")})
        try:
            run_local(build_worker_group(job), home if has_scheme(job.state) else Path(job.state))
        finally:
            shutil.rmtree(home / "shards", ignore_errors=True)
        shutil.rmtree(home)  # after a failure its logs stay


def build_worker_group(job: Job) -> WorkerGroup:
    return WorkerGroup(
        step=StepName.TRAIN,
        workers=job.train.workers,
        module="components.train.worker",
        job_document=job.model_dump_json(),
        directory=job.state,
        max_restarts=job.train.max_restarts,
        is_finished=lambda: is_finished(job.state),
        memory_remedy="lower train.batch_size or model.max_length, or raise train.gradient_accumulation_steps",
    )


def _absolute(place: Path | str) -> str:
    return (
        place.rstrip("/")
        if isinstance(place, str) and has_scheme(place)
        else str(Path(place).resolve())
    )


def _refuse_unreachable(cluster: ClusterConfig, *places: str) -> None:
    for place in places:
        if not is_remote_uri(place) and not (
            cluster.checkpoint_pvc and place.startswith(f"{STATE_MOUNT}/")
        ):
            raise ConfigError(
                f"{place}: the workers' pods cannot reach it; with cluster.backend=jobset, shards and state are gs://, s3:// or minio:// URIs, "
                f"or lie on the volume of cluster.checkpoint_pvc, below {STATE_MOUNT}"
            )


def _manifest_of(shards: str) -> Manifest:
    if not has_scheme(shards):
        return verify_artifact(Path(shards), "token_shards")
    found = transfer.find_remote_manifest(shards, "token_shards")
    if found is None:
        raise DataError(
            f"{shards}: no {manifest.MANIFEST_FILENAME}, so these are no finished token shards; run the step that makes them again"
        )
    return found


def check_compatible(model: ModelConfig, train: TrainConfig, shards: ShardsContent) -> None:
    """ConfigError where the options cannot work with these shards, naming the option."""
    if shards.encoder != model.encoder:
        raise ConfigError(
            f"model.encoder is {model.encoder}, but the shards were tokenized for {shards.encoder}; tokenize again"
        )
    if shards.max_length != model.max_length:
        raise ConfigError(
            f"model.max_length is {model.max_length}, but the shards were cut at {shards.max_length}; tokenize again"
        )
    for name in ("train", "validation"):
        if not shards.splits[name].rows:
            raise DataError(
                f"the shards have no {name} rows; give more data, or another data.validation_fraction, and tokenize again"
            )
    rows = shards.splits["train"].rows
    if train.batch_size > rows:
        raise ConfigError(
            f"train.batch_size is {train.batch_size}, but there are only {rows} training rows; set it to {rows} at most"
        )
