"""Checks the inputs of a run before any step starts: sources, encoder and model store.

What is cheap to read is read, with the code of the steps, so that their messages come within a
second or two. Imports no TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

from components.config.schema import Config, ExportConfig
from components.data.source_validation import validate_sources
from components.errors import ConfigError
from components.model.encoders import check_segments, validate_files
from components.registry.reference import parse_model_reference
from components.registry.starting_point import resolve_starting_point
from components.storage.local import check_writable, find_nearest_existing
from components.storage.uri import is_remote_uri


def validate_inputs(config: Config) -> list[str]:
    """Check a configuration with absolute local paths; return the inputs left to the steps.

    These are objects in object storage, TensorFlow data sets and encoders of a hub. Raises
    ConfigError or DataError for what a step would refuse. Nothing is written or downloaded.
    """
    unread = validate_sources(config.data, config.task)
    if not validate_files(config.model):
        unread.append(config.model.encoder)
    elif config.data.text_pair is not None:
        check_segments(config.model)
    validate_model_store(config.export.model_store)
    if config.model.start_from is not None:
        validate_start(config.model.start_from, config.export)
    return unread


def validate_start(reference: str, export: ExportConfig) -> None:
    """DataError or ConfigError for a release in a local registry that no training can begin with.

    That nothing is released under a name is no error where this run releases under it.
    """
    if is_remote_uri(reference):
        return
    start = resolve_starting_point(reference)
    target = parse_model_reference(f"{export.model_store}/{export.model_name}")
    wanted = parse_model_reference(reference)
    is_target = (wanted.store.uri(), wanted.name) == (target.store.uri(), target.name)
    if start.release is None and not is_target:
        raise ConfigError(
            f"model.start_from: nothing is released as {reference}; relative paths start at the "
            "work directory, `kubert models` lists what is released"
        )


def validate_model_store(store: str) -> None:
    """ConfigError for a local directory in which no release could be written."""
    if is_remote_uri(store):
        return
    existing = find_nearest_existing(Path(store.removeprefix("file://")).absolute())
    try:
        check_writable(existing)
    except OSError as error:
        raise ConfigError(
            f"export.model_store: {existing}: not writable ({error.strerror}); make the directory "
            "writable, or choose another one"
        ) from None
