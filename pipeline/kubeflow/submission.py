"""What a run on a cluster is made from, checked before anything is sent."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.config.cluster import ClusterConfig
from components.config.data import SAMPLE_SOURCES
from components.config.schema import Config, DataConfig, ScoreConfig
from components.data.source_files import refuse_web_address
from components.data.source_validation import validate_sources
from components.data.time_window import fill_date, fill_date_placeholder, parse_window
from components.errors import ConfigError
from components.registry.reference import split_model_reference
from components.storage.uri import is_remote_uri, parse_uri
from pipeline import definition, images, parameters, scoring_definition
from pipeline.cross_validation import definition as folds_definition
from pipeline.cross_validation.options import check_fold_options, prepare_fold_config

TEMPLATE_MARKERS = ("[[", "{{$.")
"""Starts of text that the server, or a step's driver, would replace."""
DIGEST_LENGTH = 32
EXAMPLE_SCHEDULED_TIME = "2000-01-01"
"""Stands for the scheduled time of a run while a schedule is checked."""


@dataclass(frozen=True)
class PipelineKind:
    """One of the pipelines on a server.

    suffix: added to the model's name in the names of runs and schedules.
    is_cached: steps may be answered from the server's cache, by the parameter `fingerprint`.
    count_workers: how many workers each of its steps may have, by the option that says it.
    """

    name: str
    description: str
    suffix: str
    is_cached: bool
    name_model: Callable[[Config], str]
    describe: Callable[[Config], str]
    count_workers: Callable[[Config], dict[str, int]]


def _count_training_workers(config: Config) -> dict[str, int]:
    """`evaluate.workers=auto` takes no more workers than train."""
    found = config.evaluate.workers
    evaluating = 0 if found == "auto" else found
    return {"train.workers": config.train.workers, "evaluate.workers": evaluating}


TRAINING = PipelineKind(
    definition.PIPELINE_NAME,
    definition.DESCRIPTION,
    suffix="",
    is_cached=True,
    name_model=lambda config: config.export.model_name,
    describe=lambda config: f"{config.export.model_name} to {config.export.model_store}",
    count_workers=_count_training_workers,
)
SCORING = PipelineKind(
    scoring_definition.PIPELINE_NAME,
    scoring_definition.DESCRIPTION,
    suffix="-score",
    is_cached=False,
    name_model=lambda config: split_model_reference(str(config.score.release))[1],
    describe=lambda config: f"{config.score.release} to {config.score.to}",
    count_workers=lambda config: {"score.workers": config.score.workers},
)


def _describe_folds(folds: int) -> PipelineKind:
    """The pipeline of a cross-validation; nothing is released, so runs are named after the model
    that is evaluated."""
    return PipelineKind(
        folds_definition.PIPELINE_NAME,
        folds_definition.DESCRIPTION,
        suffix="-folds",
        is_cached=True,
        name_model=lambda config: config.export.model_name,
        describe=lambda config: f"{folds} folds of {config.export.model_name}",
        count_workers=_count_training_workers,
    )


@dataclass(frozen=True)
class Submission:
    """A checked configuration, its compiled pipeline, and the values of its parameters."""

    config: Config
    package: Path
    arguments: dict[str, parameters.ParameterValue]
    kind: PipelineKind

    @property
    def subject(self) -> str:
        """The model's name, which runs and schedules are named after."""
        return f"{self.kind.name_model(self.config)}{self.kind.suffix}"

    @property
    def description(self) -> str:
        """What a run of it does, in a few words."""
        return self.kind.describe(self.config)

    @property
    def version_name(self) -> str:
        """Name of the pipeline's version on the server: the same content, the same name."""
        return f"sha256-{hashlib.sha256(self.package.read_bytes()).hexdigest()[:DIGEST_LENGTH]}"

    @property
    def content_digest(self) -> str:
        """SHA-256 (hex, shortened) of what makes two runs the same.

        That is the pipeline, its arguments, the service account and the pipeline root.
        """
        cluster = self.config.cluster
        parts = [self.version_name, self.arguments, cluster.service_account, cluster.pipeline_root]
        return compute_digest(json.dumps(parts, sort_keys=True))

    @property
    def runtime_config(self) -> dict[str, Any]:
        """KFP's `runtime_config`: typed values, and the root of the artifacts if configured.

        The server's cache does not look at the root: without a fingerprint of its own, a run with
        another root would be answered with the artifacts of the first one.
        """
        root = self.config.cluster.pipeline_root
        if not root:
            return {"parameters": dict(self.arguments)}
        added = {"fingerprint": compute_digest(root)} if self.kind.is_cached else {}
        return {"parameters": {**self.arguments, **added}, "pipeline_root": root}


