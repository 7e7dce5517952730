"""A directory is an artifact if and only if it holds a complete, matching manifest.

The manifest is written last and by rename, so a directory that a crash left half-written has none and does not exist
for any reader. It names every file with its SHA-256 and size, so a file that was cut, changed, added or removed later
is found before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components import __version__
from components.config.environment import ENV_IMAGE
from components.errors import DataError
from components.storage.atomic_files import (
    FileEntry,
    atomic_write,
    file_sha256,
    replace_directory,
)

MANIFEST_FILENAME = "manifest.json"
FORMAT_VERSION = 1
ArtifactKind = Literal["token_shards", "checkpoint", "report", "release"]


class Manifest(BaseModel):
    """What an artifact is, what it holds and where it came from.

    `inputs` maps the role of each input to its digest (for an artifact: `Manifest.digest`). `content` is the noun's own
    description; each module of `components.artifacts` has a model for it. `provenance` tells how it came to be (when, in which
    run, from which part of the data) where that changes nothing about what it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ArtifactKind
    format_version: int = FORMAT_VERSION
    files: dict[str, FileEntry]
    inputs: dict[str, str] = {}
    config: dict[str, Any] = {}
    content: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    code_version: str = __version__
    image: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over kind, files, inputs, config and content: equal artifacts have equal digests."""
        identity = self.model_dump(
            include={"kind", "format_version", "files", "inputs", "config", "content"}
        )
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def commit(
    directory: Path,
    kind: ArtifactKind,
    *,
    content: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Manifest:
    """Make the directory an artifact: hash every file in it, then write the manifest by rename."""
    files = {
        path.relative_to(directory).as_posix(): FileEntry(
            size=path.stat().st_size, sha256=file_sha256(path)
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).as_posix() != MANIFEST_FILENAME
    }
    manifest = Manifest(
        kind=kind,
        files=files,
        inputs=dict(inputs or {}),
        config=dict(config or {}),
        content=dict(content),
        provenance=dict(provenance or {}),
        image=os.environ.get(ENV_IMAGE, ""),
    )
    atomic_write(directory / MANIFEST_FILENAME, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def read_manifest(directory: Path, kind: ArtifactKind | None = None) -> Manifest:
    """The directory's manifest; DataError if there is none, it is damaged, or it is of another kind or format."""
    path = directory / MANIFEST_FILENAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{directory}: no {MANIFEST_FILENAME}, so this is not a finished artifact; run the step that makes it again"
        ) from None
    except ValidationError as error:
        raise DataError(
            f"{path}: not a valid manifest ({error.error_count()} errors); run the step that makes it again"
        ) from None
    if manifest.format_version != FORMAT_VERSION:
        raise DataError(
            f"{path}: format {manifest.format_version}, but this version of kubert reads {FORMAT_VERSION}"
        )
    if kind is not None and manifest.kind != kind:
        raise DataError(f"{directory}: holds a {manifest.kind}, but a {kind} is needed here")
    return manifest


@contextmanager
def staged_artifact(output: Path) -> Iterator[Path]:
    """A fresh directory beside `output` that takes its place when the block ends well, and is removed when it does not.

    The block fills it and calls `seal`. An empty `output` made by the caller is replaced; one with files in it is
    replaced. What a killed builder of the same output left beside it is removed first: an output has one builder at a time.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for leftover in output.parent.glob(f".{output.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        yield work
        if not (work / MANIFEST_FILENAME).exists():
            raise AssertionError(f"{output}: the block that builds it did not call seal()")
        os.chmod(work, 0o755)
        replace_directory(work, output)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
