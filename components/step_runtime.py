"""Runs a step inside the pipeline: parses its options and reports its start, result and failure.

Whoever started the step reads one progress event of kind `started`, then one of kind `finished`
(seconds, outputs, figures) or `error` (message, exit_code), on this machine as in a pod.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.environment import ENV_GPUS
from components.config.loading import find_section_name, validate_section
from components.config.section import Section
from components.errors import (
    ConfigError,
    ExitCode,
    HardwareError,
    KubertError,
    MissingArtifactError,
)
from components.gpu.driver import probe_driver
from components.gpu.missing_gpus import find_obstacle, format_missing_gpus, list_usable_gpus
from components.gpu.tensorflow_build import read_tensorflow_build
from components.logging_config import configure_logging
from components.progress import ProgressEvent, StepName, write_progress_event
from components.storage.uri import has_scheme

S = TypeVar("S", bound=Section)
PIPELINE_NAME = "kubert"
FOLDS_PIPELINE_NAME = "kubert-folds"
"""Its trainings keep their state where those of the other pipeline do, so that equal ones meet."""
MAKE_AGAIN = (
    "If an earlier run made it and it was deleted since, `kubert submit --no-cache` with the same "
    "configuration makes every step again"
)
logger = logging.getLogger(__name__)


def parse_section(kind: type[S], text: str, **values: Any) -> S:
    """A section from a pipeline parameter: the options of a JSON object, and those in `values`.

    `values` are the options that are pipeline parameters themselves. Raises ConfigError for text
    that is no JSON object, for an option given both ways, and for an invalid option.
    """
    name = find_section_name(kind)
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f'parameter {name}: not JSON ({error}); write options as {{"option": value}}'
        ) from None
    if not isinstance(options, dict):
        raise ConfigError(
            f'parameter {name}: must be a JSON object such as {{"option": value}}, '
            f"found {type(options).__name__}"
        )
    if duplicates := sorted(options.keys() & values.keys()):
        raise ConfigError(
            f"parameter {name}: {duplicates[0]} is a parameter of its own; give it there"
        )
    return validate_section(kind, {**options, **values}, "pipeline parameters")


def _check_gpus(step: StepName) -> None:
    """HardwareError if the step was given a GPU (`cluster.gpu_steps`) that it cannot use."""
    wanted = int(os.environ.get(ENV_GPUS, "0"))
    if not wanted:
        return
    driver, build = probe_driver(), read_tensorflow_build()
    cause = find_obstacle(wanted, build, driver, os.environ)
    if cause is not None:
        who_needs = f"the step {step} (cluster.gpu_steps) needs"
        usable = len(list_usable_gpus(build, driver))
        raise HardwareError(format_missing_gpus(who_needs, wanted, usable, cause))


@contextmanager
def step_run(step_name: str, **outputs: str) -> Iterator[dict[str, Any]]:
    """Report the start of a step, then its result, with the figures put into the yielded dict.

    `outputs` are the paths of the step's artifacts. A KubertError ends the process with its exit
    code and no traceback; any other exception is reported and raised. SIGTERM raises SystemExit in
    the block, so that temporary files are removed.
    """
    step = StepName(step_name)
    previous_handler = signal.signal(signal.SIGTERM, _exit_on_sigterm)
    started = time.monotonic()
    write_progress_event(ProgressEvent(step, kind="started"))
    figures: dict[str, Any] = {}
    try:
        configure_logging()
        _check_gpus(step)
        yield figures
    except MissingArtifactError as error:
        message = f"{error}. {MAKE_AGAIN}"
        _report_error(step, message, error.exit_code, missing_artifact=True)
        logger.error("%s: %s", step, message)
        sys.exit(error.exit_code)
    except KubertError as error:
        _report_error(step, str(error), error.exit_code)
        logger.error("%s: %s", step, error)
        sys.exit(error.exit_code)
    except Exception as error:
        _report_error(step, f"{type(error).__name__}: {error}", ExitCode.FAILURE)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
    seconds = round(time.monotonic() - started, 3)
    write_progress_event(
        ProgressEvent(step, kind="finished", seconds=seconds, outputs=outputs, figures=figures)
    )


def end_time_or_none(end_time: str) -> str | None:
    """The value of `data.end_time`; None if it is empty or the placeholder of a scheduled time.

    A server that does not know the scheduled time leaves the placeholder as it is.
    """
    return end_time if end_time and "{{" not in end_time else None


def default_state_uri(cluster: ClusterConfig, output: Path, uri: str) -> str:
    """Where training keeps its checkpoints, the same for all runs, so that equal trainings meet.

    `output` and `uri` are the local path and the URI of the checkpoint that the step makes. KFP's
    URIs are <root>/<pipeline>/<run>/<task>/.../<name>; the state is stored beside the runs. On one
    machine it is stored beside the output.
    """
    if cluster.checkpoint_uri:
        return cluster.checkpoint_uri
    if cluster.checkpoint_pvc:
        return STATE_MOUNT
    for name in (PIPELINE_NAME, FOLDS_PIPELINE_NAME):
        root, pipeline, _ = uri.partition(f"/{name}/")
        if has_scheme(uri) and pipeline:
            return f"{root}/{PIPELINE_NAME}/state"
    return f"{output}-state"


def _report_error(step: StepName, message: str, exit_code: int, **metrics: bool) -> None:
    write_progress_event(
        ProgressEvent(step, message, kind="error", exit_code=exit_code, metrics=metrics)
    )


def _exit_on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(ExitCode.TERMINATED)
