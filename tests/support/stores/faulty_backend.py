"""A store backend that misbehaves on demand, over one that works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from components.storage.backend import Again, Claim
from components.storage.local import Local
from components.storage.store import Store

Hook = Callable[[str, str], None]


def nothing(operation: str, key: str) -> None:
    """A hook that lets the call through."""


class Faulty:
    """Calls `before(operation, key)`, the real operation, then `after(operation, key)`; either may raise.

    `renames=False` makes a local directory behave like object storage. `damage` changes what `get` has written.
    """

    def __init__(
        self,
        root: Path,
        before: Hook = nothing,
        after: Hook = nothing,
        *,
        renames: bool = True,
        damage: Callable[[Path], None] | None = None,
    ) -> None:
        self.renames = renames
        self.before, self.after = before, after
        self._inner = Local(root)
        self._damage = damage

    def size(self, key: str) -> int | None:
        self.before("size", key)
        return self._inner.size(key)

    def names(self, prefix: str) -> Iterable[str]:
        self.before("names", prefix)
        return list(self._inner.names(prefix))

    def get(self, key: str, local: Path) -> Claim:
        self.before("get", key)
        claim = self._inner.get(key, local)
        if self._damage is not None:
            self._damage(local)
        return claim

    def put(self, key: str, local: Path, again: Again) -> None:
        def attempt() -> None:
            self.before("put", key)
            self._inner.put(key, local, lambda call: call())
            self.after("put", key)

        again(attempt)

    def create(self, key: str, data: bytes) -> bool:
        self.before("create", key)
        created = self._inner.create(key, data)
        self.after("create", key)
        return created

    def delete(self, key: str) -> None:
        self.before("delete", key)
        self._inner.delete(key)
        self.after("delete", key)

    def clear(self, prefix: str) -> None:
        self.before("clear", prefix)
        self._inner.clear(prefix)
        self.after("clear", prefix)

    def rename(self, source: str, target: str) -> None:
        assert self.renames, "object storage cannot rename"
        self.before("rename", target)
        self._inner.rename(source, target)
        self.after("rename", target)


def store_over(backend: Faulty, waits: list[float] | None = None) -> Store:
    """A store that records how long it would wait instead of waiting."""
    return Store(backend, "gs://double/models", sleep=(waits if waits is not None else []).append)
