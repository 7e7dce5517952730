"""A model server's directory: numbered versions, of which the highest is served."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.artifacts.manifest import MANIFEST_FILENAME, read_manifest
from components.artifacts.release import parse_release_content
from components.errors import DataError, UsageError
from components.registry.listing import MODEL_NAME_PATTERN, PRIVATE_DIRECTORY, VERSION_PATTERN

LOCK_FILENAME = ".kubert-pull"
UNFINISHED_PATTERN = re.compile(r"^\.[0-9]+\..+")


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Create the directory if need be, and be the only puller that changes it in the block.

    Of two pullers one would remove what the other downloads. What killed pullers left is removed.
    UsageError if the directory cannot be used or another puller has it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / LOCK_FILENAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"--to {directory}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"--to {directory}: another pull is at work there; end it first, "
                "or use another directory"
            ) from None
        for leftover in directory.iterdir():
            if UNFINISHED_PATTERN.match(leftover.name):
                shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        os.close(lock)


def list_numbered_paths(directory: Path) -> list[tuple[int, Path]]:
    """Everything that a model server takes for a version (its name is a number), lowest first."""
    return sorted(
        (int(path.name), path)
        for path in directory.iterdir()
        if path.name.isascii() and path.name.isdigit()
    )


def find_models_below(directory: Path) -> list[str]:
    """Names of the models in a local registry, sorted; none if it is a model's directory itself."""
    if (directory / MANIFEST_FILENAME).exists() or (directory / PRIVATE_DIRECTORY).exists():
        return []
    if any(path.is_dir() for _, path in list_numbered_paths(directory)):
        return []
    return sorted(
        path.name
        for path in directory.iterdir()
        if path.is_dir() and MODEL_NAME_PATTERN.match(path.name) and _has_release(path)
    )


def _has_release(directory: Path) -> bool:
    try:
        return any(
            VERSION_PATTERN.match(path.name) and (path / MANIFEST_FILENAME).is_file()
            for path in directory.iterdir()
        )
    except OSError:
        return False


def check_highest_version(directory: Path, name: str, champion: int) -> None:
    """DataError if something that is no release of the model has a number above its champion."""
    for version, path in list_numbered_paths(directory):
        if version > champion and not _is_release_of(path, name):
            raise DataError(
                f"{path}: not a release of {name}, and a server would take it before version "
                f"{champion}; remove it, or use another directory"
            )


def remove_old_versions(directory: Path, name: str, champion: int, keep: int) -> None:
    """Remove the model's versions above the champion, and all below it but the `keep` highest.

    Those above go first, lowest first, each by one rename: the highest version that a server sees
    is the old champion until it is the new one.
    """
    versions = [
        version for version, path in list_numbered_paths(directory) if _is_release_of(path, name)
    ]
    above = [version for version in versions if version > champion]
    below = [version for version in versions if version < champion]
    for version in [*above, *below[: max(0, len(below) - keep)]]:
        removed = Path(tempfile.mkdtemp(dir=directory, prefix=f".{version}.old."))
        os.replace(directory / str(version), removed)
        shutil.rmtree(removed, ignore_errors=True)


def _is_release_of(path: Path, name: str) -> bool:
    if path.is_symlink() or not VERSION_PATTERN.match(path.name):
        return False
    try:
        content = parse_release_content(read_manifest(path, "release"), path)
    except (DataError, OSError):
        return False
    return (content.name, content.version) == (name, int(path.name))
