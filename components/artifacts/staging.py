"""A verb reads and writes local paths; what it is given as a gs://, s3:// or minio:// address is one while the block runs.

Inputs are fetched whole and verified before the block starts; an output goes up, manifest last, when the block ended well.
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
def staged_input(place: str, kind: ArtifactKind | None) -> Iterator[Path]:
    """The path of the sealed artifact, or without a kind the single file, at a path or address."""
    if not is_remote_uri(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="kubert-") as temporary:
        local = Path(temporary) / "input"
        if kind is None:
            folder, name = _split(place)
            open_store(folder).download(name, local)
        else:
            transfer.download_artifact(place, local, kind)
        yield local


@contextmanager
def staged_output(place: str, kind: ArtifactKind | None) -> Iterator[Path]:
    """The path to write the artifact, or without a kind the single file, to; at an address it appears when the block ended well."""
    if not is_remote_uri(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="kubert-") as temporary:
        local = Path(temporary) / "output"
        yield local
        if kind is None:
            folder, name = _split(place)
            open_store(folder).upload(local, name)
        else:
            transfer.upload_artifact(local, place)


def _split(place: str) -> tuple[str, str]:
    folder, _, name = place.rpartition("/")
    if folder.count("/") < 2 or not name:
        raise UsageError(f"{place}: write <bucket>/<name of a file>")
    return folder, name
