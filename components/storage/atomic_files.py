"""Files and directories that exist completely or not at all, even after a crash; digests of files.

A file or directory is written under a temporary name beside its destination and renamed when it is
complete: a rename within one file system is atomic, so a reader sees the old content or the new,
never a part. Files are flushed to disk before the rename.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

TEMPORARY_PREFIX = ".part-"
"""First characters of the names of unfinished files; a crash may leave such a file behind."""
_BLOCK_BYTES = 2**20


class FileEntry(BaseModel):
    """Size in bytes and SHA-256 (hex) of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_crc32c(path: Path) -> str:
    """CRC32C of a file's bytes in the format of Google Cloud Storage: base64, big-endian."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def make_durable(path: Path) -> None:
    """Make a file readable by other users, such as a server's, and flush it to disk."""
    path.chmod(0o644)
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


@contextmanager
def atomic_replace_file(target: Path) -> Iterator[Path]:
    """Yield a temporary file beside `target`, which replaces it if the block succeeds."""
    temporary = _new_temporary_file(target.parent)
    try:
        yield temporary
        make_durable(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Replace the content of a file (text is written as UTF-8) in one step."""
    with atomic_replace_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def atomic_create(path: Path, content: bytes) -> bool:
    """Create a file with its whole content in one step; False if a file of this name exists."""
    temporary = _new_temporary_file(path.parent)
    try:
        temporary.write_bytes(content)
        make_durable(temporary)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


@contextmanager
def staged_directory(output: Path, *, remove_leftovers: bool = False) -> Iterator[Path]:
    """Yield a new directory beside `output`, which replaces `output` if the block succeeds.

    An existing `output`, a file or a directory with content, is removed. `remove_leftovers` first
    removes what killed processes staged for the same output; only for outputs that a single process
    writes at a time.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if remove_leftovers:
        for leftover in output.parent.glob(f".{output.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
    staging = new_staging_directory(output)
    try:
        yield staging
        replace_directory(staging, output)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def new_staging_directory(output: Path) -> Path:
    """A new directory beside `output`, for content that `replace_directory` moves there."""
    return Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))


def replace_directory(staging: Path, output: Path) -> None:
    """Rename the directory `staging` to `output`, readable by all; an old `output` is removed.

    The old directory is renamed before it is removed: removing takes time, in which a crash would
    leave neither the old directory nor the new one.
    """
    staging.chmod(0o755)
    removed = new_staging_directory(output)
    try:
        if output.is_dir():
            os.replace(output, removed)
        elif output.exists():
            output.unlink()
        os.replace(staging, output)
    except BaseException:
        with suppress(OSError):
            removed.rmdir()  # stays if it has the old directory
        raise
    shutil.rmtree(removed, ignore_errors=True)


def _new_temporary_file(directory: Path) -> Path:
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=TEMPORARY_PREFIX)
    os.close(descriptor)
    return Path(name)
