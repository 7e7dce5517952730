"""A model server's directory: numbered versions, of which the highest is served."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.artifacts.manifest import MANIFEST_FILENAME, read_manifest
from components.artifacts.release import parse_release_content
from components.errors import DataError, UsageError
from components.registry import find_champion
from components.registry.listing import MODEL_NAME_PATTERN, PRIVATE_DIRECTORY, VERSION_PATTERN
from components.storage.store import open_store

LOCK_FILENAME = ".kubert-pull"
UNFINISHED_PATTERN = re.compile(r"^\.[0-9]+\..+")


@dataclass(frozen=True)
class VersionDirectory:
    """A version in the directory; a new manifest under the same number is another release."""

    number: int
    path: Path
    manifest_mtime_ns: int


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Create the directory if need be, and be the only puller that changes it in the block.

    Of two pullers one would remove what the other downloads. What killed pullers left is removed at
    first, and at the end what a signal left that came between two instructions of a pull.
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
        _remove_unfinished(directory)
        try:
            yield
        finally:
            _remove_unfinished(directory)
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


def select_served_version(directory: Path) -> VersionDirectory:
    """The version to serve; DataError if there is none, see `find_served_version`."""
    version = find_served_version(directory)
    if version is None:
        raise DataError(
            f"{directory}: holds no version (directories 1, 2, ...); "
            f"`kubert pull STORE/NAME --to {directory}` brings one"
        )
    return version


def find_served_version(directory: Path) -> VersionDirectory | None:
    """The version to serve: the release itself, a local champion, or the highest number."""
    if (directory / MANIFEST_FILENAME).is_file():
        content = parse_release_content(read_manifest(directory, "release"), directory)
        return _read_version_directory(max(1, content.version), directory)
    if (directory / PRIVATE_DIRECTORY).is_dir():
        registry_root, name = directory.absolute().parent, directory.absolute().name
        champion = find_champion(open_store(str(registry_root)), name)
        if champion is None:
            return None
        return _read_version_directory(champion, directory / str(champion))
    try:
        numbered = [
            path
            for path in directory.iterdir()
            if path.name.isascii() and path.name.isdigit() and path.is_dir()
        ]
    except OSError as error:
        raise DataError(f"{directory}: {error.strerror}") from None
    highest = max(numbered, key=lambda path: int(path.name), default=None)
    return None if highest is None else _read_version_directory(int(highest.name), highest)


def _read_version_directory(number: int, path: Path) -> VersionDirectory:
    try:
        mtime_ns = (path / MANIFEST_FILENAME).stat().st_mtime_ns
    except OSError:
        mtime_ns = 0
    return VersionDirectory(number, path, mtime_ns)


def _remove_unfinished(directory: Path) -> None:
    for path in directory.iterdir():
        if UNFINISHED_PATTERN.match(path.name):
            shutil.rmtree(path, ignore_errors=True)
