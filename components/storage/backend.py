"""What a place that holds objects must be able to do, in one attempt, and how it says that it could not."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from components.errors import ConfigError, DataError, KubertError

DEADLINE = 600.0
"""Seconds for which one call to a store is repeated."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 20.0
"""Bounds in seconds of the random waits between attempts; they grow twofold."""
T = TypeVar("T")


class StoreError(KubertError):
    """The store failed, or kept failing; the same call may work later."""


class MissingError(DataError):
    """There is no such object or bucket."""


class DeniedError(ConfigError):
    """The credentials at hand do not allow this."""


class CorruptError(DataError):
    """What arrived is not what the store, or the manifest, says it should be."""


class TemporaryError(OSError):
    """One attempt failed in a way (429, 5xx, a cut connection) that another may not."""


@dataclass(frozen=True)
class Claim:
    """What a store says about an object: its size in bytes, and `sha256:` (hex) or `crc32c:` (base64) if it knows one."""

    size: int | None = None
    checksum: str = ""


class Again(Protocol):
    """Makes one call, and makes it again a bounded number of times where that may help."""

    def __call__(self, call: Callable[[], T], /) -> T: ...


class Backend(Protocol):
    """One attempt at each operation; keys are checked, `/`-separated and relative to the store.

    Only `put`, which may take many calls, repeats each of them itself, by `again`: what is up already is not sent twice.

    Raises FileNotFoundError (404), PermissionError (401, 403), Temporary, TimeoutError or ConnectionError where another
    attempt makes sense, and any other OSError where it does not.
    """

    renames: bool

    def size(self, key: str) -> int | None: ...
    def names(self, prefix: str) -> Iterable[str]: ...
    def get(self, key: str, local: Path) -> Claim: ...
    def put(self, key: str, local: Path, again: Again) -> None: ...
    def create(self, key: str, data: bytes) -> bool: ...
    def delete(self, key: str) -> None: ...
    def clear(self, prefix: str) -> None: ...
    def rename(self, source: str, target: str) -> None: ...


class Remote:
    """What gs:// and s3:// share: keys below a prefix, and directories that are only prefixes."""

    renames = False

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix}/" if prefix else ""

    def names(self, prefix: str) -> Iterator[str]:
        for name in self._all(self._prefix + prefix):
            yield name.removeprefix(self._prefix)

    def clear(self, prefix: str) -> None:
        for key in list(self.names(f"{prefix}/")):
            self.delete(key)

    def rename(self, source: str, target: str) -> None:
        raise OSError(errno.ENOTSUP, "object storage cannot rename a directory")

    def _all(self, prefix: str) -> Iterator[str]:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError


def by_status(status: int, message: str) -> OSError:
    """The error that a `Backend` raises for an HTTP status. 409 is S3's word for two conditional writes at one moment."""
    if status in (408, 409, 429) or status >= 500:
        return TemporaryError(errno.EIO, f"{status} {message}")
    if status in (401, 403):
        return PermissionError(errno.EACCES, message)
    if status == 404:
        return FileNotFoundError(errno.ENOENT, message)
    if status == 412:
        return FileExistsError(errno.EEXIST, message)
    return OSError(errno.EIO, f"{status} {message}")
