"""A local directory as a store."""

from __future__ import annotations

import base64
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.storage.backend import Again, Claim, TemporaryError

PART = ".part-"


class Local:
    """A directory. Symbolic links below it are not followed."""

    renames = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, key: str) -> Path:
        path = self._root
        for part in key.split("/"):
            path = path / part
            if path.is_symlink():
                raise OSError(
                    errno.ELOOP, f"{part} is a symbolic link, which a store must not hold"
                )
        return path

    def size(self, key: str) -> int | None:
        path = self._path(key)
        return path.stat().st_size if path.is_file() else None

    def names(self, prefix: str) -> Iterator[str]:
        top = self._path(prefix.rstrip("/")) if prefix else self._root
        for folder, _, files in os.walk(top):
            for name in files:
                if not name.startswith(PART):
                    yield (Path(folder) / name).relative_to(self._root).as_posix()

    def get(self, key: str, local: Path) -> Claim:
        path = self._path(key)
        shutil.copyfile(path, local)
        return Claim(path.stat().st_size, f"crc32c:{crc32c(path)}")

    def put(self, key: str, local: Path, again: Again) -> None:
        again(lambda: self._copy(key, local))

    def _copy(self, key: str, local: Path) -> None:
        path = self._path(key)
        with (
            open(local, "rb") as source,
            _parent(path),
            beside(path) as part,
            open(part, "wb") as target,
        ):
            shutil.copyfileobj(source, target, 2**20)

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with _parent(path):
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PART)
            part = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(data)
                settle(part)
                os.link(part, path)
            except FileExistsError:
                return False
            finally:
                part.unlink(missing_ok=True)
        return True

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def clear(self, prefix: str) -> None:
        path = self._path(prefix)
        if not path.exists():
            return
        try:
            shutil.rmtree(path)
        except OSError as error:
            # Another process removes the same directory, or still writes into it.
            if error.errno in (errno.ENOENT, errno.ENOTEMPTY):
                raise TemporaryError(error.errno, "changes while it is removed") from error
            raise

    def rename(self, source: str, target: str) -> None:
        path = self._path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path(source).rename(path)


@contextmanager
def _parent(path: Path) -> Iterator[None]:
    """The path's directory exists; TemporaryError if another process removes it inside the block."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except FileNotFoundError as error:
        raise TemporaryError(
            errno.ENOENT, f"{path.parent} was removed by another process"
        ) from error


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A temporary file in the same directory that replaces `target` when the block ends well."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=PART)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        settle(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Readable by others, as servers run under another user, and on disk before it gets its name."""
    path.chmod(0o644)
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def crc32c(path: Path) -> str:
    """CRC32C of a file's bytes, as Google Cloud Storage writes it: base64 of the big-endian value."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with open(path, "rb") as stream:
        while block := stream.read(2**20):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()
