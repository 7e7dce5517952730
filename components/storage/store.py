"""One interface to local directories, gs://, s3:// and minio:// URIs, with retries and checksums.

Guarantees: an object is visible completely or not at all; of several callers that create one
object, exactly one gets True; bytes that do not match the store's checksum are never returned;
temporary failures are retried a bounded number of times, permanent ones (403, 404) fail at once.
Every error names the URI and holds no secrets.
"""

from __future__ import annotations

import errno
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from components.redaction import redact_to_line
from components.storage.atomic_files import (
    FileEntry,
    atomic_replace_file,
    file_crc32c,
    file_sha256,
)
from components.storage.backend import (
    STORAGE_RETRIES,
    Backend,
    CorruptError,
    DeniedError,
    MissingError,
    ObjectChecksum,
    StoreError,
    TemporaryError,
)
from components.storage.local import LocalBackend
from components.storage.uri import check_key, parse_uri

__all__ = [
    "CorruptError",
    "DeniedError",
    "MissingError",
    "Store",
    "StoreError",
    "open_store",
]

MAX_READ_BYTES = 64 * 2**20
_MAX_REASON_LENGTH = 400
_RETRIED = (TemporaryError, TimeoutError, ConnectionError)
T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)


class Store:
    """A directory or bucket prefix: a `Backend` with retries, checksums and named errors."""

    def __init__(
        self, backend: Backend, uri: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._backend = backend
        self._root = uri.rstrip("/") or "/"
        self._sleep = sleep

    @property
    def supports_atomic_rename(self) -> bool:
        """Whether a directory can be moved in one step (`rename`): yes locally, not in buckets."""
        return self._backend.supports_atomic_rename

    def uri(self, key: str = "") -> str:
        """The object's URI, for messages and records."""
        return f"{self._root}/{key}" if key else self._root

    def exists(self, key: str) -> bool:
        """Whether there is an object with this key."""
        return self.size(key) is not None

    def size(self, key: str) -> int | None:
        """Size of the object in bytes; None if there is none."""
        return self._attempt(key, lambda: self._backend.get_size(check_key(key)))

    def list(self, prefix: str = "") -> list[str]:
        """Keys of all objects below the directory `prefix`, sorted; empty if there are none."""
        directory = f"{check_key(prefix.rstrip('/'))}/" if prefix else ""
        return self._attempt(prefix, lambda: sorted(self._backend.list_keys(directory)))

    def read_bytes(self, key: str, limit: int = MAX_READ_BYTES) -> bytes:
        """The object's content, verified like a download; CorruptError if larger than `limit`."""
        size = self.size(key)
        if size is not None and size > limit:
            raise CorruptError(f"{self.uri(key)}: {size} bytes, expected at most {limit}")
        with tempfile.TemporaryDirectory(prefix="kubert-") as directory:
            local = Path(directory) / "object"
            self.download(key, local)
            return local.read_bytes()

    def download(self, key: str, local: Path, expected: FileEntry | None = None) -> None:
        """Copy the object to the file `local`, which is replaced completely or not touched.

        Raises CorruptError if the bytes do not match the size and checksum of the store and of
        `expected`. An object whose size is not the expected one is not downloaded at all.
        """
        check_key(key)
        local.parent.mkdir(parents=True, exist_ok=True)
        if expected is not None and (size := self.size(key)) is not None and size != expected.size:
            raise CorruptError(f"{self.uri(key)}: {size} bytes, the manifest says {expected.size}")

        with atomic_replace_file(local) as temporary:

            def attempt() -> None:
                _verify_checksum(temporary, self._backend.download_object(key, temporary))

            self._attempt(key, attempt)
            if expected is not None and (
                temporary.stat().st_size != expected.size
                or file_sha256(temporary) != expected.sha256
            ):
                raise CorruptError(f"{self.uri(key)}: size or SHA-256 does not match the manifest")
            _LOGGER.debug("downloaded %s: %d bytes", self.uri(key), temporary.stat().st_size)

    def upload(self, local: Path, key: str) -> None:
        """Replace the object's content with that of the file `local`."""
        with _translated_errors(self.uri(key)):
            self._backend.upload_object(check_key(key), local, self._with_retries)
        _LOGGER.debug("uploaded %s: %d bytes", self.uri(key), local.stat().st_size)

    def write(self, key: str, data: bytes) -> None:
        """Replace the object's content with `data`."""
        with tempfile.TemporaryDirectory(prefix="kubert-") as directory:
            local = Path(directory) / "object"
            local.write_bytes(data)
            self.upload(local, key)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object if there is none; returns True to exactly one of any number of callers.

        The reply to a successful attempt may be lost. After a failed attempt an object with the
        same bytes counts as created by this call, so concurrent callers must put something unique
        into `data`.
        """
        attempt_failed = False

        def attempt() -> bool:
            nonlocal attempt_failed
            try:
                return self._backend.create_object(check_key(key), data)
            except OSError:
                attempt_failed = True
                raise

        return self._attempt(key, attempt) or (attempt_failed and self.read_bytes(key) == data)

    def delete(self, key: str) -> None:
        """Delete the object; nothing happens if there is none."""
        self._attempt(key, lambda: self._backend.delete_object(check_key(key)))

    def clear(self, prefix: str) -> None:
        """Delete everything below the directory `prefix`."""
        self._attempt(prefix, lambda: self._backend.delete_directory(check_key(prefix)))

    def rename(self, source: str, target: str) -> None:
        """Move the directory `source` to `target`, which must not exist, in one step.

        Only for stores that support it, see `supports_atomic_rename`.
        """
        self._attempt(
            target, lambda: self._backend.rename_directory(check_key(source), check_key(target))
        )

    def _attempt(self, key: str, operation: Callable[[], T]) -> T:
        with _translated_errors(self.uri(key)):
            return self._with_retries(operation)

    def _with_retries(self, call: Callable[[], T], /) -> T:
        retrying = STORAGE_RETRIES.build_retrying((*_RETRIED, CorruptError), sleep=self._sleep)
        try:
            return retrying(call)
        except _RETRIED as error:
            reason = redact_to_line(error.strerror or str(error))
            attempts = retrying.statistics["attempt_number"]
            raise OSError(errno.EIO, f"{reason} (attempts: {attempts})") from None


def open_store(uri: str) -> Store:
    """The store at a local path (plain or file://), gs://, s3:// or minio:// bucket and prefix.

    gs:// uses the application default credentials (or the emulator of STORAGE_EMULATOR_HOST, as
    host:port or http://host:port), s3:// the usual AWS variables, with AWS_ENDPOINT_URL; minio://
    is s3:// at the object store of Kubeflow Pipelines, or at AWS_ENDPOINT_URL. Raises ConfigError
    for any other scheme, `..`, user information, queries and network addresses.
    """
    scheme, bucket, prefix = parse_uri(uri)
    if scheme == "file":
        return Store(LocalBackend(Path(prefix)), prefix)
    root = f"{scheme}://{bucket}/{prefix}"
    with _translated_errors(root):
        if scheme == "gs":
            from components.storage.gcs import GcsBackend

            return Store(GcsBackend(bucket, prefix), root)
        from components.storage.s3 import S3Backend

        return Store(S3Backend(bucket, prefix, kubeflow=scheme == "minio"), root)


@contextmanager
def _translated_errors(uri: str) -> Iterator[None]:
    """Raise a backend's errors as this package's own, with the URI and without secrets."""
    try:
        yield
    except CorruptError as error:
        raise CorruptError(f"{uri}: {redact_to_line(str(error))}") from None
    except FileNotFoundError as error:
        raise MissingError(f"{uri}: not found{_format_reason(error)}") from None
    except PermissionError as error:
        raise DeniedError(
            f"{uri}: access refused{_format_reason(error)}; check the credentials and their rights"
        ) from None
    except OSError as error:
        reason = redact_to_line(error.strerror or str(error), _MAX_REASON_LENGTH)
        raise StoreError(f"{uri}: {reason}") from None


def _format_reason(error: OSError) -> str:
    reason = redact_to_line(error.strerror or str(error))
    return f" ({reason})" if reason else ""


def _verify_checksum(path: Path, stored: ObjectChecksum) -> None:
    size = path.stat().st_size
    if stored.size is not None and size != stored.size:
        raise CorruptError(f"{size} bytes arrived, the store has {stored.size}")
    algorithm, _, digest = stored.checksum.partition(":")
    if not algorithm:
        return
    arrived = file_sha256(path) if algorithm == "sha256" else file_crc32c(path)
    if digest != arrived:
        raise CorruptError(f"the bytes that arrived do not match the store's {algorithm}")
