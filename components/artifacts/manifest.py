"""The manifest that makes a directory an artifact, and how an artifact is written.

A directory is an artifact if and only if it has a complete, matching manifest. The manifest is
written last and by rename: a directory that a crash left unfinished has none, so no reader sees it.
It lists every file with its SHA-256 and size, so that a file that was truncated, changed, added or
removed later is found before it is used (`components.artifacts.artifact`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components import __version__
from components.config.environment import ENV_IMAGE
from components.errors import DataError, MissingArtifactError
from components.storage.atomic_files import (
    FileEntry,
    atomic_write,
    file_sha256,
    staged_directory,
)

MANIFEST_FILENAME = "manifest.json"
FORMAT_VERSION = 1
TASK_FORMAT_VERSION = 2
"""Of artifacts whose content has a `task`, which versions before the field would misread."""
READABLE_FORMATS = (FORMAT_VERSION, TASK_FORMAT_VERSION)
READABLE_FORMATS_TEXT = " and ".join(map(str, READABLE_FORMATS))
ArtifactKind = Literal[
    "token_shards", "checkpoint", "report", "release", "predictions", "cross_validation"
]


def added_field(default: Any) -> Any:
    """A field that a stored model got in a later version: it is stored only with another value.

    So what is stored without it, and its digest, stays as it was.
    """
    return Field(default, exclude_if=lambda value: value == default)


class Manifest(BaseModel):
    """Kind, files and origin of an artifact.

    `inputs` maps the role of each input to its digest (for an artifact: `Manifest.digest`).
    `content` is the description that is specific to the kind; the kind's module has a model for it.
    `provenance` records how the artifact was made (when, in which run, from which part of the
    data) where that does not change what it is.
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
        """SHA-256 (hex) over kind, format, files, inputs, config and content.

        Equal artifacts have equal digests.
        """
        identity = self.model_dump(
            include={"kind", "format_version", "files", "inputs", "config", "content"}
        )
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


@contextmanager
def staged_artifact(output: Path) -> Iterator[Path]:
    """Yield a new directory beside `output`, which replaces `output` if the block succeeds.

    The block fills the directory and calls `commit`. What a killed process staged for the same
    output is removed first: an output is written by one process at a time.
    """
    with staged_directory(output, remove_leftovers=True) as directory:
        yield directory
        if not (directory / MANIFEST_FILENAME).exists():
            raise AssertionError(f"{output}: the block that builds it did not call commit()")


def commit(
    directory: Path,
    kind: ArtifactKind,
    *,
    content: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Manifest:
    """Make the directory an artifact: hash every file in it, then write the manifest by rename.

    An artifact of another task than single labels, whose content has a `task`, has
    TASK_FORMAT_VERSION: a version of kubert that does not know the field refuses it.
    """
    files = {
        path.relative_to(directory).as_posix(): FileEntry(
            size=path.stat().st_size, sha256=file_sha256(path)
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).as_posix() != MANIFEST_FILENAME
    }
    manifest = Manifest(
        kind=kind,
        format_version=TASK_FORMAT_VERSION if content.get("task") else FORMAT_VERSION,
        files=files,
        inputs=dict(inputs or {}),
        config=dict(config or {}),
        content=dict(content),
        provenance=dict(provenance or {}),
        image=os.environ.get(ENV_IMAGE, ""),
    )
    atomic_write(directory / MANIFEST_FILENAME, serialize_manifest(manifest))
    return manifest


def serialize_manifest(manifest: Manifest) -> bytes:
    """The manifest as the content of its file."""
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def read_manifest(directory: Path, kind: ArtifactKind | None = None) -> Manifest:
    """The directory's manifest; no other file is looked at.

    MissingArtifactError if there is none; DataError if it is damaged, or of another kind or format.
    """
    path = directory / MANIFEST_FILENAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise MissingArtifactError(
            f"{directory}: no {MANIFEST_FILENAME}, so this is not a finished artifact; "
            "run the step that makes it again"
        ) from None
    except ValidationError as error:
        raise DataError(
            f"{path}: not a valid manifest ({error.error_count()} errors); "
            "run the step that makes it again"
        ) from None
    if manifest.format_version not in READABLE_FORMATS:
        raise DataError(
            f"{path}: format {manifest.format_version}, but this version of kubert reads "
            f"{READABLE_FORMATS_TEXT}; use a newer version of kubert"
        )
    if kind is not None and manifest.kind != kind:
        raise DataError(f"{directory}: holds a {manifest.kind}, but a {kind} is needed here")
    return manifest
