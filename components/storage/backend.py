"""The interface of a storage service: one attempt per operation, and the errors it raises."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from components.errors import ConfigError, DataError, KubertError
from components.retrying import RetryPolicy

T = TypeVar("T")
STORAGE_RETRIES = RetryPolicy(
    first_wait_seconds=0.25, max_wait_seconds=20.0, deadline_seconds=600.0, max_attempts=12
)
"""How long one call to a store is repeated while it fails temporarily."""


class StoreError(KubertError):
    """The store failed, or kept failing; the same call may succeed later."""


class MissingError(DataError):
    """There is no such object or bucket."""


class DeniedError(ConfigError):
    """The credentials do not allow this operation."""


class CorruptError(DataError):
    """The bytes that arrived do not match the checksum of the store or the manifest."""


class TemporaryError(OSError):
    """One attempt failed in a way (429, 5xx, a closed connection) that a retry may solve."""


@dataclass(frozen=True)
class ObjectChecksum:
    """What the store knows about an object: size in bytes; `sha256:<hex>` or `crc32c:<base64>`."""

    size: int | None = None
    checksum: str = ""


class RetryCall(Protocol):
    """Makes one call, and repeats it a bounded number of times after temporary errors."""

    def __call__(self, call: Callable[[], T], /) -> T: ...


class Backend(Protocol):
    """One attempt at each operation; keys are checked, `/`-separated and relative to the store.

    Only `upload_object`, which may take many calls, repeats each of them itself through `retry`, so
    that parts that were uploaded are not sent again.

    Raises FileNotFoundError (404); PermissionError (401, 403); TemporaryError, TimeoutError or
    ConnectionError where another attempt makes sense; any other OSError where it does not.
    """

    supports_atomic_rename: bool

    def get_size(self, key: str) -> int | None: ...
    def list_keys(self, prefix: str) -> Iterable[str]: ...
    def download_object(self, key: str, local: Path) -> ObjectChecksum: ...
    def upload_object(self, key: str, local: Path, retry: RetryCall) -> None: ...
    def create_object(self, key: str, data: bytes) -> bool: ...
    def delete_object(self, key: str) -> None: ...
    def delete_directory(self, prefix: str) -> None: ...
    def rename_directory(self, source: str, target: str) -> None: ...


class ObjectStorageBackend:
    """What GCS and S3 share: keys below a prefix, and directories that are only prefixes."""

    supports_atomic_rename = False

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}/" if prefix else ""

    def list_keys(self, prefix: str) -> Iterator[str]:
        for key in self._list_full_keys(self._prefix + prefix):
            yield key.removeprefix(self._prefix)

    def delete_directory(self, prefix: str) -> None:
        for key in list(self.list_keys(f"{prefix}/")):
            self.delete_object(key)

    def rename_directory(self, source: str, target: str) -> None:
        raise OSError(errno.ENOTSUP, "object storage cannot rename a directory")

    def _list_full_keys(self, prefix: str) -> Iterator[str]:
        raise NotImplementedError

    def delete_object(self, key: str) -> None:
        raise NotImplementedError


def error_for_status(status: int, message: str) -> OSError:
    """The error that a `Backend` raises for an HTTP status.

    409 is temporary: S3 answers it when two conditional writes meet.
    """
    if status in (408, 409, 429) or status >= 500:
        return TemporaryError(errno.EIO, f"{status} {message}")
    if status in (401, 403):
        return PermissionError(errno.EACCES, message)
    if status == 404:
        return FileNotFoundError(errno.ENOENT, message)
    if status == 412:
        return FileExistsError(errno.EEXIST, message)
    return OSError(errno.EIO, f"{status} {message}")
