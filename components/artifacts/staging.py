"""Local paths for a step's inputs and outputs, whatever they are given as.

A step reads and writes local paths. An input at a gs://, s3:// or minio:// URI is downloaded and
verified before the block; an output is uploaded, manifest last, if the block succeeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.artifacts import transfer
from components.artifacts.manifest import ArtifactKind
from components.errors import UsageError
from components.storage.store import open_store
from components.storage.uri import is_remote_uri


@contextmanager
def staged_input(uri: str, kind: ArtifactKind | None) -> Iterator[Path]:
    """The local path of the artifact, or without a kind of the single file, at a path or URI."""
    if not is_remote_uri(uri):
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="kubert-") as temporary:
        local = Path(temporary) / "input"
        if kind is None:
            folder, name = _split_file_uri(uri)
            open_store(folder).download(name, local)
        else:
            transfer.download_artifact(uri, local, kind)
        yield local


@contextmanager
def staged_output(uri: str, kind: ArtifactKind | None) -> Iterator[Path]:
    """The local path to write the artifact, or without a kind the single file, to.

    At a URI it appears if the block succeeds.
    """
    if not is_remote_uri(uri):
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="kubert-") as temporary:
        local = Path(temporary) / "output"
        yield local
        if kind is None:
            folder, name = _split_file_uri(uri)
            open_store(folder).upload(local, name)
        else:
            transfer.upload_artifact(local, uri)


def _split_file_uri(uri: str) -> tuple[str, str]:
    folder, _, name = uri.rpartition("/")
    if folder.count("/") < 2 or not name:
        raise UsageError(f"{uri}: write <bucket>/<name of a file>")
    return folder, name
