"""Opens the release that a reference means, wherever it is, for commands that use its model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.artifacts.artifact import Artifact
from components.artifacts.release import ReleaseContent, open_release
from components.registry.reference import (
    is_release_directory,
    parse_model_reference,
    pull,
    resolve_version,
)
from components.storage.uri import is_remote_uri


@contextmanager
def open_reference(reference: str) -> Iterator[Artifact[ReleaseContent]]:
    """The verified release; one in object storage is pulled for the duration of the block.

    `reference` is a version's directory, `<store>/<name>` (the champion) or
    `<store>/<name>/<version>`, local, gs:// or s3://. DataError if it is incomplete or was changed.
    """
    if is_remote_uri(reference):
        with tempfile.TemporaryDirectory(prefix="kubert-release-") as temporary:
            yield pull(reference, Path(temporary))
        return
    directory = Path(reference.removeprefix("file://"))
    if not is_release_directory(directory):
        directory = Path(resolve_version(parse_model_reference(reference)).uri)
    yield open_release(directory)
