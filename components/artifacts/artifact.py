"""A verified artifact, made once from a directory and passed on: no file is hashed twice."""

from __future__ import annotations

import logging
import os
import re
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from components.artifacts.manifest import (
    MANIFEST_FILENAME,
    ArtifactKind,
    Manifest,
    read_manifest,
)
from components.errors import DataError, MissingArtifactError
from components.storage.atomic_files import file_sha256

MAX_FILES = 10_000
MAX_ARTIFACT_BYTES = 64 * 2**30
MAX_FILE_NAME_BYTES = 500

_LOGGER = logging.getLogger(__name__)
C = TypeVar("C")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Artifact(Generic[C]):
    """A directory whose files all match its manifest, and the content of its kind.

    `content` is the manifest's own description: a mapping (`Artifact.open`), or the model of the
    kind (`open_checkpoint`, `open_report`, `open_release`). The files were verified when the value
    was made; whoever receives one reads them without checking again.
    """

    directory: Path
    manifest: Manifest
    content: C

    @staticmethod
    def open(directory: Path, kind: ArtifactKind) -> Artifact[Mapping[str, Any]]:
        """Verify the artifact in a directory; DataError names the first file that is wrong."""
        manifest = verify_artifact(directory, kind)
        return Artifact(directory, manifest, manifest.content)

    @property
    def digest(self) -> str:
        """The manifest's digest: equal artifacts have equal digests."""
        return self.manifest.digest


def verify_artifact(directory: Path, kind: ArtifactKind | None = None) -> Manifest:
    """The manifest of an artifact after `verify_files`; DataError if there is none of that kind."""
    manifest = read_manifest(directory, kind)
    verify_files(directory, manifest)
    return manifest


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Check every file below the directory against the manifest: name, type, size and SHA-256.

    Raises DataError that names the first file that is missing, changed, not in the manifest, or
    neither a regular file nor a directory (links are refused).
    """
    validate_file_names(manifest, str(directory))
    found = _list_regular_files(directory, manifest.kind) - {MANIFEST_FILENAME}
    if extra := sorted(found - manifest.files.keys()):
        raise DataError(
            f"{directory / extra[0]}: not in the manifest; remove it or make the artifact again"
        )
    for name, entry in manifest.files.items():
        path = directory / name
        if name not in found:
            raise MissingArtifactError(
                f"{path}: missing, although the manifest names it; make the artifact again"
            )
        if (size := path.stat().st_size) != entry.size:
            raise DataError(
                f"{path}: {size} bytes, the manifest says {entry.size}; make the artifact again"
            )
        if file_sha256(path) != entry.sha256:
            raise DataError(f"{path}: its SHA-256 is not the manifest's; make the artifact again")
    _LOGGER.debug(
        "verified %s %s: %d files", manifest.kind, manifest.digest[:12], len(manifest.files)
    )


def validate_file_names(manifest: Manifest, source: str) -> None:
    """Refuse a manifest whose files could be written outside the artifact or over each other.

    Raises DataError, naming `source`, also for more than `MAX_FILES` files or
    `MAX_ARTIFACT_BYTES` bytes.
    """
    total = sum(entry.size for entry in manifest.files.values())
    if len(manifest.files) > MAX_FILES or total > MAX_ARTIFACT_BYTES:
        raise DataError(
            f"{source}: more than {MAX_FILES} files or {MAX_ARTIFACT_BYTES} bytes; "
            f"this is not a {manifest.kind}"
        )
    files: set[str] = {_normalize_name(MANIFEST_FILENAME)}
    folders: set[str] = set()
    for file in manifest.files:
        if not _is_plain_name(file):
            raise DataError(
                f"{source}: its manifest names {file[:100]!r}, "
                f"which is not a plain name below the {manifest.kind}'s directory"
            )
        if _normalize_name(file) in files:
            raise DataError(f"{source}: its manifest names {file!r} twice, or with another case")
        files.add(_normalize_name(file))
        parts = file.split("/")
        folders.update(_normalize_name("/".join(parts[:count])) for count in range(1, len(parts)))
    if clash := files & folders:
        raise DataError(f"{source}: its manifest names {min(clash)!r} as a file and as a directory")


def parse_content(model: type[M], manifest: Manifest, source: Path | str) -> M:
    """The manifest's content as the model of its kind.

    DataError, naming `source` and the first field that is wrong, if it is not.
    """
    try:
        return model.model_validate(manifest.content)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        field = ".".join(map(str, first["loc"]))
        more = f" and {len(others)} more" if others else ""
        raise DataError(
            f"{source}: the manifest does not describe a {manifest.kind} "
            f"({f'{field}: ' if field else ''}{first['msg'].removeprefix('Value error, ')}{more}); "
            "it was changed, or made by another version of kubert: get it again, or make it again"
        ) from None


def _list_regular_files(directory: Path, kind: ArtifactKind) -> set[str]:
    files = set()
    for folder, folder_names, file_names in os.walk(directory):
        for name in (*folder_names, *file_names):
            path = Path(folder) / name
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                files.add(path.relative_to(directory).as_posix())
            elif not stat.S_ISDIR(mode):
                raise DataError(
                    f"{path}: a {kind} holds only ordinary files and directories, no links; "
                    "get it again"
                )
    return files


def _is_plain_name(file: str) -> bool:
    return not (
        any(part in ("", ".", "..") for part in file.split("/"))
        or re.search(r"[\\:@?#\x00-\x1f\x7f]", file)
        or len(file.encode(errors="replace")) > MAX_FILE_NAME_BYTES
    )


def _normalize_name(name: str) -> str:
    # Equal for names that some file system takes for the same file.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
