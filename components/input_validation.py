"""Checks the inputs of a run before any step starts: sources, encoder and model store.

What is cheap to read is read, with the code of the steps, so that their messages come within a
second or two. Imports no TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

from components.config.schema import Config
from components.data.source_validation import validate_sources
from components.errors import ConfigError
from components.model.encoders import validate_files
from components.storage.local import check_writable, find_nearest_existing
from components.storage.uri import is_remote_uri


def validate_inputs(config: Config) -> list[str]:
    """Check a configuration with absolute local paths; return the inputs left to the steps.

    These are objects in object storage, TensorFlow data sets and encoders of a hub. Raises
    ConfigError or DataError for what a step would refuse. Nothing is written or downloaded.
    """
    unread = validate_sources(config.data)
    if not validate_files(config.model):
        unread.append(config.model.encoder)
    validate_model_store(config.export.model_store)
    return unread


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
