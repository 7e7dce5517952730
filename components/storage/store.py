"""One interface to local directories, gs://, s3:// and minio://; the only module that speaks to object storage.

What it guarantees: an object is seen whole or not at all; of several callers that create one object exactly one is told
that it did; bytes that do not match the checksum of the store are never handed out; a call that can work at another time
is repeated a bounded number of times, one that cannot (403, 404) fails at once. Every error names the URI.
"""

from __future__ import annotations

import errno
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import tenacity

from components.redaction import redact_to_line
from components.storage.atomic_files import FileEntry, file_sha256
from components.storage.backend import (
    DEADLINE,
    FIRST_WAIT,
    LONGEST_WAIT,
    Backend,
    Claim,
    CorruptError,
    DeniedError,
    MissingError,
    StoreError,
    TemporaryError,
)
from components.storage.local import Local, beside, crc32c
from components.storage.uri import check_key, parse_uri

__all__ = [
    "CorruptError",
    "DeniedError",
    "MissingError",
    "Store",
    "StoreError",
    "open_store",
]

ATTEMPTS = 12
SMALL = 64 * 2**20
T = TypeVar("T")


class Store:
    """A directory or bucket prefix, with retries and checksums over a `Backend`."""

    def __init__(
        self, backend: Backend, uri: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._backend = backend
        self._root = uri.rstrip("/") or "/"
        self._sleep = sleep

    @property
    def renames(self) -> bool:
        """Whether a whole directory can be moved into place in one step (`rename`)."""
        return self._backend.renames

    def uri(self, key: str = "") -> str:
        """Where the object is, for messages and records."""
        return f"{self._root}/{key}" if key else self._root

    def exists(self, key: str) -> bool:
        return self.size(key) is not None

    def size(self, key: str) -> int | None:
        """Bytes of the object; None if there is none."""
        return self._try(key, lambda: self._backend.size(check_key(key)))

    def list(self, prefix: str = "") -> list[str]:
        """Keys of all objects below the directory `prefix`, sorted; empty if there is none."""
        folder = f"{check_key(prefix.rstrip('/'))}/" if prefix else ""
        return self._try(prefix, lambda: sorted(self._backend.names(folder)))

    def read_bytes(self, key: str, limit: int = SMALL) -> bytes:
        """The object's content, checked like a download; DataError if it is larger than `limit` bytes."""
        size = self.size(key)
        if size is not None and size > limit:
            raise CorruptError(f"{self.uri(key)}: {size} bytes where at most {limit} make sense")
        with tempfile.TemporaryDirectory(prefix="kubert-") as directory:
            local = Path(directory) / "object"
            self.download(key, local)
            return local.read_bytes()

    def download(self, key: str, local: Path, expected: FileEntry | None = None) -> None:
        """Copy the object to the file `local`, which holds all of it or is not touched.

        The size and checksum the store tells, and those of `expected`, must match: Corrupt otherwise, also when the
        object is larger than expected, before any of it is fetched.
        """
        check_key(key)
        local.parent.mkdir(parents=True, exist_ok=True)
        if expected is not None and (size := self.size(key)) is not None and size != expected.size:
            raise CorruptError(f"{self.uri(key)}: {size} bytes, the manifest says {expected.size}")

        with beside(local) as part:

            def attempt() -> None:
                _compare(part, self._backend.get(key, part))

            self._try(key, attempt)
            if expected is not None and (
                part.stat().st_size != expected.size or file_sha256(part) != expected.sha256
            ):
                raise CorruptError(f"{self.uri(key)}: its size or SHA-256 is not the manifest's")

    def upload(self, local: Path, key: str) -> None:
        """Make the object's content that of the file `local`, in place of any other."""
        with _explained(self.uri(key)):
            self._backend.put(check_key(key), local, self._again)

    def write(self, key: str, data: bytes) -> None:
        """Make the object's content `data`, in place of any other."""
        with tempfile.TemporaryDirectory(prefix="kubert-") as directory:
            local = Path(directory) / "object"
            local.write_bytes(data)
            self.upload(local, key)

    def create(self, key: str, data: bytes) -> bool:
        """Write the object if there is none; True for exactly one of any number of callers.

        The reply of a successful attempt may be lost. After a failed attempt an object with our bytes counts as ours, so
        callers that can meet put something unique into `data`.
        """
        failed = False

        def attempt() -> bool:
            nonlocal failed
            try:
                created = self._backend.create(check_key(key), data)
            except OSError:
                failed = True
                raise
            return created

        return self._try(key, attempt) or (failed and self.read_bytes(key) == data)

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        self._try(key, lambda: self._backend.delete(check_key(key)))

    def clear(self, prefix: str) -> None:
        """Remove everything below the directory `prefix`."""
        self._try(prefix, lambda: self._backend.clear(check_key(prefix)))

    def rename(self, source: str, target: str) -> None:
        """Move the directory `source` to `target`, which must not exist, in one step. Only where `renames`."""
        self._try(target, lambda: self._backend.rename(check_key(source), check_key(target)))

    def _try(self, key: str, operation: Callable[[], T]) -> T:
        with _explained(self.uri(key)):
            return self._again(operation)

    def _again(self, call: Callable[[], T], /) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                (TemporaryError, TimeoutError, ConnectionError, CorruptError)
            ),
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(DEADLINE),
            wait=tenacity.wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(call)
        except (TemporaryError, TimeoutError, ConnectionError) as error:
            raise OSError(
                errno.EIO,
                f"{redact_to_line(error.strerror or str(error))} (attempts: {retrying.statistics['attempt_number']})",
            ) from None


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Errors of a back end become those of this package, name the URI, and hold nothing that is a secret."""
    try:
        yield
    except CorruptError as error:
        raise CorruptError(f"{uri}: {redact_to_line(str(error))}") from None
    except FileNotFoundError as error:
        raise MissingError(f"{uri}: not found{_because(error)}") from None
    except PermissionError as error:
        raise DeniedError(
            f"{uri}: access refused{_because(error)}; check the credentials and their rights on it"
        ) from None
    except OSError as error:
        raise StoreError(f"{uri}: {redact_to_line(error.strerror or str(error), 400)}") from None


def open_store(uri: str) -> Store:
    """The store at a local path (plain or file://), gs://bucket/prefix, s3://bucket/prefix or minio://bucket/prefix.

    gs:// uses the application default credentials (or STORAGE_EMULATOR_HOST), s3:// the usual AWS variables, with
    AWS_ENDPOINT_URL; minio:// is s3:// at the service that Kubeflow Pipelines brings along, or at AWS_ENDPOINT_URL.
    Raises ConfigError for any other scheme, `..`, user information, queries and network addresses.
    """
    scheme, bucket, prefix = parse_uri(uri)
    if scheme == "file":
        return Store(Local(Path(prefix)), prefix)
    whole = f"{scheme}://{bucket}/{prefix}"
    with _explained(whole):
        if scheme == "gs":
            from components.storage.gcs import Google

            return Store(Google(bucket, prefix), whole)
        from components.storage.s3 import Amazon

        return Store(Amazon(bucket, prefix, kubeflow=scheme == "minio"), whole)


def _because(error: OSError) -> str:
    reason = redact_to_line(error.strerror or str(error))
    return f" ({reason})" if reason else ""


def _compare(path: Path, claim: Claim) -> None:
    size = path.stat().st_size
    if claim.size is not None and size != claim.size:
        raise CorruptError(f"{size} bytes arrived, the store holds {claim.size}")
    kind, _, value = claim.checksum.partition(":")
    if kind and value != (file_sha256(path) if kind == "sha256" else crc32c(path)):
        raise CorruptError(f"what arrived does not match the store's {kind}")