def compute_digest(text: str) -> str:
    """SHA-256 (hex, shortened) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


@contextmanager
def prepare_submission(
    config: Config, *, allow_tags: bool = False, scheduled: bool = False
) -> Iterator[Submission]:
    """The submission; its package is a temporary file that exists while the block runs.

    Raises ConfigError, naming the option, for data that pods cannot read, images whose reference
    may come to mean another image (unless `allow_tags`), and text that KFP would take for a
    placeholder.
    """
    config = _resolve_images(config, allow_tags=allow_tags)
    check_inputs(config, _with_scheduled_end(config.data) if scheduled else config.data)
    compile_package = partial(
        definition.compile_pipeline,
        cluster=config.cluster,
        workers=config.train.workers,
        scheduled=scheduled,
    )
    with _compiled_submission(config, TRAINING, parameters.TRAINING, compile_package) as submission:
        yield submission


@contextmanager
def prepare_cross_validation(
    config: Config, folds: int, parallel: int | None = None, *, allow_tags: bool = False
) -> Iterator[Submission]:
    """The submission of a cross-validation; its package exists while the block runs.

    Raises UsageError or ConfigError for numbers and options that no cross-validation can have, and
    as `prepare_submission` does.
    """
    check_fold_options(config, folds, parallel)
    config = prepare_fold_config(_resolve_images(config, allow_tags=allow_tags))
    check_inputs(config, config.data, releases=False)
    compile_package = partial(
        folds_definition.compile_pipeline,
        folds=folds,
        cluster=config.cluster,
        workers=config.train.workers,
        parallel=parallel,
    )
    layout = parameters.build_fold_layout(folds)
    kind = _describe_folds(folds)
    with _compiled_submission(config, kind, layout, compile_package) as submission:
        yield submission


@contextmanager
def prepare_scoring(
    config: Config, *, allow_tags: bool = False, scheduled: bool = False
) -> Iterator[Submission]:
    """The submission of a run that scores what the section `score` says.

    Its package is a temporary file that exists while the block runs. Raises ConfigError, naming the
    option, for what pods cannot read or write, and as `prepare_submission` does.
    """
    config = _resolve_images(config, allow_tags=allow_tags)
    data = _with_scheduled_end(config.data) if scheduled else config.data
    score = _check_score(config, data.model_copy(update={"source": config.score.source}))
    config = config.model_copy(update={"score": score})
    compile_package = partial(
        scoring_definition.compile_pipeline, cluster=config.cluster, scheduled=scheduled
    )
    with _compiled_submission(config, SCORING, parameters.SCORING, compile_package) as submission:
        yield submission


@contextmanager
def _compiled_submission(
    config: Config,
    kind: PipelineKind,
    layout: parameters.ParameterLayout,
    compile_package: Callable[[Path], None],
) -> Iterator[Submission]:
    arguments = parameters.build_arguments(config, layout)
    _check_template_markers(arguments)
    with tempfile.TemporaryDirectory(prefix="kubert-") as directory:
        package = Path(directory) / "pipeline.yaml"
        compile_package(package)
        yield Submission(config, package, arguments, kind)


def _resolve_images(config: Config, *, allow_tags: bool) -> Config:
    """The configuration with the images named; ConfigError for tags, unless they are allowed."""
    cluster = images.resolve_images(config.cluster)
    if not allow_tags:
        _check_image_digests(cluster)
    return config.model_copy(update={"cluster": cluster})


def find_scored_release(config: Config) -> str:
    """Reference of the release that scores: `score.release`, or the champion of `export`."""
    return config.score.release or f"{config.export.model_store}/{config.export.model_name}"


def _check_score(config: Config, data: DataConfig) -> ScoreConfig:
    """The section with its release named; `data` has the source and the time of the run."""
    score = config.score
    for option, value in {"source": score.source, "to": score.to}.items():
        if not value:
            raise ConfigError(f"score.{option} is not set; it names what is scored and where to")
    release = find_scored_release(config)
    store = split_model_reference(release)[0] if is_remote_uri(release) else release
    _check_remote_uri("score.release" if score.release else "export.model_store", store)
    parse_window(data)
    for name in data.sources:
        refuse_web_address(name)
        _check_remote_uri("score.source", fill_date(name, data.end_time, "score.source"))
    _check_remote_uri("score.to", fill_date(score.to, data.end_time, "score.to"))
    if root := config.cluster.pipeline_root:
        _check_remote_uri("cluster.pipeline_root", root)
    return score.model_copy(update={"release": release})


def _check_image_digests(cluster: ClusterConfig) -> None:
    for option, image in images.list_images(cluster).items():
        if not images.has_digest(image):
            raise ConfigError(
                f"cluster.{option}={image}: has no digest, so it may come to mean another image; "
                "give name@sha256:... (`make images` prints it), or use --allow-tags where only "
                "you can move the tag"
            )


def _with_scheduled_end(data: DataConfig) -> DataConfig:
    """The section as a scheduled run will have it."""
    if data.end_time is not None:
        raise ConfigError(
            f"data.end_time: {data.end_time} is given, but a schedule sets it to each run's "
            "scheduled time; leave it out"
        )
    return data.model_copy(update={"end_time": EXAMPLE_SCHEDULED_TIME})


def check_inputs(config: Config, data: DataConfig, *, releases: bool = True) -> list[str]:
    """Check what pods will read; return the sources that only the steps will read.

    `releases`: the pipeline writes to the model store. ConfigError or DataError for what is on this
    machine, or what a step would refuse.
    """
    _check_inputs_are_remote(config, data)
    if releases:
        _check_remote_uri("export.model_store", config.export.model_store)
    return validate_sources(data, config.task)


def _check_inputs_are_remote(config: Config, data: DataConfig) -> None:
    parse_window(data)
    sources = {"data.source": fill_date_placeholder(data), "data.test_source": data.test_sources}
    for option, names in sources.items():
        for uri in names:
            refuse_web_address(uri)
            if uri not in SAMPLE_SOURCES and not uri.startswith("tfds:"):
                _check_remote_uri(option, uri)
    if data.tfds_data_dir is not None:
        _check_remote_uri("data.tfds_data_dir", data.tfds_data_dir)
    for option, name in {
        "model.encoder": config.model.encoder.partition(":")[2],
        "model.preprocessor": config.model.preprocessor or "",
    }.items():
        if name.startswith((".", "/", "~", "file:")) or (name and Path(name).exists()):
            raise ConfigError(
                f"{option}: {name} is on this machine, where pods cannot read it; "
                "put it into object storage or name a model of a hub"
            )
    if config.model.start_from is not None:
        _check_remote_uri("model.start_from", config.model.start_from)
    for option in ("pipeline_root", "checkpoint_uri"):
        if uri := getattr(config.cluster, option):
            _check_remote_uri(f"cluster.{option}", uri)


def _check_remote_uri(option: str, uri: str) -> None:
    if not is_remote_uri(uri):
        raise ConfigError(
            f"{option}: {uri} is on this machine, where pods cannot read it; "
            "put it into object storage (gs://, s3://, minio://)"
        )
    try:
        parse_uri(uri)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None


def _check_template_markers(arguments: dict[str, parameters.ParameterValue]) -> None:
    for name, value in arguments.items():
        if not isinstance(value, str):
            continue
        if found := next((marker for marker in TEMPLATE_MARKERS if marker in value), None):
            raise ConfigError(
                f"parameter {name}: {value!r} contains {found!r}, which the server reads as a "
                "placeholder; choose another name"
            )
