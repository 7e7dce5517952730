"""A store backend that misbehaves on demand, over one that works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from components.storage.backend import ObjectChecksum, RetryCall
from components.storage.local import LocalBackend
from components.storage.store import Store

Hook = Callable[[str, str], None]


def no_fault(operation: str, key: str) -> None:
    """A hook that lets the call through."""


class FaultyBackend:
    """Calls `before(operation, key)`, the operation, then `after(operation, key)`; both may raise.

    `supports_atomic_rename=False` makes a local directory behave like object storage. `damage`
    changes what `get` has written.
    """

    def __init__(
        self,
        root: Path,
        before: Hook = no_fault,
        after: Hook = no_fault,
        *,
        supports_atomic_rename: bool = True,
        damage: Callable[[Path], None] | None = None,
    ) -> None:
        self.supports_atomic_rename = supports_atomic_rename
        self.before, self.after = before, after
        self._inner = LocalBackend(root)
        self._damage = damage

    def get_size(self, key: str) -> int | None:
        self.before("size", key)
        return self._inner.get_size(key)

    def list_keys(self, prefix: str) -> Iterable[str]:
        self.before("list_keys", prefix)
        return list(self._inner.list_keys(prefix))

    def download_object(self, key: str, local: Path) -> ObjectChecksum:
        self.before("get", key)
        claim = self._inner.download_object(key, local)
        if self._damage is not None:
            self._damage(local)
        return claim

    def upload_object(self, key: str, local: Path, retry: RetryCall) -> None:
        def attempt() -> None:
            self.before("put", key)
            self._inner.upload_object(key, local, lambda call: call())
            self.after("put", key)

        retry(attempt)

    def create_object(self, key: str, data: bytes) -> bool:
        self.before("create", key)
        created = self._inner.create_object(key, data)
        self.after("create", key)
        return created

    def delete_object(self, key: str) -> None:
        self.before("delete", key)
        self._inner.delete_object(key)
        self.after("delete", key)

    def delete_directory(self, prefix: str) -> None:
        self.before("clear", prefix)
        self._inner.delete_directory(prefix)
        self.after("clear", prefix)

    def rename_directory(self, source: str, target: str) -> None:
        assert self.supports_atomic_rename, "object storage cannot rename"
        self.before("rename", target)
        self._inner.rename_directory(source, target)
        self.after("rename", target)


def build_store(backend: FaultyBackend, waits: list[float] | None = None) -> Store:
    """A store that records how long it would wait instead of waiting."""
    return Store(backend, "gs://double/models", sleep=(waits if waits is not None else []).append)
