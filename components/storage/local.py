"""A local directory as a storage backend."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.storage.atomic_files import (
    TEMPORARY_PREFIX,
    atomic_create,
    atomic_replace_file,
    file_crc32c,
)
from components.storage.backend import ObjectChecksum, RetryCall, TemporaryError

_BLOCK_BYTES = 2**20


def check_writable(directory: Path) -> None:
    """Raise OSError if no file can be created in a directory; none is left there."""
    with tempfile.TemporaryFile(dir=directory):
        pass


def find_nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest of its parents that exists, where it would be created."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


class LocalBackend:
    """A directory; symbolic links below it are refused."""

    supports_atomic_rename = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def get_size(self, key: str) -> int | None:
        path = self._resolve(key)
        return path.stat().st_size if path.is_file() else None

    def list_keys(self, prefix: str) -> Iterator[str]:
        top = self._resolve(prefix.rstrip("/")) if prefix else self._root
        for directory, _, files in os.walk(top):
            for name in files:
                if not name.startswith(TEMPORARY_PREFIX):
                    yield (Path(directory) / name).relative_to(self._root).as_posix()

    def download_object(self, key: str, local: Path) -> ObjectChecksum:
        path = self._resolve(key)
        shutil.copyfile(path, local)
        return ObjectChecksum(path.stat().st_size, f"crc32c:{file_crc32c(path)}")

    def upload_object(self, key: str, local: Path, retry: RetryCall) -> None:
        retry(lambda: self._copy(key, local))

    def create_object(self, key: str, data: bytes) -> bool:
        path = self._resolve(key)
        with _parent_directory(path):
            return atomic_create(path, data)

    def delete_object(self, key: str) -> None:
        self._resolve(key).unlink(missing_ok=True)

    def delete_directory(self, prefix: str) -> None:
        path = self._resolve(prefix)
        if not path.exists():
            return
        try:
            shutil.rmtree(path)
        except OSError as error:
            # Another process removes the same directory, or still writes into it.
            if error.errno in (errno.ENOENT, errno.ENOTEMPTY):
                raise TemporaryError(error.errno, "changes while it is removed") from error
            raise

    def rename_directory(self, source: str, target: str) -> None:
        path = self._resolve(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._resolve(source).rename(path)

    def _resolve(self, key: str) -> Path:
        path = self._root
        for part in key.split("/"):
            path = path / part
            if path.is_symlink():
                raise OSError(
                    errno.ELOOP, f"{part} is a symbolic link; links are not allowed in a store"
                )
        return path

    def _copy(self, key: str, local: Path) -> None:
        path = self._resolve(key)
        with (
            open(local, "rb") as source,
            _parent_directory(path),
            atomic_replace_file(path) as temporary,
            open(temporary, "wb") as target,
        ):
            shutil.copyfileobj(source, target, _BLOCK_BYTES)


@contextmanager
def _parent_directory(path: Path) -> Iterator[None]:
    """Create the path's directory; TemporaryError if another process removes it in the block."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except FileNotFoundError as error:
        raise TemporaryError(
            errno.ENOENT, f"{path.parent} was removed by another process"
        ) from error
