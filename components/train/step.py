"""The train step: token shards in, checkpoint out.

Runs without TensorFlow, NumPy and Arrow: only the workers need them.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from components import progress
from components.artifacts import transfer
from components.artifacts.artifact import verify_artifact
from components.artifacts.checkpoint import CheckpointContent
from components.artifacts.manifest import MANIFEST_FILENAME, Manifest
from components.artifacts.release import StartingRelease
from components.artifacts.shard_metadata import (
    ShardsContent,
    check_class_names,
    list_class_names,
    parse_shards_content,
)
from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.schema import ModelConfig, TrainConfig
from components.config.task import check_training_options, resolve_best_metric
from components.errors import ConfigError, DataError, MissingArtifactError, shorten_value
from components.gpu.driver import count_gpus
from components.gpu.local_gpus import LocalGpus, build_gpu_variables, find_local_gpus
from components.progress import StepName
from components.registry.starting_point import read_checkpoint
from components.storage.uri import has_scheme, is_remote_uri, refuse_local_paths
from components.train.checkpointing.finished_checkpoint import (
    export_finished_checkpoint,
    is_finished,
)
from components.train.class_weights import compute_loss_weights
from components.train.hardware import describe_unfit_precision, resolve_precision
from components.train.job import Job, training_id
from components.workers.group import WorkerGroup
from components.workers.local.launcher import run_local

MAX_SHOWN_WEIGHTS = 10
MAX_STD_RATIO = 3
"""Of two standard deviations of the same quantity; beyond it, the units may have changed."""
_LOGGER = logging.getLogger(__name__)


def run(
    model: ModelConfig,
    train: TrainConfig,
    shards: Path | str,
    output: Path,
    state_uri: Path | str,
    cluster: ClusterConfig | None = None,
    minimum_classes: Sequence[str] = (),
) -> CheckpointContent:
    """Train a classifier on the shards' training rows and commit the checkpoint to `output`.

    `shards` and `state_uri` are paths or URIs. Below `state_uri` is what a killed training needs to
    go on. Trainings with equal data, model and options share it: a finished one is not repeated.
    `minimum_classes` are those that `evaluate.minimum` names: a wrong one is an error before the
    training, not after it.
    Raises DataError or ConfigError before any worker starts if shards and options do not fit
    together, and later what the worker group reports.
    """
    cluster = cluster or ClusterConfig()
    shards, state_uri = _to_absolute(shards), _to_absolute(state_uri)
    if cluster.backend == "jobset":
        _check_reachable(cluster, shards, state_uri)
    manifest = _read_shards_manifest(shards)
    content = parse_shards_content(manifest, shards)
    check_compatible(model, train, content)
    check_class_names("evaluate.minimum", minimum_classes, content.classes)
    is_local = cluster.backend == "local"
    gpus = find_local_gpus(train.workers, cluster.gpus) if is_local else LocalGpus()
    train = resolve_precision(train, cluster.backend, gpus.devices)
    train = resolve_best_metric(train, content.task.kind)
    start = choose_start(model, content, manifest.digest)
    if start is not None and cluster.backend == "jobset" and not is_remote_uri(start.store):
        raise ConfigError(
            f"model.start_from: {start.store}: the workers' pods cannot read it; name a registry "
            "in object storage (gs://, s3://, minio://)"
        )
    state = f"{state_uri}/{training_id(model, train, manifest.digest, start)}"
    model = model.model_copy(update={"start_from": None})
    job = Job(model=model, train=train, shards=shards, state=state, start=start)
    _LOGGER.debug("training state in %s", job.state)
    if is_finished(job.state):
        progress.report(
            StepName.TRAIN,
            "this training was finished before; nothing is trained again",
            unchanged=True,
        )
    else:
        report_start(train, cluster, gpus)
        if start is not None:
            trained = read_checkpoint(start)[1]
            difference = describe_head_difference(trained, content)
            progress.report_note(StepName.TRAIN, f"starting from {start.title}{difference}")
        for note in _describe_loss(train, content):
            progress.report_note(StepName.TRAIN, note)
        _run_workers(job, cluster, gpus)
    return export_finished_checkpoint(job.state, output)


def describe_head_difference(trained: CheckpointContent, shards: ShardsContent) -> str:
    """What the head of a training cannot take of the checkpoint that it begins with; or nothing."""
    if trained.task.kind != shards.task.kind:
        return (
            f", a model of task.kind={trained.task.kind}: its encoder is taken, and the head of "
            f"task.kind={shards.task.kind} begins untrained"
        )
    if shards.task.kind == "regression":
        return _describe_other_numbers(trained.task.scale, shards.task.scale)
    new = [name for name in shards.classes if name not in trained.classes]
    gone = [name for name in trained.classes if name not in shards.classes]
    notes = []
    if new:
        notes.append(f"; new classes, which begin untrained: {list_class_names(new)}")
    if gone:
        notes.append(f"; classes that the data do not have any more: {list_class_names(gone)}")
    if notes:
        # The gate says so after the training, which is then of no use under the old name.
        notes.append("; with other classes it can be released under another export.model_name only")
    return "".join(notes)


def _describe_other_numbers(trained: tuple[float, float], scale: tuple[float, float]) -> str:
    """That the numbers, by mean and standard deviation, may have other units; or nothing."""
    (old_mean, old_std), (mean, std) = trained, scale
    is_similar = abs(mean - old_mean) <= max(std, old_std) <= MAX_STD_RATIO * min(std, old_std)
    if is_similar:
        return ""
    return (
        f", which says numbers of a mean of {old_mean:.6g} and a standard deviation of "
        f"{old_std:.6g}, where those of the training rows have {mean:.6g} and {std:.6g}: if their "
        "units have changed, leave out model.start_from"
    )


def report_start(train: TrainConfig, cluster: ClusterConfig, gpus: LocalGpus) -> None:
    """What computes, in which precision, and what a person should know about both."""
    is_on_gpus = bool(gpus.devices or (cluster.backend == "jobset" and cluster.gpus))
    unused = gpus.unused.note if gpus.unused else ""
    notes = (unused, describe_unfit_precision(train.precision, gpus.devices, is_on_gpus))
    for note in filter(None, notes):
        progress.report_note(StepName.TRAIN, note)
    progress.report(StepName.TRAIN, _describe_start(train, len(gpus.devices)))


def _describe_start(train: TrainConfig, gpus: int) -> str:
    workers = f"{train.workers} workers" if train.workers > 1 else "1 worker"
    devices = f" on {count_gpus(gpus)}" if gpus else ""
    return f"starting {workers}{devices}, products in {train.precision}"


def _describe_loss(train: TrainConfig, shards: ShardsContent) -> list[str]:
    """Notes on what makes the training loss another one than the mean cross-entropy."""
    notes = []
    if weights := compute_loss_weights(train, shards.task.kind, shards.splits["train"]):
        by_name = dict(zip(shards.classes, weights, strict=True))
        heaviest = sorted(by_name, key=by_name.__getitem__, reverse=True)[:MAX_SHOWN_WEIGHTS]
        listed = ", ".join(f"{shorten_value(name)} {by_name[name]:.3g}" for name in heaviest)
        more = ", ..." if len(by_name) > len(heaviest) else ""
        notes.append(f"class weights in the training loss: {listed}{more}")
    if train.label_smoothing:
        notes.append(f"label smoothing in the training loss: {train.label_smoothing:g}")
    return notes


def _run_workers(job: Job, cluster: ClusterConfig, gpus: LocalGpus) -> None:
    """Run the workers to their end; local ones divide these GPUs of this machine."""
    if cluster.backend == "jobset":
        from components.workers.kubernetes.launcher import run_jobset

        run_jobset(build_worker_group(job), cluster)
        return
    variables = build_gpu_variables(job.train.workers, cluster.gpus, gpus)
    if not has_scheme(job.state) and not has_scheme(job.shards):
        run_local(build_worker_group(job), Path(job.state), variables)
    else:
        home = Path(tempfile.mkdtemp(prefix="kubert-train-"))
        if has_scheme(job.shards):
            transfer.download_artifact(job.shards, home / "shards", "token_shards")
            job = job.model_copy(update={"shards": str(home / "shards")})
        try:
            directory = home if has_scheme(job.state) else Path(job.state)
            run_local(build_worker_group(job), directory, variables)
        finally:
            shutil.rmtree(home / "shards", ignore_errors=True)
        shutil.rmtree(home)  # only after success: a failure's logs stay


def build_worker_group(job: Job) -> WorkerGroup:
    """What the launchers need to know of the job."""
    return WorkerGroup(
        step=StepName.TRAIN,
        workers=job.train.workers,
        module="components.train.worker",
        job_document=job.model_dump_json(),
        directory=job.state,
        max_restarts=job.train.max_restarts,
        is_finished=partial(is_finished, job.state),
        workers_option="train.workers",
        restart_option="train.max_restarts",
        memory_remedy=(
            "lower train.batch_size, model.max_length or model.max_windows, or raise "
            "train.gradient_accumulation_steps"
            if job.model.long_text_reading.has_windows
            else "lower train.batch_size or model.max_length, or raise "
            "train.gradient_accumulation_steps"
        ),
    )


def _to_absolute(uri: Path | str) -> str:
    if isinstance(uri, str) and has_scheme(uri):
        return uri.rstrip("/")
    return str(Path(uri).resolve())


def _check_reachable(cluster: ClusterConfig, *uris: str) -> None:
    """ConfigError if a URI is a local path, except on the state's volume: no pod can read it."""
    refuse_local_paths(
        [uri for uri in uris if not (cluster.checkpoint_pvc and uri.startswith(f"{STATE_MOUNT}/"))],
        "with cluster.backend=jobset, shards and state are gs://, s3:// or minio:// URIs, or on "
        f"the volume of cluster.checkpoint_pvc, below {STATE_MOUNT}",
    )


