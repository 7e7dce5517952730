"""How a pipeline's step begins and ends: its options are read, its outcome is told as progress events.

Whoever started the step reads one event of kind `started` and then one of kind `finished` (seconds, outputs, figures)
or `error` (message, exit_code), whether the step runs in this machine's pipeline or in a pod.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from components.config.cluster import STATE_MOUNT, ClusterConfig
from components.config.loading import validate_config
from components.config.schema import Config
from components.config.section import Section
from components.errors import ConfigError, ExitCode, KubertError
from components.logging_config import configure_logging
from components.progress import ProgressEvent, StepName, write_progress_event

S = TypeVar("S", bound=Section)
PIPELINE_NAME = "kubert"
logger = logging.getLogger(__name__)


def parse_section(kind: type[S], text: str, **values: Any) -> S:
    """The section in a JSON object, with the options that have a parameter of their own laid over it.

    Raises ConfigError for what is not a JSON object, an option given both ways, or an invalid option.
    """
    name = next(name for name, field in Config.model_fields.items() if field.annotation is kind)
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f'parameter {name}: not JSON ({error}); write options as {{"option": value}}'
        ) from None
    if not isinstance(given, dict):
        raise ConfigError(
            f'parameter {name}: must be a JSON object such as {{"option": value}}, found {type(given).__name__}'
        )
    if both := sorted(given.keys() & values.keys()):
        raise ConfigError(f"parameter {name}: {both[0]} is a parameter of its own; give it there")
    section = getattr(validate_config({name: {**given, **values}}, "pipeline parameters"), name)
    assert isinstance(section, kind)
    return section


@contextmanager
def step_run(step_name: str, **outputs: str) -> Iterator[dict[str, Any]]:
    """Run a step's body: report its start, its end with the figures put into the yielded dict, or its failure.

    `outputs` are the paths of what it makes. A KubertError ends the process with its exit code and no traceback; any
    other error keeps its traceback, for the log. SIGTERM unwinds the body, so that nothing half-made stays behind.
    """
    step = StepName(step_name)
    before = signal.signal(signal.SIGTERM, _terminated)
    started = time.monotonic()
    write_progress_event(ProgressEvent(step, kind="started"))
    figures: dict[str, Any] = {}
    try:
        configure_logging()
        yield figures
    except KubertError as error:
        write_progress_event(
            ProgressEvent(step, str(error), kind="error", exit_code=error.exit_code)
        )
        logger.error("%s: %s", step, error)
        sys.exit(error.exit_code)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        write_progress_event(ProgressEvent(step, message, kind="error", exit_code=ExitCode.FAILURE))
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    seconds = round(time.monotonic() - started, 3)
    write_progress_event(
        ProgressEvent(step, kind="finished", seconds=seconds, outputs=outputs, figures=figures)
    )


def end_time_or_none(until: str) -> str | None:
    """The time at which the data end; None without one, also where the server left its placeholder for the schedule's slot as it was."""
    return until if until and "{{" not in until else None


def default_state_uri(cluster: ClusterConfig, output: Path, uri: str) -> str:
    """Where training keeps its state when nobody says: one place for all runs of the pipeline, so that equal trainings meet.

    `output` and `uri` are the local path and the address of the checkpoint that the step makes. KFP's addresses are
    <root>/<pipeline>/<run>/<task>/.../<name>; the state lies beside the runs. On one machine it lies beside the output.
    """
    if cluster.checkpoint_uri:
        return cluster.checkpoint_uri
    if cluster.checkpoint_pvc:
        return STATE_MOUNT
    root, pipeline, _ = uri.partition(f"/{PIPELINE_NAME}/")
    return f"{root}{pipeline}state" if "://" in uri and pipeline else f"{output}-state"


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(ExitCode.TERMINATED)
