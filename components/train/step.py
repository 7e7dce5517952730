"""The train verb: token shards -> checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

from components import progress
from components.artifacts import checkpoints, manifest
from components.artifacts.checkpoints import CheckpointContent
from components.artifacts.token_shards import ShardsContent, open_shards
from components.config import ModelConfig, TrainConfig
from components.config_cluster import ClusterConfig
from components.errors import ConfigError, DataError
from components.train.job import Job, key
from components.train.launch import run_local


def run(
    model: ModelConfig, train: TrainConfig, shards: Path | str, output: Path, scratch: Path | str, cluster: ClusterConfig | None = None
) -> CheckpointContent:
    """Train a classifier on the shards' training rows and seal it in `output`.

    `scratch` keeps what a killed run needs to go on; runs with equal data, model and options share it. Raises DataError or
    ConfigError before any worker starts where the shards and the options do not fit, and what the gang reports later.
    """
    del cluster
    shards, scratch = Path(shards), Path(scratch)
    opened = open_shards(shards, verify=True)
    refuse_misfit(model, train, opened.content)
    job = Job(
        model=model,
        train=train,
        shards=shards.resolve(),
        scratch=scratch.resolve() / key(model, train, opened.manifest.digest),
    )
    progress.report("train", "starting " + (f"{train.workers} workers" if train.workers > 1 else "1 worker"))
    run_local(job)
    content = checkpoints.read_content(job.finished)
    finished = manifest.read(job.finished, "checkpoint")
    with manifest.building(output) as directory:
        shutil.copytree(job.finished, directory, dirs_exist_ok=True)
        (directory / manifest.NAME).unlink()
        shutil.copytree(job.tensorboard, directory / "tensorboard", dirs_exist_ok=True)
        manifest.seal(directory, "checkpoint", content=finished.content, inputs=finished.inputs, config=finished.config)
    return content


def refuse_misfit(model: ModelConfig, train: TrainConfig, shards: ShardsContent) -> None:
    """ConfigError where the options cannot work with these shards, naming the option."""
    if shards.encoder != model.encoder:
        raise ConfigError(f"model.encoder is {model.encoder}, but the shards were tokenized for {shards.encoder}; tokenize again")
    if shards.max_length != model.max_length:
        raise ConfigError(f"model.max_length is {model.max_length}, but the shards were cut at {shards.max_length}; tokenize again")
    for name in ("train", "validation"):
        if not shards.splits[name].rows:
            raise DataError(f"the shards have no {name} rows; give more data, or another data.validation_fraction, and tokenize again")
    rows = shards.splits["train"].rows
    if train.batch_size > rows:
        raise ConfigError(f"train.batch_size is {train.batch_size}, but there are only {rows} training rows; set it to {rows} at most")