def _read_shards_manifest(shards: str) -> Manifest:
    if not has_scheme(shards):
        return verify_artifact(Path(shards), "token_shards")
    manifest = transfer.find_remote_manifest(shards, "token_shards")
    if manifest is None:
        raise MissingArtifactError(
            f"{shards}: no {MANIFEST_FILENAME}, so these are no finished token shards; "
            "run the step that makes them again"
        )
    return manifest


def choose_start(
    model: ModelConfig, shards: ShardsContent, shards_digest: str
) -> StartingRelease | None:
    """The release to begin with, as the tokenize step fixed it for `model.start_from`.

    ConfigError if the shards were made for another value of the option: their vocabulary may be
    another one.
    """
    fixed = shards.start_from
    if (fixed.reference if fixed else None) != model.start_from:
        raise ConfigError(
            f"model.start_from is {model.start_from or 'not set'}, but the shards were tokenized "
            f"for {fixed.reference if fixed else 'none'}; tokenize again"
        )
    return fixed.choose_release(shards_digest) if fixed else None


def check_compatible(model: ModelConfig, train: TrainConfig, shards: ShardsContent) -> None:
    """ConfigError or DataError, naming the option, if the options do not fit these shards."""
    if shards.encoder != model.encoder:
        raise ConfigError(
            f"model.encoder is {model.encoder}, but the shards were tokenized for "
            f"{shards.encoder}; tokenize again"
        )
    if shards.max_length != model.max_length:
        raise ConfigError(
            f"model.max_length is {model.max_length}, but the shards were cut at "
            f"{shards.max_length}; tokenize again"
        )
    if shards.long_texts != model.long_text_reading:
        raise ConfigError(
            f"model.long_texts means {model.long_text_reading.describe()}, but the shards were "
            f"tokenized for {shards.long_texts.describe()}; tokenize again"
        )
    for name in ("train", "validation"):
        if not shards.splits[name].rows:
            raise DataError(
                f"the shards have no {name} rows; give more data, or another "
                "data.validation_fraction, and tokenize again"
            )
    try:
        check_training_options(train, shards.task.kind)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    compute_loss_weights(train, shards.task.kind, shards.splits["train"])
    rows = shards.splits["train"].rows
    if train.batch_size > rows:
        raise ConfigError(
            f"train.batch_size is {train.batch_size}, but there are only {rows} training rows; "
            f"set it to {rows} at most"
        )
