"""What a run on a cluster is made from, checked as far as it can be before anything is sent: configuration, places, images, pipeline."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.config.schema import SAMPLE_SOURCE, Config, DataConfig
from components.data.time_window import fill_date_placeholder, parse_window
from components.errors import ConfigError
from components.storage.uri import is_remote_uri, parse_uri
from pipeline import definition, images, parameters

TEMPLATE_MARKERS = ("[[", "{{$.")
"""What begins a text that the server, or a step's driver, would put something else in place of."""
DIGEST_LENGTH = 32
EXAMPLE_SCHEDULED_TIME = "2000-01-01"


@dataclass(frozen=True)
class Submission:
    """A checked configuration, the compiled pipeline it runs in, and the values of its parameters."""

    config: Config
    package: Path
    arguments: dict[str, str | int | float | bool]

    @property
    def version_name(self) -> str:
        """Name of the pipeline's version on the server: the same content, the same name."""
        return f"sha256-{hashlib.sha256(self.package.read_bytes()).hexdigest()[:DIGEST_LENGTH]}"

    @property
    def digest(self) -> str:
        """SHA-256 (hex, shortened) over all that makes two runs the same: pipeline, arguments, account, root."""
        cluster = self.config.cluster
        parts = [self.version_name, self.arguments, cluster.service_account, cluster.pipeline_root]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[
            :DIGEST_LENGTH
        ]

    @property
    def runtime_config(self) -> dict[str, Any]:
        """`runtime_config` of the run: typed values, and the place of its artifacts where the configuration names one."""
        root = self.config.cluster.pipeline_root
        return {"parameters": dict(self.arguments), **({"pipeline_root": root} if root else {})}


@contextmanager
def prepare_submission(
    config: Config, *, allow_tags: bool = False, scheduled: bool = False
) -> Iterator[Submission]:
    """The submission, whose package lies in a temporary file while the block runs.

    Raises ConfigError, naming the option, for what pods cannot see, images that may move, and text that is a placeholder.
    """
    cluster = images.resolve_images(config.cluster)
    if not allow_tags:
        _check_image_digests(config, cluster.train_image, cluster.tools_image)
    config = config.model_copy(update={"cluster": cluster})
    _check_inputs_are_remote(config, _with_scheduled_end(config.data) if scheduled else config.data)
    arguments = parameters.build_arguments(config)
    _check_template_markers(arguments)
    with tempfile.TemporaryDirectory(prefix="kubert-") as directory:
        package = Path(directory) / "pipeline.yaml"
        definition.compile_pipeline(package, {}, cluster, scheduled=scheduled)
        yield Submission(config, package, arguments)


def _check_image_digests(config: Config, *found: str | None) -> None:
    for option, image in zip(("train_image", "tools_image"), found, strict=True):
        if not images.has_digest(str(image)):
            raise ConfigError(
                f"cluster.{option}={image}: has no digest, so it may come to mean another image; give name@sha256:... "
                "(`make images` prints it), or use --allow-tags where only you can move the tag"
            )


def _with_scheduled_end(data: DataConfig) -> DataConfig:
    """The section as some slot will have it."""
    if data.end_time is not None:
        raise ConfigError(
            f"data.end_time: {data.end_time} is given, but a schedule sets it to each run's slot; leave it out"
        )
    return data.model_copy(update={"end_time": EXAMPLE_SCHEDULED_TIME})


def _check_inputs_are_remote(config: Config, data: DataConfig) -> None:
    parse_window(data)
    for option, place in {
        "data.source": fill_date_placeholder(data),
        "data.test_source": data.test_source,
    }.items():
        if place is not None and place != SAMPLE_SOURCE and not place.startswith("tfds:"):
            _check_remote_uri(option, place)
    if data.tfds_data_dir is not None:
        _check_remote_uri("data.tfds_data_dir", data.tfds_data_dir)
    for option, name in {
        "model.encoder": config.model.encoder.partition(":")[2],
        "model.preprocessor": config.model.preprocessor or "",
    }.items():
        if name.startswith((".", "/", "~", "file:")) or (Path(name).exists() and name):
            raise ConfigError(
                f"{option}: {name} lies on this machine, where pods cannot see it; put it into object storage or name a hub's model"
            )
    _check_remote_uri("export.model_store", config.export.model_store)
    for option in ("pipeline_root", "state"):
        if place := getattr(config.cluster, option):
            _check_remote_uri(f"cluster.{option}", place)


def _check_remote_uri(option: str, place: str) -> None:
    if not is_remote_uri(place):
        raise ConfigError(
            f"{option}: {place} lies on this machine, where pods cannot see it; put it into object storage (gs://, s3://, minio://)"
        )
    try:
        parse_uri(place)
    except ConfigError as error:
        raise ConfigError(f"{option}: {error}") from None


def _check_template_markers(arguments: dict[str, str | int | float | bool]) -> None:
    for name, value in arguments.items():
        if isinstance(value, str) and (
            found := next((macro for macro in TEMPLATE_MARKERS if macro in value), None)
        ):
            raise ConfigError(
                f"parameter {name}: {value!r} holds {found!r}, which the server reads as a placeholder; choose another name"
            )
